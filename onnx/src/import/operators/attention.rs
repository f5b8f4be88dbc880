//! Attention and rotary embeddings of `ai.onnx`, spelled out in operators that keep every size and option.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, Logical, Unary};
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
fn by_head(cx: &mut Context, x: Value, heads: Option<i64>) -> Made {
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
fn repeated(cx: &mut Context, x: Value, heads: usize) -> Made {
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
    let (q_heads, kv_heads) = (
        node.int_or_none("q_num_heads")?,
        node.int_or_none("kv_num_heads")?,
    );
    let causal = node.flag("is_causal", false)?;
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
    let scores = cx.with(Binary::Mul, scores, scale)?;
    let raw = scores;
    let kept = kept(cx, mask, causal, [tokens, keys, before])?;
    let mut scores = scores;
    if softcap != 0.0 {
        let part = cx.with(Binary::Div, scores, softcap.into())?;
        let part = cx.unary(Unary::Tanh, part)?;
        scores = cx.with(Binary::Mul, part, softcap.into())?;
    }
    let capped = scores;
    if let Some(mask) = mask.filter(|mask| mask.data_type != DataType::Bool) {
        scores = cx.add(scores, mask)?;
    }
    if let Some(kept) = kept {
        let never = cx.number(f64::NEG_INFINITY, scores.data_type)?;
        scores = cx.select(kept, scores, never)?;
    }
    let masked = scores;
    let axis = 3;
    let weights = cx.op(Op::Softmax { axis }, &[scores], scores.data_type)?;
    // A row of which no key is kept is NaN here, and 0 by the specification.
    let any = cx.reduce(
        fewbit_engine::graph::op::ReduceKind::Max,
        scores,
        &[axis],
        true,
    )?;
    let none = cx.compare_with(Compare::Equal, any, f64::NEG_INFINITY)?;
    let zero = cx.number(0.0, weights.data_type)?;
    let weights = cx.select(none, zero, weights)?;
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
        1 if softcap == 0.0 => masked,
        2 if mask.is_none() && !causal => capped,
        3 => weights,
        _ if !node.wants(3) => raw,
        other => return unsupported(format!("qk_matmul_output_mode {other} with cap and mask")),
    };
    Ok(vec![y, present_k, present_v, scores])
}

/// Which keys each query sees, where that is not all: by a mask of `bool`, and by their order.
fn kept(
    cx: &mut Context,
    mask: Option<Value>,
    causal: bool,
    [tokens, keys, before]: [usize; 3],
) -> Result<Option<Value>, Refusal> {
    let mut kept = None;
    if let Some(mask) = mask {
        let shape = cx.shape(mask)?;
        if !matches!(shape.last(), Some(&last) if last == keys || last == 1) {
            return unsupported(format!("a mask of {shape:?} for {keys} keys"));
        }
        kept = Some(mask).filter(|mask| mask.data_type == DataType::Bool);
    }
    if causal {
        let (query, key) = (cx.iota(tokens, 0, 2)?, cx.iota(keys, 1, 2)?);
        let query = cx.with(Binary::Add, query, before as f64)?;
        let order = cx.compare(Compare::LesserOrEqual, key, query)?;
        kept = Some(match kept {
            Some(mask) => cx.logical(Logical::And, mask, order)?,
            None => order,
        });
    }
    Ok(kept)
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
