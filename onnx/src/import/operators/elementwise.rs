//! Arithmetic, comparison and logic, element by element.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Bitwise, Compare, Extension, Logical, Unary};
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Abs", 1, unary),
    Entry::new("Ceil", 1, unary),
    Entry::new("Cos", 7, unary),
    Entry::new("Erf", 9, unary),
    Entry::new("Exp", 1, unary),
    Entry::new("Floor", 1, unary),
    Entry::new("Identity", 1, unary),
    Entry::new("Log", 1, unary),
    Entry::new("Neg", 1, unary),
    Entry::new("Reciprocal", 1, unary),
    Entry::new("Relu", 1, unary),
    Entry::new("Sigmoid", 1, unary),
    Entry::new("Sin", 7, unary),
    Entry::new("Sqrt", 1, unary),
    Entry::new("Tan", 7, unary),
    Entry::new("Tanh", 1, unary),
    Entry::widened("Sinh", 9, hyperbolic),
    Entry::widened("Cosh", 9, hyperbolic),
    Entry::widened("Asinh", 9, hyperbolic),
    Entry::widened("Acosh", 9, hyperbolic),
    Entry::widened("Atanh", 9, hyperbolic),
    Entry::new("Sign", 9, sign),
    Entry::new("Round", 11, round),
    Entry::new("IsNaN", 9, is_nan),
    Entry::new("IsInf", 10, is_infinite),
    Entry::new("Add", 7, binary),
    Entry::new("Sub", 7, binary),
    Entry::new("Mul", 7, binary),
    Entry::new("Div", 7, binary),
    Entry::new("Pow", 7, power),
    Entry::new("Mod", 10, modulo),
    Entry::new("Max", 8, of_many),
    Entry::new("Min", 8, of_many),
    Entry::widened("Sum", 8, of_many),
    Entry::widened("Mean", 8, mean),
    Entry::new("Equal", 7, compare),
    Entry::new("Greater", 7, compare),
    Entry::new("Less", 7, compare),
    Entry::new("GreaterOrEqual", 12, compare),
    Entry::new("LessOrEqual", 12, compare),
    Entry::new("And", 7, logical),
    Entry::new("Or", 7, logical),
    Entry::new("Xor", 7, logical),
    Entry::new("Not", 1, not),
    Entry::new("Where", 9, choose),
    Entry::new("BitwiseNot", 18, bitwise_not),
    Entry::new("BitShift", 11, bit_shift),
    Entry::new("BitwiseAnd", 18, bitwise),
    Entry::new("BitwiseOr", 18, bitwise),
    Entry::new("BitwiseXor", 18, bitwise),
    Entry::widened("Acos", 7, arcus),
    Entry::widened("Asin", 7, arcus),
    Entry::widened("Atan", 7, arcus),
];

fn unary(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let op = match node.op_type() {
        "Abs" => Unary::Abs,
        "Ceil" => Unary::Ceil,
        "Cos" => Unary::Cos,
        "Erf" => Unary::Erf,
        "Exp" => Unary::Exp,
        "Floor" => Unary::Floor,
        "Identity" => return Ok(vec![x]),
        "Log" => Unary::Log,
        "Neg" => Unary::Neg,
        "Reciprocal" => Unary::Reciprocal,
        "Relu" => Unary::Relu,
        "Sigmoid" => Unary::Sigmoid,
        "Sin" => Unary::Sin,
        "Sqrt" => Unary::Sqrt,
        "Tan" => Unary::Tan,
        "Tanh" => Unary::Tanh,
        other => return wrong(other),
    };
    one(cx.unary(op, x))
}

fn hyperbolic(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(match node.op_type() {
        "Sinh" => {
            // tanh · cosh, which keeps its digits near 0.
            let tangent = cx.unary(Unary::Tanh, x)?;
            let cosine = hyperbolic_cosine(cx, x)?;
            cx.mul(tangent, cosine)
        }
        "Cosh" => hyperbolic_cosine(cx, x),
        "Asinh" => {
            let size = cx.unary(Unary::Abs, x)?;
            let logarithm = log_with_root(cx, size, 1.0)?;
            let sign = sign_of(cx, x)?;
            cx.mul(sign, logarithm)
        }
        "Acosh" => log_with_root(cx, x, -1.0),
        _ => {
            let one = cx.number(1.0, x.data_type)?;
            let (above, below) = (cx.add(one, x)?, cx.sub(one, x)?);
            let ratio = cx.div(above, below)?;
            let logarithm = cx.unary(Unary::Log, ratio)?;
            cx.with(Binary::Mul, logarithm, 0.5)
        }
    })
}

