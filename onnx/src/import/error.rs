//! Why a file is not imported.

use std::collections::BTreeSet;
use std::fmt;

use fewbit_engine::graph::{Dim, GraphError};
use fewbit_engine::source::SourceError;
use fewbit_engine::tensor::TensorError;

/// Why an ONNX file has not become a graph.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// The bytes are no `ModelProto`, or one that contradicts itself.
    #[error("{file}: {reason}")]
    File { file: String, reason: String },
    /// What reading a file came to.
    #[error(transparent)]
    Source(SourceError),
    /// Every node whose operator is not imported, before any weight is looked at; or the first one whose types, sizes or
    /// attributes are not.
    #[error("{file}: {}", listed(.operators))]
    Unsupported {
        file: String,
        operators: Vec<UnsupportedOperator>,
    },
    /// What is no node and not imported: types of elements, sequences, sparse initializers, external data.
    #[error("{file}: unsupported: {what}")]
    NotImported { file: String, what: String },
    /// An initializer or the tensor of an attribute.
    #[error("{file}: tensor {tensor}: {reason}")]
    Tensor {
        file: String,
        tensor: String,
        reason: String,
    },
    /// An input or output.
    #[error("{file}: value {value}: {reason}")]
    Value {
        file: String,
        value: String,
        reason: String,
    },
    /// A node that the operator's specification does not allow.
    #[error("{file}: node {node} ({op_type}): {reason}")]
    Node {
        file: String,
        node: String,
        op_type: String,
        reason: String,
    },
    /// The numbers in these inputs decide a shape or an attribute: give them with
    /// [`ImportOptions::values`](super::ImportOptions::values).
    #[error(
        "{file}: node {node} ({op_type}): a shape depends on what is in {}: give its value",
        .inputs.join(", ")
    )]
    ValueNeeded {
        file: String,
        node: String,
        op_type: String,
        inputs: Vec<String>,
    },
    /// The graph differs from size to size of these symbols, or what is done with them is beyond the arithmetic of dimensions:
    /// give sizes with [`ImportOptions::sizes`](super::ImportOptions::sizes).
    #[error(
        "{file}: node {node} ({op_type}): the graph depends on the sizes of {}: give them",
        .symbols.join(", ")
    )]
    SizesNeeded {
        file: String,
        node: String,
        op_type: String,
        symbols: Vec<String>,
    },
}

impl ImportError {
    /// Whether the file may well be right, and asks for what is not imported yet.
    pub fn is_unsupported(&self) -> bool {
        matches!(
            self,
            ImportError::Unsupported { .. }
                | ImportError::NotImported { .. }
                | ImportError::ValueNeeded { .. }
                | ImportError::SizesNeeded { .. }
        )
    }
}

/// A node whose operator is not imported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnsupportedOperator {
    /// The node's name, or its number where it has none.
    pub node: String,
    pub op_type: String,
    /// `ai.onnx` for the default domain.
    pub domain: String,
    /// The version of the domain's operator set that the file asks for.
    pub opset: i64,
    pub reason: String,
}

impl fmt::Display for UnsupportedOperator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} ({} of {} {}): {}",
            self.node, self.op_type, self.domain, self.opset, self.reason
        )
    }
}

fn listed(operators: &[UnsupportedOperator]) -> String {
    let all: Vec<String> = operators.iter().map(ToString::to_string).collect();
    format!("unsupported: {}", all.join("; "))
}

/// Why one node is not imported; whoever walks over the nodes says which.
#[derive(Debug)]
pub(crate) enum Refusal {
    /// The operator's specification does not allow it.
    Wrong(String),
    Unsupported(String),
    /// These inputs of the graph decide a shape.
    Value(Vec<String>),
    /// The numbers in this weight do, and are not read yet.
    Weight(String),
    /// Sizes must be known for these symbols.
    Sizes(Vec<String>),
}

impl Refusal {
    /// Asks for the sizes of the symbols in `dims`.
    pub(crate) fn sizes(dims: &[Dim]) -> Refusal {
        let names: BTreeSet<&str> = dims.iter().flat_map(Dim::symbols).collect();
        Refusal::Sizes(names.into_iter().map(str::to_owned).collect())
    }
}

impl From<GraphError> for Refusal {
    fn from(error: GraphError) -> Refusal {
        match error {
            // Types that ONNX allows and the graph's operator does not have.
            GraphError::Type { .. } => Refusal::Unsupported(error.to_string()),
            error => Refusal::Wrong(error.to_string()),
        }
    }
}

impl From<TensorError> for Refusal {
    fn from(error: TensorError) -> Refusal {
        Refusal::Wrong(error.to_string())
    }
}

/// A refusal of what is not imported yet.
pub(crate) fn unsupported<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Unsupported(reason.into()))
}

/// A refusal of what the specification does not allow.
pub(crate) fn wrong<T>(reason: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::Wrong(reason.into()))
}
