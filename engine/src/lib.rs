//! fewbit's engine: transformer models at few bits per weight, the same code natively and in wasm32.
//!
//! Everything that runs a model goes through one [`graph::Graph`]. A [`model`] builder makes it from a
//! checkpoint read by [`format`]; a [`backend`] compiles it to a plan; a [`session`] keeps the plans,
//! the weights and the KV states; [`input`] and [`task`] are what stands before and after a model.
//!
//! The engine does no I/O of its own, knows no JavaScript and no async runtime, and never learns who
//! runs it: bytes come in through [`source::ByteSource`], and only device creation, pipeline
//! compilation and readback are async.

pub mod backend;
pub mod format;
pub mod graph;
pub mod input;
pub mod model;
pub mod session;
pub mod source;
pub mod task;
pub mod tensor;
