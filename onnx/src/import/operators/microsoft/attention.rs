//! What the attention operators share: heads, masks as biases, and the attention itself.

use fewbit_engine::graph::op::{Attention, Binary, Compare, Unary};
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::DataType;

use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};

/// `[batch, tokens, heads · size]` as `[batch, tokens, heads, size]`.
pub(super) fn by_head(cx: &mut Context, x: Value, heads: usize) -> Made {
    let [batch, tokens, width] = cx.of_rank(x)?;
    let size = width.fixed().filter(|_| heads > 0);
    let Some(size) = size.filter(|width| width.is_multiple_of(heads)) else {
        return wrong(format!("{heads} heads of {width}"));
    };
    let shape = vec![batch, tokens, Dim::from(heads), Dim::from(size / heads)];
    cx.reshape_to(x, shape)
}

/// `[batch, tokens, heads, size]` as `[batch, tokens, heads · size]`.
pub(super) fn flat(cx: &mut Context, x: Value) -> Made {
    let [batch, tokens, heads, size] = cx.of_rank(x)?;
    cx.reshape_to(x, vec![batch, tokens, heads * size])
}

/// The number of heads that an attribute says.
pub(super) fn heads(value: i64) -> Result<usize, Refusal> {
    match usize::try_from(value) {
        Ok(heads) if heads > 0 => Ok(heads),
        _ => wrong(format!("{value} heads")),
    }
}

/// Queries `[batch, tokens, heads, size]`, keys and values `[batch, key heads, keys, size]`.
#[derive(Clone, Copy)]
pub(super) struct Operands {
    pub(super) q: Value,
    pub(super) k: Value,
    pub(super) v: Value,
}

/// How much keys count.
#[derive(Clone, Copy, Default)]
pub(super) struct Scores {
    /// `1 / √size` where the file says nothing.
    pub(super) scale: Option<f32>,
    /// Scores are `cap · tanh(score / cap)`.
    pub(super) cap: Option<f32>,
    /// Token `t` of row `b` sees the keys up to `position[b] + t`; i32 `[batch]`.
    pub(super) position: Option<Value>,
    /// Added to the scores, broadcast to `[batch, heads, tokens, keys]`.
    pub(super) bias: Option<Value>,
}

/// `softmax(scale · q·kᵀ + bias) · v`, `[batch, tokens, heads, size of a value]`.
pub(super) fn attend(cx: &mut Context, of: Operands, scores: Scores) -> Made {
    let Operands { q, k, v } = of;
    let [_, _, _, size] = cx.of_rank(q)?;
    let [_, _, _, value_size] = cx.of_rank(v)?;
    let Some(width) = size.fixed() else {
        return unsupported(format!("heads of {size}"));
    };
    let scale = match scores.scale {
        Some(scale) if scale != 0.0 => scale,
        _ => 1.0 / (width as f32).sqrt(),
    };
    if scores.cap.is_some() || size != value_size {
        return spelled_out(cx, of, scores, scale);
    }
    let mut inputs = vec![q, k, v];
    inputs.extend(scores.position);
    inputs.extend(scores.bias);
    let attention = Attention {
        scale,
        causal: scores.position.is_some(),
        bias: scores.bias.is_some(),
    };
    cx.op(Op::Attention(attention), &inputs, q.data_type)
}

