//! Sessions of ONNX Runtime as the engine's back end.

use std::collections::BTreeMap;

use fewbit_engine::backend::{
    Activations, Backend, BackendError, BackendInfo, MemoryUse, PlanId, StateId, WeightId,
    WeightUse,
};
use fewbit_engine::graph::{Graph, Op};
use fewbit_engine::source::LocalFuture;
use fewbit_engine::tensor::{DataType, ElementType, Tensor};
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{DynValue, TensorElementType};

use super::library::Library;
use super::plan::Plan;
use super::provider::Provider;
use super::state::State;
use super::value::{tensor, value};
use super::weight::Weight;

/// How many sessions there are at a time: each holds a copy of the weights. Others are made again when they are run.
const MAX_SESSIONS: usize = 4;

pub(super) struct OrtBackend {
    library: Library,
    provider: Provider,
    symbols: bool,
    threads: usize,
    devices: Vec<String>,
    weights: BTreeMap<usize, Weight>,
    states: BTreeMap<usize, State>,
    plans: BTreeMap<usize, Plan>,
    clock: u64,
}

impl OrtBackend {
    pub(super) fn new(
        library: Library,
        provider: Provider,
        symbols: bool,
        threads: Option<usize>,
    ) -> Result<OrtBackend, BackendError> {
        let devices = library.devices(provider);
        if provider.is_plug_in() && devices.is_empty() {
            return Err(BackendError::Unavailable(format!(
                "{} was loaded and lists no device here; without one its sessions would run on the CPU",
                provider.identifier()
            )));
        }
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(OrtBackend {
            library,
            provider,
            symbols,
            threads: threads.unwrap_or(cores).max(1),
            devices,
            weights: BTreeMap::new(),
            states: BTreeMap::new(),
            plans: BTreeMap::new(),
            clock: 0,
        })
    }

    /// A session's options, with the provider registered.
    fn options(&self) -> Result<SessionBuilder, BackendError> {
        let unavailable = |error: &dyn std::fmt::Display| {
            BackendError::Unavailable(format!("{}: {error}", self.provider.identifier()))
        };
        let builder = Session::builder(&self.library.environment);
        let mut builder = builder.map_err(|error| unavailable(&error))?;
        if self.provider.is_plug_in() {
            let environment = &self.library.environment;
            let devices = environment.devices();
            let own = devices.filter(|device| device.ep().ok() == Some(self.provider.identifier()));
            builder = builder
                .with_devices(own, None)
                .map_err(|error| unavailable(&error))?;
        }
        if let Some(dispatch) = self.provider.dispatch(Some(self.threads)) {
            builder = builder
                .with_execution_providers([dispatch])
                .map_err(|error| unavailable(&error))?;
        }
        let internal = |error: &dyn std::fmt::Display| {
            BackendError::Internal(format!("a session's options: {error}"))
        };
        if self.provider != Provider::Cpu {
            builder = builder
                .with_disable_cpu_fallback()
                .map_err(|error| internal(&error))?;
        }
        builder
            .with_intra_threads(self.threads)
            .map_err(|error| internal(&error))
    }

    /// Makes a plan's session if it is not there, and lets another go for it.
    fn build(&mut self, id: usize) -> Result<(), BackendError> {
        self.clock += 1;
        let plan = self.plans.get_mut(&id).ok_or(unknown_plan(id))?;
        plan.used = self.clock;
        if plan.session.is_some() {
            return Ok(());
        }
        let there = self.plans.values().filter(|plan| plan.session.is_some());
        if there.count() >= MAX_SESSIONS {
            let there = self.plans.values_mut();
            let there = there.filter(|plan| plan.session.is_some());
            if let Some(oldest) = there.min_by_key(|plan| plan.used) {
                oldest.session = None;
            }
        }
        let mut builder = self.options()?;
        let plan = self.plans.get(&id).ok_or(unknown_plan(id))?;
        for initializer in &plan.initializers {
            let id = initializer.weight;
            let weight = self.weights.get(&id.0).ok_or(BackendError::Unknown {
                kind: "weight",
                id: id.0,
            })?;
            let value = weight.initializer(initializer.data_type, &initializer.shape)?;
            builder = builder
                .with_external_initializer(&initializer.name, value)
                .map_err(|error| fault(&initializer.name, &error))?;
        }
        let session = builder.commit_from_memory(&plan.model);
        let session = session.map_err(|error| refusal(&error))?;
        self.plans.get_mut(&id).ok_or(unknown_plan(id))?.session = Some(session);
        Ok(())
    }

