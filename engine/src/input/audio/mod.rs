//! Sound as audio models take it: what the feature extractors of Hugging Face `transformers` do behind a
//! `preprocessor_config.json`, for Whisper, CLAP and Wav2Vec2.
//!
//! Only arithmetic: a decoder (the crate `fewbit-media`, or a browser's `AudioBuffer`) gives samples, [`mix`] makes
//! them one channel and [`Resampler`] brings them to the rate that the model wants.
//!
//! ```
//! use fewbit_engine::input::audio::AudioPreprocessor;
//!
//! let config = br#"{"feature_extractor_type": "WhisperFeatureExtractor", "chunk_length": 2}"#;
//! let preprocessor = AudioPreprocessor::from_json(config, None)?;
//! let second = vec![0.1; preprocessor.rate() as usize];
//! let named = preprocessor.run(&[&second], 0)?;
//! assert_eq!(named[0].0, "input_features");
//! assert_eq!(named[0].1.shape(), [1, 80, 200]);
//! # Ok::<(), fewbit_engine::input::audio::AudioError>(())
//! ```

mod clap;
mod error;
mod fourier;
mod mel;
mod resample;
mod spectrogram;
#[cfg(test)]
mod tests;
mod wav2vec2;
mod whisper;

pub use clap::ClapFeatures;
pub use error::AudioError;
pub use resample::{MAX_CHANNELS, Resampler, mix, resample};
pub use wav2vec2::Wav2Vec2Features;
pub use whisper::WhisperFeatures;

use spectrogram::Spectrogram;

use crate::input::fields::{ConfigError, Fields, in_range};
use crate::input::preprocessor::{self, Preprocessor};
use crate::tensor::Tensor;

/// The lowest and highest sampling rate, in hertz.
pub const MIN_RATE: u32 = 1_000;
pub const MAX_RATE: u32 = 384_000;
/// The longest recording, in seconds.
pub const MAX_SECONDS: usize = 3600;
/// The most values of a batch's features: 1 GiB of f32.
const MAX_FEATURES: usize = 256 << 20;

/// The most samples that a config can pad every clip to.
const MAX_CLIP_SAMPLES: usize = 64 << 20;

const FRAME_SIZES: (usize, usize) = (16, 8192);
const HOPS: (usize, usize) = (16, 8192);
const MELS: (usize, usize) = (1, 512);

/// The feature extractors of `transformers` that are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extractor {
    Whisper,
    Clap,
    Wav2Vec2,
}

impl Extractor {
    /// By the class's name: `WhisperFeatureExtractor`, ….
    pub fn from_class(name: &str) -> Option<Extractor> {
        match name {
            "WhisperFeatureExtractor" => Some(Extractor::Whisper),
            "ClapFeatureExtractor" => Some(Extractor::Clap),
            "Wav2Vec2FeatureExtractor" => Some(Extractor::Wav2Vec2),
            _ => None,
        }
    }

    /// By the `model_type` of the model's `config.json`, for configs that name no class.
    pub fn from_model_type(name: &str) -> Option<Extractor> {
        match name {
            "whisper" => Some(Extractor::Whisper),
            "clap" => Some(Extractor::Clap),
            "wav2vec2" => Some(Extractor::Wav2Vec2),
            _ => None,
        }
    }
}

/// Makes an audio model's input of mono samples at its rate.
#[derive(Debug, Clone, PartialEq)]
pub enum AudioPreprocessor {
    Whisper(WhisperFeatures),
    Clap(ClapFeatures),
    Wav2Vec2(Wav2Vec2Features),
}

impl AudioPreprocessor {
    /// What a `preprocessor_config.json` (or the `feature_extractor` of a `processor_config.json`) asks for;
    /// `model_type`, of the model's `config.json`, says what it is for where it names no class itself.
    ///
    /// # Errors
    /// No JSON, an extractor that is not known, a field of another type or outside its range.
    pub fn from_json(
        json: &[u8],
        model_type: Option<&str>,
    ) -> Result<AudioPreprocessor, AudioError> {
        match Preprocessor::from_json(json, model_type)? {
            Preprocessor::Audio(audio) => Ok(audio),
            Preprocessor::Image(_) => Err(preprocessor::wrong_kind("pictures").into()),
        }
    }

