//! A graph in pieces, each for one of two back ends, with what goes from one to the other.

use std::collections::{BTreeMap, BTreeSet};

use super::Which;
use crate::graph::{Graph, GraphBuilder, GraphError, Node, NodeId, Op, Source, ValueId};

/// Nodes of a graph that one back end computes at a stretch.
pub(super) struct Piece {
    pub(super) which: Which,
    /// Its inputs and outputs are named by [`name_of`]; weights and states keep their names.
    pub(super) graph: Graph,
}

/// What a value is called between pieces.
pub(super) fn name_of(id: ValueId) -> String {
    format!("value {}", id.0)
}

/// For each node the back end that computes it: the second one what `refused` says, and with it whatever reads or writes a
/// state that is there. `homes` has the states whose place is known.
pub(super) fn assign(
    graph: &Graph,
    refused: impl Fn(NodeId, &Node) -> bool,
    homes: &BTreeMap<String, Which>,
) -> (Vec<Which>, BTreeMap<String, Which>) {
    let mut which: Vec<Which> = (0..)
        .map(NodeId)
        .zip(&graph.nodes)
        .map(|(id, node)| match refused(id, node) {
            true => Which::Second,
            false => Which::First,
        })
        .collect();
    let state_of = states_of(graph);
    // What touches two states ties them together, so that a place may spread.
    let mut places = homes.clone();
    loop {
        let mut changed = false;
        for (node, place) in graph.nodes.iter().zip(&mut which) {
            let states = node.inputs.iter().filter_map(|id| state_of.get(id));
            let states: BTreeSet<&str> = states.copied().collect();
            let second = *place == Which::Second
                || states
                    .iter()
                    .any(|&s| places.get(s) == Some(&Which::Second));
            if !second {
                continue;
            }
            changed |= std::mem::replace(place, Which::Second) != Which::Second;
            for state in states {
                changed |= places.insert(state.to_owned(), Which::Second) != Some(Which::Second);
            }
        }
        if !changed {
            break;
        }
    }
    for (_, name, _) in graph.states() {
        places.entry(name.to_owned()).or_insert(Which::First);
    }
    (which, places)
}

/// The states as they are before the run and, by appending, after it.
fn states_of(graph: &Graph) -> BTreeMap<ValueId, &str> {
    let mut states: BTreeMap<ValueId, &str> =
        graph.states().map(|(id, name, _)| (id, name)).collect();
    for node in &graph.nodes {
        if matches!(node.op, Op::KvAppend)
            && let Some(&name) = states.get(&node.inputs[0])
        {
            states.insert(node.outputs[0], name);
        }
    }
    states
}

/// The pieces in the order in which they run: as few changes from one back end to the other as the graph allows.
///
/// # Errors
/// Of a graph that was not specialized, or that reads a state as it was before in a piece after the one that changes it.
pub(super) fn cut(graph: &Graph, which: &[Which]) -> Result<Vec<Piece>, GraphError> {
    // A node's level is how often the place changed on the way to it.
    let mut levels: Vec<usize> = Vec::with_capacity(graph.nodes.len());
    for (node, &own) in graph.nodes.iter().zip(which) {
        let before = node.inputs.iter().filter_map(|&id| {
            let NodeId(at) = graph.producer(id)?;
            let at = at as usize;
            Some(levels[at] + usize::from(which[at] != own))
        });
        levels.push(before.max().unwrap_or(usize::from(own == Which::Second)));
    }
    in_time(graph, &levels)?;
    let outputs: BTreeSet<ValueId> = graph.outputs.iter().map(|(_, id)| *id).collect();
    let last = levels.iter().copied().max().unwrap_or(0);
    let mut pieces = Vec::new();
    for level in 0..=last {
        let nodes: Vec<&Node> = graph
            .nodes
            .iter()
            .zip(&levels)
            .filter(|(_, l)| **l == level)
            .map(|(node, _)| node)
            .collect();
        if !nodes.is_empty() {
            let wanted = |id: ValueId| {
                outputs.contains(&id)
                    || graph
                        .nodes
                        .iter()
                        .zip(&levels)
                        .any(|(node, other)| *other != level && node.inputs.contains(&id))
            };
            pieces.push(Piece {
                which: match level % 2 {
                    0 => Which::First,
                    _ => Which::Second,
                },
                graph: piece(graph, &nodes, wanted)?,
            });
        }
    }
    Ok(pieces)
}

/// What reads a state as it was before the run must do so before another piece appends to it.
fn in_time(graph: &Graph, levels: &[usize]) -> Result<(), GraphError> {
    for (node, level) in graph.nodes.iter().zip(levels) {
        let late = |other: &Node, at: usize| at > *level && other.inputs.contains(&node.inputs[0]);
        if matches!(node.op, Op::KvAppend)
            && graph
                .nodes
                .iter()
                .zip(levels)
                .any(|(other, at)| late(other, *at))
        {
            return Err(GraphError::Operand {
                op: "kv_append",
                message: "the state is read as it was before after another piece has changed it"
                    .into(),
            });
        }
    }
    Ok(())
}

fn piece(
    graph: &Graph,
    nodes: &[&Node],
    wanted: impl Fn(ValueId) -> bool,
) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new();
    let mut made: BTreeMap<ValueId, ValueId> = BTreeMap::new();
    for node in nodes {
        let mut inputs = Vec::with_capacity(node.inputs.len());
        for &id in &node.inputs {
            let own = match made.get(&id) {
                Some(&own) => own,
                None => take(&mut builder, graph, id)?,
            };
            made.insert(id, own);
            inputs.push(own);
        }
        let own = builder.op(node.op.clone(), &inputs)?;
        let id = node.outputs[0];
        made.insert(id, own);
        if wanted(id) {
            builder.output(&name_of(id), own)?;
        }
    }
    Ok(builder.finish())
}

/// A value from outside of the piece.
fn take(builder: &mut GraphBuilder, graph: &Graph, id: ValueId) -> Result<ValueId, GraphError> {
    let value = graph.value(id);
    let plain = || {
        value.element.plain().ok_or(GraphError::Type {
            op: "input",
            got: value.element,
            wanted: "a plain type",
        })
    };
    match &value.source {
        Source::Weight(name) => builder.weight(name, value.element, &value.fixed_shape()?),
        Source::Constant(tensor) => Ok(builder.shared_constant(tensor.clone())),
        Source::State(name) => builder.state(name, plain()?, value.shape.clone()),
        Source::Input(_) | Source::Node(..) => {
            builder.input(&name_of(id), plain()?, value.shape.clone())
        }
    }
}
