//! Tensors: element types, block formats (their bit layouts), and values in host memory.

mod block;
mod data_type;
mod host;

pub use block::BlockFormat;
pub use data_type::{DataType, ElementType};
pub use host::{Tensor, TensorError};
