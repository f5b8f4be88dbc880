//! Convolutions over one to three axes.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Conv2d, Pad, PadMode};
use fewbit_engine::tensor::DataType;

use super::one;
use super::product::less_zero;
use super::window::{Sliding, as_image, list, of_image, spatial, surrounded};
use crate::import::context::{Context, MOST_PLACES, MOST_STEPS, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("Conv", 1, conv),
    Entry::widened("ConvTranspose", 1, conv_transpose),
    Entry::new("ConvInteger", 10, conv_integer),
];

fn conv(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter, bias) = (node.input(0)?, node.input(1)?, node.optional(2));
    one(convolved(cx, node, x, filter, bias))
}

fn groups(node: &Node<'_>) -> Result<usize, Refusal> {
    match usize::try_from(node.int("group", 1)?) {
        Ok(groups) if groups > 0 => Ok(groups),
        _ => wrong("no groups"),
    }
}

/// `x` (f32) by `filter` (f32), windows as the node's attributes have them.
pub(super) fn convolved(
    cx: &mut Context,
    node: &Node<'_>,
    x: Value,
    filter: Value,
    bias: Option<Value>,
) -> Made {
    node.ignore(&["kernel_shape"]);
    let shape = cx.dims(x)?;
    let (sizes, kernel) = (spatial(&shape)?, spatial(&cx.dims(filter)?)?);
    if sizes.len() != kernel.len() {
        return wrong(format!("a filter of {kernel:?} over {sizes:?}"));
    }
    let sliding = Sliding::read(node, &sizes, kernel)?;
    sliding.fits(&sizes)?;
    slid(cx, x, filter, bias, &sliding, groups(node)?)
}

/// `x [batch, channels, …]` by `filter [outputs, channels / groups, …]`, over three axes as a sum of convolutions of
/// planes, one for each place of the filter's depth.
fn slid(
    cx: &mut Context,
    x: Value,
    filter: Value,
    bias: Option<Value>,
    sliding: &Sliding,
    groups: usize,
) -> Made {
    let rank = cx.rank(x);
    // Only over three axes the other sizes must be numbers too.
    let (shape, filters) = match rank {
        5 => (cx.shape(x)?, cx.shape(filter)?),
        _ => (Vec::new(), Vec::new()),
    };
    if let (&[n, c, d, h, w], &[outputs, each, depth, rows, columns]) = (&shape[..], &filters[..]) {
        let windows = sliding.windows(0, d);
        if depth > MOST_STEPS || windows > MOST_PLACES {
            return unsupported(format!("a depth of {depth} over {d}"));
        }
        let [before, after] = [sliding.before[0], sliding.after[0]];
        let padded = surrounded(cx, x, &[before, 0, 0], &[after, 0, 0], 0.0)?;
        let padded = cx.transpose(padded, &[0, 2, 1, 3, 4])?;
        let mut sum: Option<Value> = None;
        for tap in 0..depth {
            let planes = cx.pick(padded, 1, &sliding.places(0, tap, windows))?;
            let planes = cx.reshape(planes, &[n * windows, c, h, w])?;
            let own = cx.slice(filter, 2, tap, 1)?;
            let own = cx.reshape(own, &[outputs, each, rows, columns])?;
            let bias = bias.filter(|_| tap == 0);
            let y = slid(cx, planes, own, bias, &sliding.of_planes(), groups)?;
            sum = Some(match sum {
                Some(sum) => cx.add(sum, y)?,
                None => y,
            });
        }
        let Some(sum) = sum else {
            return wrong("an empty filter");
        };
        let [_, _, h, w] = cx.shape(sum)?[..] else {
            return wrong(format!("shape {shape:?}"));
        };
        let y = cx.reshape(sum, &[n, windows, outputs, h, w])?;
        return cx.transpose(y, &[0, 2, 1, 3, 4]);
    }
    let conv = Conv2d {
        window: sliding.window(),
        groups,
        bias: bias.is_some(),
    };
    let mut inputs = vec![as_image(cx, x)?, as_image(cx, filter)?];
    inputs.extend(bias);
    let y = cx.op(Op::Conv2d(conv), &inputs, DataType::F32)?;
    of_image(cx, y, rank)
}

