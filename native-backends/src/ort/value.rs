//! Tensors of the engine as values of ONNX Runtime, and back.

use fewbit_engine::backend::BackendError;
use fewbit_engine::tensor::{DataType, Tensor};
use ort::value::{DynValue, PrimitiveTensorElementType, TensorElementType};

use super::backend::fault;

/// A value of this type and shape in host memory, of these little-endian bytes.
///
/// # Errors
/// [`BackendError::Unsupported`] for a type that is not passed.
pub(super) fn value(
    data_type: DataType,
    shape: &[usize],
    bytes: &[u8],
) -> Result<DynValue, BackendError> {
    match data_type {
        DataType::F32 => of::<f32>(shape, bytes),
        DataType::F64 => of::<f64>(shape, bytes),
        DataType::I8 => of::<i8>(shape, bytes),
        DataType::I16 => of::<i16>(shape, bytes),
        DataType::I32 => of::<i32>(shape, bytes),
        DataType::I64 => of::<i64>(shape, bytes),
        DataType::U8 => of::<u8>(shape, bytes),
        DataType::U16 => of::<u16>(shape, bytes),
        DataType::U32 => of::<u32>(shape, bytes),
        DataType::U64 => of::<u64>(shape, bytes),
        DataType::Bool => made(shape, bytes.iter().map(|&byte| byte != 0).collect()),
        DataType::F16 | DataType::Bf16 | DataType::I4 | DataType::U4 => Err(no_type(data_type)),
    }
}

/// Of elements that are there already, which are not copied.
pub(super) fn made<T: PrimitiveTensorElementType + std::fmt::Debug + Clone + 'static>(
    shape: &[usize],
    elements: Vec<T>,
) -> Result<DynValue, BackendError> {
    let shape: Vec<i64> = shape.iter().map(|&size| size as i64).collect();
    let made = ort::value::Tensor::from_array((shape, elements));
    Ok(made.map_err(|error| fault("a value", &error))?.into_dyn())
}

fn of<T>(shape: &[usize], bytes: &[u8]) -> Result<DynValue, BackendError>
where
    T: PrimitiveTensorElementType + bytemuck::Pod + std::fmt::Debug,
{
    // Bytes from a file's chunk need not be aligned.
    made(shape, bytemuck::pod_collect_to_vec::<u8, T>(bytes))
}

/// A value's shape.
pub(super) fn shape_of(value: &DynValue) -> Vec<usize> {
    let shape = value.shape();
    shape.iter().map(|&size| size.max(0) as usize).collect()
}

/// A value in host memory as a tensor.
pub(super) fn tensor(value: &DynValue) -> Result<Tensor, BackendError> {
    match value.data_type() {
        TensorElementType::Float32 => back::<f32>(value, DataType::F32),
        TensorElementType::Float64 => back::<f64>(value, DataType::F64),
        TensorElementType::Int8 => back::<i8>(value, DataType::I8),
        TensorElementType::Int16 => back::<i16>(value, DataType::I16),
        TensorElementType::Int32 => back::<i32>(value, DataType::I32),
        TensorElementType::Int64 => back::<i64>(value, DataType::I64),
        TensorElementType::Uint8 => back::<u8>(value, DataType::U8),
        TensorElementType::Uint16 => back::<u16>(value, DataType::U16),
        TensorElementType::Uint32 => back::<u32>(value, DataType::U32),
        TensorElementType::Uint64 => back::<u64>(value, DataType::U64),
        TensorElementType::Bool => {
            let (_, elements) = value
                .try_extract_tensor::<bool>()
                .map_err(|error| fault("a result", &error))?;
            let bytes: Vec<u8> = elements.iter().map(|&element| u8::from(element)).collect();
            Ok(Tensor::from_bytes(
                DataType::Bool,
                &shape_of(value),
                &bytes,
            )?)
        }
        other => Err(BackendError::Unsupported {
            op: "a result".into(),
            reason: format!("elements of type {other} are not read back"),
        }),
    }
}

fn back<T: PrimitiveTensorElementType + bytemuck::Pod>(
    value: &DynValue,
    data_type: DataType,
) -> Result<Tensor, BackendError> {
    let (_, elements) = value
        .try_extract_tensor::<T>()
        .map_err(|error| fault("a result", &error))?;
    let bytes = bytemuck::cast_slice(elements);
    Ok(Tensor::from_bytes(data_type, &shape_of(value), bytes)?)
}

fn no_type(data_type: DataType) -> BackendError {
    BackendError::Unsupported {
        op: data_type.name().to_owned(),
        reason: "values of this type are not passed to ONNX Runtime".into(),
    }
}
