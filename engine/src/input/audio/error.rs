//! What can be wrong with sound on its way into a model.

use super::super::fields::ConfigError;
use crate::tensor::TensorError;

#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum AudioError {
    #[error("preprocessor config: {0}")]
    Config(#[from] ConfigError),
    #[error("no sound given")]
    NoClip,
    #[error("the sound has no samples")]
    Empty,
    #[error("the sound has {samples} samples, more than the limit of {limit} ({seconds} s)")]
    TooLong {
        samples: usize,
        limit: usize,
        seconds: usize,
    },
    #[error("sample {index} is not a finite number")]
    NotFinite { index: usize },
    #[error("a sampling rate of {rate} Hz is outside {least}..={most}")]
    Rate { rate: u32, least: u32, most: u32 },
    #[error("{channels} channels are outside 1..={limit}")]
    Channels { channels: usize, limit: usize },
    #[error("{samples} interleaved samples are no whole number of {channels} channels")]
    Interleaved { samples: usize, channels: usize },
    #[error("the features would have {values} values, more than the limit of {limit}")]
    TooManyFeatures { values: usize, limit: usize },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
