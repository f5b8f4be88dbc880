//! Reading the fields of a `preprocessor_config.json`, which is hostile: every number has a range.

use serde_json::{Map, Value};

use crate::format::Quoted;

/// What is wrong with a preprocessor's config.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    #[error("malformed JSON: {0}")]
    Json(String),
    #[error("{bytes} bytes are more than the limit of {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("not a JSON object")]
    NotAnObject,
    #[error("`{0}` is missing")]
    Missing(&'static str),
    #[error("`{field}` is not {expected}")]
    Type {
        field: &'static str,
        expected: &'static str,
    },
    #[error("`{field}` is {value}, outside {least}..={most}")]
    Range {
        field: &'static str,
        value: f64,
        least: f64,
        most: f64,
    },
    #[error("`{field}` {} is not supported", Quoted(.value))]
    Unsupported { field: &'static str, value: String },
}

/// The fields of a JSON object; a field that is `null` counts as absent, as in `transformers`.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'a>(&'a Map<String, Value>);

impl<'a> Fields<'a> {
    pub(crate) fn new(value: &'a Value) -> Result<Fields<'a>, ConfigError> {
        value
            .as_object()
            .map(Fields)
            .ok_or(ConfigError::NotAnObject)
    }

    pub(crate) fn get(self, field: &str) -> Option<&'a Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    pub(crate) fn text(self, field: &'static str) -> Result<Option<&'a str>, ConfigError> {
        self.typed(field, "a string", Value::as_str)
    }

    pub(crate) fn flag(self, field: &'static str, default: bool) -> Result<bool, ConfigError> {
        Ok(self
            .typed(field, "a boolean", Value::as_bool)?
            .unwrap_or(default))
    }

    /// A finite number in `least..=most`.
    pub(crate) fn number(
        self,
        field: &'static str,
        default: f64,
        (least, most): (f64, f64),
    ) -> Result<f64, ConfigError> {
        let value = self
            .typed(field, "a number", Value::as_f64)?
            .unwrap_or(default);
        in_range(field, value, (least, most))
    }

    /// A whole number in `least..=most`; JSON's `2.0` is one.
    pub(crate) fn count(
        self,
        field: &'static str,
        default: usize,
        (least, most): (usize, usize),
    ) -> Result<usize, ConfigError> {
        match self.get(field) {
            None => Ok(default),
            Some(value) => count(field, value, (least, most)),
        }
    }

    /// Three finite numbers, one a channel; a single one stands for all.
    pub(crate) fn channels(
        self,
        field: &'static str,
        default: [f64; 3],
        range: (f64, f64),
    ) -> Result<[f64; 3], ConfigError> {
        let wrong = || ConfigError::Type {
            field,
            expected: "a number or three",
        };
        let values = match self.get(field) {
            None => return Ok(default),
            Some(Value::Array(values)) if values.len() == 3 => values.as_slice(),
            Some(value @ Value::Number(_)) => {
                return Ok([in_range(field, value.as_f64().ok_or_else(wrong)?, range)?; 3]);
            }
            Some(_) => return Err(wrong()),
        };
        let mut channels = [0.0; 3];
        for (channel, value) in channels.iter_mut().zip(values) {
            *channel = in_range(field, value.as_f64().ok_or_else(wrong)?, range)?;
        }
        Ok(channels)
    }

    fn typed<T>(
        self,
        field: &'static str,
        expected: &'static str,
        read: impl FnOnce(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ConfigError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => match read(value) {
                Some(value) => Ok(Some(value)),
                None => Err(ConfigError::Type { field, expected }),
            },
        }
    }
}

/// `value` as a whole number in `least..=most`.
pub(crate) fn count(
    field: &'static str,
    value: &Value,
    (least, most): (usize, usize),
) -> Result<usize, ConfigError> {
    let value = value
        .as_f64()
        .filter(|value| value.fract() == 0.0)
        .ok_or(ConfigError::Type {
            field,
            expected: "a whole number",
        })?;
    Ok(in_range(field, value, (least as f64, most as f64))? as usize)
}

pub(crate) fn in_range(
    field: &'static str,
    value: f64,
    (least, most): (f64, f64),
) -> Result<f64, ConfigError> {
    // NaN is in no range.
    if value >= least && value <= most {
        Ok(value)
    } else {
        Err(ConfigError::Range {
            field,
            value,
            least,
            most,
        })
    }
}
