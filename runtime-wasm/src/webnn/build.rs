//! A plan: the engine's graph as it is to be built, and the browser's graph while it is.

use std::collections::BTreeMap;
use std::rc::Rc;

use fewbit_engine::backend::{BackendError, StateId, WeightId};
use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::pass::fold_constants;
use fewbit_engine::graph::{Graph, Op, Source, ValueId};
use fewbit_engine::tensor::DataType;
use js_sys::Object;

use super::api::{self, Operand, Tensor, set, settled};
use super::backend::Connection;
use super::lower::Lower;
use super::weights::Weight;

/// What the names of states begin with among inputs and outputs.
const STATE: &str = "state:";

pub(super) struct Plan {
    pub(super) graph: Rc<Graph>,
    pub(super) weights: Rc<BTreeMap<String, WeightId>>,
    /// States that the graph reads, and those that it writes, by the names of its inputs and outputs.
    pub(super) reads: Vec<(String, StateId)>,
    pub(super) writes: Vec<(String, StateId)>,
    pub(super) built: Option<Built>,
    /// When it was last run.
    pub(super) used: u64,
}

impl Plan {
    pub(super) fn new(
        graph: &Graph,
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Plan, BackendError> {
        let mut named = graph.clone();
        // What a state becomes is an output. Where a graph appends twice, the second takes the first one's place.
        let mut becomes: BTreeMap<ValueId, String> = BTreeMap::new();
        for (id, name, _) in graph.states() {
            becomes.insert(id, name.to_owned());
        }
        let mut written: BTreeMap<String, ValueId> = BTreeMap::new();
        for node in &graph.nodes {
            if let (Op::KvAppend, Some(name)) = (&node.op, becomes.get(&node.inputs[0]).cloned()) {
                becomes.insert(node.outputs[0], name.clone());
                written.insert(name, node.outputs[0]);
            }
        }
        for (name, id) in &written {
            named.outputs.push((format!("{STATE}{name}"), *id));
        }
        let keep = |op: &Op| matches!(op, Op::BlockMatmul { .. } | Op::Gather { .. });
        let graph = fold_constants(&decompose(&named, |op, _| keep(op))?)?;
        let state = |name: &str| {
            let missing = || BackendError::Internal(format!("there is no state named {name}"));
            let id = states.get(name).copied().ok_or_else(missing)?;
            Ok::<_, BackendError>((format!("{STATE}{name}"), id))
        };
        let reads = graph.states().map(|(_, name, _)| state(name));
        Ok(Plan {
            reads: reads.collect::<Result<_, _>>()?,
            writes: written
                .keys()
                .map(|name| state(name))
                .collect::<Result<_, _>>()?,
            graph: Rc::new(graph),
            weights: Rc::new(weights.clone()),
            built: None,
            used: 0,
        })
    }
}

/// An input or output that crosses for each run, and its tensor.
pub(super) struct Port {
    pub(super) name: String,
    pub(super) data_type: DataType,
    pub(super) shape: Vec<usize>,
    pub(super) tensor: Tensor,
}

/// A graph of the browser with the tensors of its inputs and outputs. States' tensors are the states'.
pub(super) struct Built {
    pub(super) graph: api::Graph,
    pub(super) inputs: Vec<Port>,
    pub(super) outputs: Vec<Port>,
    /// Bytes of the constants that went in.
    pub(super) bytes: u64,
}

impl Drop for Built {
    fn drop(&mut self) {
        for port in self.inputs.iter().chain(&self.outputs) {
            port.tensor.destroy_tensor();
        }
        self.graph.destroy_graph();
    }
}

impl Built {
    /// # Errors
    /// [`BackendError::Unsupported`] with what the browser refuses, and what loss of the context and lack of memory give.
    pub(super) async fn new(
        connection: &Connection,
        graph: &Graph,
        ids: &BTreeMap<String, WeightId>,
        weights: &[Weight],
    ) -> Result<Built, BackendError> {
        let mut lower = Lower::new(connection, graph, ids, weights)?;
        let mut given: Vec<(&str, DataType, Vec<usize>)> = Vec::new();
        for (index, value) in graph.values.iter().enumerate() {
            let id = ValueId(index as u32);
            match &value.source {
                Source::Input(name) => {
                    let (data_type, shape) = lower.plain(id)?;
                    lower.input(id, name)?;
                    given.push((name, data_type, shape));
                }
                Source::State(name) => lower.input(id, &format!("{STATE}{name}"))?,
                _ => {}
            }
        }
        for node in &graph.nodes {
            lower.node(node)?;
        }
        let named = Object::new();
        let mut made: Vec<(&str, DataType, Vec<usize>)> = Vec::new();
        let mut taken: Vec<ValueId> = Vec::new();
        for (name, id) in &graph.outputs {
            let mut operand: Operand = lower.operand(*id)?;
            // The browser wants outputs that an operator made, each its own.
            if !matches!(graph.value(*id).source, Source::Node(..)) || taken.contains(id) {
                operand = lower.identity(&operand)?;
            }
            taken.push(*id);
            set(&named, name, operand);
            if !name.starts_with(STATE) {
                let (data_type, shape) = lower.plain(*id)?;
                made.push((name, data_type, shape));
            }
        }
        let bytes = lower.bytes;
        let built = settled(lower.finish(&named)).await;
        let graph = built.map_err(|thrown| connection.refusal("build", &thrown))?;
        let mut built = Built {
            graph,
            inputs: Vec::new(),
            outputs: Vec::new(),
            bytes,
        };
        for (name, data_type, shape) in given {
            let tensor = connection.tensor(data_type, &shape, false, true).await?;
            built.inputs.push(Port {
                name: name.to_owned(),
                data_type,
                shape,
                tensor,
            });
        }
        for (name, data_type, shape) in made {
            let tensor = connection.tensor(data_type, &shape, true, false).await?;
            built.outputs.push(Port {
                name: name.to_owned(),
                data_type,
                shape,
                tensor,
            });
        }
        Ok(built)
    }
}
