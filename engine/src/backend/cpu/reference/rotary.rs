//! Rotary position embedding (Su et al. 2021, <https://arxiv.org/abs/2104.09864>, section 3.4.2).

use super::gather::clamped;
use super::{Case, EvaluateError};
use crate::graph::op::RotaryEmbedding;
use crate::tensor::Tensor;

/// Pairs `(a, c)` become `(a·cos − c·sin, c·cos + a·sin)`, the table's row being `position[b] + t`.
pub(super) fn rotary_embedding(
    case: &Case<'_>,
    attributes: RotaryEmbedding,
) -> Result<Tensor, EvaluateError> {
    let mut x = case.wide_floats(0)?;
    let (cos, sin) = (case.wide_floats(1)?, case.wide_floats(2)?);
    let position = case.positions(3)?;
    let [batch, tokens, heads, size] = case.four(0);
    let [rows, half] = [case.inputs[1].shape[0], case.inputs[1].shape[1]];
    // A table without rows is zeros, as its gathering would be.
    let entry =
        |table: &[f64], row: usize, i: usize| table.get(row * half + i).copied().unwrap_or(0.0);
    for b in 0..batch {
        for t in 0..tokens {
            let row = clamped(i128::from(position[b]) + t as i128, rows);
            for h in 0..heads {
                let head = &mut x[((b * tokens + t) * heads + h) * size..][..size];
                for i in 0..half {
                    let (first, second) = match attributes.interleaved {
                        true => (2 * i, 2 * i + 1),
                        false => (i, i + half),
                    };
                    let (cos, sin) = (entry(&cos, row, i), entry(&sin, row, i));
                    let (a, c) = (head[first], head[second]);
                    head[first] = a * cos - c * sin;
                    head[second] = c * cos + a * sin;
                }
            }
        }
    }
    case.of_floats(&x)
}