    pub(super) fn new(extractor: Extractor, config: Fields<'_>) -> Result<Self, ConfigError> {
        Ok(match extractor {
            Extractor::Whisper => AudioPreprocessor::Whisper(WhisperFeatures::new(config)?),
            Extractor::Clap => AudioPreprocessor::Clap(ClapFeatures::new(config)?),
            Extractor::Wav2Vec2 => AudioPreprocessor::Wav2Vec2(Wav2Vec2Features::new(config)?),
        })
    }

    /// The sampling rate that the samples must have, in hertz.
    pub fn rate(&self) -> u32 {
        match self {
            AudioPreprocessor::Whisper(whisper) => whisper.rate(),
            AudioPreprocessor::Clap(clap) => clap.rate(),
            AudioPreprocessor::Wav2Vec2(wav2vec2) => wav2vec2.rate(),
        }
    }

    /// The model's input for a batch of clips, under the names that `transformers` gives it. `seed` decides which
    /// piece of a long clip CLAP hears.
    ///
    /// # Errors
    /// No clip, an empty one, one longer than [`MAX_SECONDS`], a sample that is not finite, or too many features.
    pub fn run(
        &self,
        clips: &[&[f32]],
        seed: u64,
    ) -> Result<Vec<(&'static str, Tensor)>, AudioError> {
        Ok(match self {
            AudioPreprocessor::Whisper(whisper) => {
                vec![("input_features", whisper.chunks(clips)?)]
            }
            AudioPreprocessor::Clap(clap) => {
                let (features, longer) = clap.features(clips, seed)?;
                vec![("input_features", features), ("is_longer", longer)]
            }
            AudioPreprocessor::Wav2Vec2(wav2vec2) => {
                let (values, mask) = wav2vec2.values(clips)?;
                let mut named = vec![("input_values", values)];
                named.extend(mask.map(|mask| ("attention_mask", mask)));
                named
            }
        })
    }
}

fn read_rate(config: Fields<'_>, default: usize) -> Result<usize, ConfigError> {
    let range = (MIN_RATE as usize, MAX_RATE as usize);
    config.count("sampling_rate", default, range)
}

/// Samples of a clip: what the config says under `field`, or `default`.
fn clip_samples(
    config: Fields<'_>,
    field: &'static str,
    default: f64,
) -> Result<usize, ConfigError> {
    let (least, most) = (1, MAX_CLIP_SAMPLES);
    let default = in_range(field, default.round(), (least as f64, most as f64))?;
    config.count(field, default as usize, (least, most))
}

/// Frames of `size` every `hop` samples; `field` is what the config calls the size.
fn spectrogram(size: usize, hop: usize, field: &'static str) -> Result<Spectrogram, ConfigError> {
    Spectrogram::new(size, hop).ok_or_else(|| ConfigError::Unsupported {
        field,
        value: format!("{size}: only even numbers without prime factors above 7 are"),
    })
}

/// There are clips, none is empty or too long at `rate`, and all samples are finite.
fn check_clips(clips: &[&[f32]], rate: usize) -> Result<(), AudioError> {
    if clips.is_empty() {
        return Err(AudioError::NoClip);
    }
    let limit = MAX_SECONDS * rate;
    for clip in clips {
        if clip.is_empty() {
            return Err(AudioError::Empty);
        }
        if clip.len() > limit {
            return Err(AudioError::TooLong {
                samples: clip.len(),
                limit,
                seconds: MAX_SECONDS,
            });
        }
        if let Some(index) = clip.iter().position(|sample| !sample.is_finite()) {
            return Err(AudioError::NotFinite { index });
        }
    }
    Ok(())
}

fn check_features(shape: &[usize]) -> Result<(), AudioError> {
    let values = shape.iter().fold(1usize, |n, &d| n.saturating_mul(d));
    if values > MAX_FEATURES {
        return Err(AudioError::TooManyFeatures {
            values,
            limit: MAX_FEATURES,
        });
    }
    Ok(())
}
