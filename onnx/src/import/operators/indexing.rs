//! Elements by index.

use fewbit_engine::graph::op::{Binary, Compare, Extension, ReduceKind};
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::DataType;

use super::one;
use super::shape::{product, scaled};
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Gather", 1, gather),
    Entry::new("GatherElements", 11, gather_elements),
    Entry::new("GatherND", 11, gather_nd),
    Entry::new("OneHot", 9, one_hot),
    Entry::new("TopK", 10, top_k),
    Entry::new("ReverseSequence", 10, reverse_sequence),
];

fn gather(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let axis = axis_of(node.int("axis", 0)?, cx.rank(x))?;
    one(cx.gather(x, indices, axis))
}

/// Indices from the start, in i64, for an axis of `size`.
fn from_start(cx: &mut Context, indices: Value, size: Value) -> Made {
    let negative = cx.compare_with(Compare::Lesser, indices, 0.0)?;
    let turned = cx.add(indices, size)?;
    cx.select(negative, turned, indices)
}

fn gather_elements(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let axis = axis_of(node.int("axis", 0)?, cx.rank(x))?;
    one(elements(cx, x, indices, axis))
}

/// `x` at places that differ from `indices`' own only on `axis`.
pub(super) fn elements(cx: &mut Context, x: Value, indices: Value, axis: usize) -> Made {
    let shape = cx.shape(x)?;
    let places = flat_places(cx, &shape, indices, axis)?;
    let flat = cx.reshape(x, &[shape.iter().product()])?;
    cx.gather(flat, places, 0)
}

/// The places in a flat tensor of `shape` of elements that differ from `indices`' own only on `axis`.
pub(super) fn flat_places(cx: &mut Context, shape: &[usize], indices: Value, axis: usize) -> Made {
    let wanted = cx.shape(indices)?;
    let rank = shape.len();
    let inside = wanted.len() == rank
        && (0..rank).all(|other| other == axis || wanted[other] <= shape[other]);
    if axis >= rank || !inside {
        return wrong(format!("indices of {wanted:?} into {shape:?}"));
    }
    let indices = cx.cast(indices, DataType::I64)?;
    let size = cx.number(shape[axis] as f64, DataType::I64)?;
    let mut place = from_start(cx, indices, size)?;
    let stride: usize = shape[axis + 1..].iter().product();
    place = scaled(cx, place, stride)?;
    let mut stride = 1;
    for at in (0..rank).rev() {
        if at != axis && wanted[at] > 1 {
            let along = cx.iota(wanted[at], at, rank)?;
            let along = scaled(cx, along, stride)?;
            place = cx.add(place, along)?;
        }
        stride *= shape[at];
    }
    Ok(place)
}

fn gather_nd(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let (shape, wanted) = (cx.dims(x)?, cx.dims(indices)?);
    let shared = usize::try_from(node.int("batch_dims", 0)?).unwrap_or(usize::MAX);
    let Some((depth, outer)) = wanted.split_last() else {
        return wrong("indices without dimensions");
    };
    let Some(depth) = depth.fixed() else {
        return Err(Refusal::sizes(std::slice::from_ref(depth)));
    };
    if shared > outer.len() || shape.get(..shared) != Some(&outer[..shared]) {
        return wrong(format!(
            "{shared} batch dimensions of {shape:?} and {wanted:?}"
        ));
    }
    if depth == 0 || depth > shape.len() - shared {
        return wrong(format!("{depth} indices into {shape:?}"));
    }
    let indices = cx.cast(indices, DataType::I64)?;
    let sizes = &shape[shared..shared + depth];
    let size = cx.sizes(sizes)?;
    let indices = from_start(cx, indices, size)?;
    let strides: Vec<Dim> = (0..depth).map(|at| product(&sizes[at + 1..])).collect();
    let strides = cx.sizes(&strides)?;
    let places = cx.mul(indices, strides)?;
    let mut places = cx.reduce(ReduceKind::Sum, places, &[outer.len()], false)?;
    // Each row of the batch has its own part of the flat tensor.
    let mut stride = product(sizes);
    for at in (0..shared).rev() {
        let along = cx.iota(outer[at].clone(), at, outer.len())?;
        let step = cx.sizes(std::slice::from_ref(&stride))?;
        let step = cx.reshape(step, &[])?;
        let along = cx.mul(along, step)?;
        places = cx.add(places, along)?;
        stride = stride * outer[at].clone();
    }
    let mut flat = vec![stride];
    flat.extend_from_slice(&shape[shared + depth..]);
    let flat = cx.reshape_to(x, flat)?;
    one(cx.gather(flat, places, 0))
}

/// `on` at the index along a new axis, `off` elsewhere, and everywhere for indices outside of it.
fn one_hot(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (indices, depth, values) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let depth = cx.known_float(depth)?;
    if !(0.0..=65536.0).contains(&depth) {
        return unsupported(format!("a depth of {depth}"));
    }
    let depth = depth as usize;
    let rank = cx.rank(indices) + 1;
    let axis = axis_of(node.int("axis", -1)?, rank)?;
    let mut shape = cx.shape(indices)?;
    shape.insert(axis, 1);
    let indices = cx.cast(indices, DataType::I64)?;
    let indices = cx.reshape(indices, &shape)?;
    let negative = cx.compare_with(Compare::Lesser, indices, 0.0)?;
    let turned = cx.with(Binary::Add, indices, depth as f64)?;
    let indices = cx.select(negative, turned, indices)?;
    let places = cx.iota(depth, axis, rank)?;
    let here = cx.compare(Compare::Equal, places, indices)?;
    let (off, on) = (cx.slice(values, 0, 0, 1)?, cx.slice(values, 0, 1, 1)?);
    let (off, on) = (cx.reshape(off, &[])?, cx.reshape(on, &[])?);
    one(cx.select(here, on, off))
}

/// The greatest elements along an axis (or the least), and their places; equal ones in the order in which they stand.
fn top_k(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, k) = (node.input(0)?, node.input(1)?);
    let k = usize::try_from(cx.known_int(k)?).unwrap_or(usize::MAX);
    let axis = axis_of(node.int("axis", -1)?, cx.rank(x))?;
    let largest = node.flag("largest", true)?;
    // Where they need not be sorted they may be.
    node.ignore(&["sorted"]);
    let top = Op::Extension(Extension::TopK { axis, k, largest });
    let places = cx.op(top, &[x], DataType::I64)?;
    Ok(vec![elements(cx, x, places, axis)?, places])
}

/// The first so many elements of each row of a batch turned around.
fn reverse_sequence(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, lengths) = (node.input(0)?, node.input(1)?);
    let shape = cx.shape(x)?;
    let rank = shape.len();
    let (time, batch) = (
        axis_of(node.int("time_axis", 0)?, rank)?,
        axis_of(node.int("batch_axis", 1)?, rank)?,
    );
    let mut each = vec![1; rank];
    each[batch] = shape[batch];
    let lengths = cx.cast(lengths, DataType::I64)?;
    let lengths = cx.reshape(lengths, &each)?;
    let step = cx.iota(shape[time], time, rank)?;
    let last = cx.with(Binary::Sub, lengths, 1.0)?;
    let turned = cx.sub(last, step)?;
    let inside = cx.compare(Compare::Lesser, step, lengths)?;
    let places = cx.select(inside, turned, step)?;
    let places = cx.expand(places, &shape)?;
    one(elements(cx, x, places, time))
}
