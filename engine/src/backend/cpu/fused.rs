//! Element-wise chains, evaluated a stretch of elements at a time so that intermediate results stay in
//! the nearest cache and each operator is one vectorized loop.

use crate::graph::op::{Binary, Fused, Operand, Step, Unary};

use super::kernels::Kernels;
use super::strided::Strided;
use super::threads::Serial;

/// Elements a stretch: a few of these fit the first-level cache.
const STRETCH: usize = 512;

/// How an input's elements meet the output's.
#[derive(Clone, Debug)]
pub(super) enum Broadcast {
    /// One to one.
    Full,
    /// The same number everywhere.
    Number,
    /// A vector repeated along the last dimension.
    Row,
    /// Anything else: expanded first.
    Expanded(Strided),
}

impl Broadcast {
    pub(super) fn of(input: &[usize], output: &[usize]) -> Broadcast {
        let elements: usize = input.iter().product();
        let leading = input.len().saturating_sub(1);
        if input == output || (elements == output.iter().product::<usize>() && elements > 0) {
            Broadcast::Full
        } else if elements == 1 {
            Broadcast::Number
        } else if input.last() == output.last() && input[..leading].iter().all(|&d| d == 1) {
            Broadcast::Row
        } else {
            Broadcast::Expanded(Strided::expand(input, output))
        }
    }
}

/// A chain over the elements of its inputs.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    steps: Vec<Step>,
    broadcasts: Vec<Broadcast>,
    row: usize,
}

impl Chain {
    pub(super) fn new(fused: &Fused, inputs: &[&[usize]], output: &[usize]) -> Chain {
        Chain {
            steps: fused.steps.clone(),
            broadcasts: inputs
                .iter()
                .map(|input| Broadcast::of(input, output))
                .collect(),
            row: output.last().copied().unwrap_or(1).max(1),
        }
    }

    pub(super) fn run(&self, kernels: Kernels, inputs: &[&[f32]], out: &mut [f32]) {
        let expanded: Vec<Option<Vec<f32>>> = self
            .broadcasts
            .iter()
            .zip(inputs)
            .map(|(broadcast, input)| match broadcast {
                Broadcast::Expanded(strided) => {
                    let mut full = vec![0.0; out.len()];
                    strided.copy(input, &mut full);
                    Some(full)
                }
                _ => None,
            })
            .collect();
        let inputs: Vec<&[f32]> = inputs
            .iter()
            .zip(&expanded)
            .map(|(input, expanded)| expanded.as_deref().unwrap_or(input))
            .collect();
        // A stretch stays inside one row, so that a repeated vector is read in order.
        let whole_rows = self.broadcasts.iter().any(|b| matches!(b, Broadcast::Row));
        let unit = if whole_rows {
            self.row
        } else {
            out.len().max(1)
        };
        let mut results = vec![vec![0.0f32; STRETCH]; self.steps.len()];
        let mut constant = vec![vec![0.0f32; STRETCH]; 2];
        let mut at = 0;
        while at < out.len() {
            let in_unit = at % unit;
            let size = STRETCH.min(unit - in_unit).min(out.len() - at);
            for (i, step) in self.steps.iter().enumerate() {
                let (before, after) = results.split_at_mut(i);
                let result = &mut after[0][..size];
                let (first, second) = constant.split_at_mut(1);
                let mut pick = |operand: Operand, spare: usize| -> *const f32 {
                    let fill = |buffer: &mut Vec<f32>, value: f32| {
                        buffer[..size].fill(value);
                        buffer.as_ptr()
                    };
                    let buffer = if spare == 0 {
                        &mut first[0]
                    } else {
                        &mut second[0]
                    };
                    match operand {
                        Operand::Step(step) => before[step].as_ptr(),
                        Operand::Number(value) => fill(buffer, value),
                        Operand::Input(input) => match self.broadcasts[input] {
                            Broadcast::Number => fill(buffer, inputs[input][0]),
                            Broadcast::Row => inputs[input][in_unit..in_unit + size].as_ptr(),
                            Broadcast::Full | Broadcast::Expanded(_) => {
                                inputs[input][at..at + size].as_ptr()
                            }
                        },
                    }
                };
                // Each pointer was taken from a slice of at least `size` floats that nothing writes in this step.
                let view =
                    |pointer: *const f32| unsafe { std::slice::from_raw_parts(pointer, size) };
                match *step {
                    Step::Unary(op, x) => unary(kernels, op, view(pick(x, 0)), result),
                    Step::Binary(op, a, b) => {
                        let (a, b) = (pick(a, 0), pick(b, 1));
                        binary(kernels, op, view(a), view(b), result);
                    }
                    Step::Clamp(x, min, max) => {
                        for (out, &x) in result.iter_mut().zip(view(pick(x, 0))) {
                            *out = clamp(x, min, max);
                        }
                    }
                }
            }
            if let Some(last) = results.last() {
                out[at..at + size].copy_from_slice(&last[..size]);
            }
            at += size;
        }
    }
}

/// NaN stays NaN, and limits in the wrong order do not panic.
fn clamp(x: f32, min: f32, max: f32) -> f32 {
    if x < min {
        min
    } else if x > max {
        max
    } else {
        x
    }
}

fn binary(kernels: Kernels, op: Binary, a: &[f32], b: &[f32], out: &mut [f32]) {
    let mut each = |f: fn(f32, f32) -> f32| {
        for ((out, &a), &b) in out.iter_mut().zip(a).zip(b) {
            *out = f(a, b);
        }
    };
    match op {
        Binary::Add => kernels.add(&Serial, a, b, out),
        Binary::Sub => kernels.sub(&Serial, a, b, out),
        Binary::Mul => kernels.mul(&Serial, a, b, out),
        Binary::Div => kernels.div(&Serial, a, b, out),
        Binary::Max => each(|a, b| if a > b || a.is_nan() { a } else { b }),
        Binary::Min => each(|a, b| if a < b || a.is_nan() { a } else { b }),
        Binary::Pow => each(f32::powf),
    }
}

fn unary(kernels: Kernels, op: Unary, x: &[f32], out: &mut [f32]) {
    let mut each = |f: fn(f32) -> f32| {
        for (out, &x) in out.iter_mut().zip(x) {
            *out = f(x);
        }
    };
    match op {
        Unary::Silu => kernels.silu(&Serial, x, out),
        Unary::Gelu => kernels.gelu(&Serial, x, out),
        Unary::Abs => each(f32::abs),
        Unary::Ceil => each(f32::ceil),
        Unary::Cos => each(f32::cos),
        Unary::Erf => each(libm::erff),
        Unary::Exp => each(f32::exp),
        Unary::Floor => each(f32::floor),
        Unary::Identity => out.copy_from_slice(x),
        Unary::Log => each(f32::ln),
        Unary::Neg => each(|x| -x),
        Unary::Reciprocal => each(|x| 1.0 / x),
        Unary::Relu => each(|x| if x < 0.0 { 0.0 } else { x }),
        Unary::Sigmoid => each(|x| 1.0 / (1.0 + (-x).exp())),
        Unary::Sin => each(f32::sin),
        Unary::Sqrt => each(f32::sqrt),
        Unary::Tan => each(f32::tan),
        Unary::Tanh => each(f32::tanh),
    }
}
