//! Matrix products, and decoding of what they multiply with.

use super::indexing::{broadcast_strides, offsets};
use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::tensor::Tensor;

/// `a [.., m, k] · b [.., k, n]`, the dimensions before the last two broadcast.
pub(super) fn matmul(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    match (case.numbers(0)?, case.numbers(1)?) {
        (Numbers::Floats(a), Numbers::Floats(b)) => {
            let out = products(case, &a, &b, 0.0, |sum, a, b| sum + a * b);
            case.of_floats(&out)
        }
        (Numbers::Integers(a), Numbers::Integers(b)) => {
            let out = products(case, &a, &b, 0, |sum: i128, a, b| {
                sum.wrapping_add(a.wrapping_mul(b))
            });
            case.of_integers(&out)
        }
        _ => Err(case.unsupported()),
    }
}

fn products<T: Copy>(
    case: &Case<'_>,
    a: &[T],
    b: &[T],
    zero: T,
    add: impl Fn(T, T, T) -> T,
) -> Vec<T> {
    let (a_batch, a_matrix) = case.inputs[0]
        .shape
        .split_at(case.inputs[0].shape.len() - 2);
    let (b_batch, b_matrix) = case.inputs[1]
        .shape
        .split_at(case.inputs[1].shape.len() - 2);
    let batch = &case.output.shape[..case.output.shape.len() - 2];
    let ([m, k], [_, n]) = ([a_matrix[0], a_matrix[1]], [b_matrix[0], b_matrix[1]]);
    let matrices = offsets(batch, &broadcast_strides(a_batch, batch))
        .zip(offsets(batch, &broadcast_strides(b_batch, batch)));
    let mut out = Vec::with_capacity(case.output.shape.iter().product());
    for (at_a, at_b) in matrices {
        let (a, b) = (&a[at_a * m * k..], &b[at_b * k * n..]);
        for row in 0..m {
            for column in 0..n {
                let sum = (0..k).fold(zero, |sum, i| add(sum, a[row * k + i], b[i * n + column]));
                out.push(sum);
            }
        }
    }
    out
}

/// `x · weightᵀ + bias`, the weight decoded to f32.
pub(super) fn block_matmul(case: &Case<'_>, bias: bool) -> Result<Tensor, EvaluateError> {
    let x = case.floats(0)?;
    let weight = case.floats(1)?;
    let bias = match bias {
        true => Some(case.floats(2)?),
        false => None,
    };
    let [n, k] = [case.inputs[1].shape[0], case.inputs[1].shape[1]];
    let rows = case.inputs[0].shape[..case.inputs[0].shape.len() - 1]
        .iter()
        .product();
    let mut out = Vec::with_capacity(rows * n);
    for row in 0..rows {
        let x = &x[row * k..][..k];
        for column in 0..n {
            let weight = &weight[column * k..][..k];
            let product = |(&x, &w): (&f32, &f32)| f64::from(x) * f64::from(w);
            let sum: f64 = x.iter().zip(weight).map(product).sum();
            out.push(sum + bias.as_ref().map_or(0.0, |bias| f64::from(bias[column])));
        }
    }
    case.of_floats(&out)
}

pub(super) fn dequantize_blocks(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    Ok(Tensor::from_f32(&case.output.shape, &case.floats(0)?)?)
}
