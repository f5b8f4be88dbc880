//! Normalizations.

use fewbit_engine::graph::op::{
    Binary, Compare, LayerNormalization, Pad, PadMode, ReduceKind, Unary,
};
use fewbit_engine::graph::{Dim, Op};

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axes_of, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("BatchNormalization", 7, batch),
    Entry::widened("InstanceNormalization", 6, instance),
    Entry::widened("GroupNormalization", 18, group),
    Entry::widened("LayerNormalization", 17, layer),
    Entry::widened("RMSNormalization", 23, root_mean_square),
    Entry::widened("MeanVarianceNormalization", 9, mean_variance),
    Entry::widened("LpNormalization", 1, lp),
    Entry::widened("LRN", 1, local_response),
];

/// A value of each channel, for broadcasting over `[batch, channels, …]`.
fn per_channel(cx: &mut Context, x: Value, rank: usize) -> Made {
    let shape = cx.shape(x)?;
    let [channels] = shape[..] else {
        return wrong(format!("{shape:?} for channels"));
    };
    let mut spread = vec![1; rank];
    if rank < 2 {
        return wrong(format!("channels of {rank} dimensions"));
    }
    spread[1] = channels;
    cx.reshape(x, &spread)
}

/// Mean and variance (by the count) over axes, which stay as 1.
fn moments(cx: &mut Context, x: Value, axes: &[usize]) -> Result<(Value, Value), Refusal> {
    let mean = cx.reduce(ReduceKind::Mean, x, axes, true)?;
    let off = cx.sub(x, mean)?;
    let square = cx.mul(off, off)?;
    Ok((mean, cx.reduce(ReduceKind::Mean, square, axes, true)?))
}

/// `(x − mean) / sqrt(variance + epsilon)`
fn standardized(cx: &mut Context, x: Value, mean: Value, variance: Value, epsilon: f32) -> Made {
    let off = cx.sub(x, mean)?;
    let root = cx.with(Binary::Add, variance, epsilon.into())?;
    let root = cx.unary(Unary::Sqrt, root)?;
    cx.div(off, root)
}

fn scaled(cx: &mut Context, x: Value, scale: Value, bias: Value) -> Made {
    let y = cx.mul(x, scale)?;
    cx.add(y, bias)
}

/// With the running mean and variance, or in training with the batch's own, which change the running ones.
fn batch(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    let epsilon = node.float("epsilon", 1e-5)?;
    let momentum = f64::from(node.float("momentum", 0.9)?);
    if node.opset < 9 && !node.flag("spatial", true)? {
        return unsupported("for each place of its own");
    }
    let training = node.opset >= 14 && node.flag("training_mode", false)?;
    if node.opset < 14 && node.outputs() > 1 {
        return unsupported("in training");
    }
    let mut given = [x; 4];
    for (at, value) in given.iter_mut().enumerate() {
        let input = node.input(at + 1)?;
        *value = cx.cast(input, x.data_type)?;
    }
    let [scale, bias, mean, variance] = given;
    let (scale, bias) = (per_channel(cx, scale, rank)?, per_channel(cx, bias, rank)?);
    if !training {
        let (mean, variance) = (
            per_channel(cx, mean, rank)?,
            per_channel(cx, variance, rank)?,
        );
        let y = standardized(cx, x, mean, variance, epsilon)?;
        return one(scaled(cx, y, scale, bias));
    }
    let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    let (now_mean, now_variance) = moments(cx, x, &axes)?;
    let y = standardized(cx, x, now_mean, now_variance, epsilon)?;
    let y = scaled(cx, y, scale, bias)?;
    let mut outputs = vec![y];
    for (running, now) in [(mean, now_mean), (variance, now_variance)] {
        let shape = cx.shape(running)?;
        let now = cx.reshape(now, &shape)?;
        let old = cx.with(Binary::Mul, running, momentum)?;
        let new = cx.with(Binary::Mul, now, 1.0 - momentum)?;
        outputs.push(cx.add(old, new)?);
    }
    Ok(outputs)
}

fn instance(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale, bias) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let rank = cx.rank(x);
    let epsilon = node.float("epsilon", 1e-5)?;
    let axes: Vec<usize> = (2..rank).collect();
    let (mean, variance) = moments(cx, x, &axes)?;
    let y = standardized(cx, x, mean, variance, epsilon)?;
    let (scale, bias) = (per_channel(cx, scale, rank)?, per_channel(cx, bias, rank)?);
    one(scaled(cx, y, scale, bias))
}

/// Scale and bias are of each group before operator set 21, of each channel from then on.
fn group(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale, bias) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let epsilon = node.float("epsilon", 1e-5)?;
    node.ignore(&["stash_type"]);
    let shape = cx.shape(x)?;
    let groups = usize::try_from(node.int("num_groups", 0)?).unwrap_or(0);
    if shape.len() < 2 || groups == 0 || !shape[1].is_multiple_of(groups) {
        return wrong(format!("{groups} groups of {shape:?}"));
    }
    let members = shape[1..].iter().product::<usize>() / groups;
    let parted = cx.reshape(x, &[shape[0], groups, members])?;
    let (mean, variance) = moments(cx, parted, &[2])?;
    let y = standardized(cx, parted, mean, variance, epsilon)?;
    let y = cx.reshape(y, &shape)?;
    let mut factors = [scale, bias];
    for factor in &mut factors {
        if node.opset < 21 {
            let each = shape[1] / groups;
            let apart = cx.reshape(*factor, &[groups, 1])?;
            let apart = cx.expand(apart, &[groups, each])?;
            *factor = cx.reshape(apart, &[shape[1]])?;
        }
        *factor = per_channel(cx, *factor, shape.len())?;
    }
    one(scaled(cx, y, factors[0], factors[1]))
}

