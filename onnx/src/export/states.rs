//! States, which ONNX has not: what a graph leaves in one becomes an output.

use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{Graph, Node, Op, Source, ValueId};

use super::ExportError;

/// The graph with an output for each state, named like it: what the state holds after a run. It must be a graph that fills
/// its states from their beginning to their end and does not read what was in them before, as the encoder of an
/// encoder-decoder does.
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
                let builder = rewriter.builder();
                let filled = builder.transpose(new, &[0, 2, 1, 3])?;
                builder.output(name, filled)?;
                rewriter.replace(node.outputs[0], filled);
            }
            (_, Some(name)) => return Err(ExportError::State(name.to_owned())),
            (_, None) => rewriter.copy(node)?,
        }
    }
    Ok(prune(&rewriter.finish()?))
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

/// Whether a `kv_append` leaves nothing of what was in the state: it begins at 0 and has as many tokens as there is room.
fn fills(graph: &Graph, node: &Node) -> bool {
    let shape = |id: ValueId| &graph.value(id).shape;
    let [state, new, position] = node.inputs[..] else {
        return false;
    };
    let from_zero = match &graph.value(position).source {
        Source::Constant(position) => position.bytes().iter().all(|&byte| byte == 0),
        _ => false,
    };
    from_zero && shape(state).get(2) == shape(new).get(1)
}
