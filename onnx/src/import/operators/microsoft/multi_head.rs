//! Attention of as many heads of keys as of queries, with the projection before it or without.

use fewbit_engine::graph::Dim;

use super::attention::{Operands, Scores, attend, bias_of_mask, both, by_head, flat, heads};
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("MultiHeadAttention", 1, multi_head),
    Entry::widened("Attention", 1, attention),
];

/// Queries, keys and values of heads, `[batch, tokens, heads, size]` each; keys and values may be `[batch, heads, keys, size]`.
struct Projected {
    q: Value,
    k: Value,
    v: Value,
    turned: bool,
}

/// With its part of the bias, from `start` on.
fn biased(cx: &mut Context, x: Value, bias: Option<Value>, start: usize) -> Made {
    match bias {
        None => Ok(x),
        Some(bias) => {
            let width = cx.fixed_from_end(x, 1)?;
            let part = cx.slice(bias, 0, start, width)?;
            cx.add(x, part)
        }
    }
}

fn projected(cx: &mut Context, node: &Node<'_>, count: usize) -> Result<Projected, Refusal> {
    let (q, k, v) = (node.input(0)?, node.optional(1), node.optional(2));
    let bias = node.optional(3);
    // All three side by side in each head, or keys and values.
    let unpacked = |cx: &mut Context, x: Value, at: usize| {
        let [batch, tokens, heads, _, size] = cx.of_rank(x)?;
        let part = cx.slice(x, 3, at, 1)?;
        cx.reshape_to(part, vec![batch, tokens, heads, size])
    };
    let (q, k, v) = match (k, v) {
        (None, None) => {
            if bias.is_some() {
                return unsupported("a bias of packed queries, keys and values");
            }
            return Ok(Projected {
                q: unpacked(cx, q, 0)?,
                k: unpacked(cx, q, 1)?,
                v: unpacked(cx, q, 2)?,
                turned: false,
            });
        }
        (Some(packed), None) => {
            if bias.is_some() {
                return unsupported("a bias of packed keys and values");
            }
            return Ok(Projected {
                q: by_head(cx, q, count)?,
                k: unpacked(cx, packed, 0)?,
                v: unpacked(cx, packed, 1)?,
                turned: false,
            });
        }
        (Some(k), Some(v)) => (q, k, v),
        (None, Some(_)) => return wrong("values without keys"),
    };
    let hidden = cx.fixed_from_end(q, 1)?;
    let q = biased(cx, q, bias, 0)?;
    let q = by_head(cx, q, count)?;
    if cx.rank(k) == 4 {
        if bias.is_some() {
            return unsupported("a bias beside keys of heads");
        }
        return Ok(Projected {
            q,
            k,
            v,
            turned: true,
        });
    }
    let k = biased(cx, k, bias, hidden)?;
    let v = biased(cx, v, bias, 2 * hidden)?;
    Ok(Projected {
        q,
        k: by_head(cx, k, count)?,
        v: by_head(cx, v, count)?,
        turned: false,
    })
}

fn multi_head(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let count = heads(node.int("num_heads", 0)?)?;
    let Projected { q, k, v, turned } = projected(cx, node, count)?;
    let (mask, bias) = (node.optional(4), node.optional(5));
    let (past_k, past_v) = (node.optional(6), node.optional(7));
    if node.optional(8).is_some() || node.optional(9).is_some() {
        return unsupported("with a cache that is larger than what is in it");
    }
    if node.wants(3) {
        return unsupported("the weights of keys as an output");
    }
    let filter = node.float("mask_filter_value", -10000.0)?;
    let causal = node.flag("unidirectional", false)?;
    let (mut k, mut v) = match turned {
        true => (k, v),
        false => (
            cx.transpose(k, &[0, 2, 1, 3])?,
            cx.transpose(v, &[0, 2, 1, 3])?,
        ),
    };
    let mut before = 0;
    let mut in_place = None;
    if let (Some(past_k), Some(past_v)) = (past_k, past_v) {
        match cx.is_cache(past_k) {
            true if !causal => {
                return unsupported("a cache in place without an order of the tokens");
            }
            true => in_place = cx.position,
            false => before = cx.fixed_from_end(past_k, 2)?,
        }
        k = cx.concat(&[past_k, k], 2)?;
        v = cx.concat(&[past_v, v], 2)?;
    }
    let [batch, _, keys, _] = cx.of_rank(k)?;
    let masked = match mask {
        Some(mask) => Some(bias_of_mask(cx, mask, &keys, filter)?),
        None => None,
    };
    let position = match (in_place, causal) {
        (Some(position), _) => Some(position),
        (None, true) => Some(cx.each_row(before as i32, &batch)?),
        (None, false) => None,
    };
    let scores = Scores {
        scale: node.float_or_none("scale")?,
        cap: None,
        position,
        bias: both(cx, masked, bias)?,
    };
    let y = attend(cx, Operands { q, k, v }, scores)?;
    Ok(vec![flat(cx, y)?, k, v])
}

