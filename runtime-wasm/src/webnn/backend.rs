//! A context of the browser's WebNN as a device, and the back end that runs plans on it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use fewbit_engine::backend::{
    Activations, Backend, BackendError, BackendInfo, Device, MemoryUse, PlanId, StateId, WeightId,
    WeightUse,
};
use fewbit_engine::graph::{Graph, Op};
use fewbit_engine::source::LocalFuture;
use fewbit_engine::tensor::{self, DataType, ElementType};
use fewbit_wasm_boundary::thrown::text_of;
use js_sys::{ArrayBuffer, Object, Uint8Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use super::api::{self, Builder, Context, Tensor, get, set, settled};
use super::build::{Built, Plan};
use super::limits::Limits;
use super::state::State;
use super::weights::Weight;

/// How many graphs are built at a time: each owns a copy of the weights. Others are built again when they are run.
pub(super) const MAX_BUILT: usize = 2;

/// What a context is asked for; `None` leaves it to the browser.
#[derive(Clone, Default)]
pub(crate) struct WebnnOptions {
    /// `default`, `high-performance` or `low-power`
    pub(crate) power_preference: Option<String>,
    pub(crate) accelerated: Option<bool>,
}

/// `navigator.ml`.
pub(crate) struct WebnnDevice {
    options: WebnnOptions,
}

impl WebnnDevice {
    pub(crate) fn new(options: WebnnOptions) -> WebnnDevice {
        WebnnDevice { options }
    }
}

impl Device for WebnnDevice {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        Box::pin(async move {
            let options = Object::new();
            if let Some(preference) = &self.options.power_preference {
                set(&options, "powerPreference", preference);
            }
            if let Some(accelerated) = self.options.accelerated {
                set(&options, "accelerated", accelerated);
            }
            let context = api::create_context(&options).await;
            let connection = Connection::new(context.map_err(BackendError::Unavailable)?)?;
            let devices = connection.devices().await?;
            Ok(Box::new(WebnnBackend {
                connection,
                devices,
                options: self.options.clone(),
                weights: Vec::new(),
                states: BTreeMap::new(),
                plans: BTreeMap::new(),
                clock: 0,
            }) as Box<dyn Backend>)
        })
    }
}

/// A context, what it can, and whether it is lost.
pub(super) struct Connection {
    pub(super) context: Context,
    pub(super) limits: Limits,
    lost: Rc<RefCell<Option<String>>>,
}

impl Connection {
    fn new(context: Context) -> Result<Connection, BackendError> {
        let lost = Rc::new(RefCell::new(None));
        if let Some(promise) = context.lost() {
            let lost = lost.clone();
            wasm_bindgen_futures::spawn_local(async move {
                let info = JsFuture::from(promise)
                    .await
                    .unwrap_or_else(|thrown| thrown);
                let message = get(&info, "message").as_string();
                *lost.borrow_mut() = Some(message.unwrap_or_else(|| "the context was lost".into()));
            });
        }
        let limits = context.op_support_limits().map_err(|thrown| {
            BackendError::Unavailable(format!("opSupportLimits: {}", text_of(&thrown)))
        })?;
        Ok(Connection {
            context,
            limits: Limits::new(limits),
            lost,
        })
    }

    /// What was thrown while `doing` something, as a loss of the context if it is one.
    pub(super) fn fault(&self, doing: &str, thrown: &JsValue) -> BackendError {
        let text = text_of(thrown);
        if let Some(reason) = &*self.lost.borrow() {
            return BackendError::DeviceLost(format!("{reason} ({doing}: {text})"));
        }
        let name = get(thrown, "name").as_string().unwrap_or_default();
        let lower = text.to_lowercase();
        // The browser may throw before it resolves the promise of the loss.
        if name == "InvalidStateError" && (lower.contains("lost") || lower.contains("destroyed")) {
            return BackendError::DeviceLost(format!("{doing}: {text}"));
        }
        if lower.contains("memory") || name == "QuotaExceededError" {
            return BackendError::OutOfMemory(format!("{doing}: {text}"));
        }
        BackendError::Internal(format!("{doing}: {text}"))
    }

    /// What the browser threw instead of an operator or a graph: a refusal, unless the context is lost or memory is short.
    pub(super) fn refusal(&self, operator: &str, thrown: &JsValue) -> BackendError {
        match self.fault(operator, thrown) {
            BackendError::Internal(_) => BackendError::Unsupported {
                op: operator.to_owned(),
                reason: text_of(thrown),
            },
            other => other,
        }
    }

