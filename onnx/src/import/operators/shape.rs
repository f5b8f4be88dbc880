//! Shapes, and what only moves elements.

use std::cmp::Ordering;

use fewbit_engine::graph::op::{Binary, Pad, PadMode};
use fewbit_engine::graph::{Dim, Op, Shape, fixed_shape};
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, MOST_PLACES, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axes_of, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Shape", 1, shape),
    Entry::new("Size", 1, size),
    Entry::new("Reshape", 5, reshape),
    Entry::new("Flatten", 1, flatten),
    Entry::new("Squeeze", 1, squeeze),
    Entry::new("Unsqueeze", 1, unsqueeze),
    Entry::new("Transpose", 1, transpose),
    Entry::new("Concat", 4, concat),
    Entry::new("Split", 2, split),
    Entry::new("Slice", 1, slice),
    Entry::new("Pad", 2, pad),
    Entry::new("CenterCropPad", 18, center_crop_pad),
    Entry::new("Expand", 8, expand),
    Entry::new("Tile", 6, tile),
    Entry::new("DepthToSpace", 1, depth_to_space),
    Entry::new("SpaceToDepth", 1, space_to_depth),
];

/// More elements than a made-up tensor may have.
const MOST_MADE: usize = 1 << 26;

/// What no axis reaches: exporters write such bounds for "to the end".
const FAR: i64 = i32::MAX as i64;

/// More than blocks of places have on a side.
const MOST_BLOCK: usize = 1 << 16;

/// The dimensions of a tensor that is made up: none below 0, and of those that are numbers not too large.
pub(super) fn dimensions(values: &[Dim]) -> Result<Shape, Refusal> {
    let is_wrong = |dim: &Dim| dim.sign() == Some(Ordering::Less);
    if values.iter().any(is_wrong) {
        return wrong(format!("a tensor of {values:?}"));
    }
    let mut fixed = values.iter().filter_map(Dim::fixed);
    let count = fixed.try_fold(1usize, |n, size| n.checked_mul(size.max(1)));
    match count {
        Some(count) if count <= MOST_MADE => Ok(values.to_vec()),
        _ => unsupported(format!("a tensor of {values:?}")),
    }
}

/// The same where only numbers will do.
pub(super) fn sizes(values: &[i64]) -> Result<Vec<usize>, Refusal> {
    let dims: Vec<Dim> = values.iter().copied().map(Dim::from_i64).collect();
    let sizes = dimensions(&dims)?;
    fixed_shape(&sizes).ok_or_else(|| Refusal::sizes(&sizes))
}

fn shape(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let rank = shape.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(rank) } else { at }).clamp(0, rank);
    let start = place(node.int("start", 0)?);
    let end = place(node.int("end", rank)?).max(start);
    one(cx.sizes(&shape[start as usize..end as usize]))
}

fn size(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let count = product(&cx.dims(x)?);
    let count = cx.sizes(&[count])?;
    one(cx.reshape(count, &[]))
}

/// How many elements a tensor of these dimensions has.
pub(super) fn product(dims: &[Dim]) -> Dim {
    dims.iter()
        .fold(Dim::from(1), |product, dim| product * dim.clone())
}

fn reshape(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, wanted) = (node.input(0)?, node.input(1)?);
    let zero_is_zero = node.flag("allowzero", false)?;
    let (from, wanted) = (cx.dims(x)?, cx.known_dims(wanted)?);
    let mut to = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (axis, size) in wanted.iter().enumerate() {
        to.push(match size.integer() {
            Some(-1) if open.is_none() => {
                open = Some(axis);
                Dim::from(1)
            }
            Some(0) if !zero_is_zero => match from.get(axis) {
                Some(size) => size.clone(),
                None => return wrong(format!("shape {wanted:?} of {from:?}")),
            },
            _ if size.sign() == Some(Ordering::Less) => {
                return wrong(format!("shape {wanted:?}"));
            }
            _ => size.clone(),
        });
    }
    if let Some(axis) = open {
        to[axis] = rest(&from, &to, axis)?;
    }
    one(cx.reshape_to(x, to))
}

