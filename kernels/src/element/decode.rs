//! Decoding (dequantizing) stored elements to f32, one at a time: the reference that kernels are held against.
//!
//! GGUF's block formats follow ggml's `dequantize_row_*` (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>),
//! in f32 arithmetic and in its order of operations, so that results are equal to the last bit.

mod k_quants;

use half::{bf16, f16};

use super::{BlockFormat, DataType, ElementType};

/// Bytes and elements that do not belong together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    #[error("{elements} elements of {element} in {bytes} bytes")]
    Length {
        element: ElementType,
        bytes: usize,
        elements: usize,
    },
}

/// Decodes `bytes` into as many f32 as `out` holds. Integers and f64 are rounded to the nearest f32;
/// booleans become 0 and 1.
///
/// # Errors
/// [`DecodeError::Length`] unless `bytes` is exactly `out.len()` elements (whole blocks).
pub fn decode(element: ElementType, bytes: &[u8], out: &mut [f32]) -> Result<(), DecodeError> {
    if element.byte_len(&[out.len()]) != Some(bytes.len()) {
        return Err(DecodeError::Length {
            element,
            bytes: bytes.len(),
            elements: out.len(),
        });
    }
    match element {
        ElementType::Plain(data_type) => decode_plain(data_type, bytes, out),
        ElementType::Block(format) => {
            let blocks = bytes.chunks_exact(format.bytes());
            for (block, out) in blocks.zip(out.chunks_exact_mut(format.elements())) {
                decode_one(format, block, out);
            }
        }
    }
    Ok(())
}

/// Decodes one block.
///
/// # Errors
/// [`DecodeError::Length`] unless `block` and `out` have the lengths of one block of `format`.
pub fn decode_block(format: BlockFormat, block: &[u8], out: &mut [f32]) -> Result<(), DecodeError> {
    if out.len() != format.elements() {
        return Err(DecodeError::Length {
            element: ElementType::Block(format),
            bytes: block.len(),
            elements: out.len(),
        });
    }
    decode(ElementType::Block(format), block, out)
}

fn decode_plain(data_type: DataType, bytes: &[u8], out: &mut [f32]) {
    fn each<const N: usize>(bytes: &[u8], out: &mut [f32], to: impl Fn([u8; N]) -> f32) {
        let (elements, _) = bytes.as_chunks::<N>();
        for (out, &element) in out.iter_mut().zip(elements) {
            *out = to(element);
        }
    }
    match data_type {
        DataType::F64 => each(bytes, out, |b| f64::from_le_bytes(b) as f32),
        DataType::F32 => each(bytes, out, f32::from_le_bytes),
        DataType::F16 => each(bytes, out, |b| f16::from_le_bytes(b).to_f32()),
        DataType::Bf16 => each(bytes, out, |b| bf16::from_le_bytes(b).to_f32()),
        DataType::I64 => each(bytes, out, |b| i64::from_le_bytes(b) as f32),
        DataType::I32 => each(bytes, out, |b| i32::from_le_bytes(b) as f32),
        DataType::I16 => each(bytes, out, |b| f32::from(i16::from_le_bytes(b))),
        DataType::I8 => each(bytes, out, |b| f32::from(i8::from_le_bytes(b))),
        DataType::U64 => each(bytes, out, |b| u64::from_le_bytes(b) as f32),
        DataType::U32 => each(bytes, out, |b| u32::from_le_bytes(b) as f32),
        DataType::U16 => each(bytes, out, |b| f32::from(u16::from_le_bytes(b))),
        DataType::U8 => each(bytes, out, |[b]| f32::from(b)),
        DataType::I4 => each(bytes, out, |[b]| f32::from((b << 4) as i8 >> 4)),
        DataType::U4 => each(bytes, out, |[b]| f32::from(b & 15)),
        DataType::Bool => each(bytes, out, |[b]| f32::from(u8::from(b != 0))),
    }
}

