//! Whisper's log-mel spectrogram (`WhisperFeatureExtractor`; "Robust Speech Recognition via Large-Scale Weak
//! Supervision", section 2.2).

use super::mel::{MelFilters, Scale};
use super::spectrogram::Spectrogram;
use super::{AudioError, MAX_FEATURES, check_features};
use crate::input::fields::{ConfigError, Fields};
use crate::tensor::Tensor;

/// Log-mel features for Whisper.
#[derive(Debug, Clone)]
pub struct WhisperFeatures {
    rate: usize,
    /// Samples of a chunk (30 s).
    chunk: usize,
    hop: usize,
    filters: MelFilters,
    spectrogram: Spectrogram,
}

impl WhisperFeatures {
    pub(super) fn new(config: Fields<'_>) -> Result<WhisperFeatures, ConfigError> {
        let rate = super::read_rate(config, 16_000)?;
        let size = config.count("n_fft", 400, super::FRAME_SIZES)?;
        let hop = config.count("hop_length", 160, super::HOPS)?;
        let mels = config.count("feature_size", 80, super::MELS)?;
        let seconds = config.number("chunk_length", 30.0, (0.1, super::MAX_SECONDS as f64))?;
        // Noise is for training.
        config.number("dither", 0.0, (0.0, 0.0))?;
        let chunk = super::clip_samples(config, "n_samples", seconds * rate as f64)?;
        let spectrogram = super::spectrogram(size, hop, "n_fft")?;
        let filters = MelFilters::new(Scale::Slaney, mels, spectrogram.bins(), (0.0, 8000.0), rate);
        Ok(WhisperFeatures {
            rate,
            chunk,
            hop,
            filters,
            spectrogram,
        })
    }

    /// The sampling rate that it wants, in hertz.
    pub fn rate(&self) -> u32 {
        self.rate as u32
    }

    /// How many mel bands there are.
    pub fn mels(&self) -> usize {
        self.filters.count()
    }

    /// Samples of a chunk: 480,000 for 30 s.
    pub fn chunk_samples(&self) -> usize {
        self.chunk
    }

    /// Samples from one frame to the next.
    pub fn hop(&self) -> usize {
        self.hop
    }

    /// Features of each clip, padded with silence or cut to one chunk: f32 `[clips, mels, chunk / hop]`.
    ///
    /// # Errors
    /// No clip, an empty one, a sample that is not finite, or too many features.
    pub fn chunks(&self, clips: &[&[f32]]) -> Result<Tensor, AudioError> {
        super::check_clips(clips, self.rate)?;
        let frames = self.chunk / self.hop;
        check_features(&[clips.len(), self.mels(), frames])?;
        let mut values = Vec::with_capacity(clips.len() * self.mels() * frames);
        let mut padded = vec![0.0; self.chunk];
        for clip in clips {
            let used = clip.len().min(self.chunk);
            padded[..used].copy_from_slice(&clip[..used]);
            padded[used..].fill(0.0);
            self.append(&padded, frames, &mut values);
        }
        Ok(Tensor::from_f32(
            &[clips.len(), self.mels(), frames],
            &values,
        )?)
    }

    /// Features of a whole recording, for transcribing it piece by piece: f32 `[1, mels, samples / hop]`. Its loudest
    /// part is the same for every piece. Shorter than a chunk, it is padded to one.
    ///
    /// # Errors
    /// As [`WhisperFeatures::chunks`].
    pub fn whole(&self, clip: &[f32]) -> Result<Tensor, AudioError> {
        if clip.len() <= self.chunk {
            return self.chunks(&[clip]);
        }
        super::check_clips(&[clip], self.rate)?;
        let frames = clip.len() / self.hop;
        check_features(&[self.mels(), frames])?;
        let mut values = Vec::with_capacity(self.mels() * frames);
        self.append(clip, frames, &mut values);
        Ok(Tensor::from_f32(&[1, self.mels(), frames], &values)?)
    }

    /// Appends `[mels, frames]`.
    fn append(&self, samples: &[f32], frames: usize, values: &mut Vec<f32>) {
        let log = |power: f64| power.max(1e-10).log10() as f32;
        let mel = self.spectrogram.mel(samples, frames, &self.filters, log);
        let loudest = mel.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        for band in 0..self.mels() {
            let band = mel.iter().skip(band).step_by(self.mels());
            values.extend(band.map(|&log| (log.max(loudest - 8.0) + 4.0) / 4.0));
        }
    }
}

impl PartialEq for WhisperFeatures {
    fn eq(&self, other: &Self) -> bool {
        // All else follows from these.
        (self.rate, self.chunk, self.hop, &self.filters)
            == (other.rate, other.chunk, other.hop, &other.filters)
            && self.spectrogram.bins() == other.spectrogram.bins()
    }
}

// The longest recording at 16 kHz has 360,000 frames of 80 bands.
const _: () = assert!(super::MAX_SECONDS * 100 * 128 <= MAX_FEATURES);
