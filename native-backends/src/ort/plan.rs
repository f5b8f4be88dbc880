//! A plan: the engine's graph as an ONNX model, and the session while it is there.

use std::collections::BTreeMap;

use fewbit_engine::backend::{BackendError, StateId, WeightId};
use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::{Graph, Op, ValueId};
use fewbit_engine::tensor::DataType;
use fewbit_onnx::{ExportError, Prepared, prepare};
use ort::session::Session;

/// The file that the model says its weights are in; they are given in memory.
const BESIDE: &str = "weights";

/// What the names of outputs begin with that are states.
const STATE: &str = "state:";

/// A state as a model's input and output.
pub(super) struct Link {
    pub(super) state: StateId,
    pub(super) past: Option<String>,
    pub(super) present: Option<String>,
    /// Whether a run adds its tokens after those that are in it.
    pub(super) appended: bool,
}

/// A weight as an initializer.
pub(super) struct Initializer {
    pub(super) name: String,
    pub(super) weight: WeightId,
    pub(super) data_type: DataType,
    pub(super) shape: Vec<usize>,
}

pub(super) struct Plan {
    /// Without its weights.
    pub(super) model: Vec<u8>,
    pub(super) initializers: Vec<Initializer>,
    pub(super) links: Vec<Link>,
    /// The graph's input that the model has not.
    pub(super) position: Option<String>,
    pub(super) session: Option<Session>,
    /// When it was last run.
    pub(super) used: u64,
}

impl Plan {
    /// # Errors
    /// [`BackendError::Unsupported`] for what is not exported.
    pub(super) fn new(
        graph: &Graph,
        symbols: bool,
        weights: &BTreeMap<String, WeightId>,
        states: &BTreeMap<String, StateId>,
    ) -> Result<Plan, BackendError> {
        let symbols = symbols && !graph.symbols().is_empty();
        let (prepared, written) = match symbols {
            true => (prepare(graph).map_err(refused)?, Vec::new()),
            false => with_sizes(graph)?,
        };
        let position = prepared.position().map(str::to_owned);
        let links = prepared.states().iter().map(|port| {
            let missing = || BackendError::Internal(format!("there is no state {}", port.state));
            let output = format!("{STATE}{}", port.state);
            let present = match written.contains(&port.state) {
                true => Some(output),
                false => port.present.clone(),
            };
            Ok(Link {
                state: states.get(&port.state).copied().ok_or_else(missing)?,
                appended: symbols && port.past.is_some() && present.is_some(),
                past: port.past.clone(),
                present,
            })
        });
        let links = links.collect::<Result<_, BackendError>>()?;
        let initializers = prepared.weights().iter().map(|initializer| {
            let name = initializer.weight();
            let missing = || BackendError::Internal(format!("there is no weight {name}"));
            Ok(Initializer {
                name: initializer.name().to_owned(),
                weight: weights.get(name).copied().ok_or_else(missing)?,
                data_type: initializer.data_type(),
                shape: initializer.shape().to_vec(),
            })
        });
        let initializers = initializers.collect::<Result<_, BackendError>>()?;
        Ok(Plan {
            model: prepared.without_weights(BESIDE).map_err(refused)?,
            initializers,
            links,
            position,
            session: None,
            used: 0,
        })
    }

    /// Bytes of its initializers.
    pub(super) fn bytes(&self) -> u64 {
        let bytes = self.initializers.iter().map(|initializer| {
            let elements: usize = initializer.shape.iter().product();
            (elements * initializer.data_type.bytes()) as u64
        });
        bytes.sum()
    }
}

/// The model of a graph without symbols, in which a state is as large as its capacity and what it becomes is an output; and
/// the names of the states that become something.
fn with_sizes(graph: &Graph) -> Result<(Prepared, Vec<String>), BackendError> {
    let mut named = graph.clone();
    let mut becomes: BTreeMap<ValueId, String> = BTreeMap::new();
    for (id, name, _) in graph.states() {
        becomes.insert(id, name.to_owned());
    }
    // Where a graph appends twice, the second takes the first one's place.
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
    let decomposed = decompose(&named, |op, _| !matches!(op, Op::KvAppend))?;
    let prepared = prepare(&decomposed).map_err(refused)?;
    Ok((prepared, written.into_keys().collect()))
}

fn refused(error: ExportError) -> BackendError {
    match error {
        ExportError::Graph(error) => BackendError::Graph(error),
        ExportError::Operator { op, reason } => BackendError::Unsupported {
            op: op.to_owned(),
            reason,
        },
        other => BackendError::Unsupported {
            op: "ONNX export".into(),
            reason: other.to_string(),
        },
    }
}
