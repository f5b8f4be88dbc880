//! The `gpu` back end: plans of WGSL dispatches through `wgpu`, the same code in the browser (WebGPU)
//! and natively (Vulkan, Metal, DX12).
//!
//! - [`device`](GpuDevice): opens a device and listens for its errors and its loss;
//! - `weights`: weights in their file's bytes, in parts no larger than a binding; states;
//! - `lower`: from a graph to dispatches over buffers;
//! - `plan`: pipelines and bind groups made once, one submission a run;
//! - `pipelines`, `readback`: what is compiled and what is waited for.
//!
//! The kernels are WGSL files in the crate `fewbit-shaders`. Which variant runs follows from the adapter:
//! barrier-free on software adapters, else over workgroups, with subgroups where the device has them.

mod device;
mod element;
mod lower;
mod pipelines;
mod plan;
mod readback;
mod weights;

#[cfg(test)]
mod tests;

pub use device::{AdapterFacts, GpuDevice, GpuOptions};
pub use fewbit_shaders::Path;

use std::collections::BTreeMap;

use self::device::Opened;
use self::lower::{Held, lower};
use self::pipelines::Pipelines;
use self::plan::Plan;
use self::weights::{State, Weight, weight_format};
use super::numbered::Numbered;
use super::{
    Activations, Backend, BackendError, BackendInfo, MemoryUse, PlanId, StateId, WeightId,
    WeightUse,
};
use crate::graph::{Graph, Op};
use crate::source::LocalFuture;
use crate::tensor::{DataType, ElementType, Tensor};

/// Bytes of weights that may wait for the device: natively they are held in host memory until a submission.
const UPLOAD_WINDOW: u64 = 32 << 20;

/// An open GPU.
pub struct Gpu {
    opened: Opened,
    pipelines: Pipelines,
    weights: Numbered<Weight>,
    states: Numbered<State>,
    plans: Numbered<Plan>,
    /// Bytes of weights written since the last submission.
    pending: u64,
}

impl Gpu {
    pub(crate) fn new(opened: Opened) -> Gpu {
        Gpu {
            opened,
            pipelines: Pipelines::new(),
            weights: Numbered::new("weight"),
            states: Numbered::new("state"),
            plans: Numbered::new("plan"),
            pending: 0,
        }
    }

    /// Opens a GPU.
    pub async fn open(options: &GpuOptions) -> Result<Gpu, BackendError> {
        Ok(Gpu::new(Opened::new(options).await?))
    }

    /// What it runs on.
    pub fn adapter(&self) -> &AdapterFacts {
        &self.opened.facts
    }

    /// How kernels that reduce work together here.
    pub fn path(&self) -> Path {
        self.opened.path
    }

    /// Lets what was written go to the device, and natively waits for it.
    fn flush(&mut self) {
        self.pending = 0;
        self.opened.queue.submit([]);
        // A failure shows as a lost device in the next call that checks.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = self.opened.device.poll(wgpu::PollType::wait_indefinitely());
    }
}

impl Backend for Gpu {
    fn info(&self) -> BackendInfo {
        let facts = &self.opened.facts;
        let mut features = vec![facts.api.clone()];
        if self.opened.path == Path::Subgroup {
            features.push("subgroups".to_owned());
        }
        if self.opened.half {
            features.push("shader-f16".to_owned());
        }
        if self.opened.path == Path::BarrierFree {
            features.push("barrier-free".to_owned());
        }
        BackendInfo {
            name: "gpu",
            adapter: facts.name.clone(),
            driver: (!facts.driver.is_empty()).then(|| facts.driver.clone()),
            software: facts.software,
            features,
            threads: 0,
            activations: Activations::Float,
        }
    }

    fn supports(&self, op: &Op, inputs: &[ElementType]) -> bool {
        let f32_at = |i: usize| inputs.get(i) == Some(&ElementType::F32);
        match op {
            Op::RmsNormalization { .. } | Op::RotaryEmbedding(_) | Op::Attention(_) => f32_at(0),
            Op::KvAppend => f32_at(0),
            Op::BlockMatmul { .. } => {
                f32_at(0) && inputs.get(1).is_some_and(|&w| weight_format(w).is_some())
            }
            Op::Gather { decode: true, .. } => {
                inputs.first().is_some_and(|&w| weight_format(w).is_some())
            }
            _ => inputs.iter().all(|element| {
                element
                    .plain()
                    .is_some_and(|data_type| element::device_type(data_type).is_some())
            }),
        }
    }

    fn keeps_64_bits(&self) -> bool {
        false
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        let weight = Weight::create(&self.opened, name, element, shape, usage)?;
        self.opened.check()?;
        Ok(WeightId(self.weights.insert(weight)))
    }

    fn write_weight(
        &mut self,
        id: WeightId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        self.opened.check()?;
        let weight = self.weights.get_mut(id.0)?;
        // In pieces, so that what waits for the device stays small.
        for (i, piece) in bytes.chunks(UPLOAD_WINDOW as usize).enumerate() {
            weight.write(&self.opened, offset + i as u64 * UPLOAD_WINDOW, piece)?;
        }
        self.pending += bytes.len() as u64;
        if self.pending >= UPLOAD_WINDOW {
            self.flush();
        }
        Ok(())
    }

    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError> {
        self.weights.get_mut(id.0)?.finish(&self.opened)
    }

    fn drop_weight(&mut self, id: WeightId) {
        self.weights.remove(id.0);
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        let state = State::create(&self.opened, data_type, shape)?;
        self.opened.check()?;
        Ok(StateId(self.states.insert(state)))
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        let state = self.states.get_mut(id.0)?;
        *state = state.grown(&self.opened, axis, size)?;
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
            self.opened.check()?;
            let held = Held {
                weights: &self.weights,
                states: &self.states,
                weight_names: weights,
                state_names: states,
            };
            let lowered = lower(graph, &self.opened, &held)?;
            let plan = Plan::new(&self.opened, &mut self.pipelines, &held, lowered).await?;
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
        Box::pin(async move {
            let plan = self.plans.get_mut(plan.0)?;
            self.pending = 0;
            plan.run(&self.opened, inputs, read).await
        })
    }

    fn memory(&self) -> MemoryUse {
        let weights = self.weights.iter();
        let states = self.states.iter();
        let plans = self.plans.iter();
        MemoryUse {
            weights: weights.map(|weight| weight.bytes).sum(),
            states: states.map(|state| state.buffer.size()).sum(),
            plans: plans.map(Plan::bytes).sum(),
        }
    }

    fn lose_device(&mut self) -> bool {
        self.opened.device.destroy();
        true
    }
}
