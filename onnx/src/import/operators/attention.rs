//! Attention and rotary embeddings of `ai.onnx`, spelled out in operators that keep every size and option.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, Logical, ReduceKind, Unary};
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("Attention", 23, attention),
    Entry::widened("RotaryEmbedding", 23, rotary),
];

/// `[batch, tokens, heads · size]` as `[batch, heads, tokens, size]`; four dimensions stay.
pub(super) fn by_head(cx: &mut Context, x: Value, heads: Option<i64>) -> Made {
    let shape = cx.shape(x)?;
    let [batch, tokens, width] = shape[..] else {
        return match shape.len() {
            4 => Ok(x),
            _ => wrong(format!("shape {shape:?}")),
        };
    };
    let heads = heads.and_then(|heads| usize::try_from(heads).ok());
    let Some(heads) = heads.filter(|&heads| heads > 0 && width.is_multiple_of(heads)) else {
        return wrong(format!("{heads:?} heads of {width}"));
    };
    let y = cx.reshape(x, &[batch, tokens, heads, width / heads])?;
    cx.transpose(y, &[0, 2, 1, 3])
}

/// Each head as often as there are query heads for it.
pub(super) fn repeated(cx: &mut Context, x: Value, heads: usize) -> Made {
    let shape = cx.shape(x)?;
    let [batch, own, tokens, size] = shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    if own == heads {
        return Ok(x);
    }
    if own == 0 || !heads.is_multiple_of(own) {
        return wrong(format!("{own} heads of keys for {heads}"));
    }
    let times = heads / own;
    let y = cx.reshape(x, &[batch, own, 1, tokens, size])?;
    let y = cx.expand(y, &[batch, own, times, tokens, size])?;
    cx.reshape(y, &[batch, heads, tokens, size])
}

fn attention(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (q, k, v) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (mask, past) = (node.optional(3), (node.optional(4), node.optional(5)));
    let valid = node.optional(6);
    let (q_heads, kv_heads) = (
        node.int_or_none("q_num_heads")?,
        node.int_or_none("kv_num_heads")?,
    );
    let causal = node.flag("is_causal", false)?;
    let window = [
        node.int("left_window_size", -1)?,
        node.int("right_window_size", -1)?,
    ];
    let softcap = node.float("softcap", 0.0)?;
    node.ignore(&["softmax_precision"]);
    let flat = cx.rank(q) == 3;
    let q = by_head(cx, q, q_heads)?;
    let (mut k, mut v) = (by_head(cx, k, kv_heads)?, by_head(cx, v, kv_heads)?);
    let mut before = 0;
    if let (Some(past_k), Some(past_v)) = past {
        before = cx.shape(past_k)?.get(2).copied().unwrap_or(0);
        k = cx.concat(&[past_k, k], 2)?;
        v = cx.concat(&[past_v, v], 2)?;
    }
    let (present_k, present_v) = (k, v);
    let [batch, heads, tokens, size] = cx.shape(q)?[..] else {
        return wrong("queries of other than four dimensions");
    };
    let (k, v) = (repeated(cx, k, heads)?, repeated(cx, v, heads)?);
    let keys = cx.shape(k)?[2];
    let scale = match node.float_or_none("scale")? {
        Some(scale) if scale != 0.0 => f64::from(scale),
        _ => 1.0 / (size as f64).sqrt(),
    };
    let turned = cx.swapped(k)?;
    let scores = cx.matmul(q, turned)?;
    let raw = cx.with(Binary::Mul, scores, scale)?;
    let mut capped = raw;
    if softcap != 0.0 {
        let part = cx.with(Binary::Div, raw, softcap.into())?;
        let part = cx.unary(Unary::Tanh, part)?;
        capped = cx.with(Binary::Mul, part, softcap.into())?;
    }
    let view = View {
        tokens,
        keys,
        before,
        valid,
        causal,
        window,
    };
    let mask = match mask {
        Some(mask) => Some(as_long_as(cx, mask, keys)?),
        None => None,
    };
    let (bias, kept) = match mask {
        Some(mask) if mask.data_type == DataType::Bool => (None, Some(mask)),
        mask => (mask, None),
    };
    let kept = view.kept(cx, kept)?;
    let mut scores = capped;
    if let Some(bias) = bias {
        scores = cx.add(scores, bias)?;
    }
    if let Some(kept) = kept {
        let never = cx.number(f64::NEG_INFINITY, scores.data_type)?;
        scores = cx.select(kept, scores, never)?;
    }
    let masked = scores;
    let axis = 3;
    let mut weights = cx.op(Op::Softmax { axis }, &[scores], scores.data_type)?;
    if let Some(some) = some_kept(cx, kept, bias)? {
        // A row of which no key is kept is NaN here, and 0 by the specification.
        let zero = cx.number(0.0, weights.data_type)?;
        weights = cx.select(some, weights, zero)?;
    }
    let y = cx.matmul(weights, v)?;
    let y = match flat {
        true => {
            let width = heads * cx.shape(v)?[3];
            let y = cx.transpose(y, &[0, 2, 1, 3])?;
            cx.reshape(y, &[batch, tokens, width])?
        }
        false => y,
    };
    let scores = match node.int("qk_matmul_output_mode", 0)? {
        0 => raw,
        1 => capped,
        2 => masked,
        3 => weights,
        other => return wrong(format!("qk_matmul_output_mode {other}")),
    };
    Ok(vec![y, present_k, present_v, scores])
}