/// The size of an axis that a reshape leaves open, `to` having 1 there.
fn rest(from: &[Dim], to: &[Dim], axis: usize) -> Result<Dim, Refusal> {
    let fixed = |dims: &[Dim]| -> Option<usize> {
        let mut sizes = fixed_shape(dims)?.into_iter();
        sizes.try_fold(1usize, |n, size| n.checked_mul(size))
    };
    let mut both = from.to_vec();
    both.extend_from_slice(to);
    if fixed_shape(&both).is_none() {
        let mut others = to.to_vec();
        others.remove(axis);
        // What both have goes out, as it may well be 0 for some sizes.
        let mut all = from.to_vec();
        others.retain(|dim| match all.iter().position(|known| known == dim) {
            Some(at) if dim.fixed().is_none() => {
                all.remove(at);
                false
            }
            _ => true,
        });
        let quotient = product(&all).divided(&product(&others));
        return quotient.ok_or_else(|| Refusal::sizes(&both));
    }
    match (fixed(from), fixed(to)) {
        (Some(count), Some(others)) if others > 0 && count.is_multiple_of(others) => {
            Ok(Dim::from(count / others))
        }
        _ => wrong(format!(
            "shape {to:?} with axis {axis} left open, of {from:?}"
        )),
    }
}

fn flatten(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let axis = node.int("axis", 1)?;
    let axis = match axis {
        axis if axis == shape.len() as i64 => shape.len(),
        axis => axis_of(axis, shape.len())?,
    };
    let (outer, inner) = (product(&shape[..axis]), product(&shape[axis..]));
    one(cx.reshape_to(x, vec![outer, inner]))
}

/// Axes that are an attribute before operator set 13 and an input from then on.
fn axes(cx: &Context, node: &Node<'_>) -> Result<Option<Vec<i64>>, Refusal> {
    match node.optional(1) {
        Some(axes) => Ok(Some(cx.known_ints(axes)?)),
        None => node.ints("axes"),
    }
}

fn squeeze(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let axes = match axes(cx, node)? {
        Some(axes) => axes_of(&axes, shape.len())?,
        None if fixed_shape(&shape).is_none() => return Err(Refusal::sizes(&shape)),
        None => (0..shape.len())
            .filter(|&axis| shape[axis].is_one())
            .collect(),
    };
    for &axis in &axes {
        match shape[axis].fixed() {
            Some(1) => {}
            Some(_) => return wrong(format!("axis {axis} of {shape:?} is not 1")),
            None => return Err(Refusal::sizes(&shape[axis..=axis])),
        }
    }
    let left: Vec<Dim> = (0..shape.len())
        .filter(|axis| !axes.contains(axis))
        .map(|axis| shape[axis].clone())
        .collect();
    one(cx.reshape_to(x, left))
}

fn unsqueeze(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let Some(axes) = axes(cx, node)? else {
        return wrong("no axes");
    };
    let shape = cx.dims(x)?;
    let rank = shape.len() + axes.len();
    let axes = axes_of(&axes, rank)?;
    let mut left = shape.into_iter();
    let grown: Vec<Dim> = (0..rank)
        .map(|axis| match axes.contains(&axis) {
            true => Dim::from(1),
            false => left.next().unwrap_or(Dim::from(1)),
        })
        .collect();
    one(cx.reshape_to(x, grown))
}

fn transpose(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    let permutation = match node.ints("perm")? {
        Some(permutation) => permutation
            .iter()
            .map(|&axis| axis_of(axis, rank))
            .collect::<Result<_, _>>()?,
        None => (0..rank).rev().collect::<Vec<usize>>(),
    };
    one(cx.transpose(x, &permutation))
}

fn concat(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let values = node.all()?;
    let Some(&first) = values.first() else {
        return wrong("nothing to join");
    };
    let Some(axis) = node.int_or_none("axis")? else {
        return wrong("no axis");
    };
    let axis = axis_of(axis, cx.rank(first))?;
    one(cx.concat(&values, axis))
}

fn split(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let axis = axis_of(node.int("axis", 0)?, shape.len())?;
    let Some(whole) = shape[axis].fixed() else {
        return Err(Refusal::sizes(&shape[axis..=axis]));
    };
    let given = match node.optional(1) {
        Some(parts) => Some(cx.known_ints(parts)?),
        None => node.ints("split")?,
    };
    let count = match node.int_or_none("num_outputs")? {
        Some(count) => usize::try_from(count).unwrap_or(0),
        None => node.outputs(),
    };
    let parts: Vec<usize> = match given {
        Some(parts) => sizes(&parts.iter().map(|&p| p.max(-1)).collect::<Vec<_>>())?,
        None if count == 0 || count > node.outputs() => return wrong(format!("{count} parts")),
        None => {
            // The last part is smaller where they do not come out even.
            let most = whole.div_ceil(count);
            let part = |i: usize| whole.saturating_sub(i * most).min(most);
            (0..count).map(part).collect()
        }
    };
    if parts.iter().sum::<usize>() != whole {
        return wrong(format!("parts {parts:?} of an axis of {whole}"));
    }
    let mut start = 0;
    let mut out = Vec::with_capacity(parts.len());
    for part in parts {
        out.push(cx.slice(x, axis, start, part)?);
        start += part;
    }
    Ok(out)
}

