//! Reading tensors' bytes: whole ones when small, chunk by chunk when large.

use std::rc::Rc;

use super::checkpoint::TensorEntry;
use super::error::{Fault, FormatError};
use crate::source::ByteSource;
use crate::tensor::ElementType;

/// The size of the chunks in which weights travel from file to device.
pub const CHUNK_BYTES: usize = 32 << 20;

/// A piece of a tensor's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TensorChunk {
    /// Where it begins, from the tensor's first byte.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: usize,
}

impl TensorEntry {
    /// The tensor's bytes in order, in pieces of at most about `most` bytes ([`CHUNK_BYTES`] by habit).
    ///
    /// Pieces begin at a multiple of 4 bytes and of whole blocks (or elements), so that each can be
    /// written to a device buffer or repacked by itself; a `most` below that is rounded up to it.
    pub fn chunks(&self, most: usize) -> impl Iterator<Item = TensorChunk> + use<> {
        let unit = match self.element {
            ElementType::Plain(_) => 8,
            ElementType::Block(format) => 4 * format.bytes(),
        };
        let step = (most / unit).max(1) * unit;
        let total = self.bytes;
        let mut offset = 0;
        std::iter::from_fn(move || {
            let bytes = usize::try_from(total - offset).map_or(step, |rest| rest.min(step));
            let chunk = TensorChunk { offset, bytes };
            offset += bytes as u64;
            (bytes > 0).then_some(chunk)
        })
    }
}

/// Reads one whole tensor. For small ones; a large one is read by [`TensorEntry::chunks`].
///
/// # Errors
/// The source's; also if `entry` is not of these sources, or too large for memory.
pub async fn read_tensor(
    sources: &[Rc<dyn ByteSource>],
    entry: &TensorEntry,
) -> Result<Vec<u8>, FormatError> {
    let whole = TensorChunk {
        offset: 0,
        bytes: usize::try_from(entry.bytes).unwrap_or(usize::MAX),
    };
    let mut buffer = Vec::new();
    read_chunk(sources, entry, whole, &mut buffer).await?;
    Ok(buffer)
}

/// Reads one piece of a tensor into `buffer`, whose old content goes and whose memory is used again.
///
/// # Errors
/// The source's; also if `entry` is not of these sources, or the piece is too large for memory.
pub async fn read_chunk(
    sources: &[Rc<dyn ByteSource>],
    entry: &TensorEntry,
    chunk: TensorChunk,
    buffer: &mut Vec<u8>,
) -> Result<(), FormatError> {
    let source = sources.get(entry.file).ok_or_else(|| {
        let (file, files) = (entry.file, sources.len());
        FormatError::new("checkpoint", Fault::FileNumber { file, files }).tensor(&entry.name)
    })?;
    let failed = |fault, at| {
        Err(FormatError::new(source.name(), fault)
            .tensor(&entry.name)
            .at(at))
    };
    let begin = entry.offset.saturating_add(chunk.offset);
    let end = begin.saturating_add(chunk.bytes as u64);
    // Before any memory is asked for.
    if chunk.offset.saturating_add(chunk.bytes as u64) > entry.bytes || end > source.len() {
        let fault = Fault::Truncated {
            what: "the tensor",
            needed: end,
            len: source.len(),
        };
        return failed(fault, begin);
    }
    buffer.clear();
    if buffer.try_reserve_exact(chunk.bytes).is_err() {
        let bytes = chunk.bytes as u64;
        return failed(Fault::TooLargeForMemory { bytes }, begin);
    }
    buffer.resize(chunk.bytes, 0);
    match source.read_at(begin, buffer).await {
        Ok(()) => Ok(()),
        Err(error) => failed(Fault::Source(error), begin),
    }
}

#[cfg(test)]
mod tests;
