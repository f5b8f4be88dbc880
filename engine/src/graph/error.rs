//! What can be wrong with a graph.

use crate::tensor::ElementType;

#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("{op}: {message}")]
    Operand { op: &'static str, message: String },
    #[error("{op}: shapes {left} and {right} do not go together")]
    Shapes {
        op: &'static str,
        left: String,
        right: String,
    },
    #[error("{op}: element type {got} is not supported; {wanted} is")]
    Type {
        op: &'static str,
        got: ElementType,
        wanted: &'static str,
    },
    #[error("dimension {0} is negative or too large")]
    DimOverflow(String),
    #[error("shape {0} still has symbols: specialize the graph first")]
    NotSpecialized(String),
    #[error("symbol {0} is not in the graph")]
    UnknownSymbol(String),
    #[error("two {kind}s are named {name}")]
    Duplicate { kind: &'static str, name: String },
    #[error("constant: {0}")]
    Constant(#[from] crate::tensor::TensorError),
    #[error("constant folding: {0}")]
    Fold(String),
}