/// Bounds are attributes before operator set 10 and inputs from then on; they may be beyond the axis.
fn slice(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let list = |at: usize, name: &str| -> Result<Option<Vec<Dim>>, Refusal> {
        match node.optional(at) {
            Some(values) => Ok(Some(cx.known_dims(values)?)),
            None if node.opset < 10 => {
                let given = node.ints(name)?;
                Ok(given.map(|all| all.into_iter().map(Dim::from_i64).collect()))
            }
            None => Ok(None),
        }
    };
    let integers = |at: usize, name: &str| -> Result<Option<Vec<i64>>, Refusal> {
        let Some(dims) = list(at, name)? else {
            return Ok(None);
        };
        let integers: Option<Vec<i64>> = dims.iter().map(Dim::integer).collect();
        integers.map(Some).ok_or_else(|| Refusal::sizes(&dims))
    };
    let (Some(starts), Some(ends)) = (list(1, "starts")?, list(2, "ends")?) else {
        return wrong("no bounds");
    };
    let axes = match integers(3, "axes")? {
        Some(axes) => axes,
        None => (0..starts.len() as i64).collect(),
    };
    let steps = integers(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return wrong("starts, ends, axes and steps of different lengths");
    }
    let mut y = x;
    for (i, &axis) in axes.iter().enumerate() {
        let axis = axis_of(axis, shape.len())?;
        let whole = &shape[axis];
        let fixed = (whole.fixed(), starts[i].integer(), ends[i].integer());
        let (Some(size), Some(start), Some(end)) = fixed else {
            if steps[i] != 1 {
                let all = [whole.clone(), starts[i].clone(), ends[i].clone()];
                return Err(Refusal::sizes(&all));
            }
            let first = bound(whole, &starts[i])?;
            let last = bound(whole, &ends[i])?;
            y = cx.slice_dims(y, axis, first.clone(), last - first)?;
            continue;
        };
        let (first, count) = places(size, start, end, steps[i])?;
        y = match steps[i] {
            _ if count == 0 => cx.slice(y, axis, 0, 0)?,
            1 => cx.slice(y, axis, first as usize, count)?,
            _ if count > MOST_PLACES => return unsupported(format!("{count} places with a step")),
            step => {
                let places: Vec<usize> = (0..count as i64)
                    .map(|at| (first + at * step) as usize)
                    .collect();
                cx.pick(y, axis, &places)?
            }
        };
    }
    Ok(vec![y])
}

/// A bound of an axis whose size may be a symbol. Where a bound is beyond the axis for some sizes, ONNX takes its end, and the
/// graph is refused when it is given those.
fn bound(whole: &Dim, bound: &Dim) -> Result<Dim, Refusal> {
    match (bound.sign(), bound.integer()) {
        (Some(Ordering::Less), Some(far)) if far <= -FAR => Ok(Dim::from(0)),
        (Some(Ordering::Less), _) => Ok(whole.clone() + bound.clone()),
        (_, Some(far)) if far >= FAR => Ok(whole.clone()),
        _ if bound.is_size() => Ok(bound.clone()),
        // Counted from the end of the axis: by sizes, of which none is 0 where there is something to compute.
        _ if (Dim::from(0) - bound.clone()).is_size() => Ok(whole.clone() + bound.clone()),
        _ => Err(Refusal::sizes(&[whole.clone(), bound.clone()])),
    }
}

/// The first place that a slice takes of an axis of `size`, and how many, by ONNX's rule of clamping.
fn places(size: usize, start: i64, end: i64, step: i64) -> Result<(i64, usize), Refusal> {
    let size = size as i64;
    let from_start = |at: i64| if at < 0 { at.saturating_add(size) } else { at };
    let (low, high) = match step {
        0 => return wrong("a step of 0"),
        1.. => (0, size),
        _ => (-1, size - 1),
    };
    let first = from_start(start).clamp(low, high);
    let last = from_start(end).clamp(low, high);
    let span = if step > 0 { last - first } else { first - last };
    let count = match u64::try_from(span) {
        Ok(span) => span.div_ceil(step.unsigned_abs()),
        Err(_) => 0,
    };
    Ok((first, count as usize))
}

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