fn hyperbolic_cosine(cx: &mut Context, x: Value) -> Made {
    let negative = cx.unary(Unary::Neg, x)?;
    let (up, down) = (cx.unary(Unary::Exp, x)?, cx.unary(Unary::Exp, negative)?);
    let sum = cx.add(up, down)?;
    cx.with(Binary::Mul, sum, 0.5)
}

/// `log(x + sqrt(x² + plus))`
fn log_with_root(cx: &mut Context, x: Value, plus: f64) -> Made {
    let square = cx.mul(x, x)?;
    let square = cx.with(Binary::Add, square, plus)?;
    let root = cx.unary(Unary::Sqrt, square)?;
    let sum = cx.add(x, root)?;
    cx.unary(Unary::Log, sum)
}

/// 1, −1, or `x` itself where it is 0 or NaN.
fn sign_of(cx: &mut Context, x: Value) -> Made {
    let above = cx.compare_with(Compare::Greater, x, 0.0)?;
    let one = cx.number(1.0, x.data_type)?;
    let rest = if is_signed(x.data_type) {
        let below = cx.compare_with(Compare::Lesser, x, 0.0)?;
        let minus = cx.number(-1.0, x.data_type)?;
        cx.select(below, minus, x)?
    } else {
        x
    };
    cx.select(above, one, rest)
}

fn is_signed(data_type: DataType) -> bool {
    !matches!(
        data_type,
        DataType::Bool | DataType::U8 | DataType::U16 | DataType::U32 | DataType::U64
    )
}

fn sign(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(sign_of(cx, x))
}

fn round(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(round_half_even(cx, x))
}

/// To the nearest integer, halves to the even one; every step is exact.
pub(super) fn round_half_even(cx: &mut Context, x: Value) -> Made {
    let below = cx.unary(Unary::Floor, x)?;
    let above = cx.with(Binary::Add, below, 1.0)?;
    let rest = cx.sub(x, below)?;
    let half = cx.with(Binary::Mul, below, 0.5)?;
    let whole = cx.unary(Unary::Floor, half)?;
    let even = cx.compare(Compare::Equal, half, whole)?;
    let tie = cx.select(even, below, above)?;
    let up = cx.compare_with(Compare::Greater, rest, 0.5)?;
    let down = cx.compare_with(Compare::Lesser, rest, 0.5)?;
    let rounded = cx.select(down, below, tie)?;
    let rounded = cx.select(up, above, rounded)?;
    // Infinities less themselves are NaN.
    let size = cx.unary(Unary::Abs, x)?;
    let infinite = cx.compare_with(Compare::Equal, size, f64::INFINITY)?;
    cx.select(infinite, x, rounded)
}

fn is_nan(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(cx.compare(Compare::NotEqual, x, x))
}

fn is_infinite(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let negative = node.flag("detect_negative", true)?;
    let positive = node.flag("detect_positive", true)?;
    let above = cx.compare_with(Compare::Equal, x, f64::INFINITY)?;
    let below = cx.compare_with(Compare::Equal, x, f64::NEG_INFINITY)?;
    one(match (negative, positive) {
        (true, true) => cx.logical(Logical::Or, above, below),
        (true, false) => Ok(below),
        (false, true) => Ok(above),
        (false, false) => cx.compare(Compare::Greater, x, x),
    })
}

fn binary(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let op = match node.op_type() {
        "Add" => Binary::Add,
        "Sub" => Binary::Sub,
        "Mul" => Binary::Mul,
        "Div" => Binary::Div,
        other => return wrong(other),
    };
    one(cx.binary(op, a, b))
}

/// The power has the base's type, whatever the exponent's.
fn power(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (base, exponent) = (node.input(0)?, node.input(1)?);
    let wanted = base.data_type;
    if !wanted.is_float() && exponent.data_type.is_float() {
        let base = cx.cast(base, DataType::F64)?;
        let exponent = cx.cast(exponent, DataType::F64)?;
        let power = cx.binary(Binary::Pow, base, exponent)?;
        return one(cx.cast(power, wanted));
    }
    let exponent = cx.cast(exponent, wanted)?;
    one(cx.binary(Binary::Pow, base, exponent))
}

