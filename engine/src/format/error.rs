//! What can be wrong with a model file.

use std::fmt;

use super::metadata::MetadataError;
use crate::source::SourceError;

/// A model file that cannot be read: which file, which tensor, at which byte, and why.
#[derive(Debug)]
pub struct FormatError {
    /// The file, as its source names it.
    pub file: String,
    /// The tensor at fault, if one is.
    pub tensor: Option<String>,
    /// Where in the file, in bytes from its start, if the place is known.
    pub offset: Option<u64>,
    pub fault: Box<Fault>,
}

impl FormatError {
    #[cold]
    #[inline(never)]
    pub(crate) fn new(file: &str, fault: Fault) -> FormatError {
        FormatError {
            file: file.to_owned(),
            tensor: None,
            offset: None,
            fault: Box::new(fault),
        }
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn at(mut self, offset: u64) -> FormatError {
        self.offset = Some(offset);
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn tensor(mut self, name: &str) -> FormatError {
        self.tensor = Some(name.to_owned());
        self
    }

    #[cold]
    #[inline(never)]
    pub(crate) fn source(file: &str, error: SourceError) -> FormatError {
        FormatError::new(file, Fault::Source(error))
    }

    /// Whether the caller's own abort ended the reading.
    pub fn is_aborted(&self) -> bool {
        matches!(*self.fault, Fault::Source(SourceError::Aborted))
    }
}

impl fmt::Display for FormatError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A source's error names the file itself.
        if !matches!(*self.fault, Fault::Source(_)) {
            write!(f, "{}: ", self.file)?;
        }
        if let Some(tensor) = &self.tensor {
            write!(f, "tensor {}: ", Quoted(tensor))?;
        }
        if let Some(offset) = self.offset {
            write!(f, "at byte {offset}: ")?;
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for FormatError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &*self.fault {
            Fault::Source(error) => Some(error),
            Fault::Metadata(error) => Some(error),
            _ => None,
        }
    }
}

/// What is wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    #[error(transparent)]
    Source(SourceError),
    #[error("the file ends at byte {len}, {what} needs it to reach {needed}")]
    Truncated {
        what: &'static str,
        needed: u64,
        len: u64,
    },
    #[error("not a {format} file: {reason}")]
    Magic {
        format: &'static str,
        reason: String,
    },
    #[error("GGUF version {0} is not supported (2 and 3 are)")]
    Version(u32),
    #[error("a big-endian GGUF file; only little-endian ones are supported")]
    BigEndian,
    #[error("a header of {bytes} bytes is longer than the limit of {limit}")]
    HeaderTooLarge { bytes: u64, limit: u64 },
    #[error("{count} {what} cannot fit into the {room} bytes that are left")]
    Count {
        what: &'static str,
        count: u64,
        room: u64,
    },
    #[error("{0} is not valid UTF-8")]
    Utf8(&'static str),
    #[error("{0} is empty")]
    EmptyName(&'static str),
    #[error("{what} has {bytes} bytes, more than the limit of {limit}")]
    NameTooLong {
        what: &'static str,
        bytes: u64,
        limit: u64,
    },
    #[error("malformed JSON: {0}")]
    Json(String),
    #[error("metadata key {} comes twice", Quoted(.0))]
    DuplicateKey(String),
    #[error("metadata key {}: unknown value type {number}", Quoted(.key))]
    UnknownValueType { key: String, number: u32 },
    #[error("metadata key {}: {value} is no boolean (0 or 1)", Quoted(.key))]
    NotBool { key: String, value: u8 },
    #[error("metadata key {}: arrays nested deeper than {limit}", Quoted(.key))]
    NestedTooDeep { key: String, limit: usize },
    #[error(transparent)]
    Metadata(#[from] MetadataError),
    #[error("comes twice")]
    DuplicateTensor,
    #[error("unknown tensor type {number}")]
    UnknownTensorType { number: u32 },
    #[error("tensor type {number} ({name}) is not supported")]
    UnsupportedTensorType { number: u32, name: &'static str },
    #[error("unknown or unsupported data type {}", Quoted(.0))]
    UnsupportedDataType(String),
    #[error("rank {rank} is above the limit of {limit}")]
    Rank { rank: u64, limit: usize },
    #[error("shape {shape:?} of {element} has more bytes than can be addressed")]
    ShapeTooLarge { shape: Vec<u64>, element: String },
    #[error("shape {shape:?}: rows are no whole number of {element} blocks ({block} weights)")]
    PartialBlock {
        shape: Vec<u64>,
        element: String,
        block: usize,
    },
    #[error("general.alignment is {0}, not a power of two")]
    Alignment(u64),
    #[error("data offset {offset} is no multiple of the alignment {alignment}")]
    Misaligned { offset: u64, alignment: u64 },
    #[error("{rows} rows cannot be those of {parts} tensors of one size")]
    Fused { rows: usize, parts: usize },
    #[error("the shape asks for {expected} bytes, the offsets give {got}")]
    Length { expected: u64, got: u64 },
    #[error("data offsets {begin}..{end} run backwards")]
    Backwards { begin: u64, end: u64 },
    #[error("data at {begin}..{end} lies outside the file's data {data_begin}..{data_end}")]
    OutOfRange {
        begin: u128,
        end: u128,
        data_begin: u64,
        data_end: u64,
    },
    #[error("data overlaps with that of tensor {}", Quoted(.other))]
    Overlap { other: String },
    #[error("bytes {begin}..{end} of the data belong to no tensor")]
    Hole { begin: u64, end: u64 },
    #[error("shard {} is no plain file name", Quoted(.0))]
    ShardName(String),
    #[error("the index names {expected} shards, {got} were given")]
    ShardCount { expected: usize, got: usize },
    #[error("is not in shard {}, where the index says it is", Quoted(.shard))]
    NotInShard { shard: String },
    #[error("malformed zip archive: {0}")]
    Zip(&'static str),
    #[error("the archive has no {}", Quoted(.0))]
    NoEntry(String),
    #[error("{} is compressed or encrypted, which torch.save does not do", Quoted(.0))]
    Compressed(String),
    #[error(
        "written by PyTorch before 1.6: load it with torch and save it anew, best as safetensors"
    )]
    LegacyTorch,
    #[error("not a state dict's pickle: {0}")]
    Pickle(&'static str),
    #[error("opcode {0:#04x} is not one that a state dict's pickle has")]
    Opcode(u8),
    #[error("the pickle asks for {}; nothing of a pickle is run, and a state dict does not need it: save the state dict alone", Quoted(.0))]
    Global(String),
    #[error(
        "strides {strides:?} of shape {shape:?} are not contiguous: save the tensor's contiguous()"
    )]
    Strides { shape: Vec<u64>, strides: Vec<u64> },
    #[error("there is no such tensor")]
    MissingTensor,
    #[error("its file has number {file}, only {files} were given")]
    FileNumber { file: usize, files: usize },
    #[error("{bytes} bytes do not fit into this machine's memory")]
    TooLargeForMemory { bytes: u64 },
}

impl Fault {
    /// What the JSON parser says, at most 200 characters: it quotes the file.
    pub(crate) fn json(error: &serde_json::Error) -> Fault {
        const MOST: usize = 200;
        let mut text = error.to_string();
        if let Some((end, _)) = text.char_indices().nth(MOST) {
            // The place stands at the end.
            let place = format!("… at line {} column {}", error.line(), error.column());
            text.replace_range(end.., &place);
        }
        Fault::Json(text)
    }
}

/// A name out of a file, in quotes, with control characters escaped and at most 80 characters.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const MOST: usize = 80;
        match self.0.char_indices().nth(MOST) {
            None => write!(f, "{:?}", self.0),
            Some((end, _)) => write!(f, "{:?}…", &self.0[..end]),
        }
    }
}
