//! Cases of WebNN's operators, run by `navigator.ml` in a page (`www/navigator-ml.js`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::base64_bytes;

/// Builds and runs graphs one after another; the answer is a [`super::GraphResult`], with types in WebNN's names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NavigatorMlJob {
    /// How fewbit's `navigator.ml` computes: `webgpu` or `wasm`. Without it, the browser's own is called.
    pub backend: Option<String>,
    pub cases: Vec<MlCase>,
    /// How long all of them may take.
    pub limit_ms: u64,
}

/// One graph: its inputs, the calls of `MLGraphBuilder`'s methods in order, and the outputs' names.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlCase {
    pub inputs: BTreeMap<String, MlInput>,
    pub operators: Vec<MlCall>,
    pub outputs: Vec<String>,
}

/// An input or a constant, by the names of `MLOperandDescriptor`. One element may stand for all, in the answer too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlInput {
    pub data_type: String,
    pub shape: Vec<usize>,
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
    pub constant: bool,
}

/// A call; a text among its arguments that names an operand is that operand.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MlCall {
    pub name: String,
    /// Each an object of one member, the parameter's name and the argument.
    pub arguments: Vec<BTreeMap<String, serde_json::Value>>,
    /// A name, or a list of them for a method that gives a sequence.
    pub outputs: serde_json::Value,
}
