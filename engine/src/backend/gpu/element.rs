//! What elements are on the device: WGSL has f32, i32 and u32 in storage, so every plain tensor takes
//! four bytes an element there, and is converted where it enters and leaves.
//!
//! 64-bit integers keep 32 bits: an input, a weight or a constant beyond that is unsupported. f16 and bf16 activations are kept as f32, which holds them exactly.

use fewbit_shaders::InputType;
use half::{bf16, f16};

use crate::tensor::DataType;

/// The element type on the device; `None` for f64, which has no place there.
pub(crate) fn device_type(data_type: DataType) -> Option<InputType> {
    match data_type {
        DataType::F32 | DataType::F16 | DataType::Bf16 => Some(InputType::F32),
        DataType::I64 | DataType::I32 | DataType::I16 | DataType::I8 | DataType::I4 => {
            Some(InputType::I32)
        }
        DataType::U64
        | DataType::U32
        | DataType::U16
        | DataType::U8
        | DataType::U4
        | DataType::Bool => Some(InputType::U32),
        DataType::F64 => None,
    }
}

/// Whether host and device bytes are the same.
pub(crate) fn same_bytes(data_type: DataType) -> bool {
    matches!(data_type, DataType::F32 | DataType::I32 | DataType::U32)
}

/// Elements as the device has them; `None` where a 64-bit value does not fit, and for f64. `bytes` is a whole number of
/// elements.
pub(crate) fn to_device(data_type: DataType, bytes: &[u8]) -> Option<Vec<u32>> {
    fn each<const N: usize>(bytes: &[u8], to: impl Fn([u8; N]) -> Option<u32>) -> Option<Vec<u32>> {
        let (elements, _) = bytes.as_chunks::<N>();
        elements.iter().map(|&element| to(element)).collect()
    }
    match data_type {
        DataType::F32 | DataType::I32 | DataType::U32 => {
            each(bytes, |b| Some(u32::from_le_bytes(b)))
        }
        DataType::F16 => each(bytes, |b| Some(f16::from_le_bytes(b).to_f32().to_bits())),
        DataType::Bf16 => each(bytes, |b| Some(bf16::from_le_bytes(b).to_f32().to_bits())),
        DataType::I64 => each(bytes, |b| {
            let value = i64::from_le_bytes(b);
            i32::try_from(value).ok().map(|value| value as u32)
        }),
        DataType::U64 => each(bytes, |b| u32::try_from(u64::from_le_bytes(b)).ok()),
        DataType::I16 => each(bytes, |b| Some(i32::from(i16::from_le_bytes(b)) as u32)),
        DataType::U16 => each(bytes, |b| Some(u32::from(u16::from_le_bytes(b)))),
        DataType::I8 => each(bytes, |[b]| Some(i32::from(b as i8) as u32)),
        DataType::U8 => each(bytes, |[b]| Some(u32::from(b))),
        DataType::I4 => each(bytes, |[b]| Some(i32::from((b << 4) as i8 >> 4) as u32)),
        DataType::U4 => each(bytes, |[b]| Some(u32::from(b & 15))),
        DataType::Bool => each(bytes, |[b]| Some(u32::from(b != 0))),
        DataType::F64 => None,
    }
}

/// Bytes as the host has them, from the device's words.
pub(crate) fn to_host(data_type: DataType, words: &[u32], bytes: &mut [u8]) {
    fn each<const N: usize>(words: &[u32], bytes: &mut [u8], to: impl Fn(u32) -> [u8; N]) {
        let (elements, _) = bytes.as_chunks_mut::<N>();
        for (element, &word) in elements.iter_mut().zip(words) {
            *element = to(word);
        }
    }
    match data_type {
        DataType::F32 | DataType::I32 | DataType::U32 => each(words, bytes, u32::to_le_bytes),
        DataType::F16 => each(words, bytes, |w| {
            f16::from_f32(f32::from_bits(w)).to_le_bytes()
        }),
        DataType::Bf16 => each(words, bytes, |w| {
            bf16::from_f32(f32::from_bits(w)).to_le_bytes()
        }),
        DataType::I64 => each(words, bytes, |w| i64::from(w as i32).to_le_bytes()),
        DataType::U64 => each(words, bytes, |w| u64::from(w).to_le_bytes()),
        DataType::I16 | DataType::U16 => each(words, bytes, |w| (w as u16).to_le_bytes()),
        DataType::I8 | DataType::U8 => each(words, bytes, |w| [w as u8]),
        DataType::I4 => each(words, bytes, |w| [(((w as u8) << 4) as i8 >> 4) as u8]),
        DataType::U4 => each(words, bytes, |w| [w as u8 & 15]),
        DataType::Bool => each(words, bytes, |w| [u8::from(w != 0)]),
        DataType::F64 => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_comes_back_as_it_went() {
        let halves: Vec<u8> = [1.5f32, -0.25]
            .iter()
            .flat_map(|&x| f16::from_f32(x).to_le_bytes())
            .collect();
        let longs: Vec<u8> = [-3i64, 70_000]
            .iter()
            .flat_map(|x| x.to_le_bytes())
            .collect();
        for (data_type, bytes) in [
            (DataType::F16, halves),
            (DataType::I64, longs),
            (DataType::I8, vec![255, 3]),
            (DataType::U8, vec![255, 3]),
            (DataType::Bool, vec![1, 0]),
        ] {
            let words = to_device(data_type, &bytes).unwrap();
            assert_eq!(words.len(), 2);
            let mut back = vec![0; bytes.len()];
            to_host(data_type, &words, &mut back);
            assert_eq!(back, bytes, "{data_type}");
        }
    }

    #[test]
    fn long_integers_beyond_32_bits_are_refused() {
        let bytes = i64::MAX.to_le_bytes();
        assert_eq!(to_device(DataType::I64, &bytes), None);
        assert_eq!(to_device(DataType::U64, &bytes), None);
    }
}
