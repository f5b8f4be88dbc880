//! A back end that refuses some operators and, if asked to, everything composite, for tests of what others do about it.

use std::collections::BTreeMap;

use fewbit_engine::backend::{
    Backend, BackendError, BackendInfo, Device, MemoryUse, PlanId, StateId, WeightId, WeightUse,
};
use fewbit_engine::graph::{Graph, Op};
use fewbit_engine::source::LocalFuture;
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

pub(crate) struct Choosy {
    pub(crate) device: Box<dyn Device>,
    pub(crate) refuses: &'static [&'static str],
    pub(crate) composites: bool,
}

impl Device for Choosy {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        Box::pin(async move {
            Ok(Box::new(ChoosyBackend {
                backend: self.device.open().await?,
                refuses: self.refuses,
                composites: self.composites,
            }) as Box<dyn Backend>)
        })
    }
}

struct ChoosyBackend {
    backend: Box<dyn Backend>,
    refuses: &'static [&'static str],
    composites: bool,
}

impl Backend for ChoosyBackend {
    fn info(&self) -> BackendInfo {
        self.backend.info()
    }

    fn supports(&self, op: &Op, inputs: &[ElementType]) -> bool {
        // Without it, there would be no states.
        let takes = self.composites || !op.is_composite() || matches!(op, Op::KvAppend);
        takes && self.backend.supports(op, inputs)
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        let usage = WeightUse {
            plain: usage.plain || !self.composites,
            ..usage
        };
        self.backend.create_weight(name, element, shape, usage)
    }

    fn write_weight(
        &mut self,
        id: WeightId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        self.backend.write_weight(id, offset, bytes)
    }

    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError> {
        self.backend.finish_weight(id)
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        self.backend.create_state(data_type, shape)
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        self.backend.grow_state(id, axis, size)
    }

    fn drop_state(&mut self, id: StateId) {
        self.backend.drop_state(id);
    }

    fn compile<'a>(
        &'a mut self,
        graph: &'a Graph,
        weights: &'a BTreeMap<String, WeightId>,
        states: &'a BTreeMap<String, StateId>,
    ) -> LocalFuture<'a, Result<PlanId, BackendError>> {
        let mut names = graph.nodes.iter().map(|node| node.op.name());
        match names.find(|name| self.refuses.contains(name)) {
            Some(name) => {
                // In the words of another vocabulary, or not at all.
                let op = match name {
                    "attention" => "build".to_owned(),
                    name => name.replace('_', "").to_uppercase(),
                };
                let reason = "it is refused here".to_owned();
                Box::pin(async move { Err(BackendError::Unsupported { op, reason }) })
            }
            None => self.backend.compile(graph, weights, states),
        }
    }

    fn drop_plan(&mut self, id: PlanId) {
        self.backend.drop_plan(id);
    }

    fn run<'a>(
        &'a mut self,
        plan: PlanId,
        inputs: &'a [(&'a str, &'a Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<Tensor>, BackendError>> {
        self.backend.run(plan, inputs, read)
    }

    fn memory(&self) -> MemoryUse {
        self.backend.memory()
    }
}
