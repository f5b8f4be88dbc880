//! Where the bytes of model files come from: files natively, the browser's cache in wasm.

use std::future::Future;
use std::pin::Pin;

/// A future that stays on its thread: nothing of the engine asks for `Send`, as GPU and JS handles have none in wasm.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    #[error("{file}: bytes {offset}..{end} asked for, the file has {len}")]
    OutOfRange {
        file: String,
        offset: u64,
        end: u64,
        len: u64,
    },
    #[error("{file}: {message}")]
    Read { file: String, message: String },
    #[error("aborted")]
    Aborted,
}

/// Random access to the bytes of one file, whose length is known.
pub trait ByteSource {
    /// The name used in errors.
    fn name(&self) -> &str;

    /// The file's length in bytes.
    fn len(&self) -> u64;

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The end of the `length` bytes at `offset`, which must be within the file.
    ///
    /// # Errors
    /// [`SourceError::OutOfRange`].
    fn end_of(&self, offset: u64, length: usize) -> Result<u64, SourceError> {
        let end = offset.saturating_add(length as u64);
        if end > self.len() {
            return Err(SourceError::OutOfRange {
                file: self.name().to_owned(),
                offset,
                end,
                len: self.len(),
            });
        }
        Ok(end)
    }

    /// Fills `buffer` from the bytes at `offset`.
    ///
    /// # Errors
    /// Out of range, a failed read, or an abort; never a short read.
    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>>;
}

/// A file held in memory.
pub struct MemorySource {
    name: String,
    bytes: Vec<u8>,
}

impl MemorySource {
    pub fn new(name: impl Into<String>, bytes: Vec<u8>) -> MemorySource {
        MemorySource {
            name: name.into(),
            bytes,
        }
    }
}

impl ByteSource for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let end = self.end_of(offset, buffer.len())?;
            buffer.copy_from_slice(&self.bytes[offset as usize..end as usize]);
            Ok(())
        })
    }
}
