//! Encoding (quantizing) f32 to the simple block formats, rounding to nearest as ggml's reference does.
//!
//! Follows `quantize_row_*_ref` of <https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>, bit for
//! bit. The k-quants need a search for their scales and have no encoder here.

use half::f16;

use super::BlockFormat;

/// Values that cannot be encoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    #[error("{elements} values are no whole number of {format} blocks")]
    PartialBlock {
        format: BlockFormat,
        elements: usize,
    },
    #[error("there is no encoder for {0}")]
    Unsupported(BlockFormat),
}

/// Encodes `values` into blocks of `format` (q4_0, q4_1, q5_0, q5_1 or q8_0).
///
/// # Errors
/// A partial last block, or a format without encoder.
pub fn encode(format: BlockFormat, values: &[f32]) -> Result<Vec<u8>, EncodeError> {
    let encode_block: fn(&[f32], &mut Vec<u8>) = match format {
        BlockFormat::Q4_0 => |values, out| symmetric(values, 4, out),
        BlockFormat::Q4_1 => |values, out| from_minimum(values, 4, out),
        BlockFormat::Q5_0 => |values, out| symmetric(values, 5, out),
        BlockFormat::Q5_1 => |values, out| from_minimum(values, 5, out),
        BlockFormat::Q8_0 => q8_0,
        _ => return Err(EncodeError::Unsupported(format)),
    };
    let elements = values.len();
    if !elements.is_multiple_of(format.elements()) {
        return Err(EncodeError::PartialBlock { format, elements });
    }
    let mut out = Vec::with_capacity(elements / format.elements() * format.bytes());
    for block in values.chunks_exact(format.elements()) {
        encode_block(block, &mut out);
    }
    Ok(out)
}

/// q4_0 and q5_0: the value of largest magnitude becomes the most negative code.
fn symmetric(values: &[f32], bits: u32, out: &mut Vec<u8>) {
    let mut extreme = 0.0f32;
    for &value in values {
        if value.abs() > extreme.abs() {
            extreme = value;
        }
    }
    let half_range = (1 << (bits - 1)) as f32;
    let d = extreme / -half_range;
    out.extend(f16::from_f32(d).to_le_bytes());
    let inverse = inverse(d);
    pack(values, bits, out, |value| {
        value * inverse + (half_range + 0.5)
    });
}

/// q4_1 and q5_1: codes count from the smallest value.
fn from_minimum(values: &[f32], bits: u32, out: &mut Vec<u8>) {
    let (mut least, mut most) = (f32::MAX, -f32::MAX);
    for &value in values {
        if value < least {
            least = value;
        }
        if value > most {
            most = value;
        }
    }
    let d = (most - least) / ((1 << bits) - 1) as f32;
    out.extend(f16::from_f32(d).to_le_bytes());
    out.extend(f16::from_f32(least).to_le_bytes());
    let inverse = inverse(d);
    pack(values, bits, out, |value| (value - least) * inverse + 0.5);
}

fn q8_0(values: &[f32], out: &mut Vec<u8>) {
    let extreme = values.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    let d = extreme / 127.0;
    out.extend(f16::from_f32(d).to_le_bytes());
    let inverse = inverse(d);
    out.extend(values.iter().map(|x| (x * inverse).round() as i8 as u8));
}

fn inverse(d: f32) -> f32 {
    if d == 0.0 { 0.0 } else { 1.0 / d }
}

/// Writes the truncated codes: fifth bits (if there are five) as a u32, then nibbles, weight j low and
/// j + 16 high in byte j.
fn pack(values: &[f32], bits: u32, out: &mut Vec<u8>, code: impl Fn(f32) -> f32) {
    let top = ((1u32 << bits) - 1) as u8;
    let code = |j: usize| (code(values[j]) as u8).min(top);
    if bits == 5 {
        let high = (0..32).fold(0u32, |high, j| high | (u32::from(code(j) >> 4) << j));
        out.extend(high.to_le_bytes());
    }
    out.extend((0..16).map(|j| (code(j) & 15) | (code(j + 16) << 4)));
}

#[cfg(test)]
mod tests;
