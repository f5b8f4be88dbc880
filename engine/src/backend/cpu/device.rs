//! The CPU as a device, and the back end that runs plans on it.

use std::collections::BTreeMap;
use std::rc::Rc;

use crate::backend::numbered::Numbered;
use crate::backend::{
    Activations, Backend, BackendError, BackendInfo, Device, MemoryUse, NumericPolicy, PlanId,
    StateId, WeightId, WeightUse,
};
use crate::graph::{Graph, Op};
use crate::source::LocalFuture;
use crate::tensor::{DataType, ElementType, Tensor};

use super::arena::Arena;
use super::kernels::Kernels;
use super::plan::Plan;
use super::threads::Parallel;
use super::weights::Weight;

/// How the CPU back end computes.
#[derive(Clone)]
pub struct CpuOptions {
    pub policy: NumericPolicy,
    /// The instruction set's kernels.
    pub kernels: Kernels,
    pub parallel: Rc<dyn Parallel>,
}

/// The CPU. It cannot be lost.
pub struct CpuDevice {
    options: CpuOptions,
}

impl CpuDevice {
    pub fn new(options: CpuOptions) -> CpuDevice {
        CpuDevice { options }
    }
}

impl Device for CpuDevice {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        let backend = CpuBackend {
            options: self.options.clone(),
            weights: Vec::new(),
            states: Numbered::new("state"),
            plans: Numbered::new("plan"),
            arena: Arena::default(),
        };
        Box::pin(async move { Ok(Box::new(backend) as Box<dyn Backend>) })
    }
}

/// What steps read and write besides the arena.
pub(super) struct Stores<'a> {
    pub(super) options: &'a CpuOptions,
    pub(super) weights: &'a [Weight],
    pub(super) states: &'a mut [Option<Tensor>],
}

struct CpuBackend {
    options: CpuOptions,
    weights: Vec<Weight>,
    states: Numbered<Tensor>,
    plans: Numbered<Plan>,
    arena: Arena,
}

impl CpuBackend {
    fn weight(&mut self, id: WeightId) -> Result<&mut Weight, BackendError> {
        self.weights.get_mut(id.0).ok_or(BackendError::Unknown {
            kind: "weight",
            id: id.0,
        })
    }

    fn run_now(
        &mut self,
        plan: PlanId,
        inputs: &[(&str, &Tensor)],
        read: &[&str],
    ) -> Result<Vec<Tensor>, BackendError> {
        let plan = self.plans.get(plan.0)?;
        self.arena.reserve(plan.arena_bytes())?;
        let mut stores = Stores {
            options: &self.options,
            weights: &self.weights,
            states: self.states.places_mut(),
        };
        plan.run(&mut self.arena, &mut stores, inputs, read)
    }
}

impl Backend for CpuBackend {
    fn info(&self) -> BackendInfo {
        let isa = self.options.kernels.isa();
        BackendInfo {
            name: "cpu",
            adapter: isa.name().to_owned(),
            driver: None,
            software: false,
            features: vec![isa.name().to_owned()],
            threads: self.options.parallel.threads(),
            activations: self.options.policy.activations,
        }
    }

    fn supports(&self, op: &Op, inputs: &[ElementType]) -> bool {
        match op {
            // In place on an f32 state; other types would need a decomposition that reads it back.
            Op::KvAppend => inputs[0] == ElementType::F32,
            _ => true,
        }
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        self.weights.push(Weight::new(name, element, shape, usage)?);
        Ok(WeightId(self.weights.len() - 1))
    }

    fn write_weight(
        &mut self,
        id: WeightId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        self.weight(id)?.write(offset, bytes)
    }

    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError> {
        {
            let kernels = self.options.kernels;
            self.weight(id)?.finish(kernels)
        }
    }

    fn drop_weight(&mut self, id: WeightId) {
        self.weights.remove(id.0);
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        let state = Tensor::zeros(data_type, shape)?;
        Ok(StateId(self.states.insert(state)))
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        let state = self.states.get_mut(id.0)?;
        let mut shape = state.shape().to_vec();
        let old_size = shape[axis];
        shape[axis] = size;
        let mut grown = Tensor::zeros(state.data_type(), &shape)?;
        let inner = shape[axis + 1..].iter().product::<usize>() * state.data_type().bytes();
        let (from, to) = (old_size * inner, size * inner);
        if from > 0 && to > 0 {
            let strips = state.bytes().chunks_exact(from);
            for (strip, target) in strips.zip(grown.bytes_mut().chunks_exact_mut(to)) {
                target[..from].copy_from_slice(strip);
            }
        }
        *state = grown;
        Ok(())
    }

    fn drop_state(&mut self, id: StateId) {
        self.states.remove(id.0);
    }

    fn compile<'a>(
        &'a mut self,
        graph: &'a Graph,
        weights: &'a BTreeMap<String, WeightId>,
        states: &'a BTreeMap<String, StateId>,
    ) -> LocalFuture<'a, Result<PlanId, BackendError>> {
        Box::pin(async move {
            let plan = Plan::new(graph, weights, states)?;
            Ok(PlanId(self.plans.insert(plan)))
        })
    }

    fn drop_plan(&mut self, id: PlanId) {
        self.plans.remove(id.0);
    }

    fn run<'a>(
        &'a mut self,
        plan: PlanId,
        inputs: &'a [(&'a str, &'a Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<Tensor>, BackendError>> {
        Box::pin(async move { self.run_now(plan, inputs, read) })
    }

    fn memory(&self) -> MemoryUse {
        let states = self.states.iter();
        MemoryUse {
            weights: self.weights.iter().map(Weight::held).sum(),
            states: states.map(|state| state.bytes().len() as u64).sum(),
            plans: self.arena.bytes() as u64,
        }
    }
}

impl From<Activations> for super::kernels::Activations {
    fn from(activations: Activations) -> Self {
        match activations {
            Activations::Float => super::kernels::Activations::Float,
            Activations::Int8 => super::kernels::Activations::Int8,
        }
    }
}
