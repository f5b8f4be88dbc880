//! Frames of sound to mel power: centred frames, reflected at both ends, under a periodic Hann window
//! (`transformers`' `audio_utils.spectrogram`, which is `torch.stft` with `center=True`).

use std::f64::consts::TAU;

use super::fourier::PowerSpectrum;
use super::mel::MelFilters;

/// What makes a mel spectrogram; kept for one model.
#[derive(Debug, Clone)]
pub(super) struct Spectrogram {
    spectrum: PowerSpectrum,
    window: Vec<f64>,
    hop: usize,
}

impl Spectrogram {
    /// Frames of `size` every `hop` samples; nothing if the transform has no such size.
    pub(super) fn new(size: usize, hop: usize) -> Option<Spectrogram> {
        let window = (0..size)
            .map(|t| 0.5 - 0.5 * (TAU * t as f64 / size as f64).cos())
            .collect();
        Some(Spectrogram {
            spectrum: PowerSpectrum::new(size)?,
            window,
            hop,
        })
    }

    /// How many frequencies a frame has.
    pub(super) fn bins(&self) -> usize {
        self.spectrum.bins()
    }

    /// How many frames `samples` samples have.
    pub(super) fn frames(&self, samples: usize) -> usize {
        1 + samples / self.hop
    }

    /// Mel power of the first `frames` frames, `[frames, filters]`, through `convert`. There must be a sample.
    pub(super) fn mel(
        &self,
        samples: &[f32],
        frames: usize,
        filters: &MelFilters,
        convert: impl Fn(f64) -> f32,
    ) -> Vec<f32> {
        let size = self.window.len();
        let mut spectrum = self.spectrum.clone();
        let mut frame = vec![0.0; size];
        let mut power = vec![0.0; spectrum.bins()];
        let mut mel = Vec::with_capacity(frames * filters.count());
        for index in 0..frames {
            let begin = (index * self.hop) as isize - (size / 2) as isize;
            match usize::try_from(begin) {
                Ok(begin) if begin + size <= samples.len() => {
                    for ((to, &from), window) in frame
                        .iter_mut()
                        .zip(&samples[begin..begin + size])
                        .zip(&self.window)
                    {
                        *to = f64::from(from) * window;
                    }
                }
                _ => {
                    for (t, (to, window)) in frame.iter_mut().zip(&self.window).enumerate() {
                        let at = reflected(begin + t as isize, samples.len());
                        *to = f64::from(samples[at]) * window;
                    }
                }
            }
            spectrum.run(&frame, &mut power);
            mel.extend(filters.apply(&power).map(&convert));
        }
        mel
    }
}

/// `at` reflected about the first and the last of `len` samples, as often as needed.
fn reflected(at: isize, len: usize) -> usize {
    let last = len as isize - 1;
    if last == 0 {
        return 0;
    }
    let at = at.rem_euclid(2 * last);
    at.min(2 * last - at) as usize
}
