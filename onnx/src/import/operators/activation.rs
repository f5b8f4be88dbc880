//! Activation functions.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, ReduceKind, Unary};
use fewbit_engine::tensor::DataType;

use super::one;
use super::shape::product;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("LeakyRelu", 6, below_zero),
    Entry::widened("Elu", 6, below_zero),
    Entry::widened("Selu", 6, below_zero),
    Entry::widened("Celu", 12, celu),
    Entry::widened("PRelu", 7, below_zero),
    Entry::new("ThresholdedRelu", 10, thresholded),
    Entry::widened("HardSigmoid", 6, hard),
    Entry::widened("HardSwish", 14, hard),
    Entry::widened("Softplus", 1, softplus),
    Entry::widened("Softsign", 1, softsign),
    Entry::widened("Mish", 18, mish),
    Entry::widened("Swish", 24, swish),
    Entry::widened("SwiGLU", 28, swiglu),
    Entry::widened("Gelu", 20, gelu),
    Entry::widened("Shrink", 9, shrink),
    Entry::new("Clip", 6, clip),
    Entry::widened("Softmax", 1, softmax),
    Entry::widened("LogSoftmax", 1, softmax),
    Entry::new("Dropout", 7, dropout),
];

/// Those that are `x` above zero and something else below.
fn below_zero(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let (mut above, mut factor) = (x, 1.0);
    let below = match node.op_type() {
        "LeakyRelu" => {
            let alpha = node.float("alpha", 0.01)?;
            cx.with(Binary::Mul, x, alpha.into())?
        }
        "PRelu" => {
            let slope = node.input(1)?;
            cx.mul(x, slope)?
        }
        op_type => {
            let (alpha, gamma) = match op_type {
                "Selu" => (1.673_263_2, 1.050_701),
                _ => (1.0, 1.0),
            };
            let alpha = node.float("alpha", alpha)?;
            if op_type == "Selu" {
                factor = node.float("gamma", gamma)?.into();
                above = cx.with(Binary::Mul, x, factor)?;
            }
            let grown = cx.unary(Unary::Exp, x)?;
            let grown = cx.with(Binary::Sub, grown, 1.0)?;
            cx.with(Binary::Mul, grown, f64::from(alpha) * factor)?
        }
    };
    let negative = cx.compare_with(Compare::Lesser, x, 0.0)?;
    one(cx.select(negative, below, above))
}

/// `max(0, x) + min(0, alpha · (exp(x / alpha) − 1))`
fn celu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = f64::from(node.float("alpha", 1.0)?);
    let scaled = cx.with(Binary::Div, x, alpha)?;
    let grown = cx.unary(Unary::Exp, scaled)?;
    let grown = cx.with(Binary::Sub, grown, 1.0)?;
    let grown = cx.with(Binary::Mul, grown, alpha)?;
    let below = cx.with(Binary::Min, grown, 0.0)?;
    let above = cx.unary(Unary::Relu, x)?;
    one(cx.add(above, below))
}

fn thresholded(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = node.float("alpha", 1.0)?;
    let above = cx.compare_with(Compare::Greater, x, alpha.into())?;
    let zero = cx.number(0.0, x.data_type)?;
    one(cx.select(above, x, zero))
}

fn hard(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let swish = node.op_type() == "HardSwish";
    let (alpha, beta) = match swish {
        true => (1.0 / 6.0, 0.5),
        false => (
            f64::from(node.float("alpha", 0.2)?),
            f64::from(node.float("beta", 0.5)?),
        ),
    };
    let line = cx.with(Binary::Mul, x, alpha)?;
    let line = cx.with(Binary::Add, line, beta)?;
    let line = cx.op(Op::Clamp { min: 0.0, max: 1.0 }, &[line], x.data_type)?;
    one(match swish {
        true => cx.mul(x, line),
        false => Ok(line),
    })
}

fn softplus(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(log_of_one_and_exp(cx, x))
}

/// `log(1 + exp(x))`, as `max(x, 0) + log(1 + exp(−|x|))`, which does not overflow.
pub(super) fn log_of_one_and_exp(cx: &mut Context, x: Value) -> Made {
    let size = cx.unary(Unary::Abs, x)?;
    let negative = cx.unary(Unary::Neg, size)?;
    let small = cx.unary(Unary::Exp, negative)?;
    let small = cx.with(Binary::Add, small, 1.0)?;
    let small = cx.unary(Unary::Log, small)?;
    let above = cx.unary(Unary::Relu, x)?;
    cx.add(above, small)
}

fn softsign(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let size = cx.unary(Unary::Abs, x)?;
    let size = cx.with(Binary::Add, size, 1.0)?;
    one(cx.div(x, size))
}

fn mish(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let soft = log_of_one_and_exp(cx, x)?;
    let soft = cx.unary(Unary::Tanh, soft)?;
    one(cx.mul(x, soft))
}

fn swish(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = node.float("alpha", 1.0)?;
    if alpha == 1.0 {
        return one(cx.unary(Unary::Silu, x));
    }
    let scaled = cx.with(Binary::Mul, x, alpha.into())?;
    let gate = cx.unary(Unary::Sigmoid, scaled)?;
    one(cx.mul(x, gate))
}

/// `swish(a) · b`
fn swiglu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let b = node.input(1)?;
    let a = swish(cx, node)?[0];
    one(cx.mul(a, b))
}

