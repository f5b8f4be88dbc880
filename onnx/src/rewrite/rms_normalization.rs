//! `x / sqrt(mean(x²) + epsilon) · scale` over the last axis as `rms_normalization` (Zhang & Sennrich 2019), divided by the
//! root or multiplied by what is one over it.

use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{GraphError, Node, ValueId};

use super::pattern::{View, replace, wide};

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let products = view.either(node.outputs[0], Binary::Mul);
    let found = products.into_iter().find_map(|[y, scale]| {
        // Of halves, what is normalized is often widened for it, and made narrow before the scale.
        let (x, epsilon) = normalized(view, view.through_casts(y))?;
        let fits = view.is_float(x) && view.is_of_last(scale, x);
        fits.then_some((x, scale, epsilon))
    });
    let Some((x, scale, epsilon)) = found else {
        return Ok(false);
    };
    let (x, scale) = (wide(rewriter, x)?, wide(rewriter, scale)?);
    let y = rewriter.builder().rms_normalization(x, scale, epsilon)?;
    replace(view, node.outputs[0], y, rewriter)?;
    Ok(true)
}

/// Of `x / sqrt(mean(x²) + epsilon)`, `x` and epsilon.
fn normalized(view: &View<'_>, id: ValueId) -> Option<(ValueId, f32)> {
    let of = |x: ValueId, root: ValueId| {
        let (mean, epsilon) = view.root(root)?;
        let square = view.squared(view.mean(mean)?)?;
        (square == x).then_some((x, epsilon))
    };
    if let Some([x, root]) = view.binary(id, Binary::Div) {
        return of(x, root);
    }
    let products = view.either(id, Binary::Mul);
    products
        .into_iter()
        .find_map(|[x, factor]| of(x, inverse(view, factor)?))
}

/// Of `1 / x`, `x`.
fn inverse(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    if let Some(x) = view.unary(id, Unary::Reciprocal) {
        return Some(x);
    }
    if let Some([one, x]) = view.binary(id, Binary::Div) {
        return (view.number(one) == Some(1.0)).then_some(x);
    }
    None
}
