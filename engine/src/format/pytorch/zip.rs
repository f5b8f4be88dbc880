//! The directory of a zip archive whose entries are stored as they are (PKWARE's APPNOTE.TXT, sections 4.3.7, 4.3.12
//! to 4.3.16 and 4.5.3), and no more of the format.

use crate::format::checkpoint::{Checkpoint, TensorEntry};
use crate::format::error::{Fault, FormatError};
use crate::format::layout::{checked_range, in_file_order};
use crate::source::ByteSource;
use crate::tensor::{DataType, ElementType};

/// The end record without its comment, and with the longest.
const END: u64 = 22;
const MOST_END: u64 = END + 0xffff;

/// The longest directory: some 200,000 entries.
const DIRECTORY_LIMIT: u64 = 16 << 20;

const MALFORMED: Fault = Fault::Zip("its directory is malformed");

/// The entries under the folder that has `data.pkl`.
pub(super) struct Archive {
    /// With `/` at its end.
    folder: String,
    /// Ranges of bytes under the entries' full names.
    entries: Checkpoint,
}

impl Archive {
    pub(super) fn find(&self, name: &str) -> Option<&TensorEntry> {
        self.entries.find(&format!("{}{name}", self.folder))
    }

    pub(super) fn get(&self, name: &str) -> Result<&TensorEntry, FormatError> {
        let missing = || Fault::NoEntry(format!("{}{name}", self.folder));
        self.find(name)
            .ok_or_else(|| FormatError::new(&self.entries.file, missing()))
    }
}

/// Reads the directory and where each entry's bytes begin.
pub(super) async fn open(source: &dyn ByteSource) -> Result<Archive, FormatError> {
    let failed = |fault| FormatError::new(source.name(), fault);
    let len = source.len();
    let first = bytes(source, 0, 4.min(len)).await?;
    if first != b"PK\x03\x04" {
        // A pickle, as PyTorch wrote them before 1.6, or a tar, as before 0.1.10.
        return Err(failed(match first.first() {
            Some(0x80) => Fault::LegacyTorch,
            _ => Fault::Magic {
                format: "PyTorch",
                reason: "it is no zip archive".to_owned(),
            },
        }));
    }
    let tail_at = len.saturating_sub(MOST_END);
    let tail = bytes(source, tail_at, len - tail_at).await?;
    let (at, mut directory) =
        end_record(&tail).ok_or_else(|| failed(Fault::Zip("its end record is missing")))?;
    let end_at = tail_at + at;
    if let Some(locator_at) = end_at.checked_sub(20) {
        let locator = bytes(source, locator_at, 20).await?;
        if locator.starts_with(b"PK\x06\x07") {
            let record_at = number(&locator, 8, 8).unwrap_or(0);
            let record = bytes(source, record_at, 56).await?;
            directory = end_record_64(&record).ok_or_else(|| failed(MALFORMED))?;
        }
    }
    if directory.bytes > DIRECTORY_LIMIT {
        return Err(failed(Fault::HeaderTooLarge {
            bytes: directory.bytes,
            limit: DIRECTORY_LIMIT,
        }));
    }
    checked_range(directory.offset, directory.bytes, 0, end_at).map_err(failed)?;
    let listed = bytes(source, directory.offset, directory.bytes).await?;
    let mut entries = Checkpoint {
        file: source.name().to_owned(),
        ..Checkpoint::default()
    };
    let mut folder = None;
    let mut rest = listed.as_slice();
    while !rest.is_empty() {
        let (entry, compressed, after) = listing(rest).ok_or_else(|| failed(MALFORMED))?;
        rest = after;
        let name = entry.name.clone();
        if compressed {
            // What a TorchScript archive has beside its tensors may be.
            if name.ends_with("/data.pkl") || name.contains("/data/") {
                return Err(failed(Fault::Compressed(name)));
            }
            continue;
        }
        if let Some(parent) = name.strip_suffix("data.pkl").filter(|p| p.ends_with('/'))
            && folder.replace(parent.to_owned()).is_some()
        {
            return Err(failed(Fault::Zip("it has several data.pkl")));
        }
        let twice = |_| failed(Fault::Zip("two entries have one name")).tensor(&name);
        entries.add(entry).map_err(twice)?;
    }
    for entry in entries.tensors.values_mut() {
        let local = bytes(source, entry.offset, 30).await?;
        let after = (local.starts_with(b"PK\x03\x04"))
            .then(|| Some(number(&local, 26, 2)? + number(&local, 28, 2)?))
            .flatten()
            .ok_or_else(|| failed(MALFORMED).tensor(&entry.name).at(entry.offset))?;
        let begin = entry.offset + 30 + after;
        entry.offset = checked_range(begin, entry.bytes, 0, directory.offset)
            .map_err(|fault| failed(fault).tensor(&entry.name))?;
    }
    in_file_order(source.name(), entries.tensors.values())?;
    let folder = folder.ok_or_else(|| failed(Fault::NoEntry("data.pkl".to_owned())))?;
    Ok(Archive { folder, entries })
}

