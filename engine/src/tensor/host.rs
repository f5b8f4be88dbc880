//! Tensors in host memory: what goes into a run and what comes back.

use half::{bf16, f16};

use super::DataType;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum TensorError {
    #[error("a {data_type} tensor of shape {shape:?} has {expected} bytes, {got} given")]
    Length {
        data_type: DataType,
        shape: Vec<usize>,
        expected: usize,
        got: usize,
    },
    #[error("shape {0:?} has more elements than memory can address")]
    TooLarge(Vec<usize>),
    #[error("a {got} tensor where {expected} is needed")]
    Type { expected: DataType, got: DataType },
}

/// A dense, row-major tensor in host memory. The bytes are 8-byte aligned, so every type can be viewed in place.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    data_type: DataType,
    shape: Vec<usize>,
    words: Vec<u64>,
    bytes: usize,
}

impl Tensor {
    /// A tensor of zeros.
    pub fn zeros(data_type: DataType, shape: &[usize]) -> Result<Tensor, TensorError> {
        let bytes = byte_len(data_type, shape)?;
        Ok(Tensor {
            data_type,
            shape: shape.to_vec(),
            words: vec![0; bytes.div_ceil(8)],
            bytes,
        })
    }

    /// A tensor of little-endian `bytes`, whose number must be what type and shape ask for.
    pub fn from_bytes(
        data_type: DataType,
        shape: &[usize],
        bytes: &[u8],
    ) -> Result<Tensor, TensorError> {
        let expected = byte_len(data_type, shape)?;
        if expected != bytes.len() {
            return Err(TensorError::Length {
                data_type,
                shape: shape.to_vec(),
                expected,
                got: bytes.len(),
            });
        }
        let mut tensor = Tensor::zeros(data_type, shape)?;
        tensor.bytes_mut().copy_from_slice(bytes);
        Ok(tensor)
    }

    pub fn from_f32(shape: &[usize], values: &[f32]) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(DataType::F32, shape, bytemuck::cast_slice(values))
    }

    pub fn from_i32(shape: &[usize], values: &[i32]) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(DataType::I32, shape, bytemuck::cast_slice(values))
    }

    pub fn from_i64(shape: &[usize], values: &[i64]) -> Result<Tensor, TensorError> {
        Tensor::from_bytes(DataType::I64, shape, bytemuck::cast_slice(values))
    }

    pub fn data_type(&self) -> DataType {
        self.data_type
    }

    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// How many elements there are.
    pub fn elements(&self) -> usize {
        self.bytes / self.data_type.bytes()
    }

    pub fn bytes(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.words)[..self.bytes]
    }

    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.words)[..self.bytes]
    }

    /// The elements in place; an error if the tensor is not f32.
    pub fn as_f32(&self) -> Result<&[f32], TensorError> {
        self.expect(DataType::F32)?;
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements in place; an error if the tensor is not i32.
    pub fn as_i32(&self) -> Result<&[i32], TensorError> {
        self.expect(DataType::I32)?;
        Ok(bytemuck::cast_slice(self.bytes()))
    }

    /// The elements as f64, whatever the type (64-bit integers lose what f64 cannot hold).
    pub fn to_f64_vec(&self) -> Vec<f64> {
        fn each<T: bytemuck::Pod>(bytes: &[u8], to: impl Fn(T) -> f64) -> Vec<f64> {
            bytemuck::cast_slice::<u8, T>(bytes)
                .iter()
                .map(|&x| to(x))
                .collect()
        }
        let bytes = self.bytes();
        match self.data_type {
            DataType::F64 => each::<f64>(bytes, |x| x),
            DataType::F32 => each::<f32>(bytes, f64::from),
            DataType::F16 => each::<f16>(bytes, f64::from),
            DataType::Bf16 => each::<bf16>(bytes, f64::from),
            DataType::I64 => each::<i64>(bytes, |x| x as f64),
            DataType::I32 => each::<i32>(bytes, f64::from),
            DataType::I16 => each::<i16>(bytes, f64::from),
            DataType::I8 => each::<i8>(bytes, f64::from),
            DataType::U64 => each::<u64>(bytes, |x| x as f64),
            DataType::U32 => each::<u32>(bytes, f64::from),
            DataType::U16 => each::<u16>(bytes, f64::from),
            DataType::I4 => each::<u8>(bytes, |b| f64::from((b << 4) as i8 >> 4)),
            DataType::U4 => each::<u8>(bytes, |b| f64::from(b & 15)),
            DataType::U8 | DataType::Bool => each::<u8>(bytes, f64::from),
        }
    }

    /// The same elements under another shape of equally many.
    pub fn reshaped(mut self, shape: &[usize]) -> Result<Tensor, TensorError> {
        let expected = byte_len(self.data_type, shape)?;
        if expected != self.bytes {
            return Err(TensorError::Length {
                data_type: self.data_type,
                shape: shape.to_vec(),
                expected,
                got: self.bytes,
            });
        }
        self.shape = shape.to_vec();
        Ok(self)
    }

    fn expect(&self, expected: DataType) -> Result<(), TensorError> {
        if self.data_type == expected {
            Ok(())
        } else {
            Err(TensorError::Type {
                expected,
                got: self.data_type,
            })
        }
    }
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor({} {:?})", self.data_type, self.shape)
    }
}

fn byte_len(data_type: DataType, shape: &[usize]) -> Result<usize, TensorError> {
    shape
        .iter()
        .try_fold(data_type.bytes(), |n, &d| n.checked_mul(d))
        .filter(|&n| n <= isize::MAX as usize)
        .ok_or_else(|| TensorError::TooLarge(shape.to_vec()))
}
