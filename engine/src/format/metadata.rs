//! What a file says about itself: keys with typed values (GGUF's value types; safetensors has strings only).

use std::collections::BTreeMap;
use std::fmt;

use super::error::Quoted;

/// The value of a metadata key.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaValue {
    U8(u8),
    I8(i8),
    U16(u16),
    I16(i16),
    U32(u32),
    I32(i32),
    F32(f32),
    Bool(bool),
    String(String),
    Array(MetaArray),
    U64(u64),
    I64(i64),
    F64(f64),
}

/// An array of values of one type.
#[derive(Clone, Debug, PartialEq)]
pub enum MetaArray {
    U8(Vec<u8>),
    I8(Vec<i8>),
    U16(Vec<u16>),
    I16(Vec<i16>),
    U32(Vec<u32>),
    I32(Vec<i32>),
    F32(Vec<f32>),
    Bool(Vec<bool>),
    String(Vec<String>),
    Array(Vec<MetaArray>),
    U64(Vec<u64>),
    I64(Vec<i64>),
    F64(Vec<f64>),
}

/// Asking metadata for what is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    #[error("metadata key {} is missing", Quoted(.key))]
    Missing { key: String },
    #[error("metadata key {} is {got}, {expected} is needed", Quoted(.key))]
    Type {
        key: String,
        expected: &'static str,
        got: String,
    },
}

/// A file's metadata. The getters convert between widths and signs of integers where the value allows
/// it (files differ in which they use) and never between kinds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metadata(BTreeMap<String, MetaValue>);

impl Metadata {
    /// The value as it stands.
    pub fn get(&self, key: &str) -> Option<&MetaValue> {
        self.0.get(key)
    }

    pub fn contains(&self, key: &str) -> bool {
        self.0.contains_key(key)
    }

    pub fn iter(&self) -> impl Iterator<Item = (&str, &MetaValue)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds a key; gives the pair's key back if it is there already.
    pub fn insert(&mut self, key: String, value: MetaValue) -> Result<(), String> {
        if self.0.contains_key(&key) {
            return Err(key);
        }
        self.0.insert(key, value);
        Ok(())
    }

    pub fn u32(&self, key: &str) -> Result<u32, MetadataError> {
        self.convert(key, "an integer of 32 bits without sign", |value| {
            u32::try_from(value.integer()?).ok()
        })
    }

    pub fn u64(&self, key: &str) -> Result<u64, MetadataError> {
        self.convert(key, "an integer of 64 bits without sign", |value| {
            u64::try_from(value.integer()?).ok()
        })
    }

    pub fn i64(&self, key: &str) -> Result<i64, MetadataError> {
        self.convert(key, "an integer of 64 bits", |value| {
            i64::try_from(value.integer()?).ok()
        })
    }

    /// A size or count, as this machine addresses memory.
    pub fn usize(&self, key: &str) -> Result<usize, MetadataError> {
        self.convert(key, "a size", |value| {
            usize::try_from(value.integer()?).ok()
        })
    }

    pub fn f32(&self, key: &str) -> Result<f32, MetadataError> {
        self.convert(key, "a float", |value| match value {
            MetaValue::F32(x) => Some(*x),
            MetaValue::F64(x) => Some(*x as f32),
            _ => None,
        })
    }

    pub fn bool(&self, key: &str) -> Result<bool, MetadataError> {
        self.convert(key, "a boolean", |value| match value {
            MetaValue::Bool(x) => Some(*x),
            _ => None,
        })
    }

    pub fn str(&self, key: &str) -> Result<&str, MetadataError> {
        self.convert(key, "a string", |value| match value {
            MetaValue::String(text) => Some(text.as_str()),
            _ => None,
        })
    }

    pub fn strings(&self, key: &str) -> Result<&[String], MetadataError> {
        self.convert(key, "an array of strings", |value| match value {
            MetaValue::Array(MetaArray::String(texts)) => Some(texts.as_slice()),
            _ => None,
        })
    }

    pub fn i32s(&self, key: &str) -> Result<Vec<i32>, MetadataError> {
        self.convert(key, "an array of integers of 32 bits", |value| {
            value.integers()?.map(|n| i32::try_from(n).ok()).collect()
        })
    }

    pub fn u32s(&self, key: &str) -> Result<Vec<u32>, MetadataError> {
        self.convert(
            key,
            "an array of integers of 32 bits without sign",
            |value| value.integers()?.map(|n| u32::try_from(n).ok()).collect(),
        )
    }