/// A whole entry, if it has at most `limit` bytes.
pub(super) async fn read(
    source: &dyn ByteSource,
    entry: &TensorEntry,
    limit: u64,
) -> Result<Vec<u8>, FormatError> {
    if entry.bytes > limit {
        let bytes = entry.bytes;
        let fault = Fault::HeaderTooLarge { bytes, limit };
        return Err(FormatError::new(source.name(), fault).at(entry.offset));
    }
    bytes(source, entry.offset, entry.bytes).await
}

async fn bytes(source: &dyn ByteSource, at: u64, count: u64) -> Result<Vec<u8>, FormatError> {
    let needed = at.saturating_add(count);
    if needed > source.len() {
        let len = source.len();
        let what = "the archive";
        let fault = Fault::Truncated { what, needed, len };
        return Err(FormatError::new(source.name(), fault).at(at));
    }
    let mut buffer = vec![0; count as usize];
    let read = source.read_at(at, &mut buffer).await;
    read.map_err(|error| FormatError::source(source.name(), error))?;
    Ok(buffer)
}

/// Where the directory is.
struct Directory {
    offset: u64,
    bytes: u64,
}

/// The last end record in `tail`, and where it is.
fn end_record(tail: &[u8]) -> Option<(u64, Directory)> {
    let at = tail.windows(4).rposition(|four| four == b"PK\x05\x06")?;
    let record = &tail[at..];
    let bytes = number(record, 12, 4)?;
    let offset = number(record, 16, 4)?;
    number(record, 20, 2)?;
    Some((at as u64, Directory { offset, bytes }))
}

fn end_record_64(record: &[u8]) -> Option<Directory> {
    let bytes = number(record, 40, 8)?;
    let offset = number(record, 48, 8)?;
    record
        .starts_with(b"PK\x06\x06")
        .then_some(Directory { offset, bytes })
}

/// The first entry of what is left of a directory, whether it is compressed or encrypted, and the rest. The entry's
/// offset is that of its local header.
fn listing(rest: &[u8]) -> Option<(TensorEntry, bool, &[u8])> {
    if !rest.starts_with(b"PK\x01\x02") {
        return None;
    }
    let flags = number(rest, 8, 2)?;
    let method = number(rest, 10, 2)?;
    let mut packed = number(rest, 20, 4)?;
    let mut bytes = number(rest, 24, 4)?;
    let name_end = 46 + number(rest, 28, 2)? as usize;
    let extra_end = name_end + number(rest, 30, 2)? as usize;
    let end = extra_end + number(rest, 32, 2)? as usize;
    let mut offset = number(rest, 42, 4)?;
    let name = std::str::from_utf8(rest.get(46..name_end)?).ok()?;
    let mut extra = rest.get(name_end..extra_end)?;
    while extra.len() >= 4 {
        let field = extra.get(4..4 + number(extra, 2, 2)? as usize)?;
        if number(extra, 0, 2)? == 1 {
            // zip64: what does not fit stands here, in this order.
            let mut at = 0;
            for value in [&mut bytes, &mut packed, &mut offset] {
                if *value == 0xffff_ffff {
                    *value = number(field, at, 8)?;
                    at += 8;
                }
            }
        }
        extra = &extra[4 + field.len()..];
    }
    let entry = TensorEntry {
        name: name.to_owned(),
        element: ElementType::Plain(DataType::U8),
        shape: Vec::new(),
        file: 0,
        offset,
        bytes,
    };
    let compressed = method != 0 || flags & 1 != 0 || packed != bytes;
    Some((entry, compressed, rest.get(end..)?))
}

/// The little-endian number of `size` bytes at `at`.
fn number(bytes: &[u8], at: usize, size: usize) -> Option<u64> {
    let bytes = bytes.get(at..at + size)?;
    Some(bytes.iter().rev().fold(0, |n, &b| n << 8 | u64::from(b)))
}
