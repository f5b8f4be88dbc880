//! Element-wise chains, evaluated a stretch of elements at a time so that intermediate results stay in
//! the nearest cache and each operator is one vectorized loop.

use crate::op::{Binary, Fused, Operand, Step, Unary};

use super::Kernels;
use super::strided::Strided;
use crate::threads::{Parallel, Serial, Shared, split};

/// Elements a stretch: a few of these fit the first-level cache.
const STRETCH: usize = 512;
/// Elements that a thread takes at a time; fewer are not worth a second thread.
const PIECE: usize = 1 << 13;

/// How an input's elements meet the output's.
#[derive(Clone, Debug)]
enum Broadcast {
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
    fn of(input: &[usize], output: &[usize]) -> Broadcast {
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
pub struct Chain {
    steps: Vec<Step>,
    broadcasts: Vec<Broadcast>,
    row: usize,
}

impl Chain {
    pub fn new(fused: &Fused, inputs: &[&[usize]], output: &[usize]) -> Chain {
        Chain {
            steps: fused.steps.clone(),
            broadcasts: inputs
                .iter()
                .map(|input| Broadcast::of(input, output))
                .collect(),
            row: output.last().copied().unwrap_or(1).max(1),
        }
    }

    pub fn run(
        &self,
        kernels: Kernels,
        parallel: &dyn Parallel,
        inputs: &[&[f32]],
        out: &mut [f32],
    ) {
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
        let elements = out.len();
        if elements <= PIECE {
            return self.piece(kernels, &inputs, 0, out);
        }
        let shared = Shared::new(out);
        split(parallel, elements.div_ceil(PIECE), &|range| {
            let (start, end) = (range.start * PIECE, (range.end * PIECE).min(elements));
            // Ranges of different tasks do not overlap.
            let out = unsafe { std::slice::from_raw_parts_mut(shared.at(start), end - start) };
            self.piece(kernels, &inputs, start, out);
        });
    }

    /// The elements from `first` on that `out` has room for.
    fn piece(&self, kernels: Kernels, inputs: &[&[f32]], first: usize, out: &mut [f32]) {
        // A stretch stays inside one row, so that a repeated vector is read in order.
        let whole_rows = self.broadcasts.iter().any(|b| matches!(b, Broadcast::Row));
        let unit = if whole_rows { self.row } else { usize::MAX };
        // The last step writes to `out`.
        let last = self.steps.len().saturating_sub(1);
        let mut results = vec![vec![0.0f32; STRETCH]; last];
        let mut constant = vec![vec![0.0f32; STRETCH]; 2];
        let (mut at, end) = (first, first + out.len());
        while at < end {
            let in_unit = at % unit;
            let size = STRETCH.min(unit - in_unit).min(end - at);
            for (i, step) in self.steps.iter().enumerate() {
                let (before, after) = results.split_at_mut(i);
                let result = match after.first_mut() {
                    Some(result) => &mut result[..size],
                    None => &mut out[at - first..][..size],
                };
                let (one, other) = constant.split_at_mut(1);
                let mut pick = |operand: Operand, spare: usize| -> *const f32 {
                    let fill = |buffer: &mut Vec<f32>, value: f32| {
                        buffer[..size].fill(value);
                        buffer.as_ptr()
                    };
                    let buffer = if spare == 0 {
                        &mut one[0]
                    } else {
                        &mut other[0]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// `gelu(x + row) · 2` over more elements than one piece, none of the sizes a multiple of another.
    #[test]
    fn pieces_join_without_a_seam() {
        let (rows, row) = (37, 701);
        let wave = |i: usize| (i as f32 * 0.37).sin() * 3.0;
        let x: Vec<f32> = (0..rows * row).map(wave).collect();
        let bias: Vec<f32> = (0..row).map(|i| wave(i * 7)).collect();
        let fused = Fused {
            steps: vec![
                Step::Binary(Binary::Add, Operand::Input(0), Operand::Input(1)),
                Step::Unary(Unary::Gelu, Operand::Step(0)),
                Step::Binary(Binary::Mul, Operand::Step(1), Operand::Number(2.0)),
            ],
        };
        let chain = Chain::new(&fused, &[&[rows, row], &[row]], &[rows, row]);
        let run = |parallel: &dyn Parallel| {
            let mut out = vec![f32::NAN; x.len()];
            chain.run(Kernels::best(), parallel, &[&x, &bias], &mut out);
            out
        };
        let got = run(&Serial);
        for (i, got) in got.iter().enumerate() {
            let x = f64::from(x[i]) + f64::from(bias[i % row]);
            let want = x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2));
            assert!((f64::from(*got) - want).abs() < 2e-6, "{i}: {got}, {want}");
        }
        #[cfg(not(target_arch = "wasm32"))]
        assert_eq!(run(&crate::threads::ThreadPool::new(3)), got);
    }
}