/// A mask for more keys than it has: none of the others is kept.
fn as_long_as(cx: &mut Context, mask: Value, keys: usize) -> Made {
    let mut shape = cx.shape(mask)?;
    let Some(last) = shape.last_mut() else {
        return wrong("a mask without dimensions");
    };
    let Some(more) = keys.checked_sub(*last) else {
        return wrong(format!("a mask of {shape:?} for {keys} keys"));
    };
    if more == 0 {
        return Ok(mask);
    }
    *last = more;
    let never = match mask.data_type {
        DataType::Bool => 0.0,
        _ => f64::NEG_INFINITY,
    };
    let never = cx.number(never, mask.data_type)?;
    let rest = cx.expand(never, &shape)?;
    cx.concat(&[mask, rest], shape.len() - 1)
}

/// Whether each query has a key: by a mask of `bool`, and by a bias that is −∞ for keys that are not kept.
fn some_kept(
    cx: &mut Context,
    kept: Option<Value>,
    bias: Option<Value>,
) -> Result<Option<Value>, Refusal> {
    let mut all = kept;
    if let Some(bias) = bias {
        let here = cx.compare_with(Compare::NotEqual, bias, f64::NEG_INFINITY)?;
        all = Some(match all {
            Some(kept) => cx.logical(Logical::And, kept, here)?,
            None => here,
        });
    }
    let Some(all) = all else {
        return Ok(None);
    };
    let last = cx.rank(all) - 1;
    cx.reduce(ReduceKind::Max, all, &[last], true).map(Some)
}

/// Which keys a query sees by where they stand.
struct View {
    tokens: usize,
    keys: usize,
    /// Keys before the first query's own.
    before: usize,
    /// How many keys of each row of the batch there are; the last queries stand at their end.
    valid: Option<Value>,
    causal: bool,
    /// How far to the left and to the right; anything below 0 is without end.
    window: [i64; 2],
}

