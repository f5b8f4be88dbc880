//! CTranslate2's `model.bin`: a sequence of variables, each a name, a shape, a type and its bytes.
//!
//! Layout (OpenNMT CTranslate2, `python/ctranslate2/specs/model_spec.py`), little-endian: u32 version of the
//! container; string name of the model's spec; u32 its revision; u32 count of variables; each of them: string name,
//! u8 rank, u32 a dimension, u8 type, u32 bytes, the bytes; u32 count of aliases, each two strings. A string is a u16
//! length and as many bytes, of which the last may be a NUL.
//!
//! The variables stand between each other's bytes, so the file is walked from one to the next and the bytes are
//! skipped. Variables without dimensions are metadata under `ctranslate2.` and their name. The tensors of a Whisper
//! get the names that Hugging Face gives them, and fused query, key and value are three tensors.

mod names;
#[cfg(test)]
mod tests;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::error::{Fault, FormatError, Quoted};
use super::layout::{RANK_LIMIT, checked_shape};
use super::metadata::{MetaValue, Metadata};
use crate::source::ByteSource;
use crate::tensor::{DataType, ElementType};

/// Versions of the container whose variables have a type: before 4 they had an item size.
const VERSIONS: std::ops::RangeInclusive<u32> = 4..=6;

/// The spec that is understood.
const WHISPER: &str = "WhisperSpec";

/// What is read at a time where a variable begins: its description and, often, the next ones.
const WINDOW: u64 = 4096;

/// A variable takes at least this: an empty name, a rank, a type, a length.
const LEAST_VARIABLE: u64 = 2 + 1 + 1 + 4;

/// Prefix of the metadata keys.
const PREFIX: &str = "ctranslate2.";

/// Reads what a `model.bin` holds; the weights stay where they are.
///
/// # Errors
/// A failed read, or anything that cannot be true of a file of this length; a spec other than Whisper's.
pub async fn read_header(source: &dyn ByteSource) -> Result<Checkpoint, FormatError> {
    let mut walk = Walk::new(source.name(), source.len());
    let mut window = Vec::new();
    while let Some(least) = walk.wants() {
        let bytes = least.max(WINDOW).min(source.len() - walk.at);
        // At most the longest name and some.
        window.resize(bytes as usize, 0);
        source
            .read_at(walk.at, &mut window)
            .await
            .map_err(|error| FormatError::source(source.name(), error))?;
        walk.feed(&window)?;
    }
    walk.finish()
}

/// The same from a whole file in memory, which errors call `file`.
///
/// # Errors
/// As [`read_header`].
pub fn parse(bytes: &[u8], file: &str) -> Result<Checkpoint, FormatError> {
    let mut walk = Walk::new(file, bytes.len() as u64);
    while walk.wants().is_some() {
        walk.feed(&bytes[walk.at as usize..])?;
    }
    walk.finish()
}

/// Where in the file the walk is.
#[derive(Clone, Copy)]
enum Stage {
    Beginning,
    /// So many variables are to come.
    Variables(u32),
    End,
}

/// The walk from variable to variable, without the reading.
struct Walk<'a> {
    file: &'a str,
    file_len: u64,
    /// Where the next part begins; never beyond the file.
    at: u64,
    /// How many bytes the next window must have at least.
    needed: u64,
    stage: Stage,
    checkpoint: Checkpoint,
}

