//! The `cpu` back end: plans of kernel calls over one arena, natively and in wasm.
//!
//! [`reference`] is the scalar form of every operator; [`kernels`] are the SIMD forms of those that
//! dominate, spread over [`threads`]; a plan turns a graph into steps that call either.

mod arena;
mod device;
mod plan;
pub mod reference;
mod run;
mod step;
mod weights;

pub use fewbit_kernels as kernels;
pub use fewbit_kernels::threads;

pub use device::{CpuDevice, CpuOptions};
