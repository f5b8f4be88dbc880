//! Where a graph runs: the trait every back end implements.
//!
//! A back end holds weights and states, compiles static graphs to plans, and runs them. Only opening a
//! device, compiling and reading results are async (a browser's GPU has no other way); nothing asks for
//! `Send`. Bytes of weights come in chunks and in their stored format, so that no weight is ever whole
//! in memory beside the place where the back end keeps it.

pub mod cpu;
#[cfg(feature = "gpu")]
pub mod gpu;
pub mod mixed;
mod numbered;
#[cfg(any(test, feature = "suite"))]
pub mod suite;

use std::collections::BTreeMap;

use crate::graph::{Graph, GraphError, Op};
use crate::source::LocalFuture;
use crate::tensor::{DataType, ElementType, Tensor, TensorError};

#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The device is gone; everything on it is lost. The session opens another and goes on.
    #[error("the device was lost: {0}")]
    DeviceLost(String),
    /// No device to be had: why.
    #[error("unavailable: {0}")]
    Unavailable(String),
    /// The device lacks what the graph needs.
    #[error("unsupported: {op} ({reason})")]
    Unsupported { op: String, reason: String },
    #[error("out of memory: {0}")]
    OutOfMemory(String),
    #[error("weight {name}: {message}")]
    Weight { name: String, message: String },
    #[error("input {name}: {message}")]
    Input { name: String, message: String },
    #[error("there is no {kind} number {id}")]
    Unknown { kind: &'static str, id: usize },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// A shader or pipeline that the device refused, or another fault of ours: the text tells.
    #[error("internal: {0}")]
    Internal(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WeightId(pub usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StateId(pub usize);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PlanId(pub usize);

/// How a graph uses a weight, which decides how a back end lays it out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WeightUse {
    /// As the matrix of a `block_matmul`.
    pub matmul: bool,
    /// As the table of a decoding `gather`.
    pub gather: bool,
    /// As the filter of a `conv2d` of so many groups.
    pub filter: Option<usize>,
    /// As an operand of anything else, element by element.
    pub plain: bool,
}

/// How activations meet block-quantized weights. f32 weights always compute in f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Activations {
    /// In floating point.
    Float,
    /// Quantized to 8 bits per block of 32, where the back end has integer dot products.
    #[default]
    Int8,
}

/// What arithmetic a session allows; part of every result row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NumericPolicy {
    pub activations: Activations,
    /// f16 arithmetic where the device has it; never for f32 checkpoints.
    pub half: bool,
}

/// What a back end runs on.
#[derive(Clone, Debug, Default)]
pub struct BackendInfo {
    /// `cpu` or `gpu`
    pub name: &'static str,
    /// The adapter's name (`unnamed` where a browser gives none), or the instruction set on the CPU.
    pub adapter: String,
    /// Name and version of the adapter's driver, where one is told.
    pub driver: Option<String>,
    /// Whether the adapter is software.
    pub software: bool,
    /// Features in use, by the platform's names.
    pub features: Vec<String>,
    pub threads: usize,
    /// How activations of block-quantized products are kept.
    pub activations: Activations,
}

/// Bytes a back end holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    pub weights: u64,
    pub states: u64,
    pub plans: u64,
}

/// A device that can be opened, and opened anew after it was lost.
pub trait Device {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>>;
}

/// Runs graphs. Ids are the back end's own and die with it.
pub trait Backend {
    fn info(&self) -> BackendInfo;

    /// Whether `op` over inputs of these element types has a kernel; a composite that has none is
    /// decomposed before [`Backend::compile`] sees it.
    fn supports(&self, op: &Op, inputs: &[ElementType]) -> bool;

    /// Whether integers of 64 bits keep all of them. Where they do not, a session compiles only what stays inside of 32.
    fn keeps_64_bits(&self) -> bool {
        true
    }

    /// Whether it compiles graphs with symbols. A plan then serves every size, and stays when a state changes its shape;
    /// nothing was decomposed, folded or fused before.
    fn takes_symbols(&self) -> bool {
        false
    }

    /// Makes room for a weight of `shape`.
    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<WeightId, BackendError>;

    /// Writes bytes of a weight, in the layout of its element type. Chunks come in order, without gaps.
    fn write_weight(&mut self, id: WeightId, offset: u64, bytes: &[u8])
    -> Result<(), BackendError>;

    /// Says that all bytes of a weight are written.
    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError>;

    /// Gives a weight's memory back, where the back end can; plans over it must be dropped first.
    fn drop_weight(&mut self, _id: WeightId) {}

    /// A state of zeros that outlives runs.
    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError>;

    /// Gives a state a larger `axis` and keeps its elements where they were; plans over it must be dropped first.
    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError>;

    /// Empties a state and gives it another shape, while plans over it stay. Only a back end that takes symbols is asked.
    fn reset_state(&mut self, id: StateId, _shape: &[usize]) -> Result<(), BackendError> {
        let kind = "state to empty";
        Err(BackendError::Unknown { kind, id: id.0 })
    }

    fn drop_state(&mut self, id: StateId);

    /// Makes a plan of a graph, without symbols unless [`Backend::takes_symbols`], whose weights and states are these by name.
    fn compile<'a>(
        &'a mut self,
        graph: &'a Graph,
        weights: &'a BTreeMap<String, WeightId>,
        states: &'a BTreeMap<String, StateId>,
    ) -> LocalFuture<'a, Result<PlanId, BackendError>>;

    fn drop_plan(&mut self, id: PlanId);

    /// Runs a plan once over all of its inputs by name, changes its states, and reads back those outputs that `read` names.
    fn run<'a>(
        &'a mut self,
        plan: PlanId,
        inputs: &'a [(&'a str, &'a Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<Tensor>, BackendError>>;

    fn memory(&self) -> MemoryUse;

    /// Destroys the device, as a lost driver would (for tests of recovery); false where there is none to destroy.
    fn lose_device(&mut self) -> bool {
        false
    }
}
