//! Elements written to places given by index, and what is made of that: caches, unpooling, images of columns.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Scatter};
use fewbit_engine::tensor::DataType;

use super::indexing::flat_places;
use super::one;
use super::shape::sizes;
use super::window::{Sliding, list};
use crate::import::context::{Context, MOST_PLACES, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Scatter", 9, scatter_elements),
    Entry::new("ScatterElements", 11, scatter_elements),
    Entry::new("ScatterND", 11, scatter_nd),
    Entry::new("TensorScatter", 24, tensor_scatter),
    Entry::new("MaxUnpool", 9, max_unpool),
    Entry::new("Col2Im", 18, col2im),
];

fn reduction(node: &Node<'_>) -> Result<Scatter, Refusal> {
    Ok(match node.word("reduction", "none")?.as_str() {
        "none" => Scatter::Replace,
        "add" => Scatter::Add,
        "mul" => Scatter::Mul,
        "max" => Scatter::Max,
        "min" => Scatter::Min,
        other => return wrong(format!("reduction {other:?}")),
    })
}

fn scatter_elements(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let axis = axis_of(node.int("axis", 0)?, cx.rank(x))?;
    let scatter = reduction(node)?;
    one(elements(cx, x, indices, updates, axis, scatter))
}

/// `updates` at places of `x` that differ from the updates' own only on `axis`.
fn elements(
    cx: &mut Context,
    x: Value,
    indices: Value,
    updates: Value,
    axis: usize,
    scatter: Scatter,
) -> Made {
    let (shape, wanted) = (cx.shape(x)?, cx.shape(indices)?);
    if cx.shape(updates)? != wanted {
        return wrong(format!("indices of {wanted:?} for other updates"));
    }
    let places = flat_places(cx, &shape, indices, axis)?;
    let count: usize = wanted.iter().product();
    let places = cx.reshape(places, &[count, 1])?;
    let flat = cx.reshape(x, &[shape.iter().product()])?;
    let updates = cx.reshape(updates, &[count])?;
    let y = scattered(cx, flat, places, updates, scatter)?;
    cx.reshape(y, &shape)
}

fn scattered(cx: &mut Context, x: Value, indices: Value, updates: Value, scatter: Scatter) -> Made {
    let inputs = [x, indices, updates];
    cx.op(Op::ScatterNd(scatter), &inputs, x.data_type)
}

fn scatter_nd(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, indices, updates) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let scatter = reduction(node)?;
    one(scattered(cx, x, indices, updates, scatter))
}

/// A cache with new elements from each row's index on, or around its end.
fn tensor_scatter(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, updates, starts) = (node.input(0)?, node.input(1)?, node.optional(2));
    let (shape, new) = (cx.shape(x)?, cx.shape(updates)?);
    let rank = shape.len();
    let axis = axis_of(node.int("axis", -2)?, rank)?;
    if axis == 0 || new.len() != rank {
        return wrong(format!("updates of {new:?} on axis {axis} of {shape:?}"));
    }
    let along = cx.iota(new[axis], axis, rank)?;
    let mut place = match starts {
        Some(starts) => {
            let mut rows = vec![1; rank];
            rows[0] = shape[0];
            let starts = cx.cast(starts, DataType::I64)?;
            let starts = cx.reshape(starts, &rows)?;
            cx.add(along, starts)?
        }
        None => along,
    };
    match node.word("mode", "linear")?.as_str() {
        "linear" => {}
        "circular" => {
            let size = shape[axis].max(1) as f64;
            let rounds = cx.with(Binary::Div, place, size)?;
            let rounds = cx.with(Binary::Mul, rounds, size)?;
            place = cx.sub(place, rounds)?;
        }
        other => return wrong(format!("mode {other:?}")),
    }
    let place = cx.expand(place, &new)?;
    one(elements(cx, x, place, updates, axis, Scatter::Replace))
}

