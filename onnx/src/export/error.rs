//! Why a graph cannot be written.

use fewbit_engine::format::FormatError;
use fewbit_engine::graph::GraphError;
use fewbit_engine::tensor::{DecodeError, ElementType};

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error("{op} is not exported to ONNX: {reason}")]
    Operator { op: &'static str, reason: String },
    #[error(
        "state {0} is not exported to ONNX: a graph can only fill a state from its beginning to its end"
    )]
    State(String),
    #[error("weight {name} of {element} is not exported to ONNX as an operand of {op}")]
    WeightType {
        name: String,
        element: ElementType,
        op: &'static str,
    },
    #[error("the inputs and outputs of an ONNX graph have different names; two are {0}")]
    Name(String),
    /// Protobuf's limit for a message.
    #[error("{0} bytes of weights do not fit into one ONNX file, which holds up to 2 GiB")]
    TooLarge(u64),
    #[error("weight {name}: {error}")]
    Decode { name: String, error: DecodeError },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Format(#[from] FormatError),
}
