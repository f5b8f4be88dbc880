//! `TensorProto` to a tensor in memory, every length checked before it is used.

use fewbit_engine::tensor::{DataType, Tensor};
use half::{bf16, f16};

use crate::proto::{TensorProto, data_type_name, data_type_of};

/// Why a `TensorProto` is no tensor here.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TensorFault {
    #[error("its elements are of type {0}, which no tensor here has")]
    Type(String),
    #[error("{0}")]
    Wrong(String),
    #[error("its elements are not in its message")]
    External,
}

/// The shape that `dims` tells.
pub(crate) fn shape_of(dims: &[i64]) -> Result<Vec<usize>, TensorFault> {
    let sizes = dims.iter().map(|&size| usize::try_from(size));
    sizes
        .collect::<Result<_, _>>()
        .map_err(|_| TensorFault::Wrong(format!("shape {dims:?}")))
}

/// A tensor's elements, of whichever field has them.
///
/// # Errors
/// A type that [`DataType`] has not, a number of elements that is not the shape's, elements outside of the file.
pub fn read_tensor(proto: &TensorProto) -> Result<Tensor, TensorFault> {
    let number = proto.data_type.unwrap_or(0);
    let data_type =
        data_type_of(number).ok_or_else(|| TensorFault::Type(data_type_name(number)))?;
    if proto.data_location.unwrap_or(0) != 0 {
        return Err(TensorFault::External);
    }
    let shape = shape_of(&proto.dims)?;
    let typed;
    let bytes: &[u8] = match &proto.raw_data {
        Some(raw) => raw,
        None => {
            typed = typed_bytes(proto, data_type);
            &typed
        }
    };
    if matches!(data_type, DataType::I4 | DataType::U4) {
        return two_a_byte(data_type, &shape, bytes);
    }
    // The length is compared before anything of the shape's size is made.
    Tensor::from_bytes(data_type, &shape, bytes).map_err(|e| TensorFault::Wrong(e.to_string()))
}

/// Elements of four bits: the first of two in a byte's lower half.
fn two_a_byte(data_type: DataType, shape: &[usize], bytes: &[u8]) -> Result<Tensor, TensorFault> {
    let count = shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size));
    let count = count.filter(|count| count.div_ceil(2) == bytes.len());
    let Some(count) = count else {
        let reason = format!("{} bytes for elements of four bits, {shape:?}", bytes.len());
        return Err(TensorFault::Wrong(reason));
    };
    let mut apart: Vec<u8> = bytes.iter().flat_map(|b| [b & 15, b >> 4]).collect();
    apart.truncate(count);
    if data_type == DataType::I4 {
        for element in &mut apart {
            *element = ((*element << 4) as i8 >> 4) as u8;
        }
    }
    Tensor::from_bytes(data_type, shape, &apart).map_err(|e| TensorFault::Wrong(e.to_string()))
}

/// The bytes of elements that are given as numbers ("TensorProto" in the schema: which field has which type).
fn typed_bytes(proto: &TensorProto, data_type: DataType) -> Vec<u8> {
    fn each<T: Copy, const N: usize>(values: &[T], to: impl Fn(T) -> [u8; N]) -> Vec<u8> {
        values.iter().flat_map(|&value| to(value)).collect()
    }
    let small = &proto.int32_data;
    match data_type {
        DataType::F32 => each(&proto.float_data, f32::to_le_bytes),
        DataType::F64 => each(&proto.double_data, f64::to_le_bytes),
        DataType::I64 => each(&proto.int64_data, i64::to_le_bytes),
        DataType::U64 => each(&proto.uint64_data, u64::to_le_bytes),
        DataType::U32 => each(&proto.uint64_data, |v| (v as u32).to_le_bytes()),
        DataType::I32 => each(small, i32::to_le_bytes),
        DataType::I16 => each(small, |v| (v as i16).to_le_bytes()),
        DataType::U16 => each(small, |v| (v as u16).to_le_bytes()),
        DataType::I8 => each(small, |v| (v as i8).to_le_bytes()),
        // A byte of two elements is one number.
        DataType::U8 | DataType::I4 | DataType::U4 => each(small, |v| (v as u8).to_le_bytes()),
        DataType::Bool => each(small, |v| [u8::from(v != 0)]),
        // The bits of the 16-bit float in the lower half.
        DataType::F16 => each(small, |v| f16::from_bits(v as u16).to_le_bytes()),
        DataType::Bf16 => each(small, |v| bf16::from_bits(v as u16).to_le_bytes()),
    }
}
