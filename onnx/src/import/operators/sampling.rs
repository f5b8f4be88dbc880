//! Images read between their pixels: at the points of a grid, under a filter that is bent.

use fewbit_engine::graph::op::{Binary, Compare, Logical, Unary};
use fewbit_engine::tensor::DataType;

use super::elementwise::round_half_even;
use super::one;
use super::resize::cubic_weights;
use super::shape::sizes;
use super::window::Sliding;
use crate::import::context::{Context, MOST_PLACES, Made, Value, of_numbers};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("GridSample", 16, grid_sample),
    Entry::widened("AffineGrid", 20, affine_grid),
    Entry::widened("DeformConv", 19, deform_conv),
];

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Interpolation {
    Nearest,
    Linear,
    Cubic,
}

/// What is outside of an image.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Outside {
    Zeros,
    Border,
    /// Mirrored at the middles of the outermost pixels, or at their edges.
    Mirrored {
        at_centres: bool,
    },
}

/// One pixel along an axis that counts for each point: its place (i64), its weight, and whether it is in the image.
pub(super) struct Tap {
    pub(super) place: Value,
    pub(super) weight: Option<Value>,
    pub(super) inside: Option<Value>,
}

/// The number nearest within `0..=size − 1`.
fn into_image(cx: &mut Context, x: Value, size: usize) -> Made {
    let x = cx.with(Binary::Max, x, 0.0)?;
    cx.with(Binary::Min, x, size.max(1) as f64 - 1.0)
}

/// A coordinate mirrored into an image of `size`.
fn mirrored(cx: &mut Context, x: Value, size: usize, at_centres: bool) -> Made {
    let (first, span) = match at_centres {
        true => (0.0, size as f64 - 1.0),
        false => (-0.5, size as f64),
    };
    if span <= 0.0 {
        return into_image(cx, x, size);
    }
    let from = cx.with(Binary::Sub, x, first)?;
    let from = cx.unary(Unary::Abs, from)?;
    let turns = cx.with(Binary::Div, from, 2.0 * span)?;
    let turns = cx.unary(Unary::Floor, turns)?;
    let turns = cx.with(Binary::Mul, turns, 2.0 * span)?;
    let rest = cx.sub(from, turns)?;
    let negative = cx.unary(Unary::Neg, rest)?;
    let back = cx.with(Binary::Add, negative, 2.0 * span)?;
    let nearer = cx.binary(Binary::Min, rest, back)?;
    cx.with(Binary::Add, nearer, first)
}

/// The taps for coordinates in pixels along an axis of `size`.
pub(super) fn taps(
    cx: &mut Context,
    x: Value,
    size: usize,
    how: Interpolation,
    outside: Outside,
) -> Result<Vec<Tap>, Refusal> {
    let x = match how {
        Interpolation::Nearest => round_half_even(cx, x)?,
        _ => x,
    };
    let x = match outside {
        Outside::Zeros => x,
        Outside::Border => into_image(cx, x, size)?,
        Outside::Mirrored { at_centres } => mirrored(cx, x, size, at_centres)?,
    };
    let first = cx.unary(Unary::Floor, x)?;
    let (steps, weights) = match how {
        Interpolation::Nearest => (vec![0.0], vec![None]),
        Interpolation::Linear => {
            let rest = cx.sub(x, first)?;
            let negative = cx.unary(Unary::Neg, rest)?;
            let before = cx.with(Binary::Add, negative, 1.0)?;
            (vec![0.0, 1.0], vec![Some(before), Some(rest)])
        }
        Interpolation::Cubic => {
            let rest = cx.sub(x, first)?;
            let weights = cubic_weights(cx, rest, -0.75)?;
            let weights = weights.into_iter().map(Some).collect();
            (vec![-1.0, 0.0, 1.0, 2.0], weights)
        }
    };
    let mut taps = Vec::new();
    for (step, weight) in steps.into_iter().zip(weights) {
        let mut at = cx.with(Binary::Add, first, step)?;
        let mut inside = None;
        match outside {
            Outside::Zeros => {
                let low = cx.compare_with(Compare::GreaterOrEqual, at, 0.0)?;
                let high = cx.compare_with(Compare::Lesser, at, size as f64)?;
                inside = Some(cx.logical(Logical::And, low, high)?);
            }
            Outside::Border => {}
            Outside::Mirrored { at_centres } => at = mirrored(cx, at, size, at_centres)?,
        }
        let at = into_image(cx, at, size)?;
        let place = cx.cast(at, DataType::I64)?;
        taps.push(Tap {
            place,
            weight,
            inside,
        });
    }
    Ok(taps)
}

