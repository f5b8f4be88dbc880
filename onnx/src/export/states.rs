//! States, which ONNX has not: what a run finds in one is an input, what it leaves there an output.
//!
//! A state that a graph fills from its beginning (an encoder's keys and values for its decoder) becomes an output. A state
//! that a graph goes on writing (a decoder's cache) becomes an input of the tokens so far and an output of these and the
//! run's: its capacity is no more than that, and the position where the run's tokens begin is the input's size, which takes
//! the place of the graph's input. A state that is only read becomes an input.

use std::collections::BTreeMap;

use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{Dim, Graph, Node, Op, Source, ValueId};

use super::ExportError;
use super::sizes::Measure;
use super::writer::{Writer, int, ints};
use crate::proto::{GraphProto, ValueInfoProto};

/// A state of a graph as its ONNX model has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatePort {
    /// The state's name in the graph.
    pub state: String,
    /// The input that takes what is in the state, if the model reads it.
    pub past: Option<String>,
    /// The output that gives what is in it after a run, if the model writes it.
    pub present: Option<String>,
}

/// Which of a model's inputs and outputs are the graph's states.
pub(super) fn ports(graph: &Graph, model: &GraphProto) -> Vec<StatePort> {
    let among = |list: &[ValueInfoProto], name: String| {
        let mut names = list.iter().filter_map(|value| value.name.as_deref());
        names.any(|known| known == name).then_some(name)
    };
    let states = graph.states().map(|(_, state, _)| {
        let names = Names::of(graph, state);
        StatePort {
            state: state.to_owned(),
            past: among(&model.input, names.past),
            present: among(&model.output, names.present),
        }
    });
    states.collect()
}

/// The graph with an output for each state that it only fills.
pub(super) fn as_outputs(graph: &Graph) -> Result<Graph, ExportError> {
    if graph.states().next().is_none() {
        return Ok(graph.clone());
    }
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        match (&node.op, state_of(graph, node)) {
            (Op::KvAppend, Some(name)) if fills(graph, node) => {
                // [batch, tokens, heads, size] → [batch, heads, tokens, size], which is all of the state.
                let new = rewriter.get(node.inputs[1])?;
                let name = Names::of(graph, name).present;
                let builder = rewriter.builder();
                let filled = builder.transpose(new, &[0, 2, 1, 3])?;
                builder.output(&name, filled)?;
                rewriter.replace(node.outputs[0], filled);
            }
            _ => rewriter.copy(node)?,
        }
    }
    Ok(prune(&rewriter.finish()?))
}

/// What a state is called in the file.
pub(super) struct Names {
    pub(super) past: String,
    pub(super) present: String,
}

impl Names {
    /// Hugging Face's names for the caches of a decoder: `past_key_values.0.key` and `present.0.key`, with `decoder` or
    /// `encoder` before the last part where a decoder has a source.
    pub(super) fn of(graph: &Graph, state: &str) -> Names {
        let with_source = graph
            .states()
            .any(|(_, name, _)| name.starts_with("cross_"));
        let (kind, layer) = state.rsplit_once('.').unwrap_or((state, ""));
        let name = match (kind, with_source) {
            ("k", false) => format!("{layer}.key"),
            ("v", false) => format!("{layer}.value"),
            ("k", true) => format!("{layer}.decoder.key"),
            ("v", true) => format!("{layer}.decoder.value"),
            ("cross_k", _) => format!("{layer}.encoder.key"),
            ("cross_v", _) => format!("{layer}.encoder.value"),
            _ => state.to_owned(),
        };
        Names {
            past: format!("past_key_values.{name}"),
            present: format!("present.{name}"),
        }
    }
}

/// The states of a graph as inputs.
pub(super) struct Past {
    /// The input that says where a run's tokens begin, and that the file has not.
    pub(super) position: Option<ValueId>,
    /// The shape of each state's input, and how the symbols in the states' shapes are found.
    pub(super) inputs: Vec<(ValueId, Names, Vec<Dim>)>,
    pub(super) measures: BTreeMap<String, Measure>,
    /// The number of tokens in a cache before a run.
    pub(super) symbol: Dim,
}

/// The symbol for the number of tokens in a cache before a run.
const PAST: &str = "past";