    /// A new tensor, of zeros.
    pub(super) async fn tensor(
        &self,
        data_type: DataType,
        shape: &[usize],
        readable: bool,
        writable: bool,
    ) -> Result<Tensor, BackendError> {
        let descriptor = api::descriptor(type_name(data_type)?, shape);
        set(&descriptor, "readable", readable);
        set(&descriptor, "writable", writable);
        settled(self.context.create_tensor(&descriptor))
            .await
            .map_err(|thrown: JsValue| self.fault("createTensor", &thrown))
    }

    pub(super) fn write(&self, tensor: &Tensor, bytes: &[u8]) -> Result<(), BackendError> {
        self.context
            .write_tensor(tensor, &Uint8Array::from(bytes))
            .map_err(|thrown| self.fault("writeTensor", &thrown))
    }

    pub(super) async fn read(&self, tensor: &Tensor) -> Result<ArrayBuffer, BackendError> {
        settled(self.context.read_tensor(tensor))
            .await
            .map_err(|thrown: JsValue| self.fault("readTensor", &thrown))
    }

    /// The devices that the browser computes on, as a graph of it tells; empty where it does not.
    async fn devices(&self) -> Result<String, BackendError> {
        let fault = |thrown: JsValue| self.fault("build", &thrown);
        let builder = Builder::new(&self.context).map_err(fault)?;
        let descriptor = api::descriptor("float32", &[1]);
        let x = api::call(
            &builder,
            "input",
            &[JsValue::from("x"), descriptor.into()].iter().collect(),
        );
        let y =
            api::call(&builder, "relu", &[x.map_err(fault)?].iter().collect()).map_err(fault)?;
        let outputs = Object::new();
        set(&outputs, "y", y);
        let graph: api::Graph = settled(builder.build(&outputs)).await.map_err(fault)?;
        let devices = graph
            .devices()
            .map(|devices| String::from(devices.join(", ")));
        graph.destroy_graph();
        Ok(devices.unwrap_or_default())
    }
}

pub(super) fn type_name(data_type: DataType) -> Result<&'static str, BackendError> {
    api::type_name(data_type).ok_or_else(|| BackendError::Unsupported {
        op: data_type.name().to_owned(),
        reason: "WebNN has no such data type".into(),
    })
}

pub(super) struct WebnnBackend {
    connection: Connection,
    devices: String,
    options: WebnnOptions,
    weights: Vec<Weight>,
    states: BTreeMap<usize, State>,
    plans: BTreeMap<usize, Plan>,
    clock: u64,
}

impl WebnnBackend {
    fn weight(&mut self, id: WeightId) -> Result<&mut Weight, BackendError> {
        let unknown = BackendError::Unknown {
            kind: "weight",
            id: id.0,
        };
        self.weights.get_mut(id.0).ok_or(unknown)
    }

    /// Builds a plan's graph if it is not there, and lets another go for it.
    async fn build(&mut self, id: usize) -> Result<(), BackendError> {
        self.clock += 1;
        let clock = self.clock;
        let plan = self.plans.get_mut(&id).ok_or(unknown_plan(id))?;
        plan.used = clock;
        if plan.built.is_some() {
            return Ok(());
        }
        let graph = plan.graph.clone();
        let weights = plan.weights.clone();
        let built = self.plans.values().filter(|plan| plan.built.is_some());
        if built.count() >= MAX_BUILT {
            let oldest = self.plans.values_mut().filter(|plan| plan.built.is_some());
            if let Some(oldest) = oldest.min_by_key(|plan| plan.used) {
                oldest.built = None;
            }
        }
        let built = Built::new(&self.connection, &graph, &weights, &self.weights).await?;
        self.plans.get_mut(&id).ok_or(unknown_plan(id))?.built = Some(built);
        Ok(())
    }

