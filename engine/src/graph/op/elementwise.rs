//! Element-wise operators.

pub use fewbit_kernels::op::{Binary, Fused, Operand, Step, Unary};

/// Comparisons; the result is u8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compare {
    Equal,
    NotEqual,
    Greater,
    GreaterOrEqual,
    Lesser,
    LesserOrEqual,
}

impl Compare {
    pub const fn name(self) -> &'static str {
        match self {
            Compare::Equal => "equal",
            Compare::NotEqual => "not_equal",
            Compare::Greater => "greater",
            Compare::GreaterOrEqual => "greater_or_equal",
            Compare::Lesser => "lesser",
            Compare::LesserOrEqual => "lesser_or_equal",
        }
    }

    pub const ALL: [Compare; 6] = [
        Compare::Equal,
        Compare::NotEqual,
        Compare::Greater,
        Compare::GreaterOrEqual,
        Compare::Lesser,
        Compare::LesserOrEqual,
    ];
}

/// Logic on u8, where anything but 0 is true.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Logical {
    And,
    Or,
    Xor,
}

impl Logical {
    pub const fn name(self) -> &'static str {
        match self {
            Logical::And => "logical_and",
            Logical::Or => "logical_or",
            Logical::Xor => "logical_xor",
        }
    }

    pub const ALL: [Logical; 3] = [Logical::And, Logical::Or, Logical::Xor];
}
