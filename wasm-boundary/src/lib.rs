//! What crosses the boundary between JavaScript and the wasm modules that hold the engine: files that read themselves,
//! tensors, errors.
#![cfg(target_arch = "wasm32")]

pub mod file;
pub mod tensor;
pub mod thrown;