impl Past {
    /// # Errors
    /// A state that is written otherwise than token after token.
    pub(super) fn of(graph: &Graph) -> Result<Past, ExportError> {
        let symbols = graph.symbols();
        let mut past = PAST.to_owned();
        while symbols.contains(&past) {
            past.push('_');
        }
        let mut out = Past {
            position: None,
            inputs: Vec::new(),
            measures: BTreeMap::new(),
            symbol: Dim::symbol(&past),
        };
        for (id, name, value) in graph.states() {
            let refuse = || ExportError::State(name.to_owned());
            let mut uses = graph.nodes.iter().filter(|node| node.inputs.contains(&id));
            let append = uses.clone().find(|node| matches!(node.op, Op::KvAppend));
            let names = Names::of(graph, name);
            let mut shape = value.shape.clone();
            if let Some(append) = append {
                let [state, new, position] = append.inputs[..] else {
                    return Err(refuse());
                };
                let is_input = matches!(graph.value(position).source, Source::Input(_));
                let same = out.position.is_none_or(|known| known == position);
                let capacity = shape.get(2).and_then(Dim::as_symbol);
                let (Some(capacity), true, true, true) = (
                    capacity,
                    is_input,
                    same,
                    uses.all(|node| std::ptr::eq(node, append)) && state == id,
                ) else {
                    return Err(refuse());
                };
                out.position = Some(position);
                let tokens = graph.value(new).shape[1].clone();
                let total = Dim::symbol(&past) + tokens;
                out.measures.insert(capacity.to_owned(), Measure::Of(total));
                shape[2] = Dim::symbol(&past);
            }
            for (axis, dim) in shape.iter().enumerate() {
                if let Some(symbol) = dim.as_symbol() {
                    let of = names.past.clone();
                    let measure = Measure::Axis { of, axis };
                    out.measures.entry(symbol.to_owned()).or_insert(measure);
                }
            }
            out.inputs.push((id, names, shape));
        }
        Ok(out)
    }
}

impl Writer<'_> {
    /// The number of tokens in the caches, i32 `[batch]`: where the run's tokens begin, the same in each row.
    pub(super) fn tokens_before(&mut self, position: ValueId) -> Result<String, ExportError> {
        let shape = self.graph.value(position).shape.clone();
        let past = self.past_symbol.clone();
        let past = self.scalar(&past, fewbit_engine::tensor::DataType::I32)?;
        let shape = self.sizes(&shape)?;
        Ok(self.inner("Expand", vec![past, shape], vec![]))
    }
}

/// The cache with the run's tokens after it: Transpose (21) and Concat (13).
pub(super) fn append(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let [state, new, _] = node.inputs[..] else {
        return Err(super::operators::unsupported(node, "with other inputs"));
    };
    let past = writer.read(node.op.name(), state)?;
    let new = writer.read(node.op.name(), new)?;
    let new = writer.inner("Transpose", vec![new], vec![ints("perm", [0, 2, 1, 3])]);
    let present = writer.present(state)?;
    let all = vec![past, new];
    writer.push("Concat", all, present.clone(), vec![int("axis", 2)]);
    writer.alias(node.outputs[0], present);
    Ok(())
}

/// The name of a state among a node's inputs.
fn state_of<'a>(graph: &'a Graph, node: &Node) -> Option<&'a str> {
    node.inputs
        .iter()
        .find_map(|&id| match &graph.value(id).source {
            Source::State(name) => Some(name.as_str()),
            _ => None,
        })
}

/// Whether a `kv_append` leaves nothing of what was in the state: it begins at 0 and has as many tokens as there is room, or
/// the room is what is asked for.
fn fills(graph: &Graph, node: &Node) -> bool {
    let shape = |id: ValueId| &graph.value(id).shape;
    let [state, new, position] = node.inputs[..] else {
        return false;
    };
    let (room, tokens) = (shape(state).get(2), shape(new).get(1));
    is_zero(graph, position)
        && (room == tokens || room.is_some_and(|room| room.as_symbol().is_some()))
}

/// Whether a value is known to be 0 everywhere.
fn is_zero(graph: &Graph, id: ValueId) -> bool {
    match &graph.value(id).source {
        Source::Constant(tensor) => tensor.bytes().iter().all(|&byte| byte == 0),
        Source::Node(node, _) => {
            let node = graph.node(*node);
            matches!(node.op, Op::Expand { .. } | Op::Reshape { .. })
                && is_zero(graph, node.inputs[0])
        }
        _ => false,
    }
}