/// `x [images, channels, sizes…]` at `points` (of pixels, `[images, …]` along each axis) → `[images, …, channels]`.
fn sampled(
    cx: &mut Context,
    x: Value,
    points: &[Value],
    how: Interpolation,
    outside: Outside,
) -> Made {
    let shape = cx.shape(x)?;
    let (images, channels, axes) = (shape[0], shape[1], shape.len() - 2);
    let pixels: usize = shape[2..].iter().product();
    if pixels == 0 || points.len() != axes {
        return wrong(format!("{} coordinates in {shape:?}", points.len()));
    }
    let flat = cx.reshape(x, &[images, channels, pixels])?;
    let rows = cx.transpose(flat, &[0, 2, 1])?;
    let rows = cx.reshape(rows, &[images * pixels, channels])?;
    let rank = cx.rank(points[0]);
    let start = cx.iota(images, 0, rank)?;
    let mut chains = vec![Tap {
        place: cx.with(Binary::Mul, start, pixels as f64)?,
        weight: None,
        inside: None,
    }];
    let mut stride = pixels;
    for (axis, &point) in points.iter().enumerate() {
        stride /= shape[axis + 2];
        let taps = taps(cx, point, shape[axis + 2], how, outside)?;
        let mut longer = Vec::new();
        for chain in &chains {
            for tap in &taps {
                let step = cx.with(Binary::Mul, tap.place, stride as f64)?;
                longer.push(Tap {
                    place: cx.add(chain.place, step)?,
                    weight: both(cx, chain.weight, tap.weight, Context::mul)?,
                    inside: both(cx, chain.inside, tap.inside, |cx, a, b| {
                        cx.logical(Logical::And, a, b)
                    })?,
                });
            }
        }
        chains = longer;
    }
    let mut sum: Option<Value> = None;
    for chain in chains {
        let value = weighed(cx, rows, &chain)?;
        sum = Some(match sum {
            Some(sum) => cx.add(sum, value)?,
            None => value,
        });
    }
    sum.map_or_else(|| wrong("no axes"), Ok)
}

pub(super) fn both(
    cx: &mut Context,
    a: Option<Value>,
    b: Option<Value>,
    join: impl Fn(&mut Context, Value, Value) -> Made,
) -> Result<Option<Value>, Refusal> {
    match (a, b) {
        (Some(a), Some(b)) => join(cx, a, b).map(Some),
        (a, b) => Ok(a.or(b)),
    }
}

/// The rows at a tap's places, times its weights.
pub(super) fn weighed(cx: &mut Context, rows: Value, tap: &Tap) -> Made {
    let mut value = cx.gather(rows, tap.place, 0)?;
    let column = |cx: &mut Context, factor: Value| {
        let mut shape = cx.shape(factor)?;
        shape.push(1);
        cx.reshape(factor, &shape)
    };
    if let Some(inside) = tap.inside {
        let inside = column(cx, inside)?;
        let zero = cx.number(0.0, value.data_type)?;
        value = cx.select(inside, value, zero)?;
    }
    match tap.weight {
        Some(weight) => {
            let weight = column(cx, weight)?;
            cx.mul(value, weight)
        }
        None => Ok(value),
    }
}

/// With the last dimension, the channels, second.
pub(super) fn channels_second(cx: &mut Context, y: Value) -> Made {
    let rank = cx.rank(y);
    let mut order: Vec<usize> = (0..rank - 1).collect();
    order.insert(1, rank - 1);
    cx.transpose(y, &order)
}

fn grid_sample(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, grid) = (node.input(0)?, node.input(1)?);
    let (shape, points) = (cx.shape(x)?, cx.shape(grid)?);
    let axes = shape.len().saturating_sub(2);
    if axes == 0 || points.len() != shape.len() || points[axes + 1] != axes {
        return wrong(format!("a grid of {points:?} over {shape:?}"));
    }
    let at_centres = node.flag("align_corners", false)?;
    let default = if node.opset < 20 {
        "bilinear"
    } else {
        "linear"
    };
    let how = match node.word("mode", default)?.as_str() {
        "nearest" => Interpolation::Nearest,
        "linear" | "bilinear" => Interpolation::Linear,
        "cubic" | "bicubic" => Interpolation::Cubic,
        other => return wrong(format!("mode {other:?}")),
    };
    let outside = match node.word("padding_mode", "zeros")?.as_str() {
        "zeros" => Outside::Zeros,
        "border" => Outside::Border,
        "reflection" => Outside::Mirrored { at_centres },
        other => return wrong(format!("padding_mode {other:?}")),
    };
    if axes > 3 {
        return unsupported(format!("over {axes} axes"));
    }
    let mut coordinates = Vec::new();
    for axis in 0..axes {
        // The last axis's coordinate is first.
        let part = cx.slice(grid, axes + 1, axes - 1 - axis, 1)?;
        let part = cx.reshape(part, &points[..axes + 1])?;
        let part = cx.cast(part, x.data_type)?;
        let size = shape[axis + 2] as f64;
        let part = cx.with(Binary::Add, part, 1.0)?;
        // −1 and 1 are the middles of the outermost pixels, or their edges.
        coordinates.push(match at_centres {
            true => cx.with(Binary::Mul, part, (size - 1.0) / 2.0)?,
            false => {
                let part = cx.with(Binary::Mul, part, size / 2.0)?;
                cx.with(Binary::Sub, part, 0.5)?
            }
        });
    }
    let y = sampled(cx, x, &coordinates, how, outside)?;
    one(channels_second(cx, y))
}