/// Elements back at the places where a pool found them, 0 elsewhere.
fn max_unpool(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, places, wanted) = (node.input(0)?, node.input(1)?, node.optional(2));
    let shape = cx.shape(x)?;
    let Some(axes) = shape.len().checked_sub(2).filter(|&axes| axes > 0) else {
        return wrong(format!("shape {shape:?}"));
    };
    let Some(kernel) = list(node, "kernel_shape", axes, 1)? else {
        return wrong("no kernel_shape");
    };
    let sliding = Sliding::read(node, &shape[2..], kernel)?;
    let mut whole = shape.clone();
    for axis in 0..axes {
        let reach = (shape[axis + 2].max(1) - 1) * sliding.strides[axis] + sliding.kernel[axis];
        let around = sliding.before[axis] + sliding.after[axis];
        let Some(size) = reach.checked_sub(around) else {
            return wrong("padding beyond the kernel");
        };
        whole[axis + 2] = size;
    }
    let whole = sizes(&whole.iter().map(|&size| size as i64).collect::<Vec<_>>())?;
    let all: usize = whole.iter().product();
    let count: usize = shape.iter().product();
    let zeros = cx.zeros(&[all], x.data_type)?;
    let places = cx.cast(places, DataType::I64)?;
    let (places, flat) = (cx.reshape(places, &[count, 1])?, cx.reshape(x, &[count])?);
    let mut y = scattered(cx, zeros, places, flat, Scatter::Replace)?;
    y = cx.reshape(y, &whole)?;
    if let Some(wanted) = wanted {
        let wanted = sizes(&cx.known_ints(wanted)?)?;
        if wanted.len() != whole.len() {
            return wrong(format!("an output of {wanted:?}"));
        }
        for (axis, (&to, &from)) in wanted.iter().zip(&whole).enumerate() {
            let mut shape = cx.shape(y)?;
            match to.checked_sub(from) {
                Some(0) => {}
                Some(more) => {
                    shape[axis] = more;
                    let zeros = cx.zeros(&shape, x.data_type)?;
                    y = cx.concat(&[y, zeros], axis)?;
                }
                None => return unsupported(format!("an output of {to} where {from} are made")),
            }
        }
    }
    Ok(vec![y])
}

/// The sum of the blocks that columns hold, each where a window would have taken it from.
fn col2im(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, image, block) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (image, block) = (
        sizes(&cx.known_ints(image)?)?,
        sizes(&cx.known_ints(block)?)?,
    );
    let axes = image.len();
    if block.len() != axes || axes == 0 {
        return wrong(format!("blocks of {block:?} of an image of {image:?}"));
    }
    let sliding = Sliding::read(node, &image, block.clone())?;
    sliding.fits(&image)?;
    let counts: Vec<usize> = (0..axes)
        .map(|axis| sliding.windows(axis, image[axis]))
        .collect();
    let product = |sizes: &[usize]| sizes.iter().fold(1usize, |n, &size| n.saturating_mul(size));
    let (taps, windows) = (product(&block), product(&counts));
    let shape = cx.shape(x)?;
    let [batch, channels, columns] = shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    if columns != windows || !channels.is_multiple_of(taps) {
        return wrong(format!("{shape:?} for {windows} blocks of {taps}"));
    }
    if taps.saturating_mul(windows) > MOST_PLACES {
        return unsupported(format!("{windows} blocks of {taps}"));
    }
    // What falls into the padding goes to one place more.
    let pixels: usize = image.iter().product();
    let mut places = Vec::with_capacity(taps * windows);
    for tap in 0..taps {
        for window in 0..windows {
            let place = pixel(&sliding, &image, &counts, tap, window);
            places.push(place.unwrap_or(pixels) as i64);
        }
    }
    let places = cx.integers(&[taps * windows, 1], &places)?;
    let planes = batch * (channels / taps);
    let rows = cx.reshape(x, &[planes, taps * windows])?;
    let rows = cx.transpose(rows, &[1, 0])?;
    let zeros = cx.zeros(&[pixels + 1, planes], x.data_type)?;
    let sums = scattered(cx, zeros, places, rows, Scatter::Add)?;
    let sums = cx.slice(sums, 0, 0, pixels)?;
    let sums = cx.transpose(sums, &[1, 0])?;
    let mut to = vec![batch, channels / taps];
    to.extend(&image);
    one(cx.reshape(sums, &to))
}

/// The place in an image that a tap of a window takes; none in its padding.
fn pixel(
    sliding: &Sliding,
    image: &[usize],
    counts: &[usize],
    mut tap: usize,
    mut window: usize,
) -> Option<usize> {
    let (mut place, mut stride) = (0, 1);
    for axis in (0..image.len()).rev() {
        let (in_block, in_row) = (tap % sliding.kernel[axis], window % counts[axis]);
        (tap, window) = (tap / sliding.kernel[axis], window / counts[axis]);
        let padded = in_row * sliding.strides[axis] + in_block * sliding.dilations[axis];
        let at = padded.checked_sub(sliding.before[axis])?;
        if at >= image[axis] {
            return None;
        }
        place += at * stride;
        stride *= image[axis];
    }
    Some(place)
}
