//! Two transpositions of which the second undoes the first, as other patterns leave them: nothing.

use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{GraphError, Node, Op};

use super::pattern::View;

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let Op::Transpose { permutation: outer } = &node.op else {
        return Ok(false);
    };
    let Some(inner) = view.node(node.inputs[0]) else {
        return Ok(false);
    };
    let Op::Transpose { permutation } = &inner.op else {
        return Ok(false);
    };
    let mut places = outer.iter().enumerate();
    if !places.all(|(at, &from)| permutation[from] == at) {
        return Ok(false);
    }
    let x = rewriter.get(inner.inputs[0])?;
    rewriter.replace(node.outputs[0], x);
    Ok(true)
}
