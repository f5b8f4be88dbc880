//! What can be wrong with a picture on its way into a model.

use super::super::fields::ConfigError;
use crate::tensor::TensorError;

#[derive(Debug, thiserror::Error, PartialEq)]
#[non_exhaustive]
pub enum ImageError {
    #[error("preprocessor config: {0}")]
    Config(#[from] ConfigError),
    #[error("the picture's {field} is 0")]
    Empty { field: &'static str },
    #[error("the picture's {field} is {value} pixels, more than the limit of {limit}")]
    Edge {
        field: &'static str,
        value: usize,
        limit: usize,
    },
    #[error("a picture of {width}×{height} pixels has more than the limit of {limit}")]
    Pixels {
        width: usize,
        height: usize,
        limit: usize,
    },
    #[error("the pixels have {got} bytes where the size asks for {expected}")]
    Length { expected: usize, got: usize },
    #[error(
        "a picture of {from_width}×{from_height} would be resized to {width}×{height}, beyond the limit of {limit} {what}"
    )]
    Resized {
        from_width: usize,
        from_height: usize,
        width: usize,
        height: usize,
        what: &'static str,
        limit: usize,
    },
    #[error("no picture given")]
    NoPicture,
    #[error(
        "picture {index} becomes {width}×{height} and the first {first_width}×{first_height}: a batch of several sizes needs `do_pad`"
    )]
    SizesDiffer {
        index: usize,
        width: usize,
        height: usize,
        first_width: usize,
        first_height: usize,
    },
    #[error(
        "a batch of {pictures} pictures of {width}×{height} has more than the limit of {limit} values"
    )]
    Batch {
        pictures: usize,
        width: usize,
        height: usize,
        limit: usize,
    },
    #[error("a picture of {width}×{height} does not fit into `pad_size` {pad_width}×{pad_height}")]
    PadSize {
        width: usize,
        height: usize,
        pad_width: usize,
        pad_height: usize,
    },
    #[error(transparent)]
    Tensor(#[from] TensorError),
}
