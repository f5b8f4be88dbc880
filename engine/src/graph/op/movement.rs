//! Attributes of operators that move elements.

pub use fewbit_kernels::op::{Pad, PadMode};

use crate::graph::Dim;

/// `x[start : start+size*stride : stride]` a dimension.
#[derive(Clone, Debug, PartialEq)]
pub struct Slice {
    pub starts: Vec<Dim>,
    /// The window's size before striding, as the WebNN spec has it: the output has `ceil(size/stride)`.
    pub sizes: Vec<Dim>,
    pub strides: Vec<usize>,
}
