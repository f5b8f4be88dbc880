//! The k-quants: superblocks of 256 weights, whose scales (and minima) of 16 or 32 weights are themselves quantized.

use super::half_at;

/// 16 bytes of scales (low nibble) and minima (high nibble), 64 bytes of 2-bit weights, f16 d, f16 dmin.
///
/// Each half of the superblock has 32 bytes, whose bit pairs are four runs of 32 weights; a scale
/// serves 16 weights. w = (d scale) q − (dmin minimum).
pub(super) fn q2_k(block: &[u8], out: &mut [f32]) {
    let (scales, q) = (&block[0..16], &block[16..80]);
    let (d, dmin) = (half_at(block, 80), half_at(block, 82));
    for (sixteen, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = d * f32::from(scales[sixteen] & 15);
        let minimum = dmin * f32::from(scales[sixteen] >> 4);
        let (first, shift) = pairs_of(sixteen);
        for (out, &byte) in out.iter_mut().zip(&q[first..first + 16]) {
            *out = scale * f32::from((byte >> shift) & 3) - minimum;
        }
    }
}

/// 32 bytes of third bits, 64 bytes of 2-bit weights as in q2_k, 12 bytes of 6-bit scales, f16 d.
///
/// Bit n of third-bit byte l belongs to weight 32 n + l. w = (d (scale − 32)) (q − 4).
pub(super) fn q3_k(block: &[u8], out: &mut [f32]) {
    let (third, q) = (&block[0..32], &block[32..96]);
    let d = half_at(block, 108);
    for (sixteen, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = d * (f32::from(q3_k_scale(&block[96..108], sixteen)) - 32.0);
        let (first, shift) = pairs_of(sixteen);
        let (run, within) = (sixteen / 2, 16 * (sixteen % 2));
        for (l, out) in out.iter_mut().enumerate() {
            let low = (q[first + l] >> shift) & 3;
            let high = (third[within + l] >> run) & 1;
            *out = scale * (f32::from(low | (high << 2)) - 4.0);
        }
    }
}

/// Where the 2-bit weights of a run of 16 are: their first byte, and the bits' place in each.
fn pairs_of(sixteen: usize) -> (usize, usize) {
    let (half, within) = (sixteen / 8, sixteen % 8);
    (32 * half + 16 * (within % 2), 2 * (within / 2))
}

/// Scale n of q3_k: low four bits in bytes 0..8 (scales 8..16 in the high nibbles), upper two in bytes 8..12.
fn q3_k_scale(bytes: &[u8], n: usize) -> u8 {
    let low = (bytes[n % 8] >> (4 * (n / 8))) & 15;
    let high = (bytes[8 + n % 4] >> (2 * (n / 4))) & 3;
    low | (high << 4)
}

/// f16 d, f16 dmin, 12 bytes of 6-bit scales and minima, 128 bytes of nibbles.
///
/// 32 bytes hold 64 weights: the low nibbles the first 32, the high ones the next; a scale serves 32.
/// w = (d scale) q − (dmin minimum).
pub(super) fn q4_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let q = &block[16..144];
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], run);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        let first = 32 * (run / 2);
        for (out, &byte) in out.iter_mut().zip(&q[first..first + 32]) {
            *out = scale * f32::from((byte >> (4 * (run % 2))) & 15) - minimum;
        }
    }
}

/// f16 d, f16 dmin, scales and minima as in q4_k, 32 bytes of fifth bits, 128 bytes of nibbles as in q4_k.
///
/// Bit n of fifth-bit byte l belongs to weight 32 n + l. w = (d scale) q − (dmin minimum).
pub(super) fn q5_k(block: &[u8], out: &mut [f32]) {
    let (d, dmin) = (half_at(block, 0), half_at(block, 2));
    let (fifth, q) = (&block[16..48], &block[48..176]);
    for (run, out) in out.chunks_exact_mut(32).enumerate() {
        let (scale, minimum) = scale_and_minimum(&block[4..16], run);
        let (scale, minimum) = (d * f32::from(scale), dmin * f32::from(minimum));
        for (l, out) in out.iter_mut().enumerate() {
            let low = (q[32 * (run / 2) + l] >> (4 * (run % 2))) & 15;
            let high = (fifth[l] >> run) & 1;
            *out = scale * f32::from(low | (high << 4)) - minimum;
        }
    }
}

/// Scale and minimum n of eight (ggml's `get_scale_min_k4`): the first four lie in the low six bits of
/// bytes 0..4 and 4..8; of the others the low nibbles are in bytes 8..12, the upper two bits above the first four.
fn scale_and_minimum(bytes: &[u8], n: usize) -> (u8, u8) {
    if n < 4 {
        (bytes[n] & 63, bytes[n + 4] & 63)
    } else {
        let scale = (bytes[n + 4] & 15) | ((bytes[n - 4] >> 6) << 4);
        let minimum = (bytes[n + 4] >> 4) | ((bytes[n] >> 6) << 4);
        (scale, minimum)
    }
}

/// 128 bytes of low nibbles, 64 bytes of upper bit pairs, 16 signed bytes of scales, f16 d.
///
/// Each half of the superblock is four runs of 32 weights over 64 nibble bytes (runs 0 and 1 the low
/// nibbles, 2 and 3 the high ones) and 32 bytes of pairs (run n in pair n). w = (d scale) (q − 32).
pub(super) fn q6_k(block: &[u8], out: &mut [f32]) {
    let (nibbles, pairs) = (&block[0..128], &block[128..192]);
    let scales = &block[192..208];
    let d = half_at(block, 208);
    for (sixteen, out) in out.chunks_exact_mut(16).enumerate() {
        let scale = d * f32::from(scales[sixteen] as i8);
        let (half, run, within) = (sixteen / 8, sixteen % 8 / 2, 16 * (sixteen % 2));
        for (l, out) in out.iter_mut().enumerate() {
            let nibble = nibbles[64 * half + 32 * (run % 2) + within + l];
            let low = (nibble >> (4 * (run / 2))) & 15;
            let high = (pairs[32 * half + within + l] >> (2 * run)) & 3;
            *out = scale * (f32::from(low | (high << 4)) - 32.0);
        }
    }
}
