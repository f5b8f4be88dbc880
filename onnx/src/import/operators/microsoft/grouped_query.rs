//! Attention whose heads of queries share heads of keys, with its cache: what generated decoders are made of.

use fewbit_engine::graph::Dim;
use fewbit_engine::graph::op::{Binary, Compare, Logical};
use fewbit_engine::tensor::{DataType, Tensor};

use super::attention::{NEVER, Operands, Scores, attend, both, by_head, flat, heads, last_keys};
use super::rotary::{Places, Tables, turned};
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[Entry::widened("GroupQueryAttention", 1, grouped_query)];

/// What is not imported, so that it must say what it says where it is not there.
fn refuse_options(node: &Node<'_>) -> Result<(), Refusal> {
    if node.flag("smooth_softmax", false)? || node.flag("sliding_window_cache", false)? {
        return unsupported("with a smooth softmax or a cache of one window");
    }
    if !node.flag("causal", true)? || node.int("qk_output", 0)? != 0 {
        return unsupported("not causal, or with the products as an output");
    }
    for name in ["k_quant_type", "v_quant_type"] {
        let kind = node.word(name, "NONE")?;
        if kind != "NONE" {
            return unsupported(format!("{name} {kind}"));
        }
    }
    node.ignore(&["kv_cache_bit_width"]);
    Ok(())
}

/// Queries, keys and values of heads, `[batch, tokens, heads, size]` each.
fn projected(cx: &mut Context, node: &Node<'_>) -> Result<[Value; 3], Refusal> {
    let (all, own) = (
        heads(node.int("num_heads", 0)?)?,
        heads(node.int("kv_num_heads", 0)?)?,
    );
    if !all.is_multiple_of(own) {
        return wrong(format!("{own} heads of keys for {all}"));
    }
    let q = node.input(0)?;
    let (q, k, v) = match (node.optional(1), node.optional(2)) {
        (Some(k), Some(v)) => (q, k, v),
        (None, None) => {
            let width = cx.fixed_from_end(q, 1)?;
            let count = all.saturating_add(own.saturating_mul(2));
            if !width.is_multiple_of(count) {
                return wrong(format!("{count} heads of {width}"));
            }
            let size = width / count;
            (
                cx.slice(q, 2, 0, all * size)?,
                cx.slice(q, 2, all * size, own * size)?,
                cx.slice(q, 2, (all + own) * size, own * size)?,
            )
        }
        _ => return wrong("keys without values, or values without keys"),
    };
    Ok([
        by_head(cx, q, all)?,
        by_head(cx, k, own)?,
        by_head(cx, v, own)?,
    ])
}

fn grouped_query(cx: &mut Context, node: &Node<'_>) -> Outputs {
    refuse_options(node)?;
    let [mut q, mut k, v] = projected(cx, node)?;
    let past = (node.optional(3), node.optional(4));
    let (lengths, total) = (node.optional(5), node.optional(6));
    let (cos, sin) = (node.optional(7), node.optional(8));
    let (positions, bias) = (node.optional(9), node.optional(10));
    let window = node.int("local_window_size", -1)?;
    let cap = Some(node.float("softcap", 0.0)?).filter(|&cap| cap != 0.0);
    let interleaved = node.flag("rotary_interleaved", false)?;
    let [batch, tokens, ..] = cx.of_rank::<4>(q)?;
    let in_place = past.0.is_some_and(|past| cx.is_cache(past));
    let position = match cx.position {
        Some(position) if in_place => position,
        _ => position_of(cx, lengths, &batch, &tokens)?,
    };
    if node.flag("do_rotary", false)? {
        let (Some(cos), Some(sin)) = (cos, sin) else {
            return wrong("rotary embeddings without their tables");
        };
        let mut tables = [cos, sin];
        if in_place {
            for table in &mut tables {
                *table = cx.longer_table(*table)?;
            }
        }
        let tables = Tables {
            cos: tables[0],
            sin: tables[1],
            interleaved,
        };
        let places = match positions {
            Some(positions) if !cx.counts_from_position(positions) => Places::Each(positions),
            _ => Places::From(position),
        };
        q = turned(cx, q, tables, places)?;
        k = turned(cx, k, tables, places)?;
    }
    let [k, v] = match past {
        (Some(past_k), Some(past_v)) if in_place => [
            cx.written(past_k, k, position)?,
            cx.written(past_v, v, position)?,
        ],
        (Some(past_k), Some(past_v)) => {
            let Some(total) = total else {
                return wrong("a cache without the sum of its tokens and the new ones");
            };
            let total = usize::try_from(cx.known_int(total)?).unwrap_or(0);
            [
                written(cx, past_k, k, position, total)?,
                written(cx, past_v, v, position, total)?,
            ]
        }
        (None, None) => [
            cx.transpose(k, &[0, 2, 1, 3])?,
            cx.transpose(v, &[0, 2, 1, 3])?,
        ],
        _ => return wrong("a cache of keys or of values alone"),
    };
    let [_, _, keys, _] = cx.of_rank(k)?;
    let window = match usize::try_from(window) {
        Ok(window) => Some(outside(cx, position, [&tokens, &keys], window)?),
        Err(_) => None,
    };
    let scores = Scores {
        scale: node.float_or_none("scale")?,
        cap,
        position: Some(position),
        bias: both(cx, window, bias)?,
    };
    let y = attend(cx, Operands { q, k, v }, scores)?;
    Ok(vec![flat(cx, y)?, k, v])
}

