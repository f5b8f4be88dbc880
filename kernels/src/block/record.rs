//! Records of 16 blocks: packing, and reading back one row.

use half::f16;

use crate::element::BlockFormat;

use super::file::scale_and_minimum;
use super::{BLOCK, GROUP};

/// Bytes of four neighbours of all 16 rows.
pub(crate) const QUADS: usize = 4 * GROUP;
/// Bytes of a record's nibbles.
pub(crate) const NIBBLES: usize = BLOCK / 2 * GROUP;
const SCALES: usize = 2 * GROUP;

/// What is subtracted from each stored integer before it is scaled (formats with minima have these instead).
pub(crate) const fn offset_of(format: BlockFormat) -> i32 {
    match format {
        BlockFormat::Q4_0 => 8,
        BlockFormat::Q8_0 => 128,
        _ => 0,
    }
}

/// Bytes of scales and minima at the start of a file's block.
const fn header(format: BlockFormat) -> usize {
    match format {
        BlockFormat::Q4Z | BlockFormat::Q8Z => 8,
        BlockFormat::Q4_1 => 4,
        _ => 2,
    }
}

/// Whether the stored integers take whole bytes.
pub(crate) const fn has_bytes(format: BlockFormat) -> bool {
    matches!(format, BlockFormat::Q8_0 | BlockFormat::Q8Z)
}

pub(crate) fn pack(format: BlockFormat, rows: &[u8], packed: &mut [u8]) {
    let bytes = format.bytes();
    let row = rows.len() / GROUP;
    for (index, record) in packed.chunks_exact_mut(GROUP * bytes).enumerate() {
        let (scales, quads) = record.split_at_mut(GROUP * header(format));
        for lane in 0..GROUP {
            let block = &rows[lane * row + index * bytes..][..bytes];
            let (head, body) = block.split_at(header(format));
            if format.has_zero_point() {
                let (d, m) = scale_and_minimum(head);
                scales[4 * lane..][..4].copy_from_slice(&d.to_le_bytes());
                scales[2 * SCALES + 4 * lane..][..4].copy_from_slice(&m.to_le_bytes());
            } else {
                scales[2 * lane..][..2].copy_from_slice(&head[..2]);
            }
            if format == BlockFormat::Q4_1 {
                scales[SCALES + 2 * lane..][..2].copy_from_slice(&head[2..]);
            }
            if has_bytes(format) {
                let turned = if format == BlockFormat::Q8_0 { 0x80 } else { 0 };
                for (quad, values) in body.chunks_exact(4).enumerate() {
                    let to = &mut quads[quad * QUADS + 4 * lane..][..4];
                    for (to, &value) in to.iter_mut().zip(values) {
                        *to = value ^ turned;
                    }
                }
            } else {
                // In the file, byte j holds columns j and j + 16.
                let at = |column: usize| match column {
                    0..16 => body[column] & 15,
                    _ => body[column - 16] >> 4,
                };
                for pair in 0..4 {
                    for i in 0..4 {
                        quads[pair * QUADS + 4 * lane + i] =
                            at(8 * pair + i) | at(8 * pair + 4 + i) << 4;
                    }
                }
            }
        }
    }
}

pub(crate) fn row(format: BlockFormat, group: &[u8], lane: usize, out: &mut [f32]) {
    let records = group.chunks_exact(GROUP * format.bytes());
    for (record, out) in records.zip(out.chunks_exact_mut(BLOCK)) {
        let (scales, quads) = record.split_at(GROUP * header(format));
        if format.has_zero_point() {
            let single =
                |at: usize| f32::from_le_bytes(scales[at..][..4].try_into().unwrap_or_default());
            let (d, m) = (single(4 * lane), single(2 * SCALES + 4 * lane));
            for (column, out) in out.iter_mut().enumerate() {
                let q = match has_bytes(format) {
                    true => quads[column / 4 * QUADS + 4 * lane + column % 4],
                    false => nibble(quads, lane, column),
                };
                *out = d * f32::from(q) + m;
            }
            continue;
        }
        let scale = |at: usize| f16::from_le_bytes([scales[at], scales[at + 1]]).to_f32();
        let d = scale(2 * lane);
        if format == BlockFormat::Q4_1 {
            let m = scale(SCALES + 2 * lane);
            for (column, out) in out.iter_mut().enumerate() {
                *out = d * f32::from(nibble(quads, lane, column)) + m;
            }
        } else {
            for (column, out) in out.iter_mut().enumerate() {
                let q = match format {
                    BlockFormat::Q8_0 => quads[column / 4 * QUADS + 4 * lane + column % 4],
                    _ => nibble(quads, lane, column),
                };
                *out = d * (i32::from(q) - offset_of(format)) as f32;
            }
        }
    }
}

fn nibble(quads: &[u8], lane: usize, column: usize) -> u8 {
    let byte = quads[column / 8 * QUADS + 4 * lane + column % 4];
    if column % 8 < 4 { byte & 15 } else { byte >> 4 }
}
