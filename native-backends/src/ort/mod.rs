//! ONNX Runtime as a back end of the engine: a plan is an ONNX model of the engine's graph, in a session of one execution
//! provider.
//!
//! On the CPU and in OpenVINO a model keeps its symbols, so that one session serves every size; states are the caches that
//! grow with each run. Other providers want sizes: there a plan is a session of its own, and states are tensors as large as
//! their capacity, which a run reads and writes anew. Either way a state goes from run to run as the value that ONNX Runtime
//! made, where it made it.
//!
//! **No provider falls back.** A session of another provider than the CPU's is told to refuse a graph of which a node would
//! run on the CPU; the refusal is [`BackendError::Unsupported`](fewbit_engine::backend::BackendError) in ONNX Runtime's words.
//!
//! **Memory.** Weights are kept as their file has them. A session's are decoded to f32 when it is made, and ONNX Runtime turns
//! and packs those of products: up to twice the f32 weights a session, of which at most four are kept.

mod backend;
mod device;
mod library;
mod plan;
mod provider;
mod state;
mod value;
mod weight;

pub use device::OrtDevice;
pub use library::{Found, Library, LibraryError};
pub use provider::Provider;
