//! safetensors: a JSON header that names tensors, then their bytes.
//!
//! Layout (<https://huggingface.co/docs/safetensors/index#format>): u64 length of the header,
//! little-endian; the header, a JSON object of `name: {dtype, shape, data_offsets: [begin, end]}` and
//! an optional `__metadata__` object of strings; the data, into which the offsets point. As the
//! specification asks, tensors cover the data without overlap, hole or rest.

use std::borrow::Cow;
use std::fmt;

use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};

use super::checkpoint::{Checkpoint, TensorEntry};
use super::error::{Fault, FormatError};
use super::header::{self, Parsed, Stop};
use super::layout::{RANK_LIMIT, checked_range, checked_shape, in_file_order};
use super::metadata::{MetaValue, Metadata};
use crate::source::ByteSource;
use crate::tensor::{DataType, ElementType};

/// The longest header, the reference implementation's limit.
const HEADER_LIMIT: u64 = 100_000_000;

/// Reads a safetensors file's header. The tensors are of file 0; the metadata are strings.
///
/// # Errors
/// A failed read, or anything in the header that cannot be true of a file of this length.
pub async fn read_header(source: &dyn ByteSource) -> Result<Checkpoint, FormatError> {
    header::read_header(source, HEADER_LIMIT + 8, |prefix| {
        parse(prefix, source.len(), source.name())
    })
    .await
}

/// Parses a header out of `prefix`, the beginning of a file of `file_len` bytes that errors call `file`.
///
/// # Errors
/// Anything in the header that cannot be true of a file of this length.
pub fn parse(prefix: &[u8], file_len: u64, file: &str) -> Result<Parsed<Checkpoint>, FormatError> {
    Stop::settle(parse_header(prefix, file_len, file))
}

fn parse_header(prefix: &[u8], file_len: u64, file: &str) -> Result<Checkpoint, Stop> {
    let json = json_bytes(prefix, file_len, file)?;
    let data_begin = 8 + json.len() as u64;
    let header: Header<'_> = serde_json::from_slice(json)
        .map_err(|error| FormatError::new(file, Fault::json(&error)).at(8))?;
    let mut checkpoint = Checkpoint {
        file: file.to_owned(),
        metadata: header.metadata(file)?,
        ..Checkpoint::default()
    };
    for (name, tensor) in &header.tensors {
        let failed = |fault| FormatError::new(file, fault).tensor(name);
        let entry = entry(name, tensor, data_begin, file_len).map_err(failed)?;
        checkpoint.add(entry).map_err(failed)?;
    }
    covers(&checkpoint, data_begin, file_len)?;
    Ok(checkpoint)
}

/// The header's JSON, once the prefix holds it.
fn json_bytes<'a>(prefix: &'a [u8], file_len: u64, file: &str) -> Result<&'a [u8], Stop> {
    let truncated = |what, needed| {
        let len = file_len;
        FormatError::new(file, Fault::Truncated { what, needed, len })
    };
    if file_len < 8 {
        return Err(truncated("the header's length", 8).at(0).into());
    }
    let Some(length) = prefix.first_chunk::<8>() else {
        return Err(Stop::NeedMore(8));
    };
    let bytes = u64::from_le_bytes(*length);
    if bytes > HEADER_LIMIT {
        let limit = HEADER_LIMIT;
        let fault = Fault::HeaderTooLarge { bytes, limit };
        return Err(FormatError::new(file, fault).at(0).into());
    }
    let end = 8 + bytes;
    if end > file_len {
        return Err(truncated("the header", end).at(8).into());
    }
    // At most the limit and 8 bytes more.
    let json = prefix.get(8..end as usize).ok_or(Stop::NeedMore(end))?;
    if json.first() != Some(&b'{') {
        let fault = Fault::Magic {
            format: "safetensors",
            reason: "the header does not begin with {".to_owned(),
        };
        return Err(FormatError::new(file, fault).at(8).into());
    }
    Ok(json)
}

