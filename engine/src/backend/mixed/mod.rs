//! Two back ends as one: the first computes what it takes, the second what the first refuses.
//!
//! A graph is compiled by the first. Operators that it says to be [`Unsupported`](BackendError::Unsupported) go to the second from then
//! on, the graph is cut into pieces between them ([`pieces`]), and values cross as tensors. A state has its place on
//! one of the two; weights are kept by both.

mod pieces;

use std::collections::{BTreeMap, BTreeSet};

use super::numbered::Numbered;
use super::{
    Backend, BackendError, BackendInfo, Device, MemoryUse, PlanId, StateId, WeightId, WeightUse,
};
use crate::graph::{Graph, Node, NodeId, Op, Source, ValueId};
use crate::source::LocalFuture;
use crate::tensor::{DataType, ElementType, Tensor};
use pieces::{assign, cut, name_of};

/// One of the two back ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    First,
    Second,
}

/// Opens both.
pub struct MixedDevice {
    first: Box<dyn Device>,
    second: Box<dyn Device>,
}

impl MixedDevice {
    /// `second` computes what `first` refuses.
    pub fn new(first: Box<dyn Device>, second: Box<dyn Device>) -> MixedDevice {
        MixedDevice { first, second }
    }
}

impl Device for MixedDevice {
    fn open(&self) -> LocalFuture<'_, Result<Box<dyn Backend>, BackendError>> {
        Box::pin(async move {
            Ok(Box::new(MixedBackend {
                first: self.first.open().await?,
                second: self.second.open().await?,
                weights: Vec::new(),
                states: Numbered::new("state"),
                plans: Numbered::new("plan"),
                refused: BTreeSet::new(),
            }) as Box<dyn Backend>)
        })
    }
}

struct MixedBackend {
    first: Box<dyn Backend>,
    second: Box<dyn Backend>,
    weights: Vec<(WeightId, WeightId)>,
    states: Numbered<State>,
    plans: Numbered<Plan>,
    /// Names of operators that the first refused.
    refused: BTreeSet<&'static str>,
}

struct State {
    first: StateId,
    second: StateId,
    /// Once a plan uses it; until then both have zeros.
    home: Option<Which>,
}

struct Plan {
    pieces: Vec<Compiled>,
    /// The graph's inputs by what they are called between pieces.
    inputs: BTreeMap<String, String>,
    outputs: BTreeMap<String, Output>,
}

struct Compiled {
    which: Which,
    id: PlanId,
    inputs: Vec<String>,
    outputs: Vec<String>,
}

enum Output {
    /// Made by a piece, or given.
    Value(String),
    Constant(std::rc::Rc<Tensor>),
}

impl MixedBackend {
    fn of(&mut self, which: Which) -> &mut dyn Backend {
        match which {
            Which::First => self.first.as_mut(),
            Which::Second => self.second.as_mut(),
        }
    }

    fn drop_pieces(&mut self, pieces: &[Compiled]) {
        for piece in pieces {
            self.of(piece.which).drop_plan(piece.id);
        }
    }

