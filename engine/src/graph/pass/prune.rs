//! Drops nodes, weights, constants and states that no output needs.

use crate::graph::{Graph, Node, NodeId, Op, Source, ValueId};

/// The graph without what its outputs do not need. Inputs stay, as they are its interface; so do nodes
/// that write a state.
pub fn prune(graph: &Graph) -> Graph {
    keep_needed(graph, &graph.inputs)
}

/// The same, without the inputs that no output needs either: what is compiled where only some outputs are
/// asked for. A graph that asks for nothing (a run for its states alone) keeps what writes them.
pub fn prune_inputs(graph: &Graph) -> Graph {
    keep_needed(graph, &[])
}

fn keep_needed(graph: &Graph, inputs: &[ValueId]) -> Graph {
    let mut needed = vec![false; graph.values.len()];
    for &id in inputs {
        needed[id.index()] = true;
    }
    for (_, id) in &graph.outputs {
        needed[id.index()] = true;
    }
    let mut keep_node = vec![false; graph.nodes.len()];
    for (i, node) in graph.nodes.iter().enumerate().rev() {
        let wanted =
            matches!(node.op, Op::KvAppend) || node.outputs.iter().any(|id| needed[id.index()]);
        if wanted {
            keep_node[i] = true;
            for id in node.inputs.iter().chain(&node.outputs) {
                needed[id.index()] = true;
            }
        }
    }
    let mut node_map = vec![NodeId(u32::MAX); graph.nodes.len()];
    let mut next = 0;
    for (i, keep) in keep_node.iter().enumerate() {
        if *keep {
            node_map[i] = NodeId(next);
            next += 1;
        }
    }
    let mut out = Graph::default();
    let mut value_map = vec![ValueId(u32::MAX); graph.values.len()];
    for (i, value) in graph.values.iter().enumerate() {
        if !needed[i] {
            continue;
        }
        value_map[i] = ValueId(out.values.len() as u32);
        let mut value = value.clone();
        if let Source::Node(node, output) = value.source {
            value.source = Source::Node(node_map[node.index()], output);
        }
        out.values.push(value);
    }
    let map = |ids: &[ValueId]| ids.iter().map(|id| value_map[id.index()]).collect();
    for (node, _) in graph
        .nodes
        .iter()
        .zip(&keep_node)
        .filter(|(_, keep)| **keep)
    {
        out.nodes.push(Node {
            op: node.op.clone(),
            inputs: map(&node.inputs),
            outputs: map(&node.outputs),
        });
    }
    out.inputs = map(&graph.inputs);
    out.inputs.retain(|id| id.0 != u32::MAX);
    out.outputs = graph
        .outputs
        .iter()
        .map(|(name, id)| (name.clone(), value_map[id.index()]))
        .collect();
    out
}
