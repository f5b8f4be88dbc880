//! Convolutions over one and two axes.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Conv2d, Pad, PadMode};
use fewbit_engine::tensor::DataType;

use super::one;
use super::product::less_zero;
use super::window::{Sliding, as_image, list, of_image, spatial};
use crate::import::context::{Context, MOST_PLACES, Made, Value};
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
    let shape = cx.shape(x)?;
    let (sizes, kernel) = (spatial(&shape)?, spatial(&cx.shape(filter)?)?);
    if sizes.len() != kernel.len() {
        return wrong(format!("a filter of {kernel:?} over {sizes:?}"));
    }
    let sliding = Sliding::read(node, &sizes, kernel)?;
    sliding.fits(&sizes)?;
    let conv = Conv2d {
        window: sliding.window(),
        groups: groups(node)?,
        bias: bias.is_some(),
    };
    let mut inputs = vec![as_image(cx, x)?, as_image(cx, filter)?];
    inputs.extend(bias);
    let y = cx.op(Op::Conv2d(conv), &inputs, DataType::F32)?;
    of_image(cx, y, shape.len())
}

/// As a convolution by the filter turned around, over `x` with zeros between its elements.
fn conv_transpose(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter, bias) = (node.input(0)?, node.input(1)?, node.optional(2));
    node.ignore(&["kernel_shape"]);
    let shape = cx.shape(x)?;
    let filter_shape = cx.shape(filter)?;
    let (sizes, kernel) = (spatial(&shape)?, spatial(&filter_shape)?);
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
    let sliding = transposed(node, &sizes, kernel)?;
    let mut spread = as_image(cx, x)?;
    let axes = sizes.len();
    for axis in 0..axes {
        spread = zeros_between(cx, spread, axis + 4 - axes, sliding.strides[axis])?;
    }
    let rank = 4;
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    let more = list(node, "output_padding", axes, 0)?.unwrap_or_else(|| vec![0; axes]);
    for (axis, more) in more.into_iter().enumerate() {
        let border = sliding.reach(axis) - 1;
        let at = axis + rank - axes;
        let (Some(first), Some(last)) = (
            border.checked_sub(sliding.before[axis]),
            (border + more).checked_sub(sliding.after[axis]),
        ) else {
            return unsupported("padding beyond the kernel");
        };
        (before[at], after[at]) = (first, last);
    }
    let mode = PadMode::Constant(0.0);
    let pad = Pad {
        before,
        after,
        mode,
    };
    let spread = cx.op(Op::Pad(pad), &[spread], x.data_type)?;
    // [channels, per group, …] to [outputs, channels / groups, …], each plane turned around.
    let filter = as_image(cx, filter)?;
    let [_, _, height, width] = four(&cx.shape(filter)?)?;
    if height.max(width) > MOST_PLACES {
        return unsupported(format!("a filter of {height} by {width}"));
    }
    let filter = cx.reshape(
        filter,
        &[groups, channels / groups, per_group, height, width],
    )?;
    let filter = cx.transpose(filter, &[0, 2, 1, 3, 4])?;
    let outputs = groups * per_group;
    let filter = cx.reshape(filter, &[outputs, channels / groups, height, width])?;
    let around = |size: usize| (0..size).rev().collect::<Vec<_>>();
    let filter = cx.pick(filter, 2, &around(height))?;
    let filter = cx.pick(filter, 3, &around(width))?;
    let still = Sliding {
        strides: vec![1; axes],
        before: vec![0; axes],
        after: vec![0; axes],
        ..sliding
    };
    let conv = Conv2d {
        window: still.window(),
        groups,
        bias: bias.is_some(),
    };
    let mut inputs = vec![spread, filter];
    inputs.extend(bias);
    let y = cx.op(Op::Conv2d(conv), &inputs, DataType::F32)?;
    one(of_image(cx, y, shape.len()))
}

fn four(shape: &[usize]) -> Result<[usize; 4], Refusal> {
    shape
        .try_into()
        .map_err(|_| Refusal::Wrong(format!("shape {shape:?}")))
}

/// The padding of a transposed convolution, which may be told by the output's size.
fn transposed(node: &Node<'_>, sizes: &[usize], kernel: Vec<usize>) -> Result<Sliding, Refusal> {
    let axes = sizes.len();
    let mode = node.word("auto_pad", "NOTSET")?;
    let wanted = list(node, "output_shape", axes, 1)?;
    let more = list(node, "output_padding", axes, 0)?.unwrap_or_else(|| vec![0; axes]);
    let mut sliding = Sliding::read(node, sizes, kernel)?;
    let same = mode.starts_with("SAME");
    if wanted.is_none() && !same {
        return Ok(sliding);
    }
    for axis in 0..axes {
        let stride = sliding.strides[axis];
        let whole = stride * (sizes[axis] - 1) + more[axis] + sliding.reach(axis);
        let out = match &wanted {
            Some(wanted) => wanted[axis],
            None => sizes[axis] * stride,
        };
        let Some(total) = whole.checked_sub(out) else {
            return unsupported(format!("an output of {out} where {whole} are made"));
        };
        let (less, rest) = (total / 2, total - total / 2);
        (sliding.before[axis], sliding.after[axis]) = match mode == "SAME_UPPER" {
            true => (less, rest),
            false => (rest, less),
        };
    }
    Ok(sliding)
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
    for (operand, (value, zero)) in operands.iter_mut().zip([x, filter]) {
        if !matches!(value.data_type, DataType::I8 | DataType::U8) {
            return unsupported(format!("of {}", value.data_type));
        }
        if let Some(zero) = zero
            && cx.shape(zero)?.iter().product::<usize>() != 1
        {
            return unsupported("with a zero point for each output");
        }
        let whole = less_zero(cx, value, zero, false)?;
        *operand = cx.cast(whole, DataType::F32)?;
    }
    convolved(cx, node, operands[0], operands[1], None)
}
