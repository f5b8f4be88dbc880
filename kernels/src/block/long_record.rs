//! Records of the formats with more than four bits or two levels of scales: `q5_0`, `q5_1`, `q4_k`, `q5_k`, `q6_k`.
//!
//! A record holds one of the file's blocks of each of the 16 rows, in as many bytes. Words are of 32 bits,
//! one a row, so that a vector of words is loaded for as many rows at once:
//!
//! | part | `q5_0` | `q5_1` | `q4_k` | `q5_k` | `q6_k` |
//! | --- | --- | --- | --- | --- | --- |
//! | scales (f16) | 16 | 16 | 16 | 16 | 16 |
//! | minima (f16) | | 16 | 16 | 16 | |
//! | words of inner scales | | | 3 | 3 | 4 |
//! | words of upper bits | 1 | 1 | | 8 | 16 |
//! | nibbles of 32 columns, as in `q4_0`'s record | 1 | 1 | 8 | 8 | 8 |
//!
//! *Inner scales* of `q4_k` and `q5_k`: the low four bits of eight scales, of eight minima, and the upper two bits of
//! the scales and (from bit 16 on) of the minima; of `q6_k` sixteen bytes, each 128 more than in the file.
//!
//! *Upper bits* of column `c` of 32 stand in byte `c % 4`. `q5`: one word for 32 columns, quad `j`'s at bit `j` of
//! each byte. `q6_k`: two words for 32 columns, quad `j`'s at bit `2·(j % 4)` of word `j / 4`.

use half::f16;

use crate::element::BlockFormat;

use super::file::{self, six_bits};
use super::{BLOCK, GROUP, NIBBLES, QUADS};

/// Bytes of a word of each row.
pub(crate) const WORDS: usize = 4 * GROUP;

/// Where the parts of a record begin, in bytes, and what they are.
#[derive(Clone, Copy)]
pub(crate) struct Layout {
    /// The file has a minimum (or a scale of minima) a block.
    pub(crate) minima: bool,
    pub(crate) scales: usize,
    pub(crate) upper: usize,
    /// Words of upper bits for 32 columns.
    pub(crate) upper_words: usize,
    pub(crate) nibbles: usize,
    /// Stretches of 32 columns.
    pub(crate) parts: usize,
    pub(crate) bytes: usize,
}

/// The layout of `format`, one of this module's.
pub(crate) const fn layout(format: BlockFormat) -> Layout {
    let (minima, scale_words, upper_words, parts) = match format {
        BlockFormat::Q5_0 => (false, 0, 1, 1),
        BlockFormat::Q5_1 => (true, 0, 1, 1),
        BlockFormat::Q4K => (true, 3, 0, 8),
        BlockFormat::Q5K => (true, 3, 1, 8),
        _ => (false, 4, 2, 8),
    };
    let scales = if minima { 4 * GROUP } else { 2 * GROUP };
    let upper = scales + scale_words * WORDS;
    let nibbles = upper + upper_words * parts * WORDS;
    Layout {
        minima,
        scales,
        upper,
        upper_words,
        nibbles,
        parts,
        bytes: nibbles + parts * NIBBLES,
    }
}

/// Whether `format` is stored in such records.
pub(crate) const fn is_long(format: BlockFormat) -> bool {
    matches!(
        format,
        BlockFormat::Q5_0
            | BlockFormat::Q5_1
            | BlockFormat::Q4K
            | BlockFormat::Q5K
            | BlockFormat::Q6K
    )
}

