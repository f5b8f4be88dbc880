//! Losses over `[batch, classes, …]`.

use fewbit_engine::graph::op::{Compare, ReduceKind, Unary};
use fewbit_engine::tensor::DataType;

use super::activation::softmax_over;
use super::indexing::elements;
use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("NegativeLogLikelihoodLoss", 12, likelihood),
    Entry::widened("SoftmaxCrossEntropyLoss", 12, cross_entropy),
];

fn likelihood(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(negative_likelihood(cx, node, x))
}

fn cross_entropy(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let x = softmax_over(cx, x, 1, true)?;
    Ok(vec![negative_likelihood(cx, node, x)?, x])
}

/// `−weight[target] · x[target]` of each place, then summed or averaged by weight; nothing of targets to ignore.
fn negative_likelihood(cx: &mut Context, node: &Node<'_>, x: Value) -> Made {
    let (target, weight) = (node.input(1)?, node.optional(2));
    let ignored = node.int_or_none("ignore_index")?;
    let reduction = node.word("reduction", "mean")?;
    let target = cx.cast(target, DataType::I64)?;
    let mut places = cx.shape(target)?;
    if places.is_empty() {
        return wrong("targets without dimensions");
    }
    let axes: Vec<usize> = (0..places.len()).collect();
    let skipped = match ignored {
        Some(index) => {
            let index = cx.integers(&[], &[index])?;
            Some(cx.compare(Compare::Equal, target, index)?)
        }
        None => None,
    };
    let first = cx.number(0.0, DataType::I64)?;
    let target = match skipped {
        Some(skipped) => cx.select(skipped, first, target)?,
        None => target,
    };
    let flat = places.clone();
    places.insert(1, 1);
    let index = cx.reshape(target, &places)?;
    let picked = elements(cx, x, index, 1)?;
    let picked = cx.reshape(picked, &flat)?;
    let loss = cx.unary(Unary::Neg, picked)?;
    let weights = match weight {
        Some(weight) => cx.gather(weight, target, 0)?,
        None => {
            let unit = cx.number(1.0, x.data_type)?;
            cx.expand(unit, &flat)?
        }
    };
    let weights = match skipped {
        Some(skipped) => {
            let nothing = cx.number(0.0, x.data_type)?;
            cx.select(skipped, nothing, weights)?
        }
        None => weights,
    };
    let loss = cx.mul(loss, weights)?;
    match reduction.as_str() {
        "none" => Ok(loss),
        "sum" => cx.reduce(ReduceKind::Sum, loss, &axes, false),
        "mean" => {
            let sum = cx.reduce(ReduceKind::Sum, loss, &axes, false)?;
            let total = cx.reduce(ReduceKind::Sum, weights, &axes, false)?;
            cx.div(sum, total)
        }
        other => wrong(format!("reduction {other:?}")),
    }
}