impl<'a> Walk<'a> {
    fn new(file: &'a str, file_len: u64) -> Walk<'a> {
        Walk {
            file,
            file_len,
            at: 0,
            needed: 1,
            stage: Stage::Beginning,
            checkpoint: Checkpoint {
                file: file.to_owned(),
                ..Checkpoint::default()
            },
        }
    }

    /// How many bytes from `at` on the next window must have at least; `None` at the end.
    fn wants(&self) -> Option<u64> {
        (!matches!(self.stage, Stage::End)).then_some(self.needed)
    }

    /// Goes on over `window`, the bytes from `at` on, as far as they reach.
    fn feed(&mut self, window: &[u8]) -> Result<(), FormatError> {
        let base = self.at;
        let mut first = true;
        while !matches!(self.stage, Stage::End) {
            // After a skip the next variable may lie behind the window.
            let Some(rest) = usize::try_from(self.at - base)
                .ok()
                .and_then(|skipped| window.get(skipped..))
            else {
                break;
            };
            let mut cursor = Cursor {
                window: rest,
                base: self.at,
                used: 0,
                file: self.file,
                file_len: self.file_len,
            };
            let went = match self.stage {
                Stage::Beginning => self.beginning(&mut cursor),
                Stage::Variables(0) => aliases(&mut cursor).map(|()| self.stage = Stage::End),
                Stage::Variables(left) => self.variable(&mut cursor, left),
                Stage::End => Ok(()),
            };
            match went {
                Ok(()) => {
                    self.needed = 1;
                    first = false;
                }
                Err(Short::Fault(error)) => return Err(*error),
                Err(Short::Needs(bytes)) => {
                    self.needed = bytes;
                    // Whoever feeds keeps to `wants`; a window that is too short again would go on for ever.
                    if first && rest.len() as u64 >= bytes {
                        let fault = Fault::Truncated {
                            what: "a variable",
                            needed: self.at.saturating_add(bytes),
                            len: self.file_len,
                        };
                        return Err(FormatError::new(self.file, fault).at(self.at));
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    fn beginning(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Short> {
        let magic = |reason: String| Fault::Magic {
            format: "CTranslate2",
            reason,
        };
        let version = cursor.u32("the version")?;
        if !VERSIONS.contains(&version) {
            let reason = format!("version {version} (4 to 6 are supported)");
            return Err(cursor.fault(magic(reason)));
        }
        let spec = cursor.string("the spec's name")?;
        if spec != WHISPER {
            let reason = format!("spec {} ({WHISPER} is supported)", Quoted(spec));
            return Err(cursor.fault(magic(reason)));
        }
        let revision = cursor.u32("the spec's revision")?;
        let count = cursor.u32("the number of variables")?;
        let room = self.file_len - cursor.position();
        if u64::from(count) > room / LEAST_VARIABLE {
            return Err(cursor.fault(Fault::Count {
                what: "variables",
                count: count.into(),
                room,
            }));
        }
        let metadata = &mut self.checkpoint.metadata;
        // The metadata are empty, so no key is taken.
        let _ = metadata.insert(format!("{PREFIX}spec"), MetaValue::String(spec.into()));
        let _ = metadata.insert(format!("{PREFIX}revision"), MetaValue::U32(revision));
        self.at = cursor.position();
        self.stage = Stage::Variables(count);
        Ok(())
    }

    fn variable(&mut self, cursor: &mut Cursor<'_>, left: u32) -> Result<(), Short> {
        let name = cursor.string("a variable's name")?;
        let rank = cursor.u8("a variable's rank")?;
        let named = |fault, at| Short::from(FormatError::new(self.file, fault).tensor(name).at(at));
        if usize::from(rank) > RANK_LIMIT {
            let fault = Fault::Rank {
                rank: rank.into(),
                limit: RANK_LIMIT,
            };
            return Err(named(fault, cursor.position()));
        }
        let mut shape = Vec::with_capacity(rank.into());
        for _ in 0..rank {
            shape.push(u64::from(cursor.u32("a variable's shape")?));
        }
        let number = cursor.u8("a variable's type")?;
        let at = cursor.position();
        let Some(data_type) = data_type(number) else {
            let number = number.into();
            return Err(named(Fault::UnknownTensorType { number }, at));
        };
        let got = u64::from(cursor.u32("a variable's length")?);
        let element = ElementType::Plain(data_type);
        let (sizes, expected) = checked_shape(&shape, element).map_err(|f| named(f, at))?;
        if expected != got {
            return Err(named(Fault::Length { expected, got }, at));
        }
        let offset = cursor.position();
        let needed = offset + got;
        if needed > self.file_len {
            let fault = Fault::Truncated {
                what: "the variable's data",
                needed,
                len: self.file_len,
            };
            return Err(named(fault, offset));
        }
        if rank == 0 {
            let value = scalar(data_type, cursor.take(got, "a variable's value")?);
            let key = format!("{PREFIX}{name}");
            let inserted = self.checkpoint.metadata.insert(key, value);
            inserted.map_err(|key| named(Fault::DuplicateKey(key), offset))?;
        } else {
            let entry = TensorEntry {
                name: name.to_owned(),
                element,
                shape: sizes,
                file: 0,
                offset,
                bytes: got,
            };
            for entry in names::hugging_face(entry).map_err(|fault| named(fault, offset))? {
                let added = self.checkpoint.add(entry);
                added.map_err(|fault| named(fault, offset))?;
            }
        }
        self.at = needed;
        self.stage = Stage::Variables(left - 1);
        Ok(())
    }

    fn finish(self) -> Result<Checkpoint, FormatError> {
        Ok(self.checkpoint)
    }
}

/// Names for variables that are stored already, such as a head that is the embedding. They are read for the file's
/// sake; the builder knows what is tied.
fn aliases(cursor: &mut Cursor<'_>) -> Result<(), Short> {
    // Version 4 files may end here.
    if cursor.position() == cursor.file_len {
        return Ok(());
    }
    let count = cursor.u32("the number of aliases")?;
    for _ in 0..count {
        cursor.string("an alias")?;
        cursor.string("what an alias stands for")?;
    }
    let at = cursor.position();
    if at != cursor.file_len {
        let end = cursor.file_len;
        return Err(cursor.fault(Fault::Hole { begin: at, end }));
    }
    Ok(())
}

fn data_type(number: u8) -> Option<DataType> {
    Some(match number {
        0 => DataType::F32,
        1 => DataType::I8,
        2 => DataType::I16,
        3 => DataType::I32,
        4 => DataType::F16,
        5 => DataType::Bf16,
        _ => return None,
    })
}

/// A number of `data_type` out of as many bytes as it has.
fn scalar(data_type: DataType, bytes: &[u8]) -> MetaValue {
    let word = |at: usize| bytes.get(at).copied().unwrap_or(0);
    let half = u16::from_le_bytes([word(0), word(1)]);
    let whole = u32::from_le_bytes([word(0), word(1), word(2), word(3)]);
    match data_type {
        DataType::F32 => MetaValue::F32(f32::from_bits(whole)),
        DataType::F16 => MetaValue::F32(half::f16::from_bits(half).to_f32()),
        DataType::Bf16 => MetaValue::F32(half::bf16::from_bits(half).to_f32()),
        DataType::I16 => MetaValue::I16(half as i16),
        DataType::I32 => MetaValue::I32(whole as i32),
        _ => MetaValue::I8(word(0) as i8),
    }
}

/// Why a part could not be read: the window ends too early, or the file is wrong.
enum Short {
    /// The window must have so many bytes.
    Needs(u64),
    Fault(Box<FormatError>),
}

impl From<FormatError> for Short {
    fn from(error: FormatError) -> Short {
        Short::Fault(Box::new(error))
    }
}

/// Values out of a window of the file that begins at `base`.
struct Cursor<'a> {
    window: &'a [u8],
    base: u64,
    used: usize,
    file: &'a str,
    file_len: u64,
}

impl<'a> Cursor<'a> {
    fn position(&self) -> u64 {
        self.base + self.used as u64
    }

    fn fault(&self, fault: Fault) -> Short {
        FormatError::new(self.file, fault)
            .at(self.position())
            .into()
    }

    fn take(&mut self, bytes: u64, what: &'static str) -> Result<&'a [u8], Short> {
        let needed = self.position() + bytes;
        if needed > self.file_len {
            let len = self.file_len;
            return Err(self.fault(Fault::Truncated { what, needed, len }));
        }
        // What is asked for at a time is at most a name.
        let end = self.used + bytes as usize;
        let Some(taken) = self.window.get(self.used..end) else {
            return Err(Short::Needs(end as u64));
        };
        self.used = end;
        Ok(taken)
    }

    fn u8(&mut self, what: &'static str) -> Result<u8, Short> {
        Ok(self.take(1, what)?[0])
    }

    fn u32(&mut self, what: &'static str) -> Result<u32, Short> {
        let bytes = self.take(4, what)?;
        Ok(u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
    }

    fn string(&mut self, what: &'static str) -> Result<&'a str, Short> {
        let bytes = self.take(2, what)?;
        let length = u16::from_le_bytes([bytes[0], bytes[1]]);
        let bytes = self.take(length.into(), what)?;
        let bytes = bytes.strip_suffix(b"\0").unwrap_or(bytes);
        std::str::from_utf8(bytes).map_err(|_| self.fault(Fault::Utf8(what)))
    }
}

impl Metadata {
    /// Whether these are of a CTranslate2 file.
    pub fn is_ctranslate2(&self) -> bool {
        self.contains("ctranslate2.spec")
    }
}
