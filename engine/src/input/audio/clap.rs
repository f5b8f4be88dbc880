//! CLAP's mel spectrogram (`ClapFeatureExtractor`; "Large-scale Contrastive Language-Audio Pretraining with Feature
//! Fusion", section 3.3).

use super::mel::{MelFilters, Scale};
use super::spectrogram::Spectrogram;
use super::{AudioError, check_features};
use crate::input::fields::{ConfigError, Fields};
use crate::tensor::{DataType, Tensor};

/// What happens to a clip that is too long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truncation {
    /// Four spectrograms: all of it, shrunk, and three pieces.
    Fusion,
    /// A piece of it.
    Random,
}

/// What happens to a clip that is too short.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Padding {
    /// Whole repetitions, then silence.
    RepeatAndPad,
    /// Repetitions, the last one cut.
    Repeat,
    /// Silence.
    Pad,
}

/// Log-mel features for CLAP.
#[derive(Debug, Clone)]
pub struct ClapFeatures {
    rate: usize,
    /// Samples of a clip (10 s).
    most: usize,
    hop: usize,
    truncation: Truncation,
    padding: Padding,
    filters: MelFilters,
    spectrogram: Spectrogram,
}

impl ClapFeatures {
    pub(super) fn new(config: Fields<'_>) -> Result<ClapFeatures, ConfigError> {
        let unsupported = |field, value: &str| ConfigError::Unsupported {
            field,
            value: value.to_owned(),
        };
        let truncation = match config.text("truncation")? {
            None | Some("fusion") => Truncation::Fusion,
            Some("rand_trunc") => Truncation::Random,
            Some(other) => return Err(unsupported("truncation", other)),
        };
        let padding = match config.text("padding")? {
            None | Some("repeatpad") => Padding::RepeatAndPad,
            Some("repeat") => Padding::Repeat,
            Some("pad") => Padding::Pad,
            Some(other) => return Err(unsupported("padding", other)),
        };
        let rate = super::read_rate(config, 48_000)?;
        let size = config.count("fft_window_size", 1024, super::FRAME_SIZES)?;
        let hop = config.count("hop_length", 480, super::HOPS)?;
        let mels = config.count("feature_size", 64, super::MELS)?;
        let seconds = config.number("max_length_s", 10.0, (0.1, super::MAX_SECONDS as f64))?;
        let most = super::clip_samples(config, "nb_max_samples", seconds * rate as f64)?;
        let nyquist = rate as f64 / 2.0;
        let lowest = config.number("frequency_min", 0.0, (0.0, nyquist))?;
        let highest = config.number("frequency_max", 14_000.0, (lowest + 1.0, nyquist))?;
        let spectrogram = super::spectrogram(size, hop, "fft_window_size")?;
        let scale = match truncation {
            Truncation::Fusion => Scale::Htk,
            Truncation::Random => Scale::Slaney,
        };
        let bins = spectrogram.bins();
        let filters = MelFilters::new(scale, mels, bins, (lowest, highest), rate);
        Ok(ClapFeatures {
            rate,
            most,
            hop,
            truncation,
            padding,
            filters,
            spectrogram,
        })
    }

    /// The sampling rate that it wants, in hertz.
    pub fn rate(&self) -> u32 {
        self.rate as u32
    }

    /// `input_features`, f32 `[clips, views, frames, mels]` with 4 views for fusion and 1 otherwise, and `is_longer`,
    /// bool `[clips, 1]`. Where `transformers` draws a piece of a long clip at random, `seed` decides which.
    ///
    /// # Errors
    /// No clip, an empty one, a sample that is not finite, or too many features.
    pub fn features(&self, clips: &[&[f32]], seed: u64) -> Result<(Tensor, Tensor), AudioError> {
        super::check_clips(clips, self.rate)?;
        let views = match self.truncation {
            Truncation::Fusion => 4,
            Truncation::Random => 1,
        };
        let frames = self.spectrogram.frames(self.most);
        let shape = [clips.len(), views, frames, self.filters.count()];
        check_features(&shape)?;
        let mut draw = Draw(seed);
        let mut values = Vec::with_capacity(shape.iter().product());
        let mut longer = Vec::with_capacity(clips.len());
        for clip in clips {
            longer.push(u8::from(self.append(
                clip,
                frames,
                &mut draw,
                &mut values,
            )?));
        }
        // As `transformers` has it: with fusion, one clip of a batch always counts as longer.
        if self.truncation == Truncation::Fusion && !longer.contains(&1) {
            longer[draw.below(clips.len())] = 1;
        }
        Ok((
            Tensor::from_f32(&shape, &values)?,
            Tensor::from_bytes(DataType::Bool, &[clips.len(), 1], &longer)?,
        ))
    }

