//! Attention with a state of fixed size, and the causal convolution that goes before it.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Conv2d, Unary, Window};
use fewbit_engine::tensor::DataType;

use super::attention::{by_head, repeated};
use super::window::as_image;
use crate::import::context::{Context, MOST_STEPS, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("LinearAttention", 27, linear_attention),
    Entry::widened("CausalConvWithState", 27, causal_convolution),
];

/// `S ← exp(g) · S + k ⊗ β (v − Sᵀ k)`, `y = scale · qᵀ S`, token by token; without decay `g` or correction as the rule says.
fn linear_attention(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (q, k, v) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let (past, decay, rate) = (node.optional(3), node.optional(4), node.optional(5));
    // Everything is computed in f32; the state has a type of its own.
    let (to, state_to) = (q.data_type, past.unwrap_or(q).data_type);
    let wide = |cx: &mut Context, x: Option<Value>| x.map(|x| cx.widened(x)).transpose();
    let (past, decay, rate) = (wide(cx, past)?, wide(cx, decay)?, wide(cx, rate)?);
    let (q, k, v) = (cx.widened(q)?, cx.widened(k)?, cx.widened(v)?);
    let (q_heads, kv_heads) = (
        node.int_or_none("q_num_heads")?,
        node.int_or_none("kv_num_heads")?,
    );
    // It says how others cut the work.
    node.ignore(&["chunk_size"]);
    let rule = node.word("update_rule", "gated_delta")?;
    let (gated, corrected) = match rule.as_str() {
        "linear" => (false, false),
        "gated" => (true, false),
        "delta" => (false, true),
        "gated_delta" => (true, true),
        other => return wrong(format!("update_rule {other:?}")),
    };
    if decay.is_some() != gated || rate.is_some() != corrected {
        return wrong(format!("inputs that do not go with update_rule {rule:?}"));
    }
    let (q, k, v) = (
        by_head(cx, q, q_heads)?,
        by_head(cx, k, kv_heads)?,
        by_head(cx, v, kv_heads)?,
    );
    let (&[batch, heads, tokens, size], &[_, own, _, _], &[_, _, _, width]) =
        (&cx.shape(q)?[..], &cx.shape(k)?[..], &cx.shape(v)?[..])
    else {
        return wrong("queries, keys or values of other than three dimensions");
    };
    if tokens > MOST_STEPS || tokens == 0 {
        return unsupported(format!("{tokens} tokens"));
    }
    // [batch, tokens, heads or heads · size] as [batch, heads, tokens, 1 or size].
    let each_head = |cx: &mut Context, x: Value| {
        let shape = cx.shape(x)?;
        let heads = match shape.last() {
            Some(1) => 1,
            _ => own,
        };
        by_head(cx, x, Some(heads as i64))
    };
    let decay = match decay {
        Some(decay) => {
            let decay = each_head(cx, decay)?;
            Some(cx.unary(Unary::Exp, decay)?)
        }
        None => None,
    };
    let rate = match rate {
        Some(rate) => Some(each_head(cx, rate)?),
        None => None,
    };
    let scale = match node.float("scale", 0.0)? {
        0.0 => 1.0 / (size as f64).sqrt(),
        scale => scale.into(),
    };
    let mut state = match past {
        Some(past) => past,
        None => cx.zeros(&[batch, own, size, width], q.data_type)?,
    };
    let mut made = Vec::new();
    for token in 0..tokens {
        let row = |cx: &mut Context, x: Value| cx.slice(x, 2, token, 1);
        let key = row(cx, k)?;
        let column = cx.swapped(key)?;
        if let Some(decay) = decay {
            let kept = row(cx, decay)?;
            let kept = cx.swapped(kept)?;
            state = cx.mul(state, kept)?;
        }
        let mut value = row(cx, v)?;
        if let Some(rate) = rate {
            let known = cx.matmul(key, state)?;
            let new = cx.sub(value, known)?;
            let rate = row(cx, rate)?;
            value = cx.mul(rate, new)?;
        }
        let write = cx.mul(column, value)?;
        state = cx.add(state, write)?;
        let query = row(cx, q)?;
        let all = repeated(cx, state, heads)?;
        made.push(cx.matmul(query, all)?);
    }
    let y = cx.concat(&made, 2)?;
    let y = cx.with(Binary::Mul, y, scale)?;
    let y = cx.transpose(y, &[0, 2, 1, 3])?;
    let y = cx.reshape(y, &[batch, tokens, heads * width])?;
    Ok(vec![cx.cast(y, to)?, cx.cast(state, state_to)?])
}

/// A convolution of each channel by itself over what came before, which is a state.
fn causal_convolution(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, filter) = (node.input(0)?, node.input(1)?);
    let (bias, past) = (node.optional(2), node.optional(3));
    let (shape, filters) = (cx.shape(x)?, cx.shape(filter)?);
    let (&[batch, channels, length], &[same, 1, taps]) = (&shape[..], &filters[..]) else {
        return wrong(format!("filters {filters:?} over {shape:?}"));
    };
    if same != channels || taps == 0 {
        return wrong(format!("filters {filters:?} over {shape:?}"));
    }
    let past = match past {
        Some(past) => past,
        None => cx.zeros(&[batch, channels, taps - 1], DataType::F32)?,
    };
    let whole = match taps {
        1 => x,
        _ => cx.concat(&[past, x], 2)?,
    };
    let conv = Conv2d {
        window: Window {
            padding: [0; 4],
            strides: [1; 2],
            dilations: [1; 2],
        },
        groups: channels,
        bias: bias.is_some(),
    };
    let mut inputs = vec![as_image(cx, whole)?, as_image(cx, filter)?];
    inputs.extend(bias);
    let y = cx.op(Op::Conv2d(conv), &inputs, DataType::F32)?;
    let y = cx.reshape(y, &[batch, channels, length])?;
    let y = match node.word("activation", "none")?.as_str() {
        "none" => y,
        "silu" | "swish" => cx.unary(Unary::Silu, y)?,
        other => return wrong(format!("activation {other:?}")),
    };
    Ok(vec![y, cx.slice(whole, 2, length, taps - 1)?])
}
