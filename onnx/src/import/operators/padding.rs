//! Tensors with more around them, or less.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Pad, PadMode};

use super::one;
use super::shape::sizes;
use crate::import::context::{Context, MOST_PLACES, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Pad", 2, pad),
    Entry::new("CenterCropPad", 18, center_crop_pad),
];

fn pad(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let (pads, value) = if node.opset >= 11 {
        let pads = node.input(1)?;
        let value = match node.optional(2) {
            Some(value) => cx.known_float(value)?,
            None => 0.0,
        };
        (cx.known_ints(pads)?, value)
    } else {
        let pads = node.ints("pads")?.unwrap_or_default();
        (pads, node.float("value", 0.0)?.into())
    };
    let axes: Vec<usize> = match node.optional(3) {
        Some(axes) => {
            let axes = cx.known_ints(axes)?.into_iter();
            axes.map(|axis| axis_of(axis, shape.len()))
                .collect::<Result<_, _>>()?
        }
        None => (0..shape.len()).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return wrong(format!("pads {pads:?} for axes {axes:?}"));
    }
    let mode = match node.word("mode", "constant")?.as_str() {
        "constant" if f64::from(value as f32) == value || value.is_nan() => {
            PadMode::Constant(value as f32)
        }
        "constant" => return unsupported(format!("padding with {value}")),
        "edge" => PadMode::Edge,
        "reflect" => PadMode::Reflection,
        "wrap" => {
            let mut y = x;
            for (i, &axis) in axes.iter().enumerate() {
                y = wrapped(cx, y, axis, pads[i], pads[axes.len() + i])?;
            }
            return Ok(vec![y]);
        }
        other => return unsupported(format!("mode {other:?}")),
    };
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    for (i, &axis) in axes.iter().enumerate() {
        (before[axis], after[axis]) = (pads[i], pads[axes.len() + i]);
    }
    one(padded(cx, x, &before, &after, mode))
}

/// An axis that goes on from its end at its beginning.
fn wrapped(cx: &mut Context, x: Value, axis: usize, before: i64, after: i64) -> Made {
    let size = cx.shape(x)?[axis] as i64;
    let count = size.checked_add(before).and_then(|n| n.checked_add(after));
    let Some(count) = count.filter(|&count| count >= 0 && size > 0) else {
        return wrong(format!("{before} and {after} around {size}"));
    };
    if count > MOST_PLACES as i64 {
        return unsupported(format!("an axis of {count}"));
    }
    let places = (0..count).map(|at| (at - before).rem_euclid(size) as usize);
    cx.pick(x, axis, &places.collect::<Vec<_>>())
}

/// With elements added before and after each dimension, or taken away where a number is negative.
fn padded(cx: &mut Context, x: Value, before: &[i64], after: &[i64], mode: PadMode) -> Made {
    let mut y = x;
    for (axis, size) in cx.dims(x)?.into_iter().enumerate() {
        let cut = |by: i64| usize::try_from(by.min(0).unsigned_abs()).unwrap_or(usize::MAX);
        let (first, last) = (cut(before[axis]), cut(after[axis]));
        let Some(size) = size.fixed() else {
            if first > 0 || last > 0 {
                return Err(Refusal::sizes(&[size]));
            }
            continue;
        };
        match size
            .checked_sub(first)
            .and_then(|left| left.checked_sub(last))
        {
            Some(left) => y = cx.slice(y, axis, first, left)?,
            None => return wrong(format!("{first} and {last} taken of {size}")),
        }
    }
    let sizes = |pads: &[i64]| -> Vec<usize> {
        pads.iter()
            .map(|&by| usize::try_from(by.max(0)).unwrap_or(usize::MAX))
            .collect()
    };
    let pad = Pad {
        before: sizes(before),
        after: sizes(after),
        mode,
    };
    if pad.before.iter().chain(&pad.after).all(|&by| by == 0) {
        return Ok(y);
    }
    cx.op(Op::Pad(pad), &[y], x.data_type)
}

/// Crops or pads each axis around its middle; what is odd goes to the end.
fn center_crop_pad(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, wanted) = (node.input(0)?, node.input(1)?);
    let (shape, wanted) = (cx.shape(x)?, cx.known_ints(wanted)?);
    let axes: Vec<usize> = match node.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| axis_of(axis, shape.len()))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    if axes.len() != wanted.len() {
        return wrong(format!("sizes {wanted:?} for axes {axes:?}"));
    }
    let wanted = sizes(&wanted)?;
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    for (&axis, &size) in axes.iter().zip(&wanted) {
        let more = size as i64 - shape[axis] as i64;
        // Both halves are rounded down: of what is cut as of what is added.
        let first = more.abs() / 2 * more.signum();
        (before[axis], after[axis]) = (first, more - first);
    }
    one(padded(cx, x, &before, &after, PadMode::Constant(0.0)))
}