/// How many tokens of each row are in the cache before, i32 `[batch]`: all of them but one are what the file gives.
fn position_of(cx: &mut Context, lengths: Option<Value>, batch: &Dim, tokens: &Dim) -> Made {
    let Some(lengths) = lengths else {
        return wrong("no lengths of the rows");
    };
    let Some(tokens) = tokens.fixed() else {
        return unsupported(format!("over {tokens} tokens"));
    };
    let lengths = cx.cast(lengths, DataType::I32)?;
    let lengths = cx.reshape_to(lengths, vec![batch.clone()])?;
    let before = cx.with(Binary::Sub, lengths, tokens as f64 - 1.0)?;
    // A row of a first prompt that is filled up has fewer tokens than the prompt.
    cx.with(Binary::Max, before, 0.0)
}

/// The cache as it is after: `past [batch, heads, before, size]` grown to `total` tokens, with `new [batch, tokens, heads, size]` from
/// each row's position on.
fn written(cx: &mut Context, past: Value, new: Value, position: Value, total: usize) -> Made {
    let [batch, heads, before, size] = cx.shape(past)?[..] else {
        return wrong("a cache of other than four dimensions");
    };
    let tokens = cx.shape(new)?[1];
    let keys = before.max(total);
    let mut grown = past;
    if keys > before {
        let none = cx.number(0.0, past.data_type)?;
        let none = cx.expand(none, &[batch, heads, keys - before, size])?;
        grown = match before {
            0 => none,
            _ => cx.concat(&[past, none], 2)?,
        };
    }
    // Which of the new tokens belongs at each place, if one does.
    let place = cx.count(&Dim::from(keys), 1, 2)?;
    let start = cx.reshape(position, &[batch, 1])?;
    let token = cx.sub(place, start)?;
    let (after, until) = (
        cx.compare_with(Compare::GreaterOrEqual, token, 0.0)?,
        cx.compare_with(Compare::Lesser, token, tokens as f64)?,
    );
    let is_new = cx.logical(Logical::And, after, until)?;
    let is_new = cx.reshape(is_new, &[batch, 1, keys, 1])?;
    let token = cx.with(Binary::Max, token, 0.0)?;
    let token = cx.with(Binary::Min, token, tokens as f64 - 1.0)?;
    let rows: Vec<i32> = (0..batch).map(|row| (row * tokens) as i32).collect();
    let rows = cx.constant(Tensor::from_i32(&[batch, 1], &rows)?)?;
    let token = cx.add(token, rows)?;
    let one_by_one = cx.reshape(new, &[batch * tokens, heads, size])?;
    let spread = cx.gather(one_by_one, token, 0)?;
    let spread = cx.transpose(spread, &[0, 2, 1, 3])?;
    cx.select(is_new, spread, grown)
}

/// A bias that hides all keys but a query's own and those before it, `window` in all.
fn outside(cx: &mut Context, position: Value, [tokens, keys]: [&Dim; 2], window: usize) -> Made {
    let last = last_keys(cx, position, tokens)?;
    let first = cx.with(Binary::Sub, last, window as f64 - 1.0)?;
    let key = cx.count(keys, 3, 4)?;
    let hidden = cx.compare(Compare::Lesser, key, first)?;
    let (never, always) = (
        cx.number(NEVER, DataType::F32)?,
        cx.number(0.0, DataType::F32)?,
    );
    cx.select(hidden, never, always)
}
