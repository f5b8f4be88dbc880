//! A graph made into steps over an arena.

use std::collections::BTreeMap;

use crate::backend::{BackendError, StateId, WeightId};
use crate::graph::memory::MemoryPlan;
use crate::graph::op::ReduceKind;
use crate::graph::{Dim, Graph, Node, Op, Source, ValueId};
use crate::tensor::{ElementType, Tensor};

use super::arena::{Address, Arena, Place};
use super::device::Stores;
use super::run::Run;
use super::step::Step;

const ALIGNMENT: usize = 64;

/// What a run does, in order.
pub(super) struct Plan {
    steps: Vec<Step>,
    inputs: Vec<(String, Place)>,
    outputs: Vec<(String, Place)>,
    arena_bytes: usize,
}

impl Plan {
    pub(super) fn new(
        graph: &Graph,
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Plan, BackendError> {
        let memory = MemoryPlan::new(graph, ALIGNMENT)?;
        let place = |id: ValueId| -> Result<Place, BackendError> {
            let value = graph.value(id);
            let shape = value.fixed_shape()?;
            let address = match memory.region(id) {
                Some(region) => Address::Arena {
                    offset: region.offset,
                    bytes: value.element.byte_len(&shape).unwrap_or(0),
                },
                None => external(graph, memory.root(id), weights, states)?,
            };
            Ok(Place {
                address,
                element: value.element,
                shape,
            })
        };
        let precise = measures_ranges(graph);
        let mut steps = Vec::with_capacity(graph.nodes.len());
        for node in &graph.nodes {
            if matches!(node.op, Op::Reshape { .. }) {
                continue;
            }
            let inputs: Result<Vec<Place>, BackendError> =
                node.inputs.iter().map(|&id| place(id)).collect();
            steps.push(Step::new(
                &node.op,
                inputs?,
                place(node.outputs[0])?,
                precise,
            )?);
        }
        let mut inputs = Vec::with_capacity(graph.inputs.len());
        for &id in &graph.inputs {
            if let Source::Input(name) = &graph.value(id).source {
                inputs.push((name.clone(), place(id)?));
            }
        }
        let outputs: Result<Vec<_>, BackendError> = graph
            .outputs
            .iter()
            .map(|(name, id)| Ok((name.clone(), place(*id)?)))
            .collect();
        Ok(Plan {
            steps,
            inputs,
            outputs: outputs?,
            arena_bytes: memory.arena_bytes,
        })
    }

    pub(super) fn arena_bytes(&self) -> usize {
        self.arena_bytes
    }

    /// Runs the steps; `inputs` must be all of the graph's, in any order.
    pub(super) fn run(
        &self,
        arena: &mut Arena,
        stores: &mut Stores<'_>,
        inputs: &[(&str, &Tensor)],
        read: &[&str],
    ) -> Result<Vec<Tensor>, BackendError> {
        let inputs = self.sort_inputs(inputs)?;
        let mut run = Run::new(arena, stores, &inputs);
        for step in &self.steps {
            step.run(&mut run)?;
        }
        read.iter()
            .map(|name| {
                let found = self.outputs.iter().find(|(known, _)| known == name);
                let (_, place) = found.ok_or_else(|| BackendError::Input {
                    name: (*name).to_owned(),
                    message: "the plan has no such output".into(),
                })?;
                run.read(place)
            })
            .collect()
    }

    fn sort_inputs<'t>(
        &self,
        given: &[(&str, &'t Tensor)],
    ) -> Result<Vec<&'t Tensor>, BackendError> {
        self.inputs
            .iter()
            .map(|(name, place)| {
                let found = given.iter().find(|(known, _)| known == name);
                let fault = |message: String| BackendError::Input {
                    name: name.clone(),
                    message,
                };
                let (_, tensor) = found.ok_or_else(|| fault("not given".into()))?;
                let same = ElementType::Plain(tensor.data_type()) == place.element
                    && tensor.shape() == place.shape.as_slice();
                if !same {
                    return Err(fault(format!(
                        "{} {:?} given, {} {:?} wanted",
                        tensor.data_type(),
                        tensor.shape(),
                        place.element,
                        place.shape
                    )));
                }
                Ok(*tensor)
            })
            .collect()
    }
}

/// Whether a graph quantizes values by the range that they have in a run, and multiplies the integers.
///
/// A value that is on the verge of two integers is then rounded to the other one for the least of errors, and with it changes
/// what follows. So that all devices decide alike, what is summed before is as exact as it can be.
fn measures_ranges(graph: &Graph) -> bool {
    let multiplies = |op: &Op| matches!(op, Op::BlockMatmul { exact: true, .. });
    let measures = |node: &Node| {
        let is_range = matches!(&node.op, Op::Reduce(reduce) if reduce.kind == ReduceKind::Max);
        let value = graph.value(node.outputs[0]);
        is_range && value.element == ElementType::F32 && value.shape.iter().all(Dim::is_one)
    };
    let mut nodes = graph.nodes.iter();
    nodes.clone().any(|node| multiplies(&node.op)) && nodes.any(measures)
}

fn external(
    graph: &Graph,
    root: ValueId,
    weights: &BTreeMap<String, WeightId>,
    states: &BTreeMap<String, StateId>,
) -> Result<Address, BackendError> {
    let missing = |name: &str| BackendError::Weight {
        name: name.to_owned(),
        message: "was never created".into(),
    };
    Ok(match &graph.value(root).source {
        Source::Input(_) => {
            let number = graph.inputs.iter().position(|&id| id == root);
            Address::Input(
                number.ok_or_else(|| BackendError::Internal("an input is not listed".into()))?,
            )
        }
        Source::Weight(name) => Address::Weight(*weights.get(name).ok_or_else(|| missing(name))?),
        Source::State(name) => Address::State(*states.get(name).ok_or_else(|| missing(name))?),
        Source::Constant(tensor) => Address::Constant(tensor.clone()),
        Source::Node(..) => {
            return Err(BackendError::Internal(
                "a node's value has no place in the arena".into(),
            ));
        }
    })
}
