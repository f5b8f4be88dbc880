//! Normalizations, with and without the additions before them.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, LayerNormalization, ReduceKind, Unary};

use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("SimplifiedLayerNormalization", 1, simplified),
    Entry::widened("SkipLayerNormalization", 1, skip),
    Entry::widened("SkipSimplifiedLayerNormalization", 1, skip_simplified),
];

pub(super) const IN_DEFAULT_DOMAIN: &[Entry] = &[Entry::widened(
    "SimplifiedLayerNormalization",
    1,
    simplified,
)];

/// `x / sqrt(mean(x²) + epsilon) · scale` over the axes from `axis` on.
fn simplified(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale) = (node.input(0)?, node.input(1)?);
    let epsilon = node.float("epsilon", 1e-5)?;
    node.ignore(&["stash_type"]);
    let rank = cx.rank(x);
    let first = axis_of(node.int("axis", -1)?, rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let y = match axes.len() {
        1 => root_mean_square(cx, x, scale, epsilon)?,
        _ => {
            let y = by_root(cx, x, &axes, epsilon)?;
            cx.mul(y, scale)?
        }
    };
    if !node.wants(1) {
        return Ok(vec![y]);
    }
    let root = root_of_mean(cx, x, &axes, epsilon)?;
    Ok(vec![y, cx.unary(Unary::Reciprocal, root)?])
}

fn root_of_mean(cx: &mut Context, x: Value, axes: &[usize], epsilon: f32) -> Made {
    let square = cx.mul(x, x)?;
    let mean = cx.reduce(ReduceKind::Mean, square, axes, true)?;
    let mean = cx.with(Binary::Add, mean, epsilon.into())?;
    cx.unary(Unary::Sqrt, mean)
}

fn by_root(cx: &mut Context, x: Value, axes: &[usize], epsilon: f32) -> Made {
    let root = root_of_mean(cx, x, axes, epsilon)?;
    cx.div(x, root)
}

/// Over the last axis; as the composite where the scale is of it.
pub(super) fn root_mean_square(cx: &mut Context, x: Value, scale: Value, epsilon: f32) -> Made {
    let (sizes, own) = (cx.dims(x)?, cx.dims(scale)?);
    if own.len() == 1 && own.last() == sizes.last() {
        return cx.op(Op::RmsNormalization { epsilon }, &[x, scale], x.data_type);
    }
    let last = sizes.len().saturating_sub(1);
    let y = by_root(cx, x, &[last], epsilon)?;
    cx.mul(y, scale)
}

/// Layer normalization over the last axis.
pub(super) fn layer(
    cx: &mut Context,
    x: Value,
    scale: Value,
    bias: Option<Value>,
    epsilon: f32,
) -> Made {
    let attributes = LayerNormalization {
        axes: vec![cx.rank(x).saturating_sub(1)],
        epsilon,
        scale: true,
        bias: bias.is_some(),
    };
    let mut inputs = vec![x, scale];
    inputs.extend(bias);
    cx.op(Op::LayerNormalization(attributes), &inputs, x.data_type)
}

/// The sum of the first two inputs and of the bias, which is input number `bias`.
fn sum(cx: &mut Context, node: &Node<'_>, bias: usize) -> Made {
    let (x, skip) = (node.input(0)?, node.input(1)?);
    let mut sum = cx.add(x, skip)?;
    if let Some(bias) = node.optional(bias) {
        sum = cx.add(sum, bias)?;
    }
    Ok(sum)
}

/// The normalized sum, and the sum itself as output 3.
fn with_sum(node: &Node<'_>, y: Value, sum: Value) -> Outputs {
    if node.wants(1) || node.wants(2) {
        return unsupported("mean and deviation, which are for training");
    }
    Ok(vec![y, y, y, sum])
}

fn skip(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (scale, bias) = (node.input(2)?, node.optional(3));
    let epsilon = node.float("epsilon", 1e-12)?;
    let total = sum(cx, node, 4)?;
    let y = layer(cx, total, scale, bias, epsilon)?;
    with_sum(node, y, total)
}

fn skip_simplified(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let scale = node.input(2)?;
    let epsilon = node.float("epsilon", 1e-12)?;
    let total = sum(cx, node, 3)?;
    let y = root_mean_square(cx, total, scale, epsilon)?;
    with_sum(node, y, total)
}
