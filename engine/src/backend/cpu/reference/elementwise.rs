//! Element-wise operators, with NumPy's broadcasting.
//!
//! NaN goes through `max`, `min`, `clamp` and `relu`. Over integers, division is towards zero and by zero
//! gives 0; a power with a negative exponent is what is left of the fraction (0, but for bases 1 and −1).

use super::indexing::broadcast;
use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::graph::op::{Binary, Compare, Fused, Logical, Operand, Step, Unary};
use crate::tensor::Tensor;

pub(super) fn unary(case: &Case<'_>, op: Unary) -> Result<Tensor, EvaluateError> {
    match case.numbers(0)? {
        Numbers::Floats(values) => {
            let out: Vec<f64> = values.into_iter().map(|x| unary_float(op, x)).collect();
            case.of_floats(&out)
        }
        Numbers::Integers(values) => {
            let apply = |x: i128| {
                Some(match op {
                    Unary::Abs => x.abs(),
                    Unary::Neg => -x,
                    Unary::Relu => x.max(0),
                    Unary::Identity => x,
                    _ => return None,
                })
            };
            let out: Option<Vec<i128>> = values.into_iter().map(apply).collect();
            case.of_integers(&out.ok_or_else(|| case.unsupported())?)
        }
    }
}

fn unary_float(op: Unary, x: f64) -> f64 {
    match op {
        Unary::Abs => x.abs(),
        Unary::Ceil => x.ceil(),
        Unary::Cos => x.cos(),
        Unary::Erf => libm::erf(x),
        Unary::Exp => x.exp(),
        Unary::Floor => x.floor(),
        Unary::Gelu => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Unary::Identity => x,
        Unary::Log => x.ln(),
        Unary::Neg => -x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Relu => greater(x, 0.0),
        Unary::Sigmoid => 1.0 / (1.0 + (-x).exp()),
        Unary::Silu => x / (1.0 + (-x).exp()),
        Unary::Sin => x.sin(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tan => x.tan(),
        Unary::Tanh => x.tanh(),
    }
}

/// The greater of two, NaN if either is.
pub(super) fn greater(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The lesser of two, NaN if either is.
pub(super) fn lesser(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

fn clamp_float(x: f64, min: f32, max: f32) -> f64 {
    lesser(greater(x, min.into()), max.into())
}

pub(super) fn clamp(case: &Case<'_>, min: f32, max: f32) -> Result<Tensor, EvaluateError> {
    match case.numbers(0)? {
        Numbers::Floats(values) => {
            let out: Vec<f64> = values
                .into_iter()
                .map(|x| clamp_float(x, min, max))
                .collect();
            case.of_floats(&out)
        }
        Numbers::Integers(values) => {
            // The integers between the bounds; infinite bounds saturate.
            let (least, most) = (min.ceil() as i128, max.floor() as i128);
            let out: Vec<i128> = values.into_iter().map(|x| x.max(least).min(most)).collect();
            case.of_integers(&out)
        }
    }
}

/// Pairs of elements of inputs 0 and 1, broadcast to the output's shape.
pub(super) fn pairs<'v, T: Copy>(
    case: &Case<'_>,
    a: &'v [T],
    b: &'v [T],
) -> impl Iterator<Item = (T, T)> + use<'v, T> {
    let shape = &case.output.shape;
    broadcast(case.inputs[0].shape, shape)
        .zip(broadcast(case.inputs[1].shape, shape))
        .map(move |(i, j)| (a[i], b[j]))
}

pub(super) fn binary(case: &Case<'_>, op: Binary) -> Result<Tensor, EvaluateError> {
    match (case.numbers(0)?, case.numbers(1)?) {
        (Numbers::Floats(a), Numbers::Floats(b)) => {
            let out: Vec<f64> = pairs(case, &a, &b)
                .map(|(a, b)| binary_float(op, a, b))
                .collect();
            case.of_floats(&out)
        }
        (Numbers::Integers(a), Numbers::Integers(b)) => {
            let out: Vec<i128> = pairs(case, &a, &b)
                .map(|(a, b)| binary_integer(op, a, b))
                .collect();
            case.of_integers(&out)
        }
        _ => Err(case.unsupported()),
    }
}

pub(super) fn binary_float(op: Binary, a: f64, b: f64) -> f64 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a * b,
        Binary::Div => a / b,
        Binary::Max => {
            if b.is_nan() {
                b
            } else {
                greater(a, b)
            }
        }
        Binary::Min => {
            if b.is_nan() {
                b
            } else {
                lesser(a, b)
            }
        }
        Binary::Pow => a.powf(b),
    }
}

