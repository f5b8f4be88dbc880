//! What files spell out in many operators, made into the one operator that back ends have a kernel for.
//!
//! Each pattern is a file: it looks at the node that its result comes out of and back from there, and says what it is. What
//! it does not know exactly it leaves alone. What was spelled out stays in the graph as long as something else reads it.

mod attention;
mod gelu;
mod layer_normalization;
mod linear;
mod pattern;
mod quantized;
mod rms_normalization;
mod rotary_embedding;
mod transposes;

use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{Graph, GraphError, Node};

use pattern::View;
pub(crate) use quantized::rewrite_quantized;

/// What a node's output becomes, if the pattern is there.
type Pattern = fn(&View<'_>, &Node, &mut Rewriter<'_>) -> Result<bool, GraphError>;

/// In this order: what one makes, a later one may read.
const PATTERNS: &[Pattern] = &[
    gelu::rewrite,
    layer_normalization::rewrite,
    layer_normalization::rewrite_without_bias,
    rms_normalization::rewrite,
    rotary_embedding::rewrite,
    attention::rewrite,
    linear::rewrite,
    linear::rewrite_bias,
    transposes::rewrite,
];

/// The graph with every pattern that is found in it replaced. It computes the same, to the rounding of f32; in graphs of
/// halves, to theirs, as each pattern is computed in f32 then.
///
/// # Errors
/// What a builder says of a graph that contradicts itself.
pub fn rewrite(graph: &Graph) -> Result<Graph, GraphError> {
    let mut graph = graph.clone();
    for pattern in PATTERNS {
        graph = apply(&graph, *pattern)?;
    }
    Ok(graph)
}

fn apply(graph: &Graph, pattern: Pattern) -> Result<Graph, GraphError> {
    let view = View::new(graph);
    let mut rewriter = Rewriter::new(graph)?;
    let mut found = false;
    for node in &graph.nodes {
        match pattern(&view, node, &mut rewriter)? {
            true => found = true,
            false => rewriter.copy(node)?,
        }
    }
    match found {
        true => Ok(prune(&rewriter.finish()?)),
        false => Ok(graph.clone()),
    }
}