    async fn compile_now(
        &mut self,
        graph: &Graph,
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Plan, BackendError> {
        let mut homes = BTreeMap::new();
        for (_, name, _) in graph.states() {
            let id = states.get(name).ok_or_else(|| unknown_state(name))?;
            if let Some(home) = self.states.get(id.0)?.home {
                homes.insert(name.to_owned(), home);
            }
        }
        // Nodes that are refused without a word of which operator it is.
        let mut alone: BTreeSet<NodeId> = BTreeSet::new();
        loop {
            let refused =
                |id: NodeId, op: &Op| self.refused.contains(op.name()) || alone.contains(&id);
            let (which, places) = assign(graph, |id, node| refused(id, &node.op), &homes);
            for (name, place) in &places {
                if homes.get(name).is_some_and(|home| home != place) {
                    return Err(BackendError::Unsupported {
                        op: "kv_append".into(),
                        reason: format!("state {name} is kept where this plan cannot use it"),
                    });
                }
            }
            match self.compile_pieces(graph, &which, weights, states).await? {
                Ok(pieces) => {
                    for (name, place) in places {
                        if let Some(id) = states.get(&name) {
                            self.states.get_mut(id.0)?.home = Some(place);
                        }
                    }
                    return plan(graph, pieces);
                }
                Err(refusal) => {
                    let named = |node: &Node| same_name(node.op.name(), &refusal);
                    let mine = (0..).map(NodeId).zip(&graph.nodes).zip(&which);
                    let mine = mine.filter(|(_, which)| **which == Which::First);
                    let (by_name, rest): (Vec<_>, Vec<_>) = mine
                        .map(|(node, _)| node)
                        .partition(|(_, node)| named(node));
                    match by_name.first() {
                        Some((_, node)) => {
                            self.refused.insert(node.op.name());
                        }
                        None => alone.extend(rest.iter().map(|(id, _)| *id)),
                    }
                }
            }
        }
    }

    /// The pieces as plans, or the operator that the first back end refused.
    async fn compile_pieces(
        &mut self,
        graph: &Graph,
        which: &[Which],
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Result<Vec<Compiled>, String>, BackendError> {
        let mut compiled = Vec::new();
        for piece in cut(graph, which)? {
            let own = |pair: &(WeightId, WeightId)| match piece.which {
                Which::First => pair.0,
                Which::Second => pair.1,
            };
            let weights: BTreeMap<String, WeightId> = weights
                .iter()
                .filter_map(|(name, id)| Some((name.clone(), own(self.weights.get(id.0)?))))
                .collect();
            let mut own_states = BTreeMap::new();
            for (name, id) in states {
                let state = self.states.get(id.0)?;
                let id = match piece.which {
                    Which::First => state.first,
                    Which::Second => state.second,
                };
                own_states.insert(name.clone(), id);
            }
            let backend = self.of(piece.which);
            match backend.compile(&piece.graph, &weights, &own_states).await {
                Ok(id) => compiled.push(Compiled {
                    which: piece.which,
                    id,
                    inputs: input_names(&piece.graph),
                    outputs: piece.graph.outputs.into_iter().map(|(n, _)| n).collect(),
                }),
                Err(error) => {
                    self.drop_pieces(&compiled);
                    return match error {
                        BackendError::Unsupported { op, .. } if piece.which == Which::First => {
                            Ok(Err(op))
                        }
                        error => Err(error),
                    };
                }
            }
        }
        Ok(Ok(compiled))
    }

    async fn run_now(
        &mut self,
        id: PlanId,
        inputs: &[(&str, &Tensor)],
        read: &[&str],
    ) -> Result<Vec<Tensor>, BackendError> {
        let plan = self.plans.get(id.0)?;
        let mut values: BTreeMap<String, Tensor> = BTreeMap::new();
        for (name, tensor) in inputs {
            if let Some(own) = plan.inputs.get(*name) {
                values.insert(own.clone(), (*tensor).clone());
            }
        }
        let given = |values: &BTreeMap<String, Tensor>, name: &str| {
            values.get(name).cloned().ok_or_else(|| {
                let own = plan.inputs.iter().find(|(_, own)| *own == name);
                BackendError::Input {
                    name: own.map_or(name, |(name, _)| name).to_owned(),
                    message: "it was not given".into(),
                }
            })
        };
        for piece in &plan.pieces {
            let tensors = piece.inputs.iter();
            let tensors = tensors.map(|name| Ok((name.as_str(), given(&values, name)?)));
            let tensors: Vec<(&str, Tensor)> = tensors.collect::<Result<_, BackendError>>()?;
            let inputs: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
            let names: Vec<&str> = piece.outputs.iter().map(String::as_str).collect();
            let backend = match piece.which {
                Which::First => &mut self.first,
                Which::Second => &mut self.second,
            };
            let results = backend.run(piece.id, &inputs, &names).await?;
            values.extend(piece.outputs.iter().cloned().zip(results));
        }
        read.iter()
            .map(|name| match plan.outputs.get(*name) {
                Some(Output::Value(value)) => given(&values, value),
                Some(Output::Constant(tensor)) => Ok(tensor.as_ref().clone()),
                None => Err(BackendError::Internal(format!(
                    "the plan has no output named {name}"
                ))),
            })
            .collect()
    }
}

fn plan(graph: &Graph, pieces: Vec<Compiled>) -> Result<Plan, BackendError> {
    let mut inputs = BTreeMap::new();
    for &id in &graph.inputs {
        if let Source::Input(name) = &graph.value(id).source {
            inputs.insert(name.clone(), name_of(id));
        }
    }
    let mut outputs = BTreeMap::new();
    for (name, id) in &graph.outputs {
        let output = match &graph.value(*id).source {
            Source::Constant(tensor) => Output::Constant(tensor.clone()),
            Source::Input(_) | Source::Node(..) => Output::Value(name_of(*id)),
            Source::Weight(_) | Source::State(_) => {
                return Err(BackendError::Unsupported {
                    op: "identity".into(),
                    reason: format!("output {name} is a weight or a state"),
                });
            }
        };
        outputs.insert(name.clone(), output);
    }
    Ok(Plan {
        pieces,
        inputs,
        outputs,
    })
}

fn input_names(graph: &Graph) -> Vec<String> {
    let name = |id: &ValueId| match &graph.value(*id).source {
        Source::Input(name) => Some(name.clone()),
        _ => None,
    };
    graph.inputs.iter().filter_map(name).collect()
}

/// Whether an operator is meant: back ends may have names of their own for it.
fn same_name(op: &str, told: &str) -> bool {
    let plain = |name: &str| -> String {
        let letters = name.chars().filter(char::is_ascii_alphanumeric);
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    plain(op) == plain(told) || (op == "block_matmul" && told == "gemm")
}

fn unknown_state(name: &str) -> BackendError {
    BackendError::Internal(format!("there is no state {name}"))
}

impl Backend for MixedBackend {
    fn info(&self) -> BackendInfo {
        let mut info = self.first.info();
        let others = self.refused.iter().map(|op| format!("elsewhere: {op}"));
        info.features.extend(others);
        info.threads = info.threads.max(self.second.info().threads);
        info
    }

    fn supports(&self, op: &Op, inputs: &[ElementType]) -> bool {
        // What the second alone takes whole is better cut up: of the parts the first may take most.
        self.first.supports(op, inputs) || (!op.is_composite() && self.second.supports(op, inputs))
    }

    fn keeps_64_bits(&self) -> bool {
        self.first.keeps_64_bits() && self.second.keeps_64_bits()
    }

    fn create_weight(
        &mut self,
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<WeightId, BackendError> {
        let first = self.first.create_weight(name, element, shape, usage)?;
        // Composites may have been decomposed for the first.
        let usage = WeightUse {
            plain: true,
            ..usage
        };
        let second = self.second.create_weight(name, element, shape, usage)?;
        self.weights.push((first, second));
        Ok(WeightId(self.weights.len() - 1))
    }

    fn write_weight(
        &mut self,
        id: WeightId,
        offset: u64,
        bytes: &[u8],
    ) -> Result<(), BackendError> {
        let (first, second) = self.pair(id)?;
        self.first.write_weight(first, offset, bytes)?;
        self.second.write_weight(second, offset, bytes)
    }

    fn finish_weight(&mut self, id: WeightId) -> Result<(), BackendError> {
        let (first, second) = self.pair(id)?;
        self.first.finish_weight(first)?;
        self.second.finish_weight(second)
    }

    fn drop_weight(&mut self, id: WeightId) {
        if let Ok((first, second)) = self.pair(id) {
            self.first.drop_weight(first);
            self.second.drop_weight(second);
        }
    }

    fn create_state(
        &mut self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<StateId, BackendError> {
        let state = State {
            first: self.first.create_state(data_type, shape)?,
            second: self.second.create_state(data_type, shape)?,
            home: None,
        };
        Ok(StateId(self.states.insert(state)))
    }

    fn grow_state(&mut self, id: StateId, axis: usize, size: usize) -> Result<(), BackendError> {
        let state = self.states.get(id.0)?;
        self.first.grow_state(state.first, axis, size)?;
        self.second.grow_state(state.second, axis, size)
    }

    fn drop_state(&mut self, id: StateId) {
        if let Ok(state) = self.states.get(id.0) {
            self.first.drop_state(state.first);
            self.second.drop_state(state.second);
        }
        self.states.remove(id.0);
    }

    fn compile<'a>(
        &'a mut self,
        graph: &'a Graph,
        weights: &'a BTreeMap<String, WeightId>,
        states: &'a BTreeMap<String, StateId>,
    ) -> LocalFuture<'a, Result<PlanId, BackendError>> {
        Box::pin(async move {
            let plan = self.compile_now(graph, weights, states).await?;
            Ok(PlanId(self.plans.insert(plan)))
        })
    }

    fn drop_plan(&mut self, id: PlanId) {
        if let Ok(plan) = self.plans.get_mut(id.0) {
            let pieces = std::mem::take(&mut plan.pieces);
            self.drop_pieces(&pieces);
        }
        self.plans.remove(id.0);
    }

    fn run<'a>(
        &'a mut self,
        plan: PlanId,
        inputs: &'a [(&'a str, &'a Tensor)],
        read: &'a [&'a str],
    ) -> LocalFuture<'a, Result<Vec<Tensor>, BackendError>> {
        Box::pin(self.run_now(plan, inputs, read))
    }

    fn memory(&self) -> MemoryUse {
        let (first, second) = (self.first.memory(), self.second.memory());
        MemoryUse {
            weights: first.weights + second.weights,
            states: first.states + second.states,
            plans: first.plans + second.plans,
        }
    }

    fn lose_device(&mut self) -> bool {
        self.first.lose_device() || self.second.lose_device()
    }
}

impl MixedBackend {
    fn pair(&self, id: WeightId) -> Result<(WeightId, WeightId), BackendError> {
        self.weights
            .get(id.0)
            .copied()
            .ok_or(BackendError::Unknown {
                kind: "weight",
                id: id.0,
            })
    }
}