pub(super) fn binary_integer(op: Binary, a: i128, b: i128) -> i128 {
    match op {
        Binary::Add => a + b,
        Binary::Sub => a - b,
        Binary::Mul => a.wrapping_mul(b),
        Binary::Div => a.checked_div(b).unwrap_or(0),
        Binary::Max => a.max(b),
        Binary::Min => a.min(b),
        Binary::Pow => integer_power(a, b),
    }
}

/// Wraps in 128 bits, which is the same as wrapping in fewer.
fn integer_power(base: i128, exponent: i128) -> i128 {
    if exponent < 0 {
        return match base {
            1 => 1,
            -1 => 1 - 2 * (exponent & 1),
            _ => 0,
        };
    }
    let (mut result, mut square, mut left) = (1i128, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    result
}

pub(super) fn compare(case: &Case<'_>, op: Compare) -> Result<Tensor, EvaluateError> {
    fn holds<T: PartialOrd>(op: Compare, a: T, b: T) -> i128 {
        i128::from(match op {
            Compare::Equal => a == b,
            Compare::NotEqual => a != b,
            Compare::Greater => a > b,
            Compare::GreaterOrEqual => a >= b,
            Compare::Lesser => a < b,
            Compare::LesserOrEqual => a <= b,
        })
    }
    let out: Vec<i128> = match (case.numbers(0)?, case.numbers(1)?) {
        (Numbers::Floats(a), Numbers::Floats(b)) => {
            pairs(case, &a, &b).map(|(a, b)| holds(op, a, b)).collect()
        }
        (Numbers::Integers(a), Numbers::Integers(b)) => {
            pairs(case, &a, &b).map(|(a, b)| holds(op, a, b)).collect()
        }
        _ => return Err(case.unsupported()),
    };
    case.of_integers(&out)
}

pub(super) fn logical(case: &Case<'_>, op: Logical) -> Result<Tensor, EvaluateError> {
    let (a, b) = (case.inputs[0].bytes, case.inputs[1].bytes);
    let out: Vec<i128> = pairs(case, a, b)
        .map(|(a, b)| {
            let (a, b) = (a != 0, b != 0);
            i128::from(match op {
                Logical::And => a && b,
                Logical::Or => a || b,
                Logical::Xor => a != b,
            })
        })
        .collect();
    case.of_integers(&out)
}

/// Floats to integers: towards zero, into the range, NaN to 0. Integers among each other wrap.
pub(super) fn cast(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    match case.numbers(0)? {
        Numbers::Floats(values) => case.of_floats(&values),
        Numbers::Integers(values) => case.of_integers(&values),
    }
}

pub(super) fn fused(case: &Case<'_>, fused: &Fused) -> Result<Tensor, EvaluateError> {
    let mut inputs = Vec::with_capacity(case.inputs.len());
    for (i, view) in case.inputs.iter().enumerate() {
        let values = case.floats(i)?;
        let spread: Vec<f32> = broadcast(view.shape, &case.output.shape)
            .map(|at| values[at])
            .collect();
        inputs.push(spread);
    }
    let mut out = Vec::with_capacity(case.output.shape.iter().product());
    let mut made = Vec::with_capacity(fused.steps.len());
    for at in 0..case.output.shape.iter().product() {
        made.clear();
        for step in &fused.steps {
            let here = step_value(step, &inputs, &made, at);
            made.push(here.ok_or_else(|| case.unsupported())?);
        }
        out.push(f64::from(*made.last().ok_or_else(|| case.unsupported())?));
    }
    case.of_floats(&out)
}

/// The result of one step for element `at`, in f32 as a node of its own would give; `None` if the step
/// uses what is not there.
fn step_value(step: &Step, inputs: &[Vec<f32>], made: &[f32], at: usize) -> Option<f32> {
    let get = |operand| {
        Some(f64::from(match operand {
            Operand::Input(i) => *inputs.get(i)?.get(at)?,
            Operand::Step(i) => *made.get(i)?,
            Operand::Number(value) => value,
        }))
    };
    let value = match *step {
        Step::Unary(op, x) => unary_float(op, get(x)?),
        Step::Binary(op, a, b) => binary_float(op, get(a)?, get(b)?),
        Step::Clamp(x, min, max) => clamp_float(get(x)?, min, max),
    };
    Some(value as f32)
}
