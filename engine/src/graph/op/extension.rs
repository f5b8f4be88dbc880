//! Attributes of operators that WebNN has not, and of those that it has with less.

use crate::tensor::DataType;

/// Operators that ONNX files need and WebNN has not. On WebNN they are unsupported by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Extension {
    /// `x` (floats) → the angle from −π/2 to π/2 whose tangent it is
    Atan,
    /// `x` → its bits as elements of another type of the same width
    Bitcast { to: DataType },
    /// `a, b` (integers of one type), with NumPy's broadcasting
    Bitwise(Bitwise),
    /// `x` → the places (i64) along `axis` of its `k` greatest elements, or least ones, in that order; equal ones in
    /// the order in which they stand, NaN as greater than all
    TopK {
        axis: usize,
        k: usize,
        largest: bool,
    },
}

impl Extension {
    pub const fn name(self) -> &'static str {
        match self {
            Extension::Atan => "atan",
            Extension::Bitcast { .. } => "bitcast",
            Extension::Bitwise(Bitwise::And) => "bitwise_and",
            Extension::Bitwise(Bitwise::Or) => "bitwise_or",
            Extension::Bitwise(Bitwise::Xor) => "bitwise_xor",
            Extension::TopK { .. } => "top_k",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bitwise {
    And,
    Or,
    Xor,
}

impl Bitwise {
    pub const ALL: [Bitwise; 3] = [Bitwise::And, Bitwise::Or, Bitwise::Xor];
}

/// What a scattered element does to the one at its place. WebNN knows [`Scatter::Replace`] only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scatter {
    /// Takes its place; of several, any may.
    Replace,
    Add,
    Mul,
    Max,
    Min,
}

impl Scatter {
    pub const ALL: [Scatter; 5] = [
        Scatter::Replace,
        Scatter::Add,
        Scatter::Mul,
        Scatter::Max,
        Scatter::Min,
    ];
}
