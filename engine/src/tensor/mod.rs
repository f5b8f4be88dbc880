//! Tensors: element types, block formats (their bit layouts), and values in host memory.

mod block;
mod data_type;
mod decode;
mod encode;
#[cfg(test)]
pub(crate) mod fixture;
mod host;

pub use block::BlockFormat;
pub use data_type::{DataType, ElementType};
pub use decode::{DecodeError, decode, decode_block};
pub use encode::{EncodeError, encode};
pub use host::{Tensor, TensorError};