    pub fn f32s(&self, key: &str) -> Result<Vec<f32>, MetadataError> {
        self.convert(key, "an array of floats", |value| match value {
            MetaValue::Array(MetaArray::F32(values)) => Some(values.clone()),
            MetaValue::Array(MetaArray::F64(values)) => {
                Some(values.iter().map(|&x| x as f32).collect())
            }
            _ => None,
        })
    }

    fn convert<'a, T>(
        &'a self,
        key: &str,
        expected: &'static str,
        to: impl FnOnce(&'a MetaValue) -> Option<T>,
    ) -> Result<T, MetadataError> {
        let owned = || key.to_owned();
        let value = self
            .0
            .get(key)
            .ok_or_else(|| MetadataError::Missing { key: owned() })?;
        to(value).ok_or_else(|| MetadataError::Type {
            key: owned(),
            expected,
            got: value.to_string(),
        })
    }
}

impl MetaValue {
    fn integer(&self) -> Option<i128> {
        Some(match *self {
            MetaValue::U8(n) => n.into(),
            MetaValue::I8(n) => n.into(),
            MetaValue::U16(n) => n.into(),
            MetaValue::I16(n) => n.into(),
            MetaValue::U32(n) => n.into(),
            MetaValue::I32(n) => n.into(),
            MetaValue::U64(n) => n.into(),
            MetaValue::I64(n) => n.into(),
            _ => return None,
        })
    }

    fn integers(&self) -> Option<Box<dyn Iterator<Item = i128> + '_>> {
        fn wide<T: Copy + Into<i128>>(values: &[T]) -> Option<Box<dyn Iterator<Item = i128> + '_>> {
            Some(Box::new(values.iter().map(|&n| n.into())))
        }
        match self {
            MetaValue::Array(MetaArray::U8(values)) => wide(values),
            MetaValue::Array(MetaArray::I8(values)) => wide(values),
            MetaValue::Array(MetaArray::U16(values)) => wide(values),
            MetaValue::Array(MetaArray::I16(values)) => wide(values),
            MetaValue::Array(MetaArray::U32(values)) => wide(values),
            MetaValue::Array(MetaArray::I32(values)) => wide(values),
            MetaValue::Array(MetaArray::U64(values)) => wide(values),
            MetaValue::Array(MetaArray::I64(values)) => wide(values),
            _ => None,
        }
    }
}

impl MetaArray {
    pub fn len(&self) -> usize {
        match self {
            MetaArray::U8(values) => values.len(),
            MetaArray::I8(values) => values.len(),
            MetaArray::U16(values) => values.len(),
            MetaArray::I16(values) => values.len(),
            MetaArray::U32(values) => values.len(),
            MetaArray::I32(values) => values.len(),
            MetaArray::F32(values) => values.len(),
            MetaArray::Bool(values) => values.len(),
            MetaArray::String(values) => values.len(),
            MetaArray::Array(values) => values.len(),
            MetaArray::U64(values) => values.len(),
            MetaArray::I64(values) => values.len(),
            MetaArray::F64(values) => values.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// GGUF's name for the elements' type.
    pub fn type_name(&self) -> &'static str {
        match self {
            MetaArray::U8(_) => "uint8",
            MetaArray::I8(_) => "int8",
            MetaArray::U16(_) => "uint16",
            MetaArray::I16(_) => "int16",
            MetaArray::U32(_) => "uint32",
            MetaArray::I32(_) => "int32",
            MetaArray::F32(_) => "float32",
            MetaArray::Bool(_) => "bool",
            MetaArray::String(_) => "string",
            MetaArray::Array(_) => "array",
            MetaArray::U64(_) => "uint64",
            MetaArray::I64(_) => "int64",
            MetaArray::F64(_) => "float64",
        }
    }
}

/// For people: short values in full, arrays by type and length.
impl fmt::Display for MetaValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MetaValue::U8(n) => n.fmt(f),
            MetaValue::I8(n) => n.fmt(f),
            MetaValue::U16(n) => n.fmt(f),
            MetaValue::I16(n) => n.fmt(f),
            MetaValue::U32(n) => n.fmt(f),
            MetaValue::I32(n) => n.fmt(f),
            MetaValue::F32(x) => x.fmt(f),
            MetaValue::Bool(x) => x.fmt(f),
            MetaValue::String(text) => Quoted(text).fmt(f),
            MetaValue::Array(values) => write!(f, "{}[{}]", values.type_name(), values.len()),
            MetaValue::U64(n) => n.fmt(f),
            MetaValue::I64(n) => n.fmt(f),
            MetaValue::F64(x) => x.fmt(f),
        }
    }
}