/// Over all axes from one on; mean and the root's reciprocal come out too where asked for.
fn layer(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale, bias) = (node.input(0)?, node.input(1)?, node.optional(2));
    let epsilon = node.float("epsilon", 1e-5)?;
    node.ignore(&["stash_type"]);
    let rank = cx.rank(x);
    let first = axis_of(node.int("axis", -1)?, rank)?;
    let axes: Vec<usize> = (first..rank).collect();
    let shape = cx.dims(x)?;
    let whole = |cx: &Context, v: Value| Ok::<_, Refusal>(cx.dims(v)? == shape[first..]);
    let plain = whole(cx, scale)? && bias.map_or(Ok(true), |bias| whole(cx, bias))?;
    let y = if plain {
        let attributes = LayerNormalization {
            axes: axes.clone(),
            epsilon,
            scale: true,
            bias: bias.is_some(),
        };
        let mut inputs = vec![x, scale];
        inputs.extend(bias);
        cx.op(Op::LayerNormalization(attributes), &inputs, x.data_type)?
    } else {
        let (mean, variance) = moments(cx, x, &axes)?;
        let y = standardized(cx, x, mean, variance, epsilon)?;
        let y = cx.mul(y, scale)?;
        match bias {
            Some(bias) => cx.add(y, bias)?,
            None => y,
        }
    };
    if !node.wants(1) && !node.wants(2) {
        return Ok(vec![y]);
    }
    let (mean, variance) = moments(cx, x, &axes)?;
    let root = cx.with(Binary::Add, variance, epsilon.into())?;
    let root = cx.unary(Unary::Sqrt, root)?;
    Ok(vec![y, mean, cx.unary(Unary::Reciprocal, root)?])
}

fn root_mean_square(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale) = (node.input(0)?, node.input(1)?);
    let epsilon = node.float("epsilon", 1e-5)?;
    node.ignore(&["stash_type"]);
    let rank = cx.rank(x);
    let first = axis_of(node.int("axis", -1)?, rank)?;
    if first + 1 == rank && cx.dims(scale)? == cx.dims(x)?[first..] {
        return one(cx.op(Op::RmsNormalization { epsilon }, &[x, scale], x.data_type));
    }
    let axes: Vec<usize> = (first..rank).collect();
    let square = cx.mul(x, x)?;
    let mean = cx.reduce(ReduceKind::Mean, square, &axes, true)?;
    let root = cx.with(Binary::Add, mean, epsilon.into())?;
    let root = cx.unary(Unary::Sqrt, root)?;
    let y = cx.div(x, root)?;
    one(cx.mul(y, scale))
}

fn mean_variance(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let axes = node.ints("axes")?.unwrap_or_else(|| vec![0, 2, 3]);
    let axes = axes_of(&axes, cx.rank(x))?;
    let (mean, variance) = moments(cx, x, &axes)?;
    let off = cx.sub(x, mean)?;
    let root = cx.unary(Unary::Sqrt, variance)?;
    let root = cx.with(Binary::Add, root, 1e-9)?;
    one(cx.div(off, root))
}

/// By the norm along an axis; what is all zeros stays so.
fn lp(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let axis = axis_of(node.int("axis", -1)?, cx.rank(x))?;
    let kind = match node.int("p", 2)? {
        1 => ReduceKind::L1,
        2 => ReduceKind::L2,
        other => return wrong(format!("p of {other}")),
    };
    let norm = cx.reduce(kind, x, &[axis], true)?;
    let nothing = cx.compare_with(Compare::Equal, norm, 0.0)?;
    let one_instead = cx.number(1.0, x.data_type)?;
    let norm = cx.select(nothing, one_instead, norm)?;
    one(cx.div(x, norm))
}

/// `x / (bias + alpha / size · Σ x²)^beta` over `size` neighbouring channels.
fn local_response(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let size = node.int("size", 0)?;
    if !(1..=64).contains(&size) {
        return unsupported(format!("over {size} channels"));
    }
    let size = size as usize;
    let (alpha, beta) = (node.float("alpha", 1e-4)?, node.float("beta", 0.75)?);
    let bias = node.float("bias", 1.0)?;
    let shape = cx.dims(x)?;
    if shape.len() < 2 {
        return wrong(format!("shape {shape:?}"));
    }
    let square = cx.mul(x, x)?;
    let on_channels = |by: usize| {
        (0..shape.len())
            .map(|a| if a == 1 { by } else { 0 })
            .collect()
    };
    let pad = Pad {
        before: on_channels((size - 1) / 2),
        after: on_channels(size / 2),
        mode: PadMode::Constant(0.0),
    };
    let wide = cx.op(Op::Pad(pad), &[square], x.data_type)?;
    let mut sum = cx.slice_dims(wide, 1, Dim::from(0), shape[1].clone())?;
    for start in 1..size {
        let next = cx.slice_dims(wide, 1, Dim::from(start), shape[1].clone())?;
        sum = cx.add(sum, next)?;
    }
    let sum = cx.with(Binary::Mul, sum, f64::from(alpha) / size as f64)?;
    let sum = cx.with(Binary::Add, sum, bias.into())?;
    let divisor = cx.with(Binary::Pow, sum, beta.into())?;
    one(cx.div(x, divisor))
}
