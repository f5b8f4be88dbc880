//! `(x − mean) / sqrt(variance + epsilon) · scale + bias` over the last axis as `layer_normalization` (Ba et al. 2016), with
//! one difference from the mean or two of them, and a square that is a power or a product.

use fewbit_engine::graph::op::{Binary, LayerNormalization};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{GraphError, Node, Op, ValueId};

use super::pattern::{View, replace, wide};

/// What is normalized, and how.
#[derive(Clone, Copy)]
struct Found {
    x: ValueId,
    scale: ValueId,
    bias: Option<ValueId>,
    epsilon: f32,
}

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let sums = view.either(node.outputs[0], Binary::Add);
    let with_bias = |[y, bias]: [ValueId; 2]| {
        let found = scaled(view, view.through_casts(y))?;
        let bias = Some(bias).filter(|&bias| view.is_of_last(bias, found.x));
        bias.map(|_| Found { bias, ..found })
    };
    put(view, node, rewriter, sums.into_iter().find_map(with_bias))
}

pub(super) fn rewrite_without_bias(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    put(view, node, rewriter, scaled(view, node.outputs[0]))
}

fn put(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
    found: Option<Found>,
) -> Result<bool, GraphError> {
    let Some(found) = found else {
        return Ok(false);
    };
    let op = Op::LayerNormalization(LayerNormalization {
        axes: vec![view.shape(found.x).len() - 1],
        epsilon: found.epsilon,
        scale: true,
        bias: found.bias.is_some(),
    });
    let mut inputs = vec![wide(rewriter, found.x)?, wide(rewriter, found.scale)?];
    if let Some(bias) = found.bias {
        inputs.push(wide(rewriter, bias)?);
    }
    let y = rewriter.builder().op(op, &inputs)?;
    replace(view, node.outputs[0], y, rewriter)?;
    Ok(true)
}

/// Of `normalized · scale`, what it is.
fn scaled(view: &View<'_>, id: ValueId) -> Option<Found> {
    let products = view.either(id, Binary::Mul);
    products.into_iter().find_map(|[y, scale]| {
        let (x, epsilon) = normalized(view, view.through_casts(y))?;
        let fits = view.is_float(x) && view.is_of_last(scale, x);
        fits.then_some(Found {
            x,
            scale,
            bias: None,
            epsilon,
        })
    })
}

/// Of `(x − mean) / sqrt(variance + epsilon)`, `x` and epsilon.
fn normalized(view: &View<'_>, id: ValueId) -> Option<(ValueId, f32)> {
    let [off, root] = view.binary(id, Binary::Div)?;
    let (variance, epsilon) = view.root(root)?;
    let x = centred(view, off)?;
    let square = view.squared(view.mean(variance)?)?;
    // Exporters write the same difference twice.
    let same = square == off || centred(view, square) == Some(x);
    same.then_some((x, epsilon))
}

/// Of `x − mean(x)`, `x`.
fn centred(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let [x, mean] = view.binary(id, Binary::Sub)?;
    (view.mean(mean)? == x).then_some(x)
}
