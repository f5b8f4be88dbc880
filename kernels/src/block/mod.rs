//! Block-quantized weights as kernels see them: unsigned integers with a scale and an offset.
//!
//! Every format comes down to `w = d·q + m` with `q` in 0…127 (0…255 for `q8_0` and `q8_z`), `d` and `m` the same
//! for a *span* of 32 or 16 neighbours of a row. A group of 16 rows is held as
//!
//! - `q[k/4][16][4]`: four neighbours of row 0, of row 1, …, so that one 32-bit lane of a vector is
//!   one row, and no sum across lanes is ever needed;
//! - `d[k/span][16]` and `m[k/span][16]`.
//!
//! For `q4_0`, `q4_1`, `q8_0`, `q4_z` and `q8_z` a group is stored as records, one for each block of 32 columns and
//! of as many bytes as the 16 blocks it is made of:
//!
//! | format | record |
//! | --- | --- |
//! | `q4_0` | 16 scales (f16), then `q[8][16][4]` with quads 2j and 2j+1 in low and high nibbles |
//! | `q4_1` | 16 scales, 16 minima (f16), then the same |
//! | `q8_0` | 16 scales (f16), then `q[8][16][4]`, each byte 128 more than in the file |
//! | `q4_z` | 16 scales `d`, 16 minima `m = −d·z` (f32), then nibbles as in `q4_0` |
//! | `q8_z` | the same, then `q[8][16][4]` |
//!
//! `q5_0`, `q5_1`, `q4_k`, `q5_k` and `q6_k` have records of their own ([`long_record`]); `q2_k`, `q3_k` and `q2_z` stay as
//! the file has them.

mod file;
mod long_record;
mod record;

pub(crate) use file::{Decoded, decode_group};
pub(crate) use long_record::{WORDS, is_long, layout};
pub(crate) use record::{NIBBLES, QUADS, has_bytes, offset_of};

use crate::element::BlockFormat;

use super::weights::{GROUP, has_records};

/// Columns of a record, and of one block of quantized activations.
pub(crate) const BLOCK: usize = 32;

/// How many neighbours share scale and offset.
pub(crate) const fn span(format: BlockFormat) -> usize {
    match format {
        BlockFormat::Q2K | BlockFormat::Q3K | BlockFormat::Q6K => 16,
        _ => 32,
    }
}

/// Rearranges the file's bytes of 16 rows into the packed layout, which has as many.
pub(crate) fn pack_group(format: BlockFormat, rows: &[u8], packed: &mut [u8]) {
    if is_long(format) {
        long_record::pack(format, rows, packed);
    } else if has_records(format) {
        record::pack(format, rows, packed);
    } else {
        packed.copy_from_slice(rows);
    }
}

/// Row `lane` of a packed group in f32.
pub(crate) fn packed_row(format: BlockFormat, group: &[u8], lane: usize, out: &mut [f32]) {
    if is_long(format) {
        long_record::row(format, group, lane, out);
    } else if has_records(format) {
        record::row(format, group, lane, out);
    } else {
        let row = group.len() / GROUP;
        file::row(format, &group[lane * row..][..row], out);
    }
}
