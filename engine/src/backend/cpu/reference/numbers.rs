//! Elements as numbers wide enough to compute in, and the way back to their type.

use half::{bf16, f16};

use super::{Case, EvaluateError, View};
use crate::tensor::{DataType, Tensor};

/// A tensor's elements, exactly.
pub(super) enum Numbers {
    Floats(Vec<f64>),
    Integers(Vec<i128>),
}

impl Case<'_> {
    /// The elements of input `input`, which must be plain.
    pub(super) fn numbers(&self, input: usize) -> Result<Numbers, EvaluateError> {
        let view = &self.inputs[input];
        let data_type = view.element.plain().ok_or_else(|| self.unsupported())?;
        Ok(read(view, data_type))
    }

    /// The elements of input `input`, which must be floats.
    pub(super) fn wide_floats(&self, input: usize) -> Result<Vec<f64>, EvaluateError> {
        match self.numbers(input)? {
            Numbers::Floats(values) => Ok(values),
            Numbers::Integers(_) => Err(self.unsupported()),
        }
    }

    /// The output made of `values`, each rounded to its type.
    pub(super) fn of_floats(&self, values: &[f64]) -> Result<Tensor, EvaluateError> {
        self.of(values, from_float)
    }

    /// The output made of `values`, each wrapped into its type.
    pub(super) fn of_integers(&self, values: &[i128]) -> Result<Tensor, EvaluateError> {
        self.of(values, from_integer)
    }

    fn of<T: Copy>(
        &self,
        values: &[T],
        write: fn(DataType, T, &mut [u8]),
    ) -> Result<Tensor, EvaluateError> {
        let mut out = self.zeros()?;
        let data_type = self.output.data_type;
        let elements = out.bytes_mut().chunks_exact_mut(data_type.bytes());
        for (element, &value) in elements.zip(values) {
            write(data_type, value, element);
        }
        Ok(out)
    }
}

fn read(view: &View<'_>, data_type: DataType) -> Numbers {
    fn each<T, const N: usize>(bytes: &[u8], to: impl Fn([u8; N]) -> T) -> Vec<T> {
        bytes.as_chunks::<N>().0.iter().map(|&b| to(b)).collect()
    }
    use Numbers::{Floats, Integers};
    let bytes = view.bytes;
    match data_type {
        DataType::F64 => Floats(each(bytes, f64::from_le_bytes)),
        DataType::F32 => Floats(each(bytes, |b| f32::from_le_bytes(b).into())),
        DataType::F16 => Floats(each(bytes, |b| f16::from_le_bytes(b).into())),
        DataType::Bf16 => Floats(each(bytes, |b| bf16::from_le_bytes(b).into())),
        DataType::I64 => Integers(each(bytes, |b| i64::from_le_bytes(b).into())),
        DataType::I32 => Integers(each(bytes, |b| i32::from_le_bytes(b).into())),
        DataType::I16 => Integers(each(bytes, |b| i16::from_le_bytes(b).into())),
        DataType::I8 => Integers(each(bytes, |b| i8::from_le_bytes(b).into())),
        DataType::U64 => Integers(each(bytes, |b| u64::from_le_bytes(b).into())),
        DataType::U32 => Integers(each(bytes, |b| u32::from_le_bytes(b).into())),
        DataType::U16 => Integers(each(bytes, |b| u16::from_le_bytes(b).into())),
        DataType::U8 => Integers(each(bytes, |[b]| b.into())),
        DataType::I4 => Integers(each(bytes, |[b]| ((b << 4) as i8 >> 4).into())),
        DataType::U4 => Integers(each(bytes, |[b]| (b & 15).into())),
        DataType::Bool => Integers(each(bytes, |[b]| (b != 0).into())),
    }
}

/// Rounds to nearest even among floats; towards zero and into the range among integers, NaN to 0.
pub(super) fn from_float(data_type: DataType, value: f64, out: &mut [u8]) {
    match data_type {
        DataType::F64 => out.copy_from_slice(&value.to_le_bytes()),
        DataType::F32 => out.copy_from_slice(&(value as f32).to_le_bytes()),
        DataType::F16 => out.copy_from_slice(&f16::from_f64(value).to_le_bytes()),
        DataType::Bf16 => out.copy_from_slice(&bf16::from_f64(value).to_le_bytes()),
        DataType::I64 => out.copy_from_slice(&(value as i64).to_le_bytes()),
        DataType::I32 => out.copy_from_slice(&(value as i32).to_le_bytes()),
        DataType::I16 => out.copy_from_slice(&(value as i16).to_le_bytes()),
        DataType::I8 => out.copy_from_slice(&(value as i8).to_le_bytes()),
        DataType::U64 => out.copy_from_slice(&(value as u64).to_le_bytes()),
        DataType::U32 => out.copy_from_slice(&(value as u32).to_le_bytes()),
        DataType::U16 => out.copy_from_slice(&(value as u16).to_le_bytes()),
        DataType::U8 => out.copy_from_slice(&[value as u8]),
        DataType::I4 => out.copy_from_slice(&[(value as i8).clamp(-8, 7) as u8]),
        DataType::U4 => out.copy_from_slice(&[(value as u8).min(15)]),
        DataType::Bool => out.copy_from_slice(&[u8::from(value != 0.0)]),
    }
}

/// Rounds to nearest even among floats, wraps among integers.
fn from_integer(data_type: DataType, value: i128, out: &mut [u8]) {
    match data_type {
        DataType::F32 => out.copy_from_slice(&(value as f32).to_le_bytes()),
        DataType::F64 | DataType::F16 | DataType::Bf16 => from_float(data_type, value as f64, out),
        DataType::Bool => out.copy_from_slice(&[u8::from(value != 0)]),
        DataType::I4 => out.copy_from_slice(&[(((value as u8) << 4) as i8 >> 4) as u8]),
        DataType::U4 => out.copy_from_slice(&[value as u8 & 15]),
        _ => out.copy_from_slice(&value.to_le_bytes()[..data_type.bytes()]),
    }
}
