//! A product with a stored matrix, and the bias after it, as `block_matmul`: every linear layer.

use fewbit_engine::graph::op::Binary;
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{GraphError, Node, Op, ValueId};

use super::pattern::{View, replace, wide};

/// `x · w` with `w [k, n]`, or with a stored `[n, k]` that is transposed.
pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let &[x, matrix] = node.inputs.as_slice() else {
        return Ok(false);
    };
    let plain = node.op == Op::Matmul && view.is_float(x) && view.shape(matrix).len() == 2;
    if !plain {
        return Ok(false);
    }
    let (stored, turned) = match view.transposed(matrix, &[1, 0]) {
        Some(own) => (own, true),
        None => (matrix, false),
    };
    // A constant turned over is a constant, and no weight that a back end lays out for products.
    if !view.is_weight(stored) || !view.is_float(stored) {
        return Ok(false);
    }
    let (x, stored) = (wide(rewriter, x)?, rewriter.get(stored)?);
    // What depends on a weight alone is computed once, when a session is opened.
    let weight = match turned {
        true => stored,
        false => rewriter.builder().transpose(stored, &[1, 0])?,
    };
    let y = rewriter.builder().block_matmul(x, weight, None)?;
    replace(view, node.outputs[0], y, rewriter)?;
    Ok(true)
}

/// A stored bias `[n]` added to such a product that nothing else reads.
pub(super) fn rewrite_bias(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let sums = view.either(node.outputs[0], Binary::Add);
    let found = sums.into_iter().find_map(|[product, bias]| {
        // Of halves, the product is made narrow before the sum.
        let inner = view.through_casts(product);
        let made = view.node(inner)?;
        let Op::BlockMatmul { bias: false, exact } = made.op else {
            return None;
        };
        let fits = view.is_stored(bias)
            && view.is_of_last(bias, product)
            && view.uses(product) == 1
            && view.uses(inner) == 1;
        fits.then(|| (made.inputs[0], made.inputs[1], bias, exact))
    });
    let Some((x, weight, bias, exact)) = found else {
        return Ok(false);
    };
    let ids: [ValueId; 3] = [
        rewriter.get(x)?,
        rewriter.get(weight)?,
        wide(rewriter, bias)?,
    ];
    let op = Op::BlockMatmul { bias: true, exact };
    let y = rewriter.builder().op(op, &ids)?;
    replace(view, node.outputs[0], y, rewriter)?;
    Ok(true)
}