impl View {
    /// Together with a mask of `bool`; `None` where all keys are seen.
    fn kept(&self, cx: &mut Context, mask: Option<Value>) -> Result<Option<Value>, Refusal> {
        let mut kept = mask;
        let also = |cx: &mut Context, kept: &mut Option<Value>, more: Value| {
            *kept = Some(match *kept {
                Some(kept) => cx.logical(Logical::And, kept, more)?,
                None => more,
            });
            Ok::<(), Refusal>(())
        };
        let key = cx.iota(self.keys, 1, 2)?;
        let query = cx.iota(self.tokens, 0, 2)?;
        let place = match self.valid {
            Some(valid) => {
                let rows = cx.shape(valid)?.iter().product();
                let valid = cx.cast(valid, DataType::I64)?;
                let valid = cx.reshape(valid, &[rows, 1, 1, 1])?;
                let there = cx.compare(Compare::Lesser, key, valid)?;
                also(cx, &mut kept, there)?;
                let first = cx.with(Binary::Sub, valid, self.tokens as f64)?;
                cx.add(query, first)?
            }
            None => cx.with(Binary::Add, query, self.before as f64)?,
        };
        if self.causal {
            let order = cx.compare(Compare::LesserOrEqual, key, place)?;
            also(cx, &mut kept, order)?;
        }
        let [left, right] = self.window;
        if left >= 0 {
            let first = cx.with(Binary::Sub, place, left as f64)?;
            let near = cx.compare(Compare::GreaterOrEqual, key, first)?;
            also(cx, &mut kept, near)?;
        }
        if right >= 0 {
            let last = cx.with(Binary::Add, place, right as f64)?;
            let near = cx.compare(Compare::LesserOrEqual, key, last)?;
            also(cx, &mut kept, near)?;
        }
        Ok(kept)
    }
}

/// Pairs of the first `rotary_embedding_dim` elements turned by the angles whose cosines and sines are given.
fn rotary(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, cos, sin) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let positions = node.optional(3);
    let interleaved = node.flag("interleaved", false)?;
    let heads = node.int("num_heads", 0)?;
    let wanted = usize::try_from(node.int("rotary_embedding_dim", 0)?).unwrap_or(0);
    let shape = cx.shape(x)?;
    // To [batch, tokens, heads, size].
    let x = match shape.len() {
        4 => cx.transpose(x, &[0, 2, 1, 3])?,
        _ => {
            let y = by_head(cx, x, Some(heads))?;
            cx.transpose(y, &[0, 2, 1, 3])?
        }
    };
    let [batch, tokens, heads, size] = cx.shape(x)?[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    let rotated = if wanted == 0 { size } else { wanted };
    if rotated > size || !rotated.is_multiple_of(2) {
        return wrong(format!("{rotated} of {size} elements turned"));
    }
    let half = rotated / 2;
    let mut tables = [cos, sin];
    for table in &mut tables {
        if let Some(positions) = positions {
            *table = cx.gather(*table, positions, 0)?;
        }
        let rows = cx.shape(*table)?;
        if rows != [batch, tokens, half] {
            return unsupported(format!("tables of {rows:?}"));
        }
        *table = cx.reshape(*table, &[batch, tokens, 1, half])?;
    }
    let [cos, sin] = tables;
    let turned = cx.slice(x, 3, 0, rotated)?;
    let rest = cx.slice(x, 3, rotated, size - rotated)?;
    // Halves, or pairs side by side.
    let (apart, axis) = match interleaved {
        true => ([batch, tokens, heads, half, 2], 4),
        false => ([batch, tokens, heads, 2, half], 3),
    };
    let pairs = cx.reshape(turned, &apart)?;
    let mut parts = [pairs; 2];
    for (at, part) in parts.iter_mut().enumerate() {
        let one_of = cx.slice(pairs, axis, at, 1)?;
        *part = cx.reshape(one_of, &[batch, tokens, heads, half])?;
    }
    let [a, b] = parts;
    let (a_cos, b_sin) = (cx.mul(a, cos)?, cx.mul(b, sin)?);
    let (a_sin, b_cos) = (cx.mul(a, sin)?, cx.mul(b, cos)?);
    let (real, imaginary) = (cx.sub(a_cos, b_sin)?, cx.add(a_sin, b_cos)?);
    let mut alone = apart;
    alone[axis] = 1;
    let (real, imaginary) = (cx.reshape(real, &alone)?, cx.reshape(imaginary, &alone)?);
    let both = cx.concat(&[real, imaginary], axis)?;
    let both = cx.reshape(both, &[batch, tokens, heads, rotated])?;
    let y = match size - rotated {
        0 => both,
        _ => cx.concat(&[both, rest], 3)?,
    };
    one(match shape.len() {
        4 => cx.transpose(y, &[0, 2, 1, 3]),
        _ => cx.reshape(y, &shape),
    })
}