fn expand(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, wanted) = (node.input(0)?, node.input(1)?);
    let (from, wanted) = (cx.dims(x)?, dimensions(&cx.known_dims(wanted)?)?);
    // Either side may have the 1.
    let rank = from.len().max(wanted.len());
    let size = |shape: &[Dim], axis: usize| {
        (axis + shape.len())
            .checked_sub(rank)
            .map_or(Dim::from(1), |at| shape[at].clone())
    };
    let mut to = Vec::with_capacity(rank);
    for axis in 0..rank {
        let (from_size, to_size) = (size(&from, axis), size(&wanted, axis));
        to.push(match (from_size.is_one(), to_size.is_one()) {
            (true, _) => to_size,
            (_, true) => from_size,
            _ if from_size == to_size => from_size,
            _ if fixed_shape(&[from_size.clone(), to_size.clone()]).is_none() => {
                return Err(Refusal::sizes(&[from_size, to_size]));
            }
            _ => return wrong(format!("{from:?} to {wanted:?}")),
        });
    }
    one(cx.expand_to(x, to))
}

fn tile(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, repeats) = (node.input(0)?, node.input(1)?);
    let (shape, repeats) = (cx.dims(x)?, dimensions(&cx.known_dims(repeats)?)?);
    if shape.len() != repeats.len() {
        return wrong(format!("repeats {repeats:?} of {shape:?}"));
    }
    let (mut apart, mut spread, mut together) = (Vec::new(), Vec::new(), Vec::new());
    for (size, times) in shape.iter().zip(&repeats) {
        apart.extend([Dim::from(1), size.clone()]);
        spread.extend([times.clone(), size.clone()]);
        together.push(size.clone() * times.clone());
    }
    let y = cx.reshape_to(x, apart)?;
    let y = cx.expand_to(y, spread)?;
    one(cx.reshape_to(y, together))
}

fn depth_to_space(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let block = usize::try_from(node.int("blocksize", 0)?).unwrap_or(0);
    let block = if block > MOST_BLOCK { 0 } else { block };
    let mode = node.word("mode", "DCR")?;
    let shape = cx.shape(x)?;
    let square = block.checked_mul(block).unwrap_or(0);
    let [n, c, h, w] = shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    if square == 0 || !c.is_multiple_of(square) {
        return wrong(format!("blocks of {block} of {c} channels"));
    }
    let depth = c / square;
    let (apart, permutation) = match mode.as_str() {
        "DCR" => ([n, block, block, depth, h, w], [0, 3, 4, 1, 5, 2]),
        "CRD" => ([n, depth, block, block, h, w], [0, 1, 4, 2, 5, 3]),
        other => return wrong(format!("mode {other:?}")),
    };
    let y = cx.reshape(x, &apart)?;
    let y = cx.transpose(y, &permutation)?;
    one(cx.reshape(y, &[n, depth, h * block, w * block]))
}

fn space_to_depth(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let block = usize::try_from(node.int("blocksize", 0)?).unwrap_or(0);
    let block = if block > MOST_BLOCK { 0 } else { block };
    let mode = node.word("mode", "DCR")?;
    let shape = cx.shape(x)?;
    let [n, c, h, w] = shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    if block == 0 || !h.is_multiple_of(block) || !w.is_multiple_of(block) {
        return wrong(format!("blocks of {block} of {shape:?}"));
    }
    let y = cx.reshape(x, &[n, c, h / block, block, w / block, block])?;
    let permutation = match mode.as_str() {
        "DCR" => [0, 3, 5, 1, 2, 4],
        "CRD" => [0, 1, 3, 5, 2, 4],
        other => return wrong(format!("mode {other:?}")),
    };
    let y = cx.transpose(y, &permutation)?;
    one(cx.reshape(y, &[n, c * block * block, h / block, w / block]))
}

/// A product of sizes as an i64 constant's operand.
pub(super) fn scaled(cx: &mut Context, x: Value, by: usize) -> Made {
    debug_assert_eq!(x.data_type, DataType::I64);
    cx.with(Binary::Mul, x, by as f64)
}
