//! Elements by index.

use fewbit_engine::graph::op::{Binary, Compare};
use fewbit_engine::tensor::DataType;

use super::one;
use super::shape::scaled;
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

/// `x` at places that differ from `indices`' own only on `axis`: places in the flat tensor, and a gather of them.
pub(super) fn elements(cx: &mut Context, x: Value, indices: Value, axis: usize) -> Made {
    let (shape, wanted) = (cx.shape(x)?, cx.shape(indices)?);
    let rank = shape.len();
    let inside = wanted.len() == rank
        && (0..rank).all(|other| other == axis || wanted[other] <= shape[other]);
    if axis >= rank || !inside {
        return wrong(format!("indices of {wanted:?} into {shape:?}"));
    }
    let indices = cx.cast(indices, DataType::I64)?;
    let size = cx.number(shape[axis] as f64, DataType::I64)?;
    let mut place = from_start(cx, indices, size)?;
    let mut stride = 1;
    for at in (0..rank).rev() {
        if at == axis {
            place = scaled(cx, place, stride)?;
        }
        stride *= shape[at];
    }
    stride = 1;
    for at in (0..rank).rev() {
        if at != axis && wanted[at] > 1 {
            let along = cx.iota(wanted[at], at, rank)?;
            let along = scaled(cx, along, stride)?;
            place = cx.add(place, along)?;
        }
        stride *= shape[at];
    }
    let flat = cx.reshape(x, &[stride])?;
    cx.gather(flat, place, 0)
}

fn gather_nd(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices) = (node.input(0)?, node.input(1)?);
    let (shape, wanted) = (cx.shape(x)?, cx.shape(indices)?);
    if node.int("batch_dims", 0)? != 0 {
        return unsupported("with batch dimensions");
    }
    let Some((&depth, outer)) = wanted.split_last() else {
        return wrong("indices without dimensions");
    };
    if depth == 0 || depth > shape.len() {
        return wrong(format!("{depth} indices into {shape:?}"));
    }
    let indices = cx.cast(indices, DataType::I64)?;
    let sizes: Vec<i64> = shape[..depth].iter().map(|&size| size as i64).collect();
    let size = cx.integers(&[depth], &sizes)?;
    let indices = from_start(cx, indices, size)?;
    let strides: Vec<i64> = (0..depth)
        .map(|at| shape[at + 1..depth].iter().product::<usize>() as i64)
        .collect();
    let strides = cx.integers(&[depth], &strides)?;
    let places = cx.mul(indices, strides)?;
    let last = wanted.len() - 1;
    let places = cx.reduce(
        fewbit_engine::graph::op::ReduceKind::Sum,
        places,
        &[last],
        false,
    )?;
    let mut flat = vec![shape[..depth].iter().product()];
    flat.extend(&shape[depth..]);
    let flat = cx.reshape(x, &flat)?;
    debug_assert_eq!(cx.rank(places), outer.len());
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
