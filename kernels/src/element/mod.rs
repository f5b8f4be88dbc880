//! What a tensor's elements are: plain types and block formats (their bit layouts), decoded and encoded.

mod block_format;
mod data_type;
mod decode;
mod encode;
#[cfg(test)]
mod fixture;

pub use block_format::BlockFormat;
pub use data_type::{DataType, ElementType};
pub use decode::{DecodeError, decode, decode_block};
pub use encode::{EncodeError, encode};
