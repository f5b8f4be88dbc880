//! Element-wise operators, comparisons and casts.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, Logical, Unary};

use super::{Call, Outputs, one_of, same_type};
use crate::error::{Fault, rule};
use crate::types::{DataType, broadcast};
use crate::value::Number;

const SIGNED: &[DataType] = &[
    DataType::Float32,
    DataType::Float16,
    DataType::Int64,
    DataType::Int32,
    DataType::Int8,
];

fn unary_of(name: &str) -> Option<(Unary, &'static [DataType])> {
    Some(match name {
        "abs" => (Unary::Abs, SIGNED),
        "ceil" => (Unary::Ceil, DataType::FLOATS),
        "cos" => (Unary::Cos, DataType::FLOATS),
        "erf" => (Unary::Erf, DataType::FLOATS),
        "exp" => (Unary::Exp, DataType::FLOATS),
        "floor" => (Unary::Floor, DataType::FLOATS),
        "identity" => (Unary::Identity, &DataType::ALL),
        "log" => (Unary::Log, DataType::FLOATS),
        "neg" => (Unary::Neg, SIGNED),
        "reciprocal" => (Unary::Reciprocal, DataType::FLOATS),
        "relu" => (Unary::Relu, SIGNED),
        "sin" => (Unary::Sin, DataType::FLOATS),
        "sqrt" => (Unary::Sqrt, DataType::FLOATS),
        "tan" => (Unary::Tan, DataType::FLOATS),
        _ => return None,
    })
}

pub(super) fn unary(call: &mut Call<'_>) -> Outputs {
    let (op, types) = unary_of(call.name).unwrap_or((Unary::Identity, &[]));
    let x = call.operand_of(0, "input", types)?;
    Ok(vec![call.emit().unary(op, x.value)?])
}

pub(super) fn round_even(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", DataType::FLOATS)?;
    Ok(vec![call.emit().round_even(x.value)?])
}

/// −1, 0 or 1; of a float also −0 and NaN, which stay.
pub(super) fn sign(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", SIGNED)?.value;
    let emit = call.emit();
    let zero = emit.float_like(x, 0.0)?;
    let [one, minus] = [emit.float_like(x, 1.0)?, emit.float_like(x, -1.0)?];
    let above = emit.compare(Compare::Greater, x, zero)?;
    let below = emit.compare(Compare::Lesser, x, zero)?;
    let y = emit.select(below, minus, x)?;
    Ok(vec![emit.select(above, one, y)?])
}

pub(super) fn is_nan(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "a")?.value;
    Ok(vec![call.emit().compare(Compare::NotEqual, x, x)?])
}

pub(super) fn is_infinite(call: &mut Call<'_>) -> Outputs {
    let a = call.operand(0, "a")?;
    let (x, emit) = (a.value, call.emit());
    if !a.data_type.is_float() {
        return Ok(vec![emit.compare(Compare::NotEqual, x, x)?]);
    }
    let size = emit.unary(Unary::Abs, x)?;
    Ok(vec![emit.compare_with(
        Compare::Equal,
        size,
        f64::INFINITY,
    )?])
}

pub(super) fn binary(call: &mut Call<'_>) -> Outputs {
    let op = match call.name {
        "add" => Binary::Add,
        "sub" => Binary::Sub,
        "mul" => Binary::Mul,
        "div" => Binary::Div,
        "max" => Binary::Max,
        "min" => Binary::Min,
        _ => Binary::Pow,
    };
    let a = call.operand(0, "a")?;
    let b = call.operand_like(1, "b", &a)?;
    broadcast(&a.shape, &b.shape)?;
    Ok(vec![call.emit().binary(op, a.value, b.value)?])
}

pub(super) fn compare(call: &mut Call<'_>) -> Outputs {
    let op = match call.name {
        "equal" => Compare::Equal,
        "notEqual" => Compare::NotEqual,
        "greater" => Compare::Greater,
        "greaterOrEqual" => Compare::GreaterOrEqual,
        "lesser" => Compare::Lesser,
        _ => Compare::LesserOrEqual,
    };
    let a = call.operand(0, "a")?;
    let b = call.operand_like(1, "b", &a)?;
    broadcast(&a.shape, &b.shape)?;
    Ok(vec![call.emit().compare(op, a.value, b.value)?])
}

pub(super) fn logical(call: &mut Call<'_>) -> Outputs {
    let op = match call.name {
        "logicalAnd" => Logical::And,
        "logicalOr" => Logical::Or,
        _ => Logical::Xor,
    };
    let a = call.operand_of(0, "a", &[DataType::Uint8])?;
    let b = call.operand_like(1, "b", &a)?;
    broadcast(&a.shape, &b.shape)?;
    Ok(vec![call.emit().logical(op, a.value, b.value)?])
}

pub(super) fn logical_not(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "a", &[DataType::Uint8])?.value;
    Ok(vec![call.emit().compare_with(Compare::Equal, x, 0.0)?])
}

pub(super) fn choose(call: &mut Call<'_>) -> Outputs {
    let condition = call.operand_of(0, "condition", &[DataType::Uint8])?;
    let a = call.operand(1, "trueValue")?;
    let b = call.operand(2, "falseValue")?;
    same_type("falseValue", &b, &a)?;
    let both = broadcast(&a.shape, &b.shape)?;
    broadcast(&condition.shape, &both)?;
    let y = call.emit().select(condition.value, a.value, b.value)?;
    Ok(vec![y])
}

pub(super) fn cast(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let types = DataType::ALL.map(|t| (t.name(), t));
    let to = call.argument(1).one_of("dataType", &types)?;
    Ok(vec![call.emit().cast(x.value, to.engine())?])
}

/// Bounds are numbers of the input's type, and only those that are given are held.
pub(super) fn clamp(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    one_of("input", &x, &DataType::ALL)?;
    let bound = |name: &str| -> Result<Option<Number>, Fault> {
        let given = call.option(name);
        let number = given.map(|value| value.ml_number(name)).transpose()?;
        Ok(number.map(|number| x.data_type.cast(number)))
    };
    let (least, most) = (bound("minValue")?, bound("maxValue")?);
    if let (Some(least), Some(most)) = (least, most) {
        rule(!least.is_greater(most), || {
            format!("minValue {least:?} is greater than maxValue {most:?}")
        })?;
    }
    let emit = call.emit();
    if let (Some(Number::Float(min)), Some(Number::Float(max))) = (least, most)
        && min.is_finite()
        && max.is_finite()
    {
        let (min, max) = (min as f32, max as f32);
        return Ok(vec![emit.op(Op::Clamp { min, max }, &[x.value])?]);
    }
    let mut y = x.value;
    for (op, bound) in [(Binary::Max, least), (Binary::Min, most)] {
        if let Some(bound) = bound {
            let bound = emit.number_like(y, bound)?;
            y = emit.binary(op, y, bound)?;
        }
    }
    Ok(vec![y])
}
