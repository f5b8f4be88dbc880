//! Rotary embeddings whose positions are an input.

use fewbit_engine::graph::op::RotaryEmbedding;
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::DataType;

use super::attention::{by_head, flat};
use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

pub(super) const TABLE: &[Entry] = &[Entry::widened("RotaryEmbedding", 1, rotary)];

/// Which rows of the tables a token's are.
#[derive(Clone, Copy)]
pub(super) enum Places {
    /// Token `t` of row `b` has row `start[b] + t`; i32 `[batch]`.
    From(Value),
    /// A row each, `[batch, tokens]`.
    Each(Value),
}

/// The tables of cosines and sines, `[positions, turned / 2]`, and how pairs lie.
#[derive(Clone, Copy)]
pub(super) struct Tables {
    pub(super) cos: Value,
    pub(super) sin: Value,
    pub(super) interleaved: bool,
}

fn rotary(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Value>, Refusal> {
    let (x, positions) = (node.input(0)?, node.input(1)?);
    let tables = Tables {
        cos: node.input(2)?,
        sin: node.input(3)?,
        interleaved: node.flag("interleaved", false)?,
    };
    let heads = node.int("num_heads", 0)?;
    node.ignore(&["rotary_embedding_dim"]);
    if node.float("scale", 1.0)? != 1.0 {
        return unsupported("with a scale");
    }
    if node.flag("is_packed_batching", false)? {
        return unsupported("over rows of different lengths");
    }
    let half = cx.fixed_from_end(tables.cos, 1)?;
    let by_heads = cx.rank(x) == 4;
    let y = match by_heads {
        true => cx.transpose(x, &[0, 2, 1, 3])?,
        false => {
            let width = cx.fixed_from_end(x, 1)?;
            let heads = match usize::try_from(heads) {
                Ok(heads) if heads > 0 => heads,
                _ => width / (2 * half).max(1),
            };
            by_head(cx, x, heads)?
        }
    };
    let [batch, ..] = cx.of_rank::<4>(y)?;
    let places = match cx.rank(positions) {
        1 => {
            let start = cx.cast(positions, DataType::I32)?;
            Places::From(cx.expand_to(start, vec![batch])?)
        }
        _ => Places::Each(positions),
    };
    let y = turned(cx, y, tables, places)?;
    one(match by_heads {
        true => cx.transpose(y, &[0, 2, 1, 3]),
        false => flat(cx, y),
    })
}

/// `x [batch, tokens, heads, size]` with its first `2 · width of the tables` elements turned in pairs.
pub(super) fn turned(cx: &mut Context, x: Value, tables: Tables, places: Places) -> Made {
    let Tables {
        cos,
        sin,
        interleaved,
    } = tables;
    let positions = match places {
        Places::From(start) => {
            let rotary = Op::RotaryEmbedding(RotaryEmbedding { interleaved });
            return cx.op(rotary, &[x, cos, sin, start], x.data_type);
        }
        Places::Each(positions) => positions,
    };
    let [batch, tokens, heads, size] = cx.of_rank(x)?;
    let half = cx.fixed_from_end(cos, 1)?;
    let rotated = 2 * half;
    let Some(size) = size.fixed().filter(|&size| size >= rotated) else {
        return wrong(format!("{rotated} of {size} elements turned"));
    };
    let mut rows = [cos, sin];
    for table in &mut rows {
        let own = cx.gather(*table, positions, 0)?;
        let [rows, of_each, width] = cx.of_rank(own)?;
        *table = cx.reshape_to(own, vec![rows, of_each, Dim::from(1), width])?;
    }
    let [cos, sin] = rows;
    let first = cx.slice(x, 3, 0, rotated)?;
    // Halves, or pairs side by side.
    let (pair, axis) = match interleaved {
        true => ([half, 2], 4),
        false => ([2, half], 3),
    };
    let lead = [batch, tokens, heads];
    let with = |rest: &[usize]| {
        let rest = rest.iter().map(|&size| Dim::from(size));
        lead.iter().cloned().chain(rest).collect::<Vec<_>>()
    };
    let pairs = cx.reshape_to(first, with(&pair))?;
    let mut parts = [pairs; 2];
    for (at, part) in parts.iter_mut().enumerate() {
        let of_one = cx.slice(pairs, axis, at, 1)?;
        *part = cx.reshape_to(of_one, with(&[half]))?;
    }
    let [a, b] = parts;
    let (a_cos, b_sin) = (cx.mul(a, cos)?, cx.mul(b, sin)?);
    let (a_sin, b_cos) = (cx.mul(a, sin)?, cx.mul(b, cos)?);
    let (real, imaginary) = (cx.sub(a_cos, b_sin)?, cx.add(a_sin, b_cos)?);
    let mut alone = pair;
    alone[axis - 3] = 1;
    let (real, imaginary) = (
        cx.reshape_to(real, with(&alone))?,
        cx.reshape_to(imaginary, with(&alone))?,
    );
    let both = cx.concat(&[real, imaginary], axis)?;
    let both = cx.reshape_to(both, with(&[rotated]))?;
    if rotated == size {
        return Ok(both);
    }
    let rest = cx.slice(x, 3, rotated, size - rotated)?;
    cx.concat(&[both, rest], 3)
}
