//! The descriptions of a GGUF file's tensors: name, rank, dimensions, type, offset into the data.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use super::cursor::Cursor;
use super::tensor_type::element_type;
use crate::format::checkpoint::TensorEntry;
use crate::format::error::Fault;
use crate::format::header::Stop;
use crate::format::layout::{RANK_LIMIT, checked_range, checked_shape, in_file_order};

/// A name's length, one byte of name, rank, type, offset.
pub(super) const LEAST_BYTES: u64 = 8 + 1 + 4 + 4 + 8;

/// A description as read, before its place in the file is known.
pub(super) struct Info {
    /// Where the description itself is, for errors.
    at: u64,
    /// `offset` counts from the data's start here.
    entry: TensorEntry,
}

pub(super) fn read(cursor: &mut Cursor<'_>, count: usize) -> Result<Vec<Info>, Stop> {
    let mut infos = cursor.reserve(count, LEAST_BYTES);
    for _ in 0..count {
        infos.push(read_one(cursor)?);
    }
    Ok(infos)
}

fn read_one(cursor: &mut Cursor<'_>) -> Result<Info, Stop> {
    let at = cursor.position();
    let name = cursor.name("a tensor's name")?;
    let fail = |cursor: &Cursor<'_>, fault| Stop::from(cursor.error(fault).tensor(name).at(at));
    let rank = u64::from(cursor.u32("a tensor's rank")?);
    if rank > RANK_LIMIT as u64 {
        let limit = RANK_LIMIT;
        return Err(fail(cursor, Fault::Rank { rank, limit }));
    }
    let mut shape = Vec::with_capacity(RANK_LIMIT);
    for _ in 0..rank {
        shape.push(cursor.u64("a tensor's dimensions")?);
    }
    shape.reverse();
    let number = cursor.u32("a tensor's type")?;
    let offset = cursor.u64("a tensor's offset")?;
    let element = element_type(number).map_err(|fault| fail(cursor, fault))?;
    let (shape, bytes) = checked_shape(&shape, element).map_err(|fault| fail(cursor, fault))?;
    let name = name.to_owned();
    let entry = TensorEntry {
        name,
        element,
        shape,
        file: 0,
        offset,
        bytes,
    };
    Ok(Info { at, entry })
}

/// Puts the tensors at their places in the file and checks those.
pub(super) fn place(
    cursor: &Cursor<'_>,
    infos: Vec<Info>,
    data_offset: u64,
    alignment: u64,
) -> Result<BTreeMap<String, TensorEntry>, Stop> {
    let mut tensors = BTreeMap::new();
    for Info { at, mut entry } in infos {
        let fail =
            |entry: &TensorEntry, fault| Stop::from(cursor.error(fault).tensor(&entry.name).at(at));
        let offset = entry.offset;
        if offset % alignment != 0 {
            return Err(fail(&entry, Fault::Misaligned { offset, alignment }));
        }
        entry.offset = checked_range(offset, entry.bytes, data_offset, cursor.file_len())
            .map_err(|fault| fail(&entry, fault))?;
        match tensors.entry(entry.name.clone()) {
            Entry::Occupied(_) => return Err(fail(&entry, Fault::DuplicateTensor)),
            Entry::Vacant(place) => {
                place.insert(entry);
            }
        }
    }
    in_file_order(cursor.file(), tensors.values())?;
    Ok(tensors)
}