    fn run_now(
        &mut self,
        id: usize,
        inputs: &[(&str, &Tensor)],
        read: &[&str],
    ) -> Result<Vec<Tensor>, BackendError> {
        self.build(id)?;
        let plan = self.plans.get_mut(&id).ok_or(unknown_plan(id))?;
        let begins = match &plan.position {
            Some(name) => common_position(name, given(inputs, name)?)?,
            None => 0,
        };
        let session = plan.session.as_mut().ok_or(unknown_plan(id))?;
        let told = |error: ort::Error| fault("a run", &error);
        let mut binding = session.create_binding().map_err(told)?;
        for link in &plan.links {
            let Some(past) = &link.past else { continue };
            let id = link.state;
            let state = self.states.get_mut(&id.0).ok_or(unknown_state(id))?;
            let value = match link.appended {
                true => state.tokens(begins)?,
                false => state.whole()?,
            };
            binding.bind_input(past, value).map_err(told)?;
        }
        for input in session.inputs() {
            let name = input.name();
            if plan
                .links
                .iter()
                .any(|link| link.past.as_deref() == Some(name))
            {
                continue;
            }
            let wanted = input.dtype().tensor_type();
            let value = passed(name, given(inputs, name)?, wanted)?;
            binding.bind_input(name, &value).map_err(told)?;
        }
        let host = MemoryInfo::default();
        for name in read {
            binding.bind_output_to_device(*name, &host).map_err(told)?;
        }
        let states = memory(self.provider)?;
        for link in &plan.links {
            if let Some(present) = &link.present {
                binding
                    .bind_output_to_device(present, &states)
                    .map_err(told)?;
            }
        }
        let mut made = session.run_binding(&binding).map_err(|error| run(&error))?;
        let missing =
            |name: &str| BackendError::Internal(format!("the model gives no output named {name}"));
        for link in &plan.links {
            if let Some(present) = &link.present {
                let id = link.state;
                let state = self.states.get_mut(&id.0).ok_or(unknown_state(id))?;
                state.put(made.remove(present).ok_or_else(|| missing(present))?);
            }
        }
        let results = read.iter().map(|name| {
            let value = made.get(name).ok_or_else(|| missing(name))?;
            tensor(value)
        });
        results.collect()
    }
}

impl Backend for OrtBackend {
    fn info(&self) -> BackendInfo {
        let mut features = vec![self.provider.identifier().to_owned()];
        if self.provider != Provider::Cpu {
            features.push("session.disable_cpu_ep_fallback=1".into());
        }
        for (key, value) in self.provider.options() {
            features.push(format!("{key}={value}"));
        }
        features.push(format!("intra_op_num_threads={}", self.threads));
        BackendInfo {
            name: "ort",
            adapter: format!("onnxruntime {}", self.library.version()),
            driver: (self.provider != Provider::Cpu && !self.devices.is_empty())
                .then(|| self.devices.join(", ")),
            software: false,
            features,
            threads: self.threads,
            activations: Activations::Float,
        }
    }

    fn supports(&self, op: &Op, _inputs: &[ElementType]) -> bool {
        // The exporter has the rest; appending to a state is decomposed when a plan is made.
        !matches!(op, Op::Fused(_) | Op::RmsNormalization { .. })
    }

    fn takes_symbols(&self) -> bool {
        self.symbols
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        _usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        let id = free(&self.weights);
        self.weights.insert(id, Weight::new(name, element, shape)?);
        Ok(WeightId(id))
    }

    fn write_weight(
        &mut self,
        id: WeightId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        let weight = self.weights.get_mut(&id.0).ok_or(unknown_weight(id))?;
        weight.write(offset, bytes)
    }

    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError> {
        let weight = self.weights.get(&id.0).ok_or(unknown_weight(id))?;
        weight.finish()
    }

    fn drop_weight(&mut self, id: WeightId) {
        self.weights.remove(&id.0);
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        let id = free(&self.states);
        self.states.insert(id, State::new(data_type, shape));
        Ok(StateId(id))
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        let state = self.states.get_mut(&id.0).ok_or(unknown_state(id))?;
        state.grow(axis, size);
        Ok(())
    }

    fn reset_state(&mut self, id: StateId, shape: &[usize]) -> Result<(), BackendError> {
        let state = self.states.get_mut(&id.0).ok_or(unknown_state(id))?;
        state.reset(shape);
        Ok(())
    }

    fn drop_state(&mut self, id: StateId) {
        self.states.remove(&id.0);
    }

