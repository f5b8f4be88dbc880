//! Tensors: element types, block formats (their bit layouts), and values in host memory.

mod host;

pub use fewbit_kernels::element::{
    BlockFormat, DataType, DecodeError, ElementType, EncodeError, decode, decode_block, encode,
};
pub use host::{Tensor, TensorError};
