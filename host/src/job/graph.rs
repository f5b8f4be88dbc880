//! A graph that was built here, run in a page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{RunError, TensorData, base64_bytes};

/// Runs parts of a graph one after another, in a worker of its own; the answer is a [`GraphResult`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphJob {
    /// `webgpu` or `wasm`.
    pub backend: String,
    /// An opened model, as `fewbit_engine`'s `OpenModel::to_bytes` writes it.
    #[serde(with = "base64_bytes")]
    pub model: Vec<u8>,
    pub runs: Vec<GraphRun>,
    /// How long all of them may take.
    pub limit_ms: u64,
}

/// One run of a graph: only what the outputs need is computed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GraphRun {
    pub inputs: BTreeMap<String, TensorData>,
    pub outputs: Vec<String>,
}

/// An answer for each run, in order.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphResult {
    pub runs: Vec<GraphAnswer>,
}

/// What a run gave, or why it gave nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GraphAnswer {
    pub outputs: BTreeMap<String, TensorData>,
    pub error: Option<PageError>,
}

/// A `FewbitError` of the page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PageError {
    pub code: String,
    pub message: String,
}

impl From<PageError> for RunError {
    fn from(error: PageError) -> RunError {
        match error.code.as_str() {
            "unsupported" => RunError::unsupported(error.code, error.message),
            "unavailable" => RunError::unavailable(error.code, error.message),
            _ => RunError::error(error.code, error.message),
        }
    }
}