    fn compile<'a>(
        &'a mut self,
        graph: &'a Graph,
        weights: &'a BTreeMap<String, WeightId>,
        states: &'a BTreeMap<String, StateId>,
    ) -> LocalFuture<'a, Result<PlanId, BackendError>> {
        Box::pin(async move {
            let id = free(&self.plans);
            let plan = Plan::new(graph, self.symbols, weights, states)?;
            self.plans.insert(id, plan);
            match self.build(id) {
                Ok(()) => Ok(PlanId(id)),
                Err(error) => {
                    self.plans.remove(&id);
                    Err(error)
                }
            }
        })
    }

    fn drop_plan(&mut self, id: PlanId) {
        self.plans.remove(&id.0);
    }

    fn run<'a>(
        &'a mut self,
        plan: PlanId,
        inputs: &'a [(&'a str, &'a Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<Tensor>, BackendError>> {
        Box::pin(async move { self.run_now(plan.0, inputs, read) })
    }

    fn memory(&self) -> MemoryUse {
        let there = self.plans.values().filter(|plan| plan.session.is_some());
        MemoryUse {
            weights: self.weights.values().map(Weight::held).sum(),
            states: self.states.values().map(State::held).sum(),
            plans: there.map(Plan::bytes).sum(),
        }
    }
}

/// Where a provider's states are.
fn memory(provider: Provider) -> Result<MemoryInfo<'static>, BackendError> {
    let Some(device) = provider.memory() else {
        return Ok(MemoryInfo::default());
    };
    device_memory(device).map_err(|error| fault("a device's memory", &error))
}

fn device_memory(device: AllocationDevice<'static>) -> ort::Result<MemoryInfo<'static>> {
    MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default)
}

fn given<'a>(inputs: &[(&str, &'a Tensor)], name: &str) -> Result<&'a Tensor, BackendError> {
    let found = inputs.iter().find(|(known, _)| *known == name);
    found
        .map(|(_, tensor)| *tensor)
        .ok_or_else(|| BackendError::Input {
            name: name.to_owned(),
            message: "it was not given".into(),
        })
}

/// Where a run's tokens begin, which a model with caches has once for all rows.
fn common_position(name: &str, position: &Tensor) -> Result<usize, BackendError> {
    let rows = position.as_i32()?;
    let first = rows.first().copied().unwrap_or_default();
    if rows.iter().any(|&row| row != first) {
        return Err(BackendError::Unsupported {
            op: name.to_owned(),
            reason: "the rows of a batch must be equally long, as the model has one length for all of its caches"
                .into(),
        });
    }
    usize::try_from(first).map_err(|_| BackendError::Input {
        name: name.to_owned(),
        message: format!("{first} is no position"),
    })
}

/// An input as the model wants it: ids, masks and places are of 64 bits there.
fn passed(
    name: &str,
    given: &Tensor,
    wanted: Option<TensorElementType>,
) -> Result<DynValue, BackendError> {
    if given.data_type() == DataType::I32 && wanted == Some(TensorElementType::Int64) {
        let wide: Vec<i64> = given.as_i32()?.iter().map(|&x| i64::from(x)).collect();
        return super::value::made(given.shape(), wide);
    }
    value(given.data_type(), given.shape(), given.bytes()).map_err(|error| match error {
        BackendError::Unsupported { reason, .. } => BackendError::Unsupported {
            op: name.to_owned(),
            reason,
        },
        other => other,
    })
}

/// Why a session could not be made: what a provider does not take is no fault of ours.
fn refusal(error: &ort::Error) -> BackendError {
    use ort::ErrorCode as Code;
    let text = error.to_string();
    if text.to_lowercase().contains("bad_alloc") || text.contains("Failed to allocate memory") {
        return BackendError::OutOfMemory(text);
    }
    match error.code() {
        Code::InvalidGraph | Code::InvalidProtobuf => fault("a model", error),
        _ => BackendError::Unsupported {
            op: "the graph".into(),
            reason: text,
        },
    }
}

fn run(error: &ort::Error) -> BackendError {
    let text = error.to_string();
    match error.code() {
        ort::ErrorCode::DeviceReset => BackendError::DeviceLost(text),
        ort::ErrorCode::NotImplemented => BackendError::Unsupported {
            op: "a run".into(),
            reason: text,
        },
        _ if text.contains("Failed to allocate memory") => BackendError::OutOfMemory(text),
        _ => BackendError::Internal(format!("a run: {text}")),
    }
}

pub(super) fn fault<R>(doing: &str, error: &ort::Error<R>) -> BackendError {
    BackendError::Internal(format!("{doing}: {error}"))
}

fn free<T>(taken: &BTreeMap<usize, T>) -> usize {
    taken.last_key_value().map_or(0, |(last, _)| last + 1)
}

fn unknown_plan(id: usize) -> BackendError {
    BackendError::Unknown { kind: "plan", id }
}

fn unknown_weight(id: WeightId) -> BackendError {
    BackendError::Unknown {
        kind: "weight",
        id: id.0,
    }
}

fn unknown_state(id: StateId) -> BackendError {
    BackendError::Unknown {
        kind: "state",
        id: id.0,
    }
}
