//! Activations quantized to 8 bits for the block matrix products.
//!
//! Of each 32 neighbours of a row, `d = max|x| / 127` and `q = round(x / d)`, ties to even. Rows are
//! taken in panels of as many tokens as one tile of the product has; a panel is one record after
//! the other, each holding a block of 32 columns of all its `t` tokens:
//!
//! | what | floats |
//! | --- | --- |
//! | `q[8][t][4]`, as i8 | 8·t |
//! | `d[t]` | t |
//! | `d·Σq` of all 32 columns, of the first 16, of the last 16 | 3·t |
//!
//! A NaN or an infinity in a block makes its `d` NaN or infinite and so every output of the row NaN
//! or infinite.

use super::block::BLOCK;
use super::simd::{Simd, per_isa};

/// Floats of a record for one token.
pub(crate) const RECORD: usize = BLOCK / 4 + 4;

/// Below this, a block counts as zero: the reciprocal of its scale would overflow.
const TINY: f32 = 1e-36;

/// How many of `left` rows the next tile takes, given that the largest has `most`.
///
/// Tiles come in few sizes, for each of which a copy of the kernel is compiled.
pub(crate) const fn next_rows(left: usize, most: usize) -> usize {
    const SIZES: [usize; 7] = [14, 12, 8, 6, 4, 2, 1];
    let mut i = 0;
    while SIZES[i] > left || SIZES[i] > most {
        i += 1;
    }
    SIZES[i]
}

/// The panels of `rows` rows: first row and number of rows of each.
pub(crate) fn panels(rows: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let left = rows - next;
        (left > 0).then(|| {
            let (first, taken) = (next, next_rows(left, most));
            next += taken;
            (first, taken)
        })
    })
}

per_isa! {
    /// Quantizes `tokens` rows of `k` floats, `k` a multiple of 32, into one panel at `to`.
    pub(crate) unsafe fn quantize_panel(x: *const f32, tokens: usize, k: usize, to: *mut f32) = quantize
}

#[inline(always)]
unsafe fn quantize<S: Simd>(x: *const f32, tokens: usize, k: usize, to: *mut f32) {
    for token in 0..tokens {
        for block in 0..k / BLOCK {
            unsafe {
                let record = to.add(block * RECORD * tokens);
                let scales = record.add(BLOCK / 4 * tokens + token);
                let x = x.add(token * k + block * BLOCK);
                let q = record.cast::<i8>().add(4 * token);
                let (d, first, last) = quantize_block::<S>(x, q, 4 * tokens);
                scales.write(d);
                scales.add(tokens).write(d * (first + last) as f32);
                scales.add(2 * tokens).write(d * first as f32);
                scales.add(3 * tokens).write(d * last as f32);
            }
        }
    }
}

/// Writes a block's integers in fours, `step` bytes apart; returns the scale and the sums of the
/// first and last 16 integers.
#[inline(always)]
unsafe fn quantize_block<S: Simd>(x: *const f32, q: *mut i8, step: usize) -> (f32, i32, i32) {
    unsafe {
        // As integers, the bits of magnitudes are ordered as the magnitudes, NaN above all.
        let mut largest = S::splat_i32(0);
        for i in (0..BLOCK).step_by(S::LANES) {
            let magnitude = S::and(S::bits(S::load(x.add(i))), S::splat_i32(0x7fff_ffff));
            largest = S::max_i(largest, magnitude);
        }
        let mut lanes = [0i32; 16];
        S::store_i(lanes.as_mut_ptr().cast(), largest);
        let largest = f32::from_bits(lanes[..S::LANES].iter().fold(0, |a, &b| a.max(b)) as u32);
        let (d, inverse) = if largest < TINY {
            (0.0, 0.0)
        } else {
            (largest / 127.0, 127.0 / largest)
        };
        let mut ints = [0i32; BLOCK];
        for i in (0..BLOCK).step_by(S::LANES) {
            let scaled = S::mul(S::load(x.add(i)), S::splat(inverse));
            S::store_i(ints.as_mut_ptr().add(i).cast(), S::round(scaled));
        }
        let first = ints[..16].iter().fold(0i32, |a, &b| a.wrapping_add(b));
        let last = ints[16..].iter().fold(0i32, |a, &b| a.wrapping_add(b));
        for (quad, ints) in ints.as_chunks::<4>().0.iter().enumerate() {
            let bytes = ints.map(|i| i as i8);
            q.add(quad * step).cast::<[i8; 4]>().write_unaligned(bytes);
        }
        (d, first, last)
    }
}
