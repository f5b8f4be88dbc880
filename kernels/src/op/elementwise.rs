//! Element-wise operators, and chains of them.

/// Operators of one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Unary {
    Abs,
    Ceil,
    Cos,
    Erf,
    Exp,
    Floor,
    /// `0.5·x·(1 + erf(x/√2))`
    Gelu,
    Identity,
    Log,
    Neg,
    Reciprocal,
    Relu,
    Sigmoid,
    /// `x·sigmoid(x)` (ours: WebNN spells it as two operators)
    Silu,
    Sin,
    Sqrt,
    Tan,
    Tanh,
}

impl Unary {
    pub const fn name(self) -> &'static str {
        match self {
            Unary::Abs => "abs",
            Unary::Ceil => "ceil",
            Unary::Cos => "cos",
            Unary::Erf => "erf",
            Unary::Exp => "exp",
            Unary::Floor => "floor",
            Unary::Gelu => "gelu",
            Unary::Identity => "identity",
            Unary::Log => "log",
            Unary::Neg => "neg",
            Unary::Reciprocal => "reciprocal",
            Unary::Relu => "relu",
            Unary::Sigmoid => "sigmoid",
            Unary::Silu => "silu",
            Unary::Sin => "sin",
            Unary::Sqrt => "sqrt",
            Unary::Tan => "tan",
            Unary::Tanh => "tanh",
        }
    }

    pub const ALL: [Unary; 18] = [
        Unary::Abs,
        Unary::Ceil,
        Unary::Cos,
        Unary::Erf,
        Unary::Exp,
        Unary::Floor,
        Unary::Gelu,
        Unary::Identity,
        Unary::Log,
        Unary::Neg,
        Unary::Reciprocal,
        Unary::Relu,
        Unary::Sigmoid,
        Unary::Silu,
        Unary::Sin,
        Unary::Sqrt,
        Unary::Tan,
        Unary::Tanh,
    ];
}

/// Operators of two values of one type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Max,
    Min,
    Pow,
}

impl Binary {
    pub const fn name(self) -> &'static str {
        match self {
            Binary::Add => "add",
            Binary::Sub => "sub",
            Binary::Mul => "mul",
            Binary::Div => "div",
            Binary::Max => "max",
            Binary::Min => "min",
            Binary::Pow => "pow",
        }
    }

    pub const ALL: [Binary; 7] = [
        Binary::Add,
        Binary::Sub,
        Binary::Mul,
        Binary::Div,
        Binary::Max,
        Binary::Min,
        Binary::Pow,
    ];
}

/// A chain of element-wise f32 operators evaluated element by element: step `i` may use the inputs,
/// the results of the steps before it, and numbers. The last step's result is the output.
#[derive(Clone, Debug, PartialEq)]
pub struct Fused {
    pub steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Step {
    Unary(Unary, Operand),
    Binary(Binary, Operand, Operand),
    Clamp(Operand, f32, f32),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Operand {
    /// An input of the fused node, broadcast to the output's shape.
    Input(usize),
    /// The result of an earlier step.
    Step(usize),
    /// A number known when the graph was made.
    Number(f32),
}