/// As a convolution by the filter turned around, over `x` with zeros between its elements.
fn conv_transpose(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter, bias) = (node.input(0)?, node.input(1)?, node.optional(2));
    node.ignore(&["kernel_shape"]);
    let shape = cx.shape(x)?;
    let filter_shape = cx.shape(filter)?;
    let (sizes, kernel) = (spatial(&cx.dims(x)?)?, spatial(&cx.dims(filter)?)?);
    if sizes.len() != kernel.len() || sizes.contains(&0) {
        return wrong(format!("a filter of {kernel:?} over {sizes:?}"));
    }
    let groups = groups(node)?;
    let [channels, per_group] = [filter_shape[0], filter_shape[1]];
    if channels != shape[1] || !channels.is_multiple_of(groups) {
        return wrong(format!(
            "{groups} groups, {channels} and {} channels",
            shape[1]
        ));
    }
    let (sliding, more) = transposed(node, &sizes, kernel.clone())?;
    let mut spread = x;
    for (axis, &stride) in sliding.strides.iter().enumerate() {
        spread = zeros_between(cx, spread, axis + 2, stride)?;
    }
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for (axis, more) in more.into_iter().enumerate() {
        let border = sliding.reach(axis) - 1;
        let (Some(first), Some(last)) = (
            border.checked_sub(sliding.before[axis]),
            (border + more).checked_sub(sliding.after[axis]),
        ) else {
            return unsupported("padding beyond the kernel");
        };
        before.push(first);
        after.push(last);
    }
    let spread = surrounded(cx, spread, &before, &after, 0.0)?;
    // [channels, per group, …] to [outputs, channels / groups, …], each axis turned around.
    let mut apart = vec![groups, channels / groups, per_group];
    apart.extend(&kernel);
    let mut order: Vec<usize> = (0..apart.len()).collect();
    order.swap(1, 2);
    let filter = cx.reshape(filter, &apart)?;
    let filter = cx.transpose(filter, &order)?;
    let mut together = vec![groups * per_group, channels / groups];
    together.extend(&kernel);
    let mut filter = cx.reshape(filter, &together)?;
    for (axis, &size) in kernel.iter().enumerate() {
        if size > MOST_PLACES {
            return unsupported(format!("a filter of {kernel:?}"));
        }
        let around: Vec<usize> = (0..size).rev().collect();
        filter = cx.pick(filter, axis + 2, &around)?;
    }
    let axes = sizes.len();
    let still = Sliding {
        strides: vec![1; axes],
        before: vec![0; axes],
        after: vec![0; axes],
        ..sliding
    };
    one(slid(cx, spread, filter, bias, &still, groups))
}

/// The padding of a transposed convolution, which may be told by the output's size, and what is added at its end.
fn transposed(
    node: &Node<'_>,
    sizes: &[usize],
    kernel: Vec<usize>,
) -> Result<(Sliding, Vec<usize>), Refusal> {
    let axes = sizes.len();
    let mode = node.word("auto_pad", "NOTSET")?;
    let wanted = list(node, "output_shape", axes, 1)?;
    let mut more = list(node, "output_padding", axes, 0)?.unwrap_or_else(|| vec![0; axes]);
    let mut sliding = Sliding::read(node, sizes, kernel)?;
    let same = mode.starts_with("SAME");
    if wanted.is_none() && !same {
        return Ok((sliding, more));
    }
    for axis in 0..axes {
        let stride = sliding.strides[axis];
        let whole = stride * (sizes[axis] - 1) + more[axis] + sliding.reach(axis);
        let out = match &wanted {
            Some(wanted) => wanted[axis],
            None => sizes[axis] * stride,
        };
        let total = match whole.checked_sub(out) {
            Some(total) => total,
            None => {
                more[axis] += out - whole;
                0
            }
        };
        let (less, rest) = (total / 2, total - total / 2);
        (sliding.before[axis], sliding.after[axis]) = match mode == "SAME_UPPER" {
            true => (less, rest),
            false => (rest, less),
        };
    }
    Ok((sliding, more))
}

/// `stride − 1` zeros between the elements of an axis.
fn zeros_between(cx: &mut Context, x: Value, axis: usize, stride: usize) -> Made {
    if stride == 1 {
        return Ok(x);
    }
    let mut shape = cx.shape(x)?;
    let size = shape[axis];
    let mut apart = shape.clone();
    apart.insert(axis + 1, 1);
    let y = cx.reshape(x, &apart)?;
    let (before, mut after) = (vec![0; apart.len()], vec![0; apart.len()]);
    after[axis + 1] = stride - 1;
    let mode = PadMode::Constant(0.0);
    let pad = Pad {
        before,
        after,
        mode,
    };
    let y = cx.op(Op::Pad(pad), &[y], x.data_type)?;
    shape[axis] = size * stride;
    let y = cx.reshape(y, &shape)?;
    cx.slice(y, axis, 0, (size - 1) * stride + 1)
}

/// In i32.
fn conv_integer(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter) = (node.input(0)?, node.input(1)?);
    let (x_zero, filter_zero) = (node.optional(2), node.optional(3));
    let y = integer_sums(cx, node, (x, x_zero), (filter, filter_zero))?;
    one(cx.cast(y, DataType::I32))
}

/// The sums of a convolution of 8-bit integers less their zero points, in f32, which is exact below 2^24.
pub(super) fn integer_sums(
    cx: &mut Context,
    node: &Node<'_>,
    x: (Value, Option<Value>),
    filter: (Value, Option<Value>),
) -> Made {
    let taps: usize = cx.shape(filter.0)?.iter().skip(1).product();
    if taps > (1 << 24) / (255 * 255) {
        return unsupported(format!("sums of {taps} products"));
    }
    let mut operands = [x.0; 2];
    if let Some(zero) = x.1
        && cx.shape(zero)?.iter().product::<usize>() != 1
    {
        return wrong("a zero point of more than one number");
    }
    for (operand, (value, zero)) in operands.iter_mut().zip([x, filter]) {
        if !matches!(value.data_type, DataType::I8 | DataType::U8) {
            return unsupported(format!("of {}", value.data_type));
        }
        let zero = match zero {
            // One for each output, which the filter has first.
            Some(zero) if cx.shape(zero)?.iter().product::<usize>() != 1 => {
                let mut each = vec![1; cx.rank(value)];
                each[0] = cx.shape(zero)?.iter().product();
                Some(cx.reshape(zero, &each)?)
            }
            zero => zero,
        };
        let whole = less_zero(cx, value, zero, false)?;
        *operand = cx.cast(whole, DataType::F32)?;
    }
    convolved(cx, node, operands[0], operands[1], None)
}