fn modulo(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let like_c = node.flag("fmod", false)?;
    if !a.data_type.is_float() {
        let quotient = cx.div(a, b)?;
        let whole = cx.mul(quotient, b)?;
        let rest = cx.sub(a, whole)?;
        if like_c || !is_signed(a.data_type) {
            return Ok(vec![rest]);
        }
        // The divisor's sign, where there is a rest.
        let (left, right) = (
            cx.compare_with(Compare::Lesser, rest, 0.0)?,
            cx.compare_with(Compare::Lesser, b, 0.0)?,
        );
        let other_sign = cx.logical(Logical::Xor, left, right)?;
        let some = cx.compare_with(Compare::NotEqual, rest, 0.0)?;
        let change = cx.logical(Logical::And, some, other_sign)?;
        let changed = cx.add(rest, b)?;
        return one(cx.select(change, changed, rest));
    }
    // In f64, where the quotient of two f32 numbers of like size is exact enough to be cut off.
    let (wide_a, wide_b) = (cx.cast(a, DataType::F64)?, cx.cast(b, DataType::F64)?);
    let quotient = cx.div(wide_a, wide_b)?;
    let whole = if like_c {
        let negative = cx.compare_with(Compare::Lesser, quotient, 0.0)?;
        let (up, down) = (
            cx.unary(Unary::Ceil, quotient)?,
            cx.unary(Unary::Floor, quotient)?,
        );
        cx.select(negative, up, down)?
    } else {
        cx.unary(Unary::Floor, quotient)?
    };
    let whole = cx.mul(whole, wide_b)?;
    let rest = cx.sub(wide_a, whole)?;
    // Of an infinite divisor all is rest, or the divisor itself where that has the other sign.
    let size = cx.unary(Unary::Abs, wide_b)?;
    let infinite = cx.compare_with(Compare::Equal, size, f64::INFINITY)?;
    let finite = {
        let size = cx.unary(Unary::Abs, wide_a)?;
        cx.compare_with(Compare::Lesser, size, f64::INFINITY)?
    };
    let infinite = cx.logical(Logical::And, infinite, finite)?;
    let all = if like_c {
        wide_a
    } else {
        let product = cx.mul(wide_a, wide_b)?;
        let other_sign = cx.compare_with(Compare::Lesser, product, 0.0)?;
        cx.select(other_sign, wide_b, wide_a)?
    };
    let rest = cx.select(infinite, all, rest)?;
    one(cx.cast(rest, a.data_type))
}

fn of_many(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let op = match node.op_type() {
        "Max" => Binary::Max,
        "Min" => Binary::Min,
        _ => Binary::Add,
    };
    one(folded(cx, node, op))
}

fn folded(cx: &mut Context, node: &Node<'_>, op: Binary) -> Made {
    let mut inputs = node.all()?.into_iter();
    let Some(first) = inputs.next() else {
        return wrong("no inputs");
    };
    let mut result = first;
    for next in inputs {
        result = cx.binary(op, result, next)?;
    }
    Ok(result)
}

fn mean(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let sum = folded(cx, node, Binary::Add)?;
    one(cx.with(Binary::Div, sum, node.count() as f64))
}

fn compare(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let op = match node.op_type() {
        "Equal" => Compare::Equal,
        "Greater" => Compare::Greater,
        "Less" => Compare::Lesser,
        "GreaterOrEqual" => Compare::GreaterOrEqual,
        "LessOrEqual" => Compare::LesserOrEqual,
        other => return wrong(other),
    };
    one(cx.compare(op, a, b))
}

fn logical(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let op = match node.op_type() {
        "And" => Logical::And,
        "Or" => Logical::Or,
        _ => Logical::Xor,
    };
    one(cx.logical(op, a, b))
}

fn not(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(cx.not(x))
}

fn choose(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (condition, a, b) = (node.input(0)?, node.input(1)?, node.input(2)?);
    one(cx.select(condition, a, b))
}

fn bitwise_not(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    one(bits_turned(cx, x))
}

