//! Which preprocessor a model's files ask for: one for pictures or one for sound.

use serde_json::Value;

use super::audio::{AudioPreprocessor, Extractor};
use super::fields::{ConfigError, Fields};
use super::image::{ImageConfig, ImagePreprocessor, Processor};

/// Whisper's file, which carries its mel filters, has 340 kB.
const MAX_CONFIG_BYTES: usize = 8 << 20;

/// What stands before a model that takes something else than text.
#[derive(Debug, Clone, PartialEq)]
pub enum Preprocessor {
    Image(ImagePreprocessor),
    Audio(AudioPreprocessor),
}

impl Preprocessor {
    /// Reads a `preprocessor_config.json`, or a `processor_config.json` that has the same nested as
    /// `image_processor` or `feature_extractor`. `model_type` is that of the model's `config.json`; it
    /// decides where the file names no class.
    ///
    /// # Errors
    /// No JSON, a processor that is not known, a field of another type or outside its range.
    pub fn from_json(json: &[u8], model_type: Option<&str>) -> Result<Preprocessor, ConfigError> {
        if json.len() > MAX_CONFIG_BYTES {
            return Err(ConfigError::TooLong {
                bytes: json.len(),
                limit: MAX_CONFIG_BYTES,
            });
        }
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| ConfigError::Json(error.to_string().chars().take(200).collect()))?;
        let outer = Fields::new(&value)?;
        let nested = |field| outer.get(field).filter(|value| value.is_object());
        let fields = match nested("image_processor").or_else(|| nested("feature_extractor")) {
            Some(value) => Fields::new(value)?,
            None => outer,
        };
        // Older image processors are called feature extractors too.
        let image_class = fields.text("image_processor_type")?;
        let class = match image_class {
            Some(class) => Some(class),
            None => fields.text("feature_extractor_type")?,
        };
        let unsupported = |field, value: &str| ConfigError::Unsupported {
            field,
            value: value.to_owned(),
        };
        if let Some(class) = class {
            if let Some(processor) = Processor::from_class(class) {
                return image(processor, fields);
            }
            if let Some(extractor) = Extractor::from_class(class) {
                return audio(extractor, fields);
            }
            let field = match image_class {
                Some(_) => "image_processor_type",
                None => "feature_extractor_type",
            };
            return Err(unsupported(field, class));
        }
        let model_type = model_type.ok_or(ConfigError::Missing("image_processor_type"))?;
        if let Some(processor) = Processor::from_model_type(model_type) {
            image(processor, fields)
        } else if let Some(extractor) = Extractor::from_model_type(model_type) {
            audio(extractor, fields)
        } else {
            Err(unsupported("model_type", model_type))
        }
    }
}

fn image(processor: Processor, fields: Fields<'_>) -> Result<Preprocessor, ConfigError> {
    let config = ImageConfig::new(processor, fields)?;
    Ok(Preprocessor::Image(ImagePreprocessor::new(config)))
}

fn audio(extractor: Extractor, fields: Fields<'_>) -> Result<Preprocessor, ConfigError> {
    Ok(Preprocessor::Audio(AudioPreprocessor::new(
        extractor, fields,
    )?))
}

/// The config is for `kind`, which is not what was asked for.
pub(super) fn wrong_kind(kind: &str) -> ConfigError {
    ConfigError::Unsupported {
        field: "feature_extractor_type",
        value: format!("for {kind}"),
    }
}
