//! Wav2Vec2's input: the waveform itself, each clip with mean 0 and variance 1 (`Wav2Vec2FeatureExtractor`).

use super::{AudioError, check_features};
use crate::input::fields::{ConfigError, Fields};
use crate::tensor::{DataType, Tensor};

/// Keeps silence from dividing by 0.
const EPSILON: f64 = 1e-7;

#[derive(Debug, Clone, PartialEq)]
pub struct Wav2Vec2Features {
    rate: usize,
    normalize: bool,
    padding: f32,
    attention_mask: bool,
}

impl Wav2Vec2Features {
    pub(super) fn new(config: Fields<'_>) -> Result<Wav2Vec2Features, ConfigError> {
        config.count("feature_size", 1, (1, 1))?;
        Ok(Wav2Vec2Features {
            rate: super::read_rate(config, 16_000)?,
            normalize: config.flag("do_normalize", true)?,
            padding: config.number("padding_value", 0.0, (-1e6, 1e6))? as f32,
            attention_mask: config.flag("return_attention_mask", false)?,
        })
    }

    /// The sampling rate that it wants, in hertz.
    pub fn rate(&self) -> u32 {
        self.rate as u32
    }

    /// `input_values`, f32 `[clips, samples]`, padded at the end to the longest clip; and where the config asks for it
    /// `attention_mask`, i32 of the same shape.
    ///
    /// # Errors
    /// No clip, an empty one, a sample that is not finite, or too many samples.
    pub fn values(&self, clips: &[&[f32]]) -> Result<(Tensor, Option<Tensor>), AudioError> {
        super::check_clips(clips, self.rate)?;
        let longest = clips.iter().map(|clip| clip.len()).max().unwrap_or(0);
        let shape = [clips.len(), longest];
        check_features(&shape)?;
        let mut values = vec![self.padding; clips.len() * longest];
        for (row, clip) in values.chunks_exact_mut(longest).zip(clips) {
            let (mean, scale) = if self.normalize {
                statistics(clip)
            } else {
                (0.0, 1.0)
            };
            for (value, &sample) in row.iter_mut().zip(*clip) {
                *value = ((f64::from(sample) - mean) * scale) as f32;
            }
        }
        let mask = if self.attention_mask {
            let mut mask = Tensor::zeros(DataType::I32, &shape)?;
            let ones: &mut [i32] = bytemuck::cast_slice_mut(mask.bytes_mut());
            for (row, clip) in ones.chunks_exact_mut(longest).zip(clips) {
                row[..clip.len()].fill(1);
            }
            Some(mask)
        } else {
            None
        };
        Ok((Tensor::from_f32(&shape, &values)?, mask))
    }
}

/// The mean, and what one deviation is to be multiplied with to be 1.
fn statistics(clip: &[f32]) -> (f64, f64) {
    let count = clip.len() as f64;
    let mean = clip.iter().map(|&x| f64::from(x)).sum::<f64>() / count;
    let variance = clip
        .iter()
        .map(|&x| (f64::from(x) - mean).powi(2))
        .sum::<f64>()
        / count;
    (mean, 1.0 / (variance + EPSILON).sqrt())
}