/// `−x − 1`, which wraps in unsigned types to what all bits turned over are.
fn bits_turned(cx: &mut Context, x: Value) -> Made {
    let negative = cx.unary(Unary::Neg, x)?;
    cx.with(Binary::Sub, negative, 1.0)
}

fn bitwise(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let op = match node.op_type() {
        "BitwiseAnd" => Bitwise::And,
        "BitwiseOr" => Bitwise::Or,
        _ => Bitwise::Xor,
    };
    let op = Op::Extension(Extension::Bitwise(op));
    one(cx.op(op, &[a, b], a.data_type))
}

/// By a power of two; beyond the type's width, and by a negative number, 0 or the sign alone.
fn bit_shift(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, by) = (node.input(0)?, node.input(1)?);
    let bits = 8 * x.data_type.bytes();
    let left = match node.word("direction", "")?.as_str() {
        "LEFT" => true,
        "RIGHT" => false,
        other => return wrong(format!("direction {other:?}")),
    };
    let (zero, two) = (cx.number(0.0, x.data_type)?, cx.number(2.0, x.data_type)?);
    let below = cx.compare_with(Compare::Lesser, by, bits as f64)?;
    let above = cx.compare_with(Compare::GreaterOrEqual, by, 0.0)?;
    let inside = cx.logical(Logical::And, below, above)?;
    let by = cx.select(inside, by, zero)?;
    if left {
        let factor = cx.binary(Binary::Pow, two, by)?;
        let shifted = cx.mul(x, factor)?;
        return one(cx.select(inside, shifted, zero));
    }
    if !is_signed(x.data_type) {
        let factor = cx.binary(Binary::Pow, two, by)?;
        let shifted = cx.div(x, factor)?;
        return one(cx.select(inside, shifted, zero));
    }
    // ⌊x / 2ⁿ⌋ of a negative number is −1 − ⌊(−1 − x) / 2ⁿ⌋, whose quotient is of a number that is not negative. The
    // factor 2ⁿ⁻¹ and a half stand for the factor that the type has not.
    let negative = cx.compare_with(Compare::Lesser, x, 0.0)?;
    let turned = bits_turned(cx, x)?;
    let size = cx.select(negative, turned, x)?;
    let half = cx.with(Binary::Div, size, 2.0)?;
    let some = cx.compare_with(Compare::Greater, by, 0.0)?;
    let less = cx.with(Binary::Sub, by, 1.0)?;
    let less = cx.select(some, less, zero)?;
    let factor = cx.binary(Binary::Pow, two, less)?;
    let shifted = cx.div(half, factor)?;
    let shifted = cx.select(some, shifted, size)?;
    let shifted = cx.select(inside, shifted, zero)?;
    let turned = bits_turned(cx, shifted)?;
    one(cx.select(negative, turned, shifted))
}

fn arcus(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let atan = Op::Extension(Extension::Atan);
    if node.op_type() == "Atan" {
        return one(cx.op(atan, &[x], x.data_type));
    }
    // √(1 − x) and √(1 + x), of which both functions are made without a division by 0 at x = ±1.
    let unit = cx.number(1.0, x.data_type)?;
    let (less, more) = (cx.sub(unit, x)?, cx.add(unit, x)?);
    if node.op_type() == "Asin" {
        let square = cx.mul(less, more)?;
        let cosine = cx.unary(Unary::Sqrt, square)?;
        let whole = cx.with(Binary::Add, cosine, 1.0)?;
        let tangent = cx.div(x, whole)?;
        let half = cx.op(atan, &[tangent], x.data_type)?;
        return one(cx.with(Binary::Mul, half, 2.0));
    }
    let positive = cx.compare_with(Compare::GreaterOrEqual, x, 0.0)?;
    let (above, below) = (
        cx.select(positive, less, more)?,
        cx.select(positive, more, less)?,
    );
    let ratio = cx.div(above, below)?;
    let tangent = cx.unary(Unary::Sqrt, ratio)?;
    let half = cx.op(atan, &[tangent], x.data_type)?;
    let angle = cx.with(Binary::Mul, half, 2.0)?;
    let straight = cx.number(std::f64::consts::PI, x.data_type)?;
    let rest = cx.sub(straight, angle)?;
    one(cx.select(positive, angle, rest))
}
