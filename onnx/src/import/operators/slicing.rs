//! Parts of tensors: slices by bounds that may be symbols.

use std::cmp::Ordering;

use fewbit_engine::graph::Dim;

use crate::import::context::{Context, MOST_PLACES, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[Entry::new("Slice", 1, slice)];

/// What no axis reaches: exporters write such bounds for "to the end".
const FAR: i64 = i32::MAX as i64;

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
            let first = bound(cx, whole, &starts[i])?;
            let last = bound(cx, whole, &ends[i])?;
            let size = last - first.clone();
            let told = match node.optional(1) {
                Some(from) if first == starts[i] => {
                    cx.slice_from(y, axis, (from, i), (&first, &size))?
                }
                _ => None,
            };
            y = match told {
                Some(part) => part,
                None => cx.slice_dims(y, axis, first, size)?,
            };
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
fn bound(cx: &Context, whole: &Dim, bound: &Dim) -> Result<Dim, Refusal> {
    match (bound.sign(), bound.integer()) {
        (Some(Ordering::Less), Some(far)) if far <= -FAR => Ok(Dim::from(0)),
        (Some(Ordering::Less), _) => Ok(whole.clone() + bound.clone()),
        (_, Some(far)) if far >= FAR => Ok(whole.clone()),
        _ if bound.is_size() || cx.is_before(bound) => Ok(bound.clone()),
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
