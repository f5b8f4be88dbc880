//! Scaled dot-product attention, grouped-query (Vaswani et al. 2017; Ainslie et al. 2023).

use super::indexing::broadcast;
use super::reduction::softmax_row;
use super::{Case, EvaluateError};
use crate::graph::op::Attention;
use crate::tensor::Tensor;

/// Token `t` of row `b` sees the keys that the attributes let it see; one that sees none gives zeros.
pub(super) fn attention(case: &Case<'_>, attributes: Attention) -> Result<Tensor, EvaluateError> {
    let (q, k, v) = (
        case.wide_floats(0)?,
        case.wide_floats(1)?,
        case.wide_floats(2)?,
    );
    let [batch, tokens, heads, size] = case.four(0);
    let [_, kv_heads, keys, _] = case.four(1);
    let position = match attributes.causal {
        true => Some(case.positions(3)?),
        false => None,
    };
    let bias = match attributes.bias {
        true => Some(bias(case, &[batch, heads, tokens, keys])?),
        false => None,
    };
    let mut out = vec![0.0; q.len()];
    for b in 0..batch {
        for t in 0..tokens {
            let visible = position.as_ref().map_or(keys, |position| {
                let end = i128::from(position[b]) + t as i128 + 1;
                end.clamp(0, keys as i128) as usize
            });
            for h in 0..heads {
                let at = ((b * tokens + t) * heads + h) * size;
                let kv = (b * kv_heads + h / (heads / kv_heads)) * keys * size;
                let row = |key: usize| kv + key * size..kv + (key + 1) * size;
                let mut weights: Vec<f64> = (0..visible)
                    .map(|key| {
                        let dot = dot(&q[at..at + size], &k[row(key)]);
                        let bias = bias.as_ref().map_or(0.0, |bias| {
                            bias[((b * heads + h) * tokens + t) * keys + key]
                        });
                        f64::from(attributes.scale) * dot + bias
                    })
                    .collect();
                softmax_row(&mut weights);
                for (key, weight) in weights.iter().enumerate() {
                    for (out, v) in out[at..at + size].iter_mut().zip(&v[row(key)]) {
                        *out += weight * v;
                    }
                }
            }
        }
    }
    case.of_floats(&out)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The last input, spread to the scores' shape.
fn bias(case: &Case<'_>, scores: &[usize; 4]) -> Result<Vec<f64>, EvaluateError> {
    let last = case.inputs.len() - 1;
    let values = case.wide_floats(last)?;
    Ok(broadcast(case.inputs[last].shape, scores)
        .map(|at| values[at])
        .collect())
}
