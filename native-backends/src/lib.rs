//! Native runners: the engine on the CPU, on Vulkan, Metal or DX12 through `wgpu`, and on ONNX Runtime's execution providers.
//!
//! The engine's futures stay on one thread, so a model lives on a thread of its own; [`NativeModel`] is the
//! handle to it, and every call blocks until the thread has answered. Times are measured here, as
//! the engine has no clock.

#[cfg(feature = "wgpu")]
pub mod adapters;
mod file;
mod model;
#[cfg(feature = "ort")]
pub mod ort;
mod run;
mod target;
mod transcribe;

pub use file::FileSource;
pub use model::{Loaded, NativeError, NativeModel, NativeOptions};
pub use run::{Generated, GeneratedToken, Progress, Timings};
pub use target::NativeTarget;
pub use transcribe::Transcribed;