/// `block` and `out` have the lengths of one block.
fn decode_one(format: BlockFormat, block: &[u8], out: &mut [f32]) {
    match format {
        BlockFormat::Q4_0 => q4_0(block, out),
        BlockFormat::Q4_1 => q4_1(block, out),
        BlockFormat::Q5_0 => q5_0(block, out),
        BlockFormat::Q5_1 => q5_1(block, out),
        BlockFormat::Q8_0 => q8_0(block, out),
        BlockFormat::Q2K => k_quants::q2_k(block, out),
        BlockFormat::Q3K => k_quants::q3_k(block, out),
        BlockFormat::Q4K => k_quants::q4_k(block, out),
        BlockFormat::Q5K => k_quants::q5_k(block, out),
        BlockFormat::Q6K => k_quants::q6_k(block, out),
        BlockFormat::Q2Z => q2_z(block, out),
        BlockFormat::Q4Z => q4_z(block, out),
        BlockFormat::Q8Z => q8_z(block, out),
    }
}

/// The f16 at byte `at` of a block.
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// f16 scale d, 16 bytes of nibbles: weight j in the low half of byte j, weight j + 16 in the high
/// half. w = d (q − 8).
fn q4_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (j, &byte) in block[2..18].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - 8.0) * d;
        out[j + 16] = (f32::from(byte >> 4) - 8.0) * d;
    }
}

/// f16 scale d, f16 minimum m, nibbles as in q4_0. w = d q + m.
fn q4_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for (j, &byte) in block[4..20].iter().enumerate() {
        out[j] = f32::from(byte & 15) * d + m;
        out[j + 16] = f32::from(byte >> 4) * d + m;
    }
}

/// The 5-bit weights j and j + 16: nibbles as in q4_0, fifth bits in a u32, bit j for weight j.
fn five_bits(high: &[u8], nibbles: &[u8], j: usize) -> (f32, f32) {
    let high = u32::from_le_bytes([high[0], high[1], high[2], high[3]]);
    let low = (nibbles[j] & 15) | (((high >> j) as u8 & 1) << 4);
    let upper = (nibbles[j] >> 4) | (((high >> (j + 16)) as u8 & 1) << 4);
    (f32::from(low), f32::from(upper))
}

/// f16 scale d, fifth bits, nibbles. w = d (q − 16).
fn q5_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for j in 0..16 {
        let (low, upper) = five_bits(&block[2..6], &block[6..22], j);
        out[j] = (low - 16.0) * d;
        out[j + 16] = (upper - 16.0) * d;
    }
}

/// f16 scale d, f16 minimum m, fifth bits, nibbles. w = d q + m.
fn q5_1(block: &[u8], out: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    for j in 0..16 {
        let (low, upper) = five_bits(&block[4..8], &block[8..24], j);
        out[j] = low * d + m;
        out[j + 16] = upper * d + m;
    }
}

/// f16 scale d, 32 signed bytes. w = d q.
fn q8_0(block: &[u8], out: &mut [f32]) {
    let d = half_at(block, 0);
    for (out, &byte) in out.iter_mut().zip(&block[2..34]) {
        *out = f32::from(byte as i8) * d;
    }
}

/// The f32 at byte `at` of a block.
fn single_at(block: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// f32 scale d, f32 zero point z, 8 bytes of four codes each. w = (q − z) d.
fn q2_z(block: &[u8], out: &mut [f32]) {
    let (d, z) = (single_at(block, 0), single_at(block, 4));
    for (i, out) in out.iter_mut().enumerate() {
        let code = block[8 + i % 8] >> (2 * (i / 8)) & 3;
        *out = (f32::from(code) - z) * d;
    }
}

/// f32 scale d, f32 zero point z, nibbles as in q4_0. w = (q − z) d.
fn q4_z(block: &[u8], out: &mut [f32]) {
    let (d, z) = (single_at(block, 0), single_at(block, 4));
    for (j, &byte) in block[8..24].iter().enumerate() {
        out[j] = (f32::from(byte & 15) - z) * d;
        out[j + 16] = (f32::from(byte >> 4) - z) * d;
    }
}

/// f32 scale d, f32 zero point z, 32 unsigned bytes. w = (q − z) d.
fn q8_z(block: &[u8], out: &mut [f32]) {
    let (d, z) = (single_at(block, 0), single_at(block, 4));
    for (out, &byte) in out.iter_mut().zip(&block[8..40]) {
        *out = (f32::from(byte) - z) * d;
    }
}

#[cfg(test)]
mod tests;
