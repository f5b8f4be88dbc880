//! The engine behind a JavaScript boundary, for a worker of the npm package `fewbit`.
//!
//! What crosses: model files as objects that read themselves ([`file`](fewbit_wasm_boundary::file)), requests and answers as JSON
//! ([`message`]), tensors and vectors as typed arrays, errors as `Error` objects with a `code`
//! ([`fault`]). `web/src/worker/runtime.ts` has the same boundary in TypeScript.
//!
//! No panic is meant to be reachable. Should there be one, the module is poisoned; [`last_panic`] then
//! tells where, and the worker is of no use any more.
#![cfg(target_arch = "wasm32")]

mod device;
mod fault;
mod hash;
mod listen;
mod message;
mod model;
mod panic;
#[cfg(target_feature = "atomics")]
mod pool;
mod prompt;
#[cfg(feature = "webnn")]
mod webnn;

pub use hash::Sha256;
pub use model::{JsGeneration, JsModel, load_model};
pub use panic::last_panic;
#[cfg(target_feature = "atomics")]
pub use pool::{create_pool, pool_work, shared_memory};

use wasm_bindgen::prelude::*;

/// Runs when the module is started.
#[wasm_bindgen(start)]
pub fn start() {
    panic::install_hook();
}

/// Bytes of the module's memory, which never shrinks.
#[wasm_bindgen(js_name = memoryBytes)]
pub fn memory_bytes() -> f64 {
    // Pages of 64 KiB; f64, as u64 would be a BigInt.
    core::arch::wasm32::memory_size(0) as f64 * 65536.0
}
