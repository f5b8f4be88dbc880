//! Reductions and sums along axes.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Compare, CumulativeSum, ReduceKind};
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, wrong};
use crate::import::node::{Node, axes_of, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("ReduceL1", 1, reduce),
    Entry::new("ReduceL2", 1, reduce),
    Entry::new("ReduceLogSum", 1, reduce),
    Entry::new("ReduceLogSumExp", 1, reduce),
    Entry::new("ReduceMax", 1, reduce),
    Entry::new("ReduceMean", 1, reduce),
    Entry::new("ReduceMin", 1, reduce),
    Entry::new("ReduceProd", 1, reduce),
    Entry::new("ReduceSum", 1, reduce),
    Entry::new("ReduceSumSquare", 1, reduce),
    Entry::new("ArgMax", 1, arg),
    Entry::new("ArgMin", 1, arg),
    Entry::new("Hardmax", 13, hardmax),
    Entry::new("CumSum", 11, cumulative_sum),
    Entry::widened("CumProd", 26, cumulative_product),
];

/// The axes are an attribute before operator set 13 (ReduceSum) or 18 (the others), and an input from then on.
fn reduce(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let kind = match node.op_type() {
        "ReduceL1" => ReduceKind::L1,
        "ReduceL2" => ReduceKind::L2,
        "ReduceLogSum" => ReduceKind::LogSum,
        "ReduceLogSumExp" => ReduceKind::LogSumExp,
        "ReduceMax" => ReduceKind::Max,
        "ReduceMean" => ReduceKind::Mean,
        "ReduceMin" => ReduceKind::Min,
        "ReduceProd" => ReduceKind::Product,
        "ReduceSum" => ReduceKind::Sum,
        "ReduceSumSquare" => ReduceKind::SumSquare,
        other => return wrong(other),
    };
    let rank = cx.rank(x);
    let axes = match node.optional(1) {
        Some(axes) => Some(cx.known_ints(axes)?),
        None => node.ints("axes")?,
    };
    let axes = axes.unwrap_or_default();
    let nothing = node.flag("noop_with_empty_axes", false)?;
    let keep = node.flag("keepdims", true)?;
    let axes = match axes.is_empty() {
        true if nothing => Vec::new(),
        true => (0..rank).collect(),
        false => axes_of(&axes, rank)?,
    };
    let shape = cx.dims(x)?;
    if axes.iter().any(|&axis| shape[axis].fixed() == Some(0)) {
        return one(of_nothing(cx, kind, x, &axes, keep));
    }
    one(cx.reduce(kind, x, &axes, keep))
}

/// What a reduction over no elements is.
fn of_nothing(cx: &mut Context, kind: ReduceKind, x: Value, axes: &[usize], keep: bool) -> Made {
    let mut shape = cx.shape(x)?;
    for &axis in axes.iter().rev() {
        match keep {
            true => shape[axis] = 1,
            false => _ = shape.remove(axis),
        }
    }
    let value = match kind {
        ReduceKind::Product => 1.0,
        // The type's own bounds, where a cast of an infinity ends.
        ReduceKind::Max | ReduceKind::LogSum | ReduceKind::LogSumExp => f64::NEG_INFINITY,
        ReduceKind::Min => f64::INFINITY,
        ReduceKind::Mean => f64::NAN,
        _ => 0.0,
    };
    let value = match (x.data_type, kind) {
        (DataType::Bool, ReduceKind::Max) => cx.number(0.0, x.data_type)?,
        (DataType::Bool, ReduceKind::Min) => cx.number(1.0, x.data_type)?,
        _ => cx.number(value, x.data_type)?,
    };
    cx.expand(value, &shape)
}

/// The first place, or the last if asked, of the greatest or least element along an axis.
fn arg(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let axis = axis_of(node.int("axis", 0)?, cx.rank(x))?;
    let keep = node.flag("keepdims", true)?;
    let last = node.flag("select_last_index", false)?;
    let kind = match node.op_type() {
        "ArgMax" => ReduceKind::Max,
        _ => ReduceKind::Min,
    };
    one(place_of(cx, x, axis, kind, keep, last))
}

fn place_of(
    cx: &mut Context,
    x: Value,
    axis: usize,
    kind: ReduceKind,
    keep: bool,
    last: bool,
) -> Made {
    let shape = cx.shape(x)?;
    if shape[axis] == 0 {
        return wrong("the axis is empty");
    }
    let best = cx.reduce(kind, x, &[axis], true)?;
    let is_best = cx.compare(Compare::Equal, x, best)?;
    let places = cx.iota(shape[axis], axis, shape.len())?;
    let (never, pick) = match last {
        true => (-1.0, ReduceKind::Max),
        false => (shape[axis] as f64, ReduceKind::Min),
    };
    let never = cx.number(never, DataType::I64)?;
    let candidates = cx.select(is_best, places, never)?;
    cx.reduce(pick, candidates, &[axis], keep)
}

/// 1 at the first greatest element along the axis, 0 elsewhere.
fn hardmax(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.shape(x)?;
    let axis = axis_of(node.int("axis", -1)?, shape.len())?;
    let place = place_of(cx, x, axis, ReduceKind::Max, true, false)?;
    let places = cx.iota(shape[axis], axis, shape.len())?;
    let here = cx.compare(Compare::Equal, places, place)?;
    one(cx.cast(here, x.data_type))
}

fn cumulative_sum(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, axis) = (node.input(0)?, node.input(1)?);
    let axis = cx.known_int(axis)?;
    let sum = CumulativeSum {
        axis: axis_of(axis, cx.rank(x))?,
        exclusive: node.flag("exclusive", false)?,
        reversed: node.flag("reverse", false)?,
    };
    one(cx.op(Op::CumulativeSum(sum), &[x], x.data_type))
}

/// The product of what stands up to each place along an axis, by doubling how far each place sees.
fn cumulative_product(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, axis) = (node.input(0)?, node.input(1)?);
    let axis = axis_of(cx.known_int(axis)?, cx.rank(x))?;
    let (exclusive, reverse) = (node.flag("exclusive", false)?, node.flag("reverse", false)?);
    let shape = cx.shape(x)?;
    let size = shape[axis];
    // `by` ones on the side where the products begin, and as many elements less on the other.
    let moved = |cx: &mut Context, y: Value, by: usize| {
        let mut border = shape.clone();
        border[axis] = by;
        let ones = cx.number(1.0, x.data_type)?;
        let ones = cx.expand(ones, &border)?;
        let kept = cx.slice(y, axis, if reverse { by } else { 0 }, size - by)?;
        match reverse {
            true => cx.concat(&[kept, ones], axis),
            false => cx.concat(&[ones, kept], axis),
        }
    };
    let mut y = match exclusive && size > 0 {
        true => moved(cx, x, 1)?,
        false => x,
    };
    let mut by = 1;
    while by < size {
        let before = moved(cx, y, by)?;
        y = cx.mul(y, before)?;
        by *= 2;
    }
    Ok(vec![y])
}
