//! Why a graph cannot be written.

use fewbit_engine::format::FormatError;
use fewbit_engine::graph::GraphError;
use fewbit_engine::tensor::{DecodeError, ElementType};

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{op} is not exported to ONNX: {reason}")]
    Operator { op: &'static str, reason: String },
    #[error(
        "state {0} is not exported to ONNX: it is neither filled from its beginning to its end, nor written token after token from an input's position on in a capacity that is a symbol, nor only read"
    )]
    State(String),
    /// A symbol that is the size of no input's dimension.
    #[error("no input's shape tells the size {0}")]
    Symbol(String),
    #[error("weight {name} has shape {got:?} in the checkpoint, {wanted:?} in the graph")]
    WeightShape {
        name: String,
        wanted: Vec<usize>,
        got: Vec<usize>,
    },
    #[error("weight {name} of {element} is not exported to ONNX as an operand of {op}")]
    WeightType {
        name: String,
        element: ElementType,
        op: &'static str,
    },
    #[error("the inputs and outputs of an ONNX graph have different names; two are {0}")]
    Name(String),
    /// Protobuf's limit for a message.
    #[error(
        "{0} bytes of weights do not fit into one ONNX file, which holds up to 2 GiB: they need a file beside it"
    )]
    TooLarge(u64),
    #[error("weight {name}: {error}")]
    Decode { name: String, error: DecodeError },
    #[error("the file cannot be written: {0}")]
    Write(#[from] std::io::Error),
    #[error("aborted")]
    Aborted,
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Format(#[from] FormatError),
}
