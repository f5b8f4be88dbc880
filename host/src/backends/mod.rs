//! ONNX Runtime's execution providers as native targets: which libraries there are, how they get here, and a process for
//! each model that one runs.
//!
//! A process can hold one ONNX Runtime, and a provider whose driver is not there may end the process instead of saying so.
//! So a model on such a target is always in a child: this executable, which takes jobs as lines of JSON
//! ([`ChildRunner`], `child`).

mod child;
mod locate;
mod parent;
mod process;
mod wire;

pub use child::serve;
pub use locate::{Located, locate, package_of};
pub use parent::{ChildRunner, probe};
pub use wire::Probed;

use fewbit_native_backends::ort::Provider;

use crate::target::NativeBackend;

/// The execution provider of a target; none for the engine's own back ends.
pub fn provider(backend: NativeBackend) -> Option<Provider> {
    let mut all = Provider::ALL.into_iter();
    all.find(|provider| provider.name() == backend.name())
}
