//! Readers of model files: safetensors and PyTorch archives (one file, or shards with an index), GGUF v2 and v3, and
//! CTranslate2.
//!
//! Each reader turns a file's header into a [`Checkpoint`]: named tensors with element type, shape and
//! byte range, and the file's metadata. Only the header is read; the weights stay where they are until
//! [`read_tensor`] or [`TensorEntry::chunks`] asks for them.
//!
//! A file is hostile until its header has been checked: every length and offset is compared with the
//! file's real size before it is used, memory grows with what was really read, and a fault is a
//! [`FormatError`] that names file, tensor and offset.

mod checkpoint;
pub mod ctranslate2;
mod error;
pub mod gguf;
mod header;
mod layout;
mod metadata;
pub mod pytorch;
mod read;
#[cfg(test)]
mod real_files;
pub mod safetensors;
pub mod safetensors_index;

pub use checkpoint::{Checkpoint, TensorEntry};
pub(crate) use error::Quoted;
pub use error::{Fault, FormatError};
pub use header::{Parsed, Stop};
pub use metadata::{MetaArray, MetaValue, Metadata, MetadataError};
pub use read::{CHUNK_BYTES, TensorChunk, read_chunk, read_tensor};