/// What the composite has not: scores under a cap, values of another size than keys.
fn spelled_out(cx: &mut Context, of: Operands, scores: Scores, scale: f32) -> Made {
    let Operands { q, k, v } = of;
    let [batch, tokens, heads, size] = cx.of_rank(q)?;
    let [_, own, keys, value_size] = cx.of_rank(v)?;
    let (Some(all), Some(own)) = (heads.fixed(), own.fixed()) else {
        return unsupported(format!("{heads} and {own} heads"));
    };
    if own == 0 || !all.is_multiple_of(own) {
        return wrong(format!("{own} heads of keys for {all}"));
    }
    // The query heads of one key head stand together: [batch, key heads, heads of each · tokens, size].
    let lead = [batch.clone(), Dim::from(own)];
    let rows = tokens.clone() * Dim::from(all / own);
    let q = cx.transpose(q, &[0, 2, 1, 3])?;
    let q = cx.reshape_to(q, [&lead[..], &[rows.clone(), size]].concat())?;
    let turned = cx.swapped(k)?;
    let part = cx.matmul(q, turned)?;
    let mut part = cx.with(Binary::Mul, part, scale.into())?;
    if let Some(cap) = scores.cap {
        part = cx.with(Binary::Div, part, cap.into())?;
        part = cx.unary(Unary::Tanh, part)?;
        part = cx.with(Binary::Mul, part, cap.into())?;
    }
    let full = vec![batch.clone(), heads.clone(), tokens.clone(), keys.clone()];
    part = cx.reshape_to(part, full)?;
    if let Some(bias) = scores.bias {
        part = cx.add(part, bias)?;
    }
    if let Some(position) = scores.position {
        let last = last_keys(cx, position, &tokens)?;
        let key = cx.count(&keys, 3, 4)?;
        let hidden = cx.compare(Compare::Greater, key, last)?;
        let never = cx.number(NEVER, part.data_type)?;
        part = cx.select(hidden, never, part)?;
    }
    let axis = 3;
    let weights = cx.op(Op::Softmax { axis }, &[part], part.data_type)?;
    let weights = cx.reshape_to(weights, [&lead[..], &[rows, keys]].concat())?;
    let y = cx.matmul(weights, v)?;
    let y = cx.reshape_to(y, vec![batch, heads, tokens, value_size])?;
    cx.transpose(y, &[0, 2, 1, 3])
}

/// A score that no softmax counts, yet no infinity, of which differences are NaN.
pub(super) const NEVER: f64 = -1e30;

/// `position[b] + t`, i32 `[batch, 1, tokens, 1]`.
pub(super) fn last_keys(cx: &mut Context, position: Value, tokens: &Dim) -> Made {
    let [batch] = cx.of_rank(position)?;
    let one = Dim::from(1);
    let start = cx.reshape_to(position, vec![batch, one.clone(), one.clone(), one])?;
    let token = cx.count(tokens, 2, 4)?;
    cx.add(start, token)
}

/// What a mask adds to the scores: `filter` where it is 0. Of a mask `[batch, keys]`, of `[batch, tokens, keys]`, or
/// of how many keys of each row count, `[batch]`.
pub(super) fn bias_of_mask(cx: &mut Context, mask: Value, keys: &Dim, filter: f32) -> Made {
    let mut sizes = cx.dims(mask)?;
    let one = Dim::from(1);
    let kept = match sizes.len() {
        1 => {
            let batch = sizes.remove(0);
            let key = cx.count(keys, 3, 4)?;
            let lengths = cx.cast(mask, DataType::I32)?;
            let lengths = cx.reshape_to(lengths, vec![batch, one.clone(), one.clone(), one])?;
            cx.compare(Compare::Lesser, key, lengths)?
        }
        2 | 3 => {
            if sizes.last() != Some(keys) {
                return unsupported(format!("a mask of {sizes:?} for {keys} keys"));
            }
            sizes.insert(1, one.clone());
            if sizes.len() == 3 {
                sizes.insert(1, one);
            }
            let mask = cx.reshape_to(mask, sizes)?;
            cx.cast(mask, DataType::Bool)?
        }
        _ => return unsupported(format!("a mask of {sizes:?}")),
    };
    let (never, always) = (
        cx.number(filter.into(), DataType::F32)?,
        cx.number(0.0, DataType::F32)?,
    );
    cx.select(kept, always, never)
}

/// The sum of biases that there are.
pub(super) fn both(
    cx: &mut Context,
    a: Option<Value>,
    b: Option<Value>,
) -> Result<Option<Value>, Refusal> {
    match (a, b) {
        (Some(a), Some(b)) => Ok(Some(cx.add(a, b)?)),
        (a, b) => Ok(a.or(b)),
    }
}