/// The projection to queries, keys and values, and the attention after it.
fn attention(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, weights, bias) = (node.input(0)?, node.input(1)?, node.optional(2));
    let mut all = cx.matmul(x, weights)?;
    if let Some(bias) = bias {
        all = cx.add(all, bias)?;
    }
    let (mask, past, more) = (node.optional(3), node.optional(4), node.optional(5));
    if node.optional(6).is_some() || node.flag("past_present_share_buffer", false)? {
        return unsupported("with a cache that is larger than what is in it");
    }
    after_projection(cx, node, all, Around { mask, past, more })
}

/// What attention takes beside queries, keys and values.
pub(super) struct Around {
    pub(super) mask: Option<Value>,
    /// `[2, batch, heads, tokens before, size]`
    pub(super) past: Option<Value>,
    pub(super) more: Option<Value>,
}

/// Attention over `[batch, tokens, queries, keys and values side by side]`: its result and the keys and values for later.
pub(super) fn after_projection(
    cx: &mut Context,
    node: &Node<'_>,
    all: Value,
    around: Around,
) -> Outputs {
    let Around { mask, past, more } = around;
    let count = heads(node.int("num_heads", 0)?)?;
    if node.flag("do_rotary", false)? {
        return unsupported("with rotary embeddings of its own");
    }
    node.ignore(&["rotary_embedding_dim"]);
    let filter = node.float("mask_filter_value", -10000.0)?;
    let width = cx.fixed_from_end(all, 1)?;
    let widths = match node.ints("qkv_hidden_sizes")? {
        Some(sizes) if !sizes.is_empty() => sizes,
        _ => vec![(width / 3) as i64; 3],
    };
    let widths: Vec<usize> = widths
        .iter()
        .filter_map(|&w| usize::try_from(w).ok())
        .collect();
    let [q_width, k_width, v_width] = widths[..] else {
        return wrong(format!("hidden sizes {widths:?}"));
    };
    let sum = q_width
        .checked_add(k_width)
        .and_then(|sum| sum.checked_add(v_width));
    if sum != Some(width) {
        return wrong(format!("hidden sizes {widths:?} of {width}"));
    }
    let mut parts = [all; 3];
    let mut start = 0;
    for (part, width) in parts.iter_mut().zip([q_width, k_width, v_width]) {
        let own = cx.slice(all, 2, start, width)?;
        *part = by_head(cx, own, count)?;
        start += width;
    }
    let [q, k, v] = parts;
    let (mut k, mut v) = (
        cx.transpose(k, &[0, 2, 1, 3])?,
        cx.transpose(v, &[0, 2, 1, 3])?,
    );
    let mut before = 0;
    if let Some(past) = past {
        let [_, batch, heads, tokens, size] = cx.of_rank(past)?;
        before = cx.fixed_from_end(past, 2)?;
        let shape = vec![batch, heads, tokens, size];
        for (at, now) in [&mut k, &mut v].into_iter().enumerate() {
            let own = cx.slice(past, 0, at, 1)?;
            let own = cx.reshape_to(own, shape.clone())?;
            *now = cx.concat(&[own, *now], 2)?;
        }
    }
    let [batch, key_heads, keys, size] = cx.of_rank(k)?;
    let masked = match mask {
        Some(mask) => Some(bias_of_mask(cx, mask, &keys, filter)?),
        None => None,
    };
    let position = match node.flag("unidirectional", false)? {
        true => Some(cx.each_row(before as i32, &batch)?),
        false => None,
    };
    let scores = Scores {
        scale: node.float_or_none("scale")?,
        cap: None,
        position,
        bias: both(cx, masked, more)?,
    };
    let y = attend(cx, Operands { q, k, v }, scores)?;
    let y = flat(cx, y)?;
    if !node.wants(1) {
        return Ok(vec![y]);
    }
    let one = vec![Dim::from(1), batch, key_heads, keys, size];
    let (k, v) = (cx.reshape_to(k, one.clone())?, cx.reshape_to(v, one)?);
    let present = cx.concat(&[k, v], 0)?;
    Ok(vec![y, present])
}