    async fn run_now(
        &mut self,
        id: usize,
        inputs: &[(&str, &tensor::Tensor)],
        read: &[&str],
    ) -> Result<Vec<tensor::Tensor>, BackendError> {
        self.build(id).await?;
        let plan = self.plans.get(&id).ok_or(unknown_plan(id))?;
        let built = plan.built.as_ref().ok_or(unknown_plan(id))?;
        let (from, to) = (Object::new(), Object::new());
        for (name, state) in &plan.reads {
            let state = self.states.get_mut(&state.0).ok_or(unknown_state(*state))?;
            state.settle(&self.connection).await?;
            if let Some((now, _)) = state.tensors() {
                set(&from, name, now);
            }
        }
        for (name, state) in &plan.writes {
            let state = self.states.get(&state.0).ok_or(unknown_state(*state))?;
            if let Some((_, next)) = state.tensors() {
                set(&to, name, next);
            }
        }
        for port in &built.inputs {
            let given = inputs.iter().find(|(name, _)| *name == port.name);
            let wrong = |message: String| BackendError::Input {
                name: port.name.clone(),
                message,
            };
            let (_, given) = given.ok_or_else(|| wrong("it was not given".into()))?;
            if given.data_type() != port.data_type || given.shape() != port.shape {
                return Err(wrong(format!(
                    "{} {:?} where the plan has {} {:?}",
                    given.data_type(),
                    given.shape(),
                    port.data_type,
                    port.shape
                )));
            }
            self.connection.write(&port.tensor, given.bytes())?;
            set(&from, &port.name, &port.tensor);
        }
        for port in &built.outputs {
            set(&to, &port.name, &port.tensor);
        }
        self.connection
            .context
            .dispatch(&built.graph, &from, &to)
            .map_err(|thrown| self.connection.fault("dispatch", &thrown))?;
        for (_, state) in &plan.writes {
            if let Some(state) = self.states.get_mut(&state.0) {
                state.swap();
            }
        }
        let mut results = Vec::with_capacity(read.len());
        for name in read {
            let port = built.outputs.iter().find(|port| port.name == *name);
            let port = port.ok_or_else(|| {
                BackendError::Internal(format!("the plan has no output named {name}"))
            })?;
            let bytes = Uint8Array::new(&self.connection.read(&port.tensor).await?.into());
            let result = tensor::Tensor::from_bytes(port.data_type, &port.shape, &bytes.to_vec());
            results.push(result?);
        }
        Ok(results)
    }
}

impl Backend for WebnnBackend {
    fn info(&self) -> BackendInfo {
        let mut features = Vec::new();
        if let Some(preference) = &self.options.power_preference {
            features.push(format!("powerPreference={preference}"));
        }
        if let Some(accelerated) = self.options.accelerated {
            features.push(format!("accelerated={accelerated}"));
        }
        BackendInfo {
            name: "webnn",
            adapter: match self.devices.as_str() {
                "" => "unnamed".to_owned(),
                devices => devices.to_owned(),
            },
            driver: None,
            software: false,
            features,
            threads: 1,
            activations: Activations::Float,
        }
    }

    fn supports(&self, op: &Op, _inputs: &[ElementType]) -> bool {
        // Appending to a state is decomposed when a plan is made, which has to know what the new state is.
        matches!(
            op,
            Op::BlockMatmul { .. } | Op::Gather { .. } | Op::KvAppend
        )
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        _usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        self.weights.push(Weight::new(name, element, shape)?);
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
        self.weight(id)?.finish()
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        let id = free(&self.states);
        self.states.insert(id, State::new(data_type, shape)?);
        Ok(StateId(id))
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        let state = self.states.get_mut(&id.0).ok_or(unknown_state(id))?;
        state.grow(axis, size);
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
            self.plans.insert(id, Plan::new(graph, weights, states)?);
            match self.build(id).await {
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
        inputs: &'a [(&'a str, &'a tensor::Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<tensor::Tensor>, BackendError>> {
        Box::pin(self.run_now(plan.0, inputs, read))
    }

    fn memory(&self) -> MemoryUse {
        let built = self.plans.values().filter_map(|plan| plan.built.as_ref());
        MemoryUse {
            weights: self.weights.iter().map(Weight::held).sum(),
            states: self.states.values().map(State::held).sum(),
            plans: built.map(|built| built.bytes).sum(),
        }
    }

    fn lose_device(&mut self) -> bool {
        self.connection.context.destroy();
        true
    }
}

impl Drop for WebnnBackend {
    fn drop(&mut self) {
        self.plans.clear();
        self.states.clear();
        self.connection.context.destroy();
    }
}

fn free<T>(taken: &BTreeMap<usize, T>) -> usize {
    taken.last_key_value().map_or(0, |(last, _)| last + 1)
}

fn unknown_plan(id: usize) -> BackendError {
    BackendError::Unknown { kind: "plan", id }
}

fn unknown_state(id: StateId) -> BackendError {
    BackendError::Unknown {
        kind: "state",
        id: id.0,
    }
}
