//! GGUF, versions 2 and 3: ggml's container of metadata and (block-quantized) tensors.
//!
//! Layout (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>), all little-endian: the magic
//! `GGUF`, u32 version, u64 number of tensors, u64 number of metadata pairs, the pairs, the tensors'
//! descriptions, padding to `general.alignment` (32 if absent), the tensors' data.

mod cursor;
mod tensor_info;
mod tensor_type;
mod value;

#[cfg(test)]
pub(crate) mod write;

use super::checkpoint::Checkpoint;
use super::error::{Fault, FormatError};
use super::header::{self, Parsed, Stop};
use super::metadata::Metadata;
use crate::source::ByteSource;
use cursor::Cursor;

/// The longest header that is read: vocabularies take some megabytes.
const HEADER_LIMIT: u64 = 512 << 20;
const DEFAULT_ALIGNMENT: u64 = 32;
const MAGIC: &[u8; 4] = b"GGUF";

/// A GGUF file's header.
#[derive(Clone, Debug, PartialEq)]
pub struct Gguf {
    /// 2 or 3.
    pub version: u32,
    /// What tensors' offsets are multiples of.
    pub alignment: u64,
    /// Where the tensors' data begins, from the file's start.
    pub data_offset: u64,
    /// Tensors (file 0) and metadata.
    pub checkpoint: Checkpoint,
}

impl Gguf {
    pub fn metadata(&self) -> &Metadata {
        &self.checkpoint.metadata
    }
}

/// Reads a GGUF file's header; of the file no more than about four times the header's length is read.
///
/// # Errors
/// A failed read, or anything in the header that cannot be true of a file of this length.
pub async fn read_header(source: &dyn ByteSource) -> Result<Gguf, FormatError> {
    header::read_header(source, HEADER_LIMIT, |prefix| {
        parse(prefix, source.len(), source.name())
    })
    .await
}

/// Parses a header out of `prefix`, the beginning of a file of `file_len` bytes that errors call `file`.
///
/// # Errors
/// Anything in the header that cannot be true of a file of this length.
pub fn parse(prefix: &[u8], file_len: u64, file: &str) -> Result<Parsed<Gguf>, FormatError> {
    Stop::settle(parse_header(&mut Cursor::new(prefix, file_len, file)))
}

fn parse_header(cursor: &mut Cursor<'_>) -> Result<Gguf, Stop> {
    let magic = cursor.array::<4>("the magic number")?;
    if &magic != MAGIC {
        let fault = Fault::Magic {
            format: "GGUF",
            reason: format!("it begins with {magic:02x?} instead of \"GGUF\""),
        };
        return Err(cursor.error(fault).at(0).into());
    }
    let version = cursor.u32("the version")?;
    if !matches!(version, 2 | 3) {
        // A small number read in the wrong byte order is a large one.
        let fault = match version.swap_bytes() {
            2 | 3 => Fault::BigEndian,
            _ => Fault::Version(version),
        };
        return Err(cursor.error(fault).at(4).into());
    }
    let tensors = cursor.count("tensors", tensor_info::LEAST_BYTES)?;
    let pairs = cursor.count("metadata pairs", value::LEAST_PAIR_BYTES)?;
    let metadata = value::read_pairs(cursor, pairs)?;
    let alignment = alignment(cursor, &metadata)?;
    let infos = tensor_info::read(cursor, tensors)?;
    let data_offset = cursor.position().next_multiple_of(alignment);
    let tensors = tensor_info::place(cursor, infos, data_offset, alignment)?;
    Ok(Gguf {
        version,
        alignment,
        data_offset,
        checkpoint: Checkpoint {
            file: cursor.file().to_owned(),
            tensors,
            metadata,
        },
    })
}

fn alignment(cursor: &Cursor<'_>, metadata: &Metadata) -> Result<u64, Stop> {
    const KEY: &str = "general.alignment";
    if !metadata.contains(KEY) {
        return Ok(DEFAULT_ALIGNMENT);
    }
    let alignment = metadata
        .u32(KEY)
        .map_err(|error| cursor.error(error.into()))?;
    if !alignment.is_power_of_two() {
        return Err(cursor.error(Fault::Alignment(alignment.into())).into());
    }
    Ok(alignment.into())
}

#[cfg(test)]
mod tests;
