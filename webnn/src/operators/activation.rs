//! Activation functions. Those that are composed are computed in f32, float16 being rounded at the end.

use fewbit_engine::graph::op::{Binary, Compare, Unary};

use super::{Call, In, Outputs, axis_of, one_of, same_type};
use crate::emit::{Emit, Made};
use crate::error::Fault;
use crate::types::{DataType, broadcast};
use crate::value::Number;

fn float(call: &mut Call<'_>) -> Result<In, Fault> {
    call.operand_of(0, "input", DataType::FLOATS)
}

/// The double of an option, cast to the operand's type.
fn number(call: &Call<'_>, name: &str, default: f64, x: &In) -> Result<f64, Fault> {
    let number = call.option_double(name, default)?;
    Ok(match x.data_type.cast(Number::Float(number)) {
        Number::Float(number) => number,
        Number::Integer(number) => number as f64,
    })
}

pub(super) fn plain(call: &mut Call<'_>) -> Outputs {
    let op = match call.name {
        "gelu" => Unary::Gelu,
        "sigmoid" => Unary::Sigmoid,
        _ => Unary::Tanh,
    };
    let x = float(call)?;
    Ok(vec![call.emit().unary(op, x.value)?])
}

pub(super) fn softmax(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let axis = axis_of(&x, call.argument(1).unsigned_long("axis")?)?;
    Ok(vec![call.emit().graph.softmax(x.value, axis)?])
}

/// `x` where it is above 0, else `alpha · (eˣ − 1)`.
pub(super) fn elu(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let alpha = number(call, "alpha", 1.0, &x)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let below = exp_less_one(emit, x)?;
        let below = emit.with(Binary::Mul, below, alpha)?;
        let above = emit.compare_with(Compare::Greater, x, 0.0)?;
        emit.select(above, x, below)
    })?;
    Ok(vec![y])
}

/// `eˣ − 1`, near 0 by its series, as the difference would have few digits there.
fn exp_less_one(emit: &mut Emit, x: fewbit_engine::graph::ValueId) -> Made {
    let mut series = emit.float_like(x, 1.0)?;
    for term in (2..=8).rev() {
        let part = emit.with(Binary::Mul, x, 1.0 / f64::from(term))?;
        let part = emit.mul(part, series)?;
        series = emit.with(Binary::Add, part, 1.0)?;
    }
    let series = emit.mul(series, x)?;
    let power = emit.unary(Unary::Exp, x)?;
    let far = emit.with(Binary::Sub, power, 1.0)?;
    let size = emit.unary(Unary::Abs, x)?;
    let near = emit.compare_with(Compare::Lesser, size, 0.5)?;
    emit.select(near, series, far)
}

/// `max(0, min(1, alpha · x + beta))`
pub(super) fn hard_sigmoid(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let alpha = number(call, "alpha", 0.2, &x)?;
    let beta = number(call, "beta", 0.5, &x)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let y = emit.with(Binary::Mul, x, alpha)?;
        let y = emit.with(Binary::Add, y, beta)?;
        clamped(emit, y, 1.0)
    })?;
    Ok(vec![y])
}

fn clamped(emit: &mut Emit, x: fewbit_engine::graph::ValueId, max: f32) -> Made {
    let clamp = fewbit_engine::graph::Op::Clamp { min: 0.0, max };
    emit.op(clamp, &[x])
}

/// `x · max(0, min(6, x + 3)) / 6`
pub(super) fn hard_swish(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let y = emit.with(Binary::Add, x, 3.0)?;
        let y = clamped(emit, y, 6.0)?;
        let y = emit.mul(x, y)?;
        emit.with(Binary::Div, y, 6.0)
    })?;
    Ok(vec![y])
}

/// `x` where it is at least 0, else `alpha · x`.
pub(super) fn leaky_relu(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let alpha = number(call, "alpha", 0.01, &x)?;
    let emit = call.emit();
    let scaled = emit.with(Binary::Mul, x.value, alpha)?;
    Ok(vec![by_sign(emit, x.value, scaled)?])
}

fn by_sign(
    emit: &mut Emit,
    x: fewbit_engine::graph::ValueId,
    below: fewbit_engine::graph::ValueId,
) -> Made {
    let negative = emit.compare_with(Compare::Lesser, x, 0.0)?;
    emit.select(negative, below, x)
}

/// `alpha · x + beta`
pub(super) fn linear(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let alpha = number(call, "alpha", 1.0, &x)?;
    let beta = number(call, "beta", 0.0, &x)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let y = emit.with(Binary::Mul, x, alpha)?;
        emit.with(Binary::Add, y, beta)
    })?;
    Ok(vec![y])
}

/// `x` where it is at least 0, else `slope · x`.
pub(super) fn prelu(call: &mut Call<'_>) -> Outputs {
    const TYPES: &[DataType] = &[
        DataType::Float32,
        DataType::Float16,
        DataType::Int64,
        DataType::Int32,
        DataType::Int8,
    ];
    let x = call.operand(0, "input")?;
    one_of("input", &x, TYPES)?;
    let slope = call.operand(1, "slope")?;
    same_type("slope", &slope, &x)?;
    broadcast(&slope.shape, &x.shape)?;
    let emit = call.emit();
    let scaled = emit.mul(x.value, slope.value)?;
    Ok(vec![by_sign(emit, x.value, scaled)?])
}

/// `x / (1 + |x|)`
pub(super) fn softsign(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let size = emit.unary(Unary::Abs, x)?;
        let below = emit.with(Binary::Add, size, 1.0)?;
        emit.binary(Binary::Div, x, below)
    })?;
    Ok(vec![y])
}

/// `ln(1 + eˣ)`, as `max(x, 0) + ln(1 + e)` of `e = e^−|x|`, whose logarithm is `2 · artanh(e / (2 + e))`: a series that
/// converges fast, since its argument is at most a third.
pub(super) fn softplus(call: &mut Call<'_>) -> Outputs {
    let x = float(call)?;
    let y = call.emit().in_f32(x.value, |emit, x| {
        let size = emit.unary(Unary::Abs, x)?;
        let size = emit.unary(Unary::Neg, size)?;
        let e = emit.unary(Unary::Exp, size)?;
        let below = emit.with(Binary::Add, e, 2.0)?;
        let s = emit.binary(Binary::Div, e, below)?;
        let square = emit.mul(s, s)?;
        let mut series = emit.float_like(x, 1.0 / 17.0)?;
        for term in (1..=15).rev().step_by(2) {
            let part = emit.mul(series, square)?;
            series = emit.with(Binary::Add, part, 1.0 / f64::from(term))?;
        }
        let log = emit.mul(series, s)?;
        let log = emit.with(Binary::Mul, log, 2.0)?;
        let above = emit.unary(Unary::Relu, x)?;
        emit.add(above, log)
    })?;
    Ok(vec![y])
}
