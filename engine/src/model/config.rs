//! A Hugging Face `config.json`, read field by field with errors that name the field.

use serde_json::Value;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("config.json is no JSON object: {0}")]
    Json(String),
    #[error("config: {0} is missing")]
    Missing(String),
    #[error("config: {key} is {}, {wanted} is wanted", shown(.got))]
    Value {
        key: String,
        got: String,
        wanted: &'static str,
    },
    #[error(transparent)]
    Metadata(#[from] crate::format::MetadataError),
}

/// Sizes beyond this are a lie: no model has them, and products of two stay in range.
const MAX_SIZE: u64 = 1 << 31;

#[derive(Clone, Debug)]
pub struct Config(serde_json::Map<String, Value>);

impl Config {
    pub fn parse(json: &[u8]) -> Result<Config, ConfigError> {
        match serde_json::from_slice(json) {
            Ok(Value::Object(map)) => Ok(Config(map)),
            Ok(_) => Err(ConfigError::Json("another kind of value".into())),
            Err(error) => Err(ConfigError::Json(error.to_string())),
        }
    }

    /// The value of a field that is there and not null.
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.0.get(key).filter(|value| !value.is_null())
    }

    fn need(&self, key: &str) -> Result<&Value, ConfigError> {
        self.get(key)
            .ok_or_else(|| ConfigError::Missing(key.into()))
    }

    #[inline(never)]
    pub fn str(&self, key: &str) -> Result<&str, ConfigError> {
        let value = self.need(key)?;
        value.as_str().ok_or_else(|| wrong(key, value, "a string"))
    }

    #[inline(never)]
    pub fn size(&self, key: &str) -> Result<usize, ConfigError> {
        let value = self.need(key)?;
        value
            .as_u64()
            .filter(|&n| (1..=MAX_SIZE).contains(&n))
            .map(|n| n as usize)
            .ok_or_else(|| wrong(key, value, "a size from 1 to 2^31"))
    }

    #[inline(never)]
    pub fn size_or(&self, key: &str, default: usize) -> Result<usize, ConfigError> {
        self.get(key).map_or(Ok(default), |_| self.size(key))
    }

    /// A size that nothing confirms before memory grows with it, or whose products must stay small.
    #[inline(never)]
    pub fn size_up_to(&self, key: &str, limit: usize) -> Result<usize, ConfigError> {
        let size = self.size(key)?;
        if size <= limit {
            return Ok(size);
        }
        Err(ConfigError::Value {
            key: key.into(),
            got: size.to_string(),
            wanted: "a size that a model could have",
        })
    }

    #[inline(never)]
    pub fn f32(&self, key: &str) -> Result<f32, ConfigError> {
        let value = self.need(key)?;
        value
            .as_f64()
            .map(|n| n as f32)
            .filter(|n| n.is_finite())
            .ok_or_else(|| wrong(key, value, "a finite number"))
    }

    #[inline(never)]
    pub fn f32_or(&self, key: &str, default: f32) -> Result<f32, ConfigError> {
        self.get(key).map_or(Ok(default), |_| self.f32(key))
    }

    #[inline(never)]
    pub fn bool_or(&self, key: &str, default: bool) -> Result<bool, ConfigError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| wrong(key, value, "true or false")),
        }
    }

    /// An object within the config, such as `rope_parameters`.
    #[inline(never)]
    pub fn object(&self, key: &str) -> Result<Option<Config>, ConfigError> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) => Ok(Some(Config(map.clone()))),
            Some(value) => Err(wrong(key, value, "an object")),
        }
    }

    /// A list of one size or more, as convolutions have a layer.
    #[inline(never)]
    pub fn sizes(&self, key: &str, limit: usize) -> Result<Vec<usize>, ConfigError> {
        const MOST: usize = 64;
        let value = self.need(key)?;
        let wanted = "a list of up to 64 sizes that a model could have";
        let list = value
            .as_array()
            .filter(|list| (1..=MOST).contains(&list.len()));
        let list = list.ok_or_else(|| wrong(key, value, wanted))?;
        let size = |value: &Value| {
            let size = usize::try_from(value.as_u64()?).ok()?;
            (1..=limit).contains(&size).then_some(size)
        };
        let sizes: Option<Vec<usize>> = list.iter().map(size).collect();
        sizes.ok_or_else(|| wrong(key, value, wanted))
    }

    /// Token ids given as one number or a list of them.
    #[inline(never)]
    pub fn ids(&self, key: &str) -> Result<Vec<u32>, ConfigError> {
        let one = |value: &Value| {
            value
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| wrong(key, value, "token ids"))
        };
        match self.get(key) {
            None => Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(one).collect(),
            Some(value) => Ok(vec![one(value)?]),
        }
    }
}

/// A token id of a field that may be missing, but holds no list of several.
pub(super) fn one_id(config: &Config, key: &str) -> Result<Option<u32>, ConfigError> {
    let ids = config.ids(key)?;
    match (ids.as_slice(), config.get(key)) {
        ([_, _, ..], Some(value)) => Err(wrong(key, value, "one token id")),
        (ids, _) => Ok(ids.first().copied()),
    }
}

/// A value out of a file, fit to be shown: at most 80 characters, and no control characters.
pub(super) fn shown(value: &str) -> String {
    const MOST: usize = 80;
    let clean = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    let mut text: String = value.chars().take(MOST).map(clean).collect();
    if value.chars().nth(MOST).is_some() {
        text.push('…');
    }
    text
}

#[cold]
#[inline(never)]
pub(super) fn wrong(key: &str, got: &Value, wanted: &'static str) -> ConfigError {
    ConfigError::Value {
        key: key.into(),
        got: got.to_string(),
        wanted,
    }
}
