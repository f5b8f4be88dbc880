//! ONNX files of the engine's graphs: what runs a model in ONNX Runtime and its execution providers.
//!
//! [`export()`] writes a [`Graph`](fewbit_engine::graph::Graph) and the weights it names as one ONNX model: the IR of version
//! 10 (<https://onnx.ai/onnx/repo-docs/IR.html>), the operators of `ai.onnx` as of opset 21
//! (<https://onnx.ai/onnx/operators/>). [`OnnxFile`] reads a model of opset 7 to 28 as a graph, [`import()`] one in memory; [`OnnxSession`] runs one whose shapes go by
//! what is in its inputs.

mod counting;
mod export;
mod import;
mod open;
pub mod proto;
mod rewrite;
mod session;

pub use export::{
    ExportError, ExternalData, Initializer, OnExport, Prepared, StatePort, export, prepare,
};
pub use import::{
    DecoderOptions, Filling, ImportError, ImportOptions, Imported, ImportedDecoder, Interface,
    OnnxFile, TensorFault, UnsupportedOperator, import, import_decoder, imported_operators,
    interface, read_tensor, tensor_file,
};
pub use open::{OpenError, open, open_as_it_is};
pub use rewrite::rewrite;
pub use session::{MOST_VARIANTS, OnnxSession, RunError};
