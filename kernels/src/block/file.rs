//! Decoding the file's own blocks (ggml's `block_q4_0` … `block_q6_K`, and ours with zero points), and groups that are kept as such rows.

use half::f16;

use crate::element::BlockFormat;

use super::{GROUP, span};

/// Where [`decode_group`] writes: see the module above for the layout.
pub(crate) struct Decoded<'a> {
    pub(crate) q: &'a mut [u8],
    pub(crate) d: &'a mut [f32],
    pub(crate) m: &'a mut [f32],
}

/// One block as integers, with scale and offset of each span.
pub(super) struct Block {
    pub(super) q: [u8; 256],
    d: [f32; 16],
    m: [f32; 16],
}

impl Block {
    pub(super) const ZERO: Block = Block {
        q: [0; 256],
        d: [0.0; 16],
        m: [0.0; 16],
    };
}

/// Decodes `rows`, 16 rows of blocks of `format`.
pub(crate) fn decode_group(format: BlockFormat, rows: &[u8], to: Decoded<'_>) {
    let row = rows.len() / GROUP;
    let (elements, span) = (format.elements(), span(format));
    let mut block = Block::ZERO;
    for (lane, row) in rows.chunks_exact(row.max(1)).enumerate() {
        for (index, bytes) in row.chunks_exact(format.bytes()).enumerate() {
            decode(format, bytes, &mut block);
            let quads = to.q[index * elements * GROUP..].chunks_exact_mut(4 * GROUP);
            for (quad, values) in quads.zip(block.q[..elements].as_chunks::<4>().0) {
                quad[4 * lane..][..4].copy_from_slice(values);
            }
            let spans = elements / span;
            for i in 0..spans {
                let at = (index * spans + i) * GROUP + lane;
                to.d[at] = block.d[i];
                to.m[at] = block.m[i];
            }
        }
    }
}

/// One row in f32.
pub(crate) fn row(format: BlockFormat, bytes: &[u8], out: &mut [f32]) {
    let mut block = Block::ZERO;
    let blocks = bytes.chunks_exact(format.bytes());
    for (bytes, out) in blocks.zip(out.chunks_exact_mut(format.elements())) {
        decode(format, bytes, &mut block);
        for (i, out) in out.chunks_exact_mut(span(format)).enumerate() {
            let q = &block.q[i * span(format)..];
            for (out, &q) in out.iter_mut().zip(q) {
                *out = block.d[i] * f32::from(q) + block.m[i];
            }
        }
    }
}

pub(super) fn decode(format: BlockFormat, bytes: &[u8], to: &mut Block) {
    let half = |at: usize| f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32();
    match format {
        BlockFormat::Q4_0 => {
            nibbles(&bytes[2..], &mut to.q);
            (to.d[0], to.m[0]) = (half(0), -8.0 * half(0));
        }
        BlockFormat::Q4_1 => {
            nibbles(&bytes[4..], &mut to.q);
            (to.d[0], to.m[0]) = (half(0), half(2));
        }
        BlockFormat::Q5_0 => {
            nibbles(&bytes[6..], &mut to.q);
            fifth_bits(&bytes[2..6], &mut to.q);
            (to.d[0], to.m[0]) = (half(0), -16.0 * half(0));
        }
        BlockFormat::Q5_1 => {
            nibbles(&bytes[8..], &mut to.q);
            fifth_bits(&bytes[4..8], &mut to.q);
            (to.d[0], to.m[0]) = (half(0), half(2));
        }
        BlockFormat::Q8_0 => {
            for (q, &byte) in to.q.iter_mut().zip(&bytes[2..34]) {
                *q = byte ^ 0x80;
            }
            (to.d[0], to.m[0]) = (half(0), -128.0 * half(0));
        }
        BlockFormat::Q2K => {
            let (scales, quants) = (&bytes[..16], &bytes[16..80]);
            two_bits(quants, &mut to.q);
            for (i, &scale) in scales.iter().enumerate() {
                to.d[i] = half(80) * f32::from(scale & 15);
                to.m[i] = -half(82) * f32::from(scale >> 4);
            }
        }
        BlockFormat::Q3K => {
            let (high, quants, scales) = (&bytes[..32], &bytes[32..96], &bytes[96..108]);
            two_bits(quants, &mut to.q);
            for (i, q) in to.q.iter_mut().enumerate() {
                *q |= (high[i % 32] >> (i / 32) & 1) << 2;
            }
            for i in 0..16 {
                // Low nibbles of 16 scales in bytes 0…7, their upper two bits in bytes 8…11.
                let low = if i < 8 {
                    scales[i] & 15
                } else {
                    scales[i - 8] >> 4
                };
                let scale = i32::from(low | (scales[8 + i % 4] >> (2 * (i / 4)) & 3) << 4) - 32;
                to.d[i] = half(108) * scale as f32;
                to.m[i] = -4.0 * to.d[i];
            }
        }
        BlockFormat::Q4K => {
            long_nibbles(&bytes[16..144], &mut to.q);
            six_bit_scales(&bytes[4..16], half(0), half(2), to);
        }
        BlockFormat::Q5K => {
            long_nibbles(&bytes[48..176], &mut to.q);
            for (i, q) in to.q.iter_mut().enumerate() {
                *q |= (bytes[16 + i % 32] >> (i / 32) & 1) << 4;
            }
            six_bit_scales(&bytes[4..16], half(0), half(2), to);
        }
        BlockFormat::Q6K => {
            let (low, high, scales) = (&bytes[..128], &bytes[128..192], &bytes[192..208]);
            for (i, q) in to.q.iter_mut().enumerate() {
                // Each half of 128: 64 bytes of nibbles, 32 bytes of upper bit pairs.
                let (half, part, l) = (i / 128, i / 32 % 4, i % 32);
                let nibble = low[64 * half + 32 * (part % 2) + l] >> (4 * (part / 2)) & 15;
                *q = nibble | (high[32 * half + l] >> (2 * part) & 3) << 4;
            }
            for (i, &scale) in scales.iter().enumerate() {
                to.d[i] = half(208) * f32::from(scale as i8);
                to.m[i] = -32.0 * to.d[i];
            }
        }
        BlockFormat::Q2Z => {
            for (i, q) in to.q[..32].iter_mut().enumerate() {
                *q = bytes[8 + i % 8] >> (2 * (i / 8)) & 3;
            }
            (to.d[0], to.m[0]) = scale_and_minimum(bytes);
        }
        BlockFormat::Q4Z => {
            nibbles(&bytes[8..], &mut to.q);
            (to.d[0], to.m[0]) = scale_and_minimum(bytes);
        }
        BlockFormat::Q8Z => {
            to.q[..32].copy_from_slice(&bytes[8..40]);
            (to.d[0], to.m[0]) = scale_and_minimum(bytes);
        }
    }
}