    /// Appends the views of a clip and says whether it was too long.
    fn append(
        &self,
        clip: &[f32],
        frames: usize,
        draw: &mut Draw,
        values: &mut Vec<f32>,
    ) -> Result<bool, AudioError> {
        if clip.len() <= self.most {
            let mel = self.mel(&self.padded(clip));
            let views = if self.truncation == Truncation::Fusion {
                4
            } else {
                1
            };
            for _ in 0..views {
                values.extend_from_slice(&mel);
            }
            return Ok(false);
        }
        if self.truncation == Truncation::Random {
            let begin = draw.below(clip.len() - self.most + 1);
            values.extend(self.mel(&clip[begin..begin + self.most]));
            return Ok(true);
        }
        let mels = self.filters.count();
        let total = self.spectrogram.frames(clip.len());
        check_features(&[total, mels])?;
        let mel = self.mel(clip);
        if total == frames {
            for _ in 0..4 {
                values.extend_from_slice(&mel);
            }
            return Ok(false);
        }
        shrink(&mel, mels, frames, values);
        for range in thirds(total - frames + 1) {
            let begin = range.start + draw.below(range.len());
            values.extend_from_slice(&mel[begin * mels..(begin + frames) * mels]);
        }
        Ok(true)
    }

    /// In decibels, `[frames, mels]`.
    fn mel(&self, samples: &[f32]) -> Vec<f32> {
        let frames = self.spectrogram.frames(samples.len());
        let decibels = |power: f64| (10.0 * power.max(1e-10).log10()) as f32;
        self.spectrogram
            .mel(samples, frames, &self.filters, decibels)
    }

    fn padded(&self, clip: &[f32]) -> Vec<f32> {
        let filled = match self.padding {
            Padding::RepeatAndPad => self.most / clip.len() * clip.len(),
            Padding::Repeat => self.most,
            Padding::Pad => clip.len(),
        };
        let mut padded: Vec<f32> = clip.iter().copied().cycle().take(filled).collect();
        padded.resize(self.most, 0.0);
        padded
    }
}

impl PartialEq for ClapFeatures {
    fn eq(&self, other: &Self) -> bool {
        // All else follows from these.
        (
            self.rate,
            self.most,
            self.hop,
            self.truncation,
            self.padding,
        ) == (
            other.rate,
            other.most,
            other.hop,
            other.truncation,
            other.padding,
        ) && self.filters == other.filters
    }
}

/// The range of beginnings in three parts, the first ones longer by one where it does not divide; an empty part
/// becomes the first beginning.
fn thirds(beginnings: usize) -> [std::ops::Range<usize>; 3] {
    let mut begin = 0;
    [0, 1, 2].map(|part| {
        let end = begin + beginnings / 3 + usize::from(part < beginnings % 3);
        let range = begin..end;
        begin = end;
        if range.is_empty() { 0..1 } else { range }
    })
}

/// Appends `mel`, `[total, mels]`, at `frames` frames: linear interpolation with half-pixel centres and no antialias
/// (torch's `interpolate(mode="bilinear", align_corners=False)`).
fn shrink(mel: &[f32], mels: usize, frames: usize, values: &mut Vec<f32>) {
    let total = mel.len() / mels;
    let scale = total as f64 / frames as f64;
    for frame in 0..frames {
        let place = ((frame as f64 + 0.5) * scale - 0.5).max(0.0);
        let first = (place as usize).min(total - 1);
        let second = (first + 1).min(total - 1);
        let part = (place - first as f64) as f32;
        for band in 0..mels {
            let (a, b) = (mel[first * mels + band], mel[second * mels + band]);
            values.push(a * (1.0 - part) + b * part);
        }
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
struct Draw(u64);

impl Draw {
    /// A number below `count`, which is above 0.
    fn below(&mut self, count: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        ((u128::from(z) * count as u128) >> 64) as usize
    }
}