fn entry(
    name: &str,
    tensor: &TensorHeader<'_>,
    data_begin: u64,
    file_len: u64,
) -> Result<TensorEntry, Fault> {
    let element = data_type(&tensor.dtype)?;
    if tensor.shape.len() > RANK_LIMIT {
        return Err(Fault::Rank {
            rank: tensor.shape.len() as u64,
            limit: RANK_LIMIT,
        });
    }
    let [begin, end] = tensor.data_offsets;
    let got = end
        .checked_sub(begin)
        .ok_or(Fault::Backwards { begin, end })?;
    let (shape, expected) = checked_shape(&tensor.shape, element)?;
    let offset = checked_range(begin, got, data_begin, file_len)?;
    if expected != got {
        return Err(Fault::Length { expected, got });
    }
    Ok(TensorEntry {
        name: name.to_owned(),
        element,
        shape,
        file: 0,
        offset,
        bytes: expected,
    })
}

/// Whether the tensors cover the data: no overlap, no hole, nothing left over.
fn covers(checkpoint: &Checkpoint, data_begin: u64, data_end: u64) -> Result<(), FormatError> {
    let mut covered = data_begin;
    let hole = |begin, end| {
        let fault = Fault::Hole { begin, end };
        FormatError::new(&checkpoint.file, fault).at(begin)
    };
    for entry in in_file_order(&checkpoint.file, checkpoint.tensors.values())? {
        if entry.bytes > 0 && entry.offset > covered {
            return Err(hole(covered, entry.offset).tensor(&entry.name));
        }
        covered = covered.max(entry.offset + entry.bytes);
    }
    if covered < data_end {
        return Err(hole(covered, data_end));
    }
    Ok(())
}

fn data_type(name: &str) -> Result<ElementType, Fault> {
    Ok(ElementType::Plain(match name {
        "F64" => DataType::F64,
        "F32" => DataType::F32,
        "F16" => DataType::F16,
        "BF16" => DataType::Bf16,
        "I64" => DataType::I64,
        "I32" => DataType::I32,
        "I16" => DataType::I16,
        "I8" => DataType::I8,
        "U64" => DataType::U64,
        "U32" => DataType::U32,
        "U16" => DataType::U16,
        "U8" => DataType::U8,
        "BOOL" => DataType::Bool,
        _ => return Err(Fault::UnsupportedDataType(name.to_owned())),
    }))
}

/// The header as the JSON has it: pairs in order, so that a name that comes twice is seen.
struct Header<'a> {
    metadata: Option<Vec<(Cow<'a, str>, Cow<'a, str>)>>,
    tensors: Vec<(Cow<'a, str>, TensorHeader<'a>)>,
}

#[derive(Deserialize)]
struct TensorHeader<'a> {
    #[serde(borrow)]
    dtype: Cow<'a, str>,
    shape: Vec<u64>,
    data_offsets: [u64; 2],
}

impl Header<'_> {
    fn metadata(&self, file: &str) -> Result<Metadata, FormatError> {
        let mut metadata = Metadata::default();
        for (key, text) in self.metadata.iter().flatten() {
            metadata
                .insert(key.to_string(), MetaValue::String(text.to_string()))
                .map_err(|key| FormatError::new(file, Fault::DuplicateKey(key)))?;
        }
        Ok(metadata)
    }
}

impl<'de> Deserialize<'de> for Header<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(HeaderVisitor)
    }
}

struct HeaderVisitor;

impl<'de> Visitor<'de> for HeaderVisitor {
    type Value = Header<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of tensors")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Header<'de>, A::Error> {
        let mut header = Header {
            metadata: None,
            tensors: Vec::new(),
        };
        while let Some(Text(key)) = map.next_key()? {
            if key != "__metadata__" {
                header.tensors.push((key, map.next_value()?));
            } else if header.metadata.is_none() {
                header.metadata = Some(map.next_value::<Texts<'de>>()?.0);
            } else {
                return Err(A::Error::custom("__metadata__ comes twice"));
            }
        }
        Ok(header)
    }
}

/// A string, borrowed from the JSON where it has no escapes.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object of strings, as pairs in order.
struct Texts<'a>(Vec<(Cow<'a, str>, Cow<'a, str>)>);

impl<'de> Deserialize<'de> for Texts<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_map(TextsVisitor)
    }
}

struct TextsVisitor;

impl<'de> Visitor<'de> for TextsVisitor {
    type Value = Texts<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts<'de>, A::Error> {
        let mut pairs = Vec::new();
        while let Some((Text(key), Text(text))) = map.next_entry()? {
            pairs.push((key, text));
        }
        Ok(Texts(pairs))
    }
}

#[cfg(test)]
mod tests;