/// Rearranges 16 of the file's rows.
pub(crate) fn pack(format: BlockFormat, rows: &[u8], packed: &mut [u8]) {
    let (bytes, row) = (format.bytes(), rows.len() / GROUP);
    let l = layout(format);
    let mut block = file::Block::ZERO;
    packed.fill(0);
    for (index, record) in packed.chunks_exact_mut(l.bytes).enumerate() {
        for lane in 0..GROUP {
            let from = &rows[lane * row + index * bytes..][..bytes];
            file::decode(format, from, &mut block);
            for (column, &q) in block.q[..l.parts * BLOCK].iter().enumerate() {
                let (part, quad, i) = (column / BLOCK, column % BLOCK / 4, column % 4);
                let at = l.nibbles + part * NIBBLES + quad / 2 * QUADS + 4 * lane + i;
                record[at] |= (q & 15) << (4 * (quad % 2));
                if l.upper_words > 0 {
                    let (word, bit) = upper(l, part, quad);
                    record[l.upper + word * WORDS + 4 * lane + i] |= q >> 4 << bit;
                }
            }
            let (d, m) = match format {
                BlockFormat::Q6K => (208, 0),
                _ => (0, 2),
            };
            record[2 * lane..][..2].copy_from_slice(&from[d..d + 2]);
            if l.minima {
                record[2 * (GROUP + lane)..][..2].copy_from_slice(&from[m..m + 2]);
            }
            let mut word = |number: usize, value: u32| {
                record[l.scales + number * WORDS + 4 * lane..][..4]
                    .copy_from_slice(&value.to_le_bytes());
            };
            match format {
                BlockFormat::Q4K | BlockFormat::Q5K => {
                    let mut words = [0u32; 3];
                    for (i, (scale, min)) in six_bits(&from[4..16]).into_iter().enumerate() {
                        words[0] |= u32::from(scale & 15) << (4 * i);
                        words[1] |= u32::from(min & 15) << (4 * i);
                        words[2] |= u32::from(scale >> 4) << (2 * i);
                        words[2] |= u32::from(min >> 4) << (16 + 2 * i);
                    }
                    words.into_iter().enumerate().for_each(|(i, w)| word(i, w));
                }
                BlockFormat::Q6K => {
                    for (i, four) in from[192..208].as_chunks::<4>().0.iter().enumerate() {
                        word(i, u32::from_le_bytes(*four) ^ 0x8080_8080);
                    }
                }
                _ => {}
            }
        }
    }
}

/// The word of a quad's upper bits and their place in each byte.
fn upper(l: Layout, part: usize, quad: usize) -> (usize, usize) {
    match l.upper_words {
        2 => (2 * part + quad / 4, 2 * (quad % 4)),
        _ => (part, quad),
    }
}

/// Row `lane` of a group in f32.
pub(crate) fn row(format: BlockFormat, group: &[u8], lane: usize, out: &mut [f32]) {
    let l = layout(format);
    let records = group.chunks_exact(l.bytes);
    for (record, out) in records.zip(out.chunks_exact_mut(l.parts * BLOCK)) {
        let half = |at: usize| f16::from_le_bytes([record[at], record[at + 1]]).to_f32();
        let word = |number: usize| {
            let at = l.scales + number * WORDS + 4 * lane;
            u32::from_le_bytes([record[at], record[at + 1], record[at + 2], record[at + 3]])
        };
        let d = half(2 * lane);
        let min = if l.minima {
            half(2 * (GROUP + lane))
        } else {
            0.0
        };
        for (column, out) in out.iter_mut().enumerate() {
            let (part, quad, i) = (column / BLOCK, column % BLOCK / 4, column % 4);
            let byte = record[l.nibbles + part * NIBBLES + quad / 2 * QUADS + 4 * lane + i];
            let mut q = byte >> (4 * (quad % 2)) & 15;
            if l.upper_words > 0 {
                let (word, bit) = upper(l, part, quad);
                let byte = record[l.upper + word * WORDS + 4 * lane + i];
                q |= (byte >> bit & ((1 << l.upper_words) - 1)) << 4;
            }
            let (scale, offset) = match format {
                BlockFormat::Q4K | BlockFormat::Q5K => {
                    let inner = |low: usize, upper_bits: usize| {
                        word(low) >> (4 * part) & 15 | (word(2) >> (upper_bits + 2 * part) & 3) << 4
                    };
                    (d * inner(0, 0) as f32, -min * inner(1, 16) as f32)
                }
                BlockFormat::Q6K => {
                    let number = column / 16;
                    let scale = (word(number / 4) >> (8 * (number % 4)) & 255) as i32 - 128;
                    let scale = d * scale as f32;
                    (scale, -32.0 * scale)
                }
                BlockFormat::Q5_0 => (d, -16.0 * d),
                _ => (d, min),
            };
            *out = scale * f32::from(q) + offset;
        }
    }
}