/// The points of a regular grid, each from −1 to 1, by a matrix for each image.
fn affine_grid(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (theta, size) = (node.input(0)?, node.input(1)?);
    let size = sizes(&cx.known_ints(size)?)?;
    let at_centres = node.flag("align_corners", false)?;
    let axes = size.len().saturating_sub(2);
    let shape = cx.shape(theta)?;
    if !matches!(axes, 2 | 3) || shape != [size[0], axes, axes + 1] {
        return wrong(format!("matrices {shape:?} for an image of {size:?}"));
    }
    let count: usize = size[2..].iter().product();
    if count > MOST_PLACES {
        return unsupported(format!("a grid of {count}"));
    }
    let mut grid = vec![1.0; (axes + 1) * count];
    let mut stride = count;
    for (axis, &size) in size[2..].iter().enumerate() {
        stride /= size.max(1);
        for point in 0..count {
            let at = (point / stride.max(1) % size) as f64;
            let whole = match at_centres {
                true => (2.0 * at + 1.0 - size as f64) / (size as f64 - 1.0).max(1.0),
                false => (2.0 * at + 1.0) / size as f64 - 1.0,
            };
            // The last axis's coordinate is first.
            grid[(axes - 1 - axis) * count + point] = whole;
        }
    }
    let grid = cx.constant(of_numbers(theta.data_type, &[axes + 1, count], &grid)?)?;
    let y = cx.matmul(theta, grid)?;
    let y = cx.transpose(y, &[0, 2, 1])?;
    let mut to = vec![size[0]];
    to.extend(&size[2..]);
    to.push(axes);
    one(cx.reshape(y, &to))
}

/// A convolution whose taps are moved by offsets and weighed by a mask.
fn deform_conv(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter, offset) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (bias, mask) = (node.optional(3), node.optional(4));
    let (shape, filters, moved) = (cx.shape(x)?, cx.shape(filter)?, cx.shape(offset)?);
    let (&[batch, channels, height, width], &[outputs, own, rows, columns]) =
        (&shape[..], &filters[..])
    else {
        return unsupported(format!("filters {filters:?} over {shape:?}"));
    };
    node.ignore(&["kernel_shape"]);
    let sliding = Sliding::read(node, &[height, width], vec![rows, columns])?;
    sliding.fits(&[height, width])?;
    let count = |name| -> Result<usize, Refusal> {
        match usize::try_from(node.int(name, 1)?) {
            Ok(count) if count > 0 => Ok(count),
            _ => wrong(format!("{name} of none")),
        }
    };
    let (groups, parts) = (count("group")?, count("offset_group")?);
    let out = [sliding.windows(0, height), sliding.windows(1, width)];
    let taps = rows * columns;
    let fits = moved == [batch, parts * taps * 2, out[0], out[1]]
        && own * groups == channels
        && channels.is_multiple_of(parts)
        && outputs.is_multiple_of(groups);
    if !fits {
        return wrong(format!(
            "offsets {moved:?}, filters {filters:?} over {shape:?}"
        ));
    }
    let places = out[0] * out[1];
    if taps.saturating_mul(places) > MOST_PLACES {
        return unsupported(format!("{taps} taps at {places} places"));
    }
    let images = batch * parts;
    let offset = cx.reshape(offset, &[images, taps, 2, places])?;
    let mut points = Vec::new();
    for axis in 0..2 {
        let still: Vec<f64> = (0..taps * places)
            .map(|i| {
                let (tap, place) = (i / places, i % places);
                let (tap, place) = match axis {
                    0 => (tap / columns, place / out[1]),
                    _ => (tap % columns, place % out[1]),
                };
                let at = place * sliding.strides[axis] + tap * sliding.dilations[axis];
                at as f64 - sliding.before[axis] as f64
            })
            .collect();
        let still = cx.constant(of_numbers(x.data_type, &[1, taps * places], &still)?)?;
        let by = cx.slice(offset, 2, axis, 1)?;
        let by = cx.reshape(by, &[images, taps * places])?;
        points.push(cx.add(still, by)?);
    }
    let each = channels / parts;
    let x = cx.reshape(x, &[images, each, height, width])?;
    let mut read = sampled(cx, x, &points, Interpolation::Linear, Outside::Zeros)?;
    if let Some(mask) = mask {
        let mask = cx.reshape(mask, &[images, taps * places, 1])?;
        read = cx.mul(read, mask)?;
    }
    // [batch, parts, taps, places, each] to columns of each group.
    let read = cx.reshape(read, &[batch, parts, taps, places, each])?;
    let read = cx.transpose(read, &[0, 1, 4, 2, 3])?;
    let read = cx.reshape(read, &[batch, groups, own * taps, places])?;
    let filter = cx.reshape(filter, &[groups, outputs / groups, own * taps])?;
    let mut y = cx.matmul(filter, read)?;
    if let Some(bias) = bias {
        let bias = cx.reshape(bias, &[groups, outputs / groups, 1])?;
        y = cx.add(y, bias)?;
    }
    one(cx.reshape(y, &[batch, outputs, out[0], out[1]]))
}