/// Those of the activations of recurrent layers that have one or two numbers, by their names in lower case.
pub(super) fn named(cx: &mut Context, name: &str, x: Value, alpha: f64, beta: f64) -> Made {
    let positive = |cx: &mut Context, below: Value| {
        let negative = cx.compare_with(Compare::Lesser, x, 0.0)?;
        cx.select(negative, below, x)
    };
    match name {
        "leakyrelu" => {
            let below = cx.with(Binary::Mul, x, alpha)?;
            positive(cx, below)
        }
        "elu" => {
            let grown = cx.unary(Unary::Exp, x)?;
            let grown = cx.with(Binary::Sub, grown, 1.0)?;
            let below = cx.with(Binary::Mul, grown, alpha)?;
            positive(cx, below)
        }
        "thresholdedrelu" => {
            let above = cx.compare_with(Compare::GreaterOrEqual, x, alpha)?;
            let zero = cx.number(0.0, x.data_type)?;
            cx.select(above, x, zero)
        }
        "hardsigmoid" => {
            let line = cx.with(Binary::Mul, x, alpha)?;
            let line = cx.with(Binary::Add, line, beta)?;
            cx.op(Op::Clamp { min: 0.0, max: 1.0 }, &[line], x.data_type)
        }
        "softsign" => {
            let size = cx.unary(Unary::Abs, x)?;
            let size = cx.with(Binary::Add, size, 1.0)?;
            cx.div(x, size)
        }
        other => unsupported(format!("activation {other:?}")),
    }
}

fn gelu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(match node.word("approximate", "none")?.as_str() {
        "none" => cx.unary(Unary::Gelu, x),
        "tanh" => {
            let cube = cx.mul(x, x)?;
            let cube = cx.mul(cube, x)?;
            let cube = cx.with(Binary::Mul, cube, 0.044_715)?;
            let sum = cx.add(x, cube)?;
            let sum = cx.with(Binary::Mul, sum, (2.0 / std::f64::consts::PI).sqrt())?;
            let curve = cx.unary(Unary::Tanh, sum)?;
            let curve = cx.with(Binary::Add, curve, 1.0)?;
            let half = cx.with(Binary::Mul, x, 0.5)?;
            cx.mul(half, curve)
        }
        other => wrong(format!("approximate {other:?}")),
    })
}

/// `x + bias` below `−lambd`, `x − bias` above `lambd`, 0 between.
fn shrink(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let (bias, lambda) = (node.float("bias", 0.0)?, node.float("lambd", 0.5)?);
    let zero = cx.number(0.0, x.data_type)?;
    let low = cx.compare_with(Compare::Lesser, x, -f64::from(lambda))?;
    let high = cx.compare_with(Compare::Greater, x, lambda.into())?;
    let up = cx.with(Binary::Add, x, bias.into())?;
    let down = cx.with(Binary::Sub, x, bias.into())?;
    let rest = cx.select(high, down, zero)?;
    one(cx.select(low, up, rest))
}

/// The bounds are attributes before operator set 11 and inputs from then on.
fn clip(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let (mut least, mut most) = (node.optional(1), node.optional(2));
    if node.opset < 11 {
        if let Some(min) = node.float_or_none("min")? {
            least = Some(cx.number(min.into(), x.data_type)?);
        }
        if let Some(max) = node.float_or_none("max")? {
            most = Some(cx.number(max.into(), x.data_type)?);
        }
    }
    let mut y = x;
    if let Some(least) = least {
        y = cx.binary(Binary::Max, y, least)?;
    }
    if let Some(most) = most {
        y = cx.binary(Binary::Min, y, most)?;
    }
    Ok(vec![y])
}

/// Over one axis; before operator set 13, over all from that axis on.
fn softmax(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let rank = cx.rank(x);
    if node.opset >= 13 {
        let axis = axis_of(node.int("axis", -1)?, rank)?;
        return one(softmax_over(cx, x, axis, node.op_type() == "LogSoftmax"));
    }
    let axis = axis_of(node.int("axis", 1)?, rank)?;
    let shape = cx.dims(x)?;
    let flat = vec![product(&shape[..axis]), product(&shape[axis..])];
    let flat = cx.reshape_to(x, flat)?;
    let flat = softmax_over(cx, flat, 1, node.op_type() == "LogSoftmax")?;
    one(cx.reshape_to(flat, shape))
}

pub(super) fn softmax_over(cx: &mut Context, x: Value, axis: usize, logarithm: bool) -> Made {
    if !logarithm {
        return cx.op(Op::Softmax { axis }, &[x], x.data_type);
    }
    let sum = cx.reduce(ReduceKind::LogSumExp, x, &[axis], true)?;
    cx.sub(x, sum)
}

/// As in inference: everything is kept.
fn dropout(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    node.ignore(&["seed", "ratio"]);
    // The ratio counts in training only.
    let ratio = node.optional(1);
    if let Some(training) = node.optional(2)
        && cx.known_int(training)? != 0
    {
        let ratio = match ratio {
            Some(ratio) => cx.known_float(ratio)?,
            None => 0.5,
        };
        if ratio != 0.0 {
            return unsupported("in training");
        }
    }
    if !node.wants(1) {
        return Ok(vec![x]);
    }
    let shape = cx.dims(x)?;
    let kept = cx.number(1.0, DataType::Bool)?;
    let kept = cx.expand_to(kept, shape)?;
    let kept = match node.opset {
        10.. => kept,
        _ => cx.cast(kept, x.data_type)?,
    };
    Ok(vec![x, kept])
}
