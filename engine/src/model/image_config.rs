//! What the configs of image models have in common.

use serde_json::Value;

use super::config::wrong;
use super::{Config, ConfigError};

/// No image model takes larger images than this on a side.
pub(super) const MOST_PIXELS: usize = 1 << 14;

/// Height and width, given as one number or as both.
pub(super) fn height_and_width(
    config: &Config,
    key: &str,
    default: usize,
) -> Result<[usize; 2], ConfigError> {
    let size = |value: &Value| {
        value
            .as_u64()
            .and_then(|n| usize::try_from(n).ok())
            .filter(|n| (1..=MOST_PIXELS).contains(n))
    };
    let Some(value) = config.get(key) else {
        return Ok([default; 2]);
    };
    let both = match value {
        Value::Array(list) => match list.as_slice() {
            [height, width] => size(height).zip(size(width)),
            _ => None,
        },
        one => size(one).map(|n| (n, n)),
    };
    let (height, width) =
        both.ok_or_else(|| wrong(key, value, "a size from 1 to 16384, or two of them"))?;
    Ok([height, width])
}

/// How many classes a classifier has.
pub(super) fn label_count(config: &Config) -> Result<usize, ConfigError> {
    match config.get("id2label") {
        Some(Value::Object(labels)) if !labels.is_empty() => Ok(labels.len()),
        Some(other) => Err(wrong("id2label", other, "an object of names")),
        // What the reference implementation takes where nothing is said.
        None => config.size_or("num_labels", 2),
    }
}
