//! What a file says of itself before it is imported, and tensors in files of their own.

use std::collections::BTreeSet;

use fewbit_engine::tensor::Tensor;
use prost::Message;

use super::ImportError;
use super::tensor::{TensorFault, read_tensor};
use crate::proto::{GraphProto, TensorProto, ValueInfoProto};

/// What goes in and out of a model by name, in the file's order, and which operators it has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Interface {
    pub inputs: Vec<String>,
    pub outputs: Vec<String>,
    /// The types of the operators, each once, sorted.
    pub operators: Vec<String>,
}

impl Interface {
    /// Whether it is a decoder that takes its cache and gives it back: one for
    /// [`OnnxFile::open_decoder`](super::OnnxFile::open_decoder).
    pub fn has_cache(&self) -> bool {
        let begins = |names: &[String], with: &str| names.iter().any(|name| name.starts_with(with));
        begins(&self.inputs, "past_key_values.") && begins(&self.outputs, "present.")
    }

    pub(super) fn of(graph: &GraphProto) -> Interface {
        let names = |values: &[ValueInfoProto]| {
            let names = values.iter().map(|value| value.name.clone());
            names.map(Option::unwrap_or_default).collect()
        };
        let operators: BTreeSet<String> = graph
            .node
            .iter()
            .map(|node| node.op_type.clone().unwrap_or_default())
            .collect();
        Interface {
            inputs: names(&graph.input),
            outputs: names(&graph.output),
            operators: operators.into_iter().collect(),
        }
    }
}

/// Reads a file of one `TensorProto`, as ONNX's test cases have them.
///
/// # Errors
/// Bytes that are no tensor, or one of a type that no tensor here has.
pub fn tensor_file(bytes: &[u8], file: &str) -> Result<Tensor, ImportError> {
    let wrong = |reason: String| ImportError::File {
        file: file.to_owned(),
        reason,
    };
    let proto = TensorProto::decode(bytes).map_err(|e| wrong(format!("no ONNX tensor: {e}")))?;
    read_tensor(&proto).map_err(|fault| match fault {
        TensorFault::Wrong(reason) => wrong(reason),
        other => ImportError::NotImported {
            file: file.to_owned(),
            what: other.to_string(),
        },
    })
}