/// `d` and `−d·z` of a block that begins with scale and zero point in f32.
pub(super) fn scale_and_minimum(bytes: &[u8]) -> (f32, f32) {
    let single = |at: usize| f32::from_le_bytes(bytes[at..][..4].try_into().unwrap_or_default());
    let (d, z) = (single(0), single(4));
    (d, -d * z)
}

/// 32 integers: byte j holds number j low, j + 16 high.
fn nibbles(bytes: &[u8], q: &mut [u8; 256]) {
    for (j, &byte) in bytes[..16].iter().enumerate() {
        q[j] = byte & 15;
        q[j + 16] = byte >> 4;
    }
}

fn fifth_bits(bytes: &[u8], q: &mut [u8; 256]) {
    for (j, q) in q[..32].iter_mut().enumerate() {
        *q |= (bytes[j / 8] >> (j % 8) & 1) << 4;
    }
}

/// 256 integers: in each stretch of 64, byte j of 32 holds number j low, j + 32 high.
fn long_nibbles(bytes: &[u8], q: &mut [u8; 256]) {
    for (bytes, q) in bytes.chunks_exact(32).zip(q.chunks_exact_mut(64)) {
        for (j, &byte) in bytes.iter().enumerate() {
            q[j] = byte & 15;
            q[j + 32] = byte >> 4;
        }
    }
}

/// 256 integers: in each stretch of 128, byte j of 32 holds numbers j, j + 32, j + 64 and j + 96.
fn two_bits(bytes: &[u8], q: &mut [u8; 256]) {
    for (bytes, q) in bytes.chunks_exact(32).zip(q.chunks_exact_mut(128)) {
        for (i, q) in q.iter_mut().enumerate() {
            *q = bytes[i % 32] >> (2 * (i / 32)) & 3;
        }
    }
}

/// Eight scales and eight minima of six bits each, as `q4_k` and `q5_k` have them.
pub(super) fn six_bits(bytes: &[u8]) -> [(u8, u8); 8] {
    std::array::from_fn(|i| {
        if i < 4 {
            (bytes[i] & 63, bytes[i + 4] & 63)
        } else {
            (
                bytes[i + 4] & 15 | bytes[i - 4] >> 6 << 4,
                bytes[i + 4] >> 4 | bytes[i] >> 6 << 4,
            )
        }
    })
}

fn six_bit_scales(bytes: &[u8], d: f32, dmin: f32, to: &mut Block) {
    for (i, (scale, min)) in six_bits(bytes).into_iter().enumerate() {
        to.d[i] = d * f32::from(scale);
        to.m[i] = -dmin * f32::from(min);
    }
}
