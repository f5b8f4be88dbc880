//! What can be wrong with a file of pictures or sound.

use fewbit_engine::input::audio::AudioError;
use fewbit_engine::input::image::ImageError;

#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum MediaError {
    /// None of the formats that are known.
    #[error("not a {known} file (it begins with {begins:02x?})")]
    UnknownFormat {
        known: &'static str,
        begins: Vec<u8>,
    },
    #[error("{format}: {what} is not supported")]
    Unsupported { format: &'static str, what: String },
    #[error("{format}: {reason}")]
    Corrupt {
        format: &'static str,
        reason: String,
    },
    /// The header claims more than so few bytes can hold.
    #[error("{format}: the header says {width}×{height} pixels, which {bytes} bytes cannot hold")]
    Claim {
        format: &'static str,
        width: u32,
        height: u32,
        bytes: usize,
    },
    #[error("{format}: decoded, it would have {bytes} bytes, more than the limit of {limit}")]
    DecodedBytes {
        format: &'static str,
        bytes: u64,
        limit: u64,
    },
    #[error("{format}: the {field} is {seconds:.0} s, more than the limit of {limit} s")]
    Duration {
        format: &'static str,
        field: &'static str,
        seconds: f64,
        limit: usize,
    },
    #[error("{format}: the sampling rate changes from {from} to {to} Hz on the way")]
    RateChanges {
        format: &'static str,
        from: u32,
        to: u32,
    },
    #[error("{format}: {error}")]
    Image {
        format: &'static str,
        error: ImageError,
    },
    #[error("{format}: {error}")]
    Audio {
        format: &'static str,
        error: AudioError,
    },
    /// The rate asked for.
    #[error(transparent)]
    Asked(AudioError),
}

/// The first bytes, to tell what a file is instead.
pub(crate) fn begins(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len().min(8)].to_vec()
}

/// A library's words, at most 200 characters.
pub(crate) fn words(error: impl std::fmt::Display) -> String {
    error.to_string().chars().take(200).collect()
}
