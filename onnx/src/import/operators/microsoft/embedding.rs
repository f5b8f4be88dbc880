//! The first layer of BERT and its kin in one operator.

use fewbit_engine::graph::Dim;
use fewbit_engine::graph::op::ReduceKind;
use fewbit_engine::tensor::{DataType, Tensor};

use super::normalization::layer;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported};
use crate::import::node::Node;
use crate::import::table::Entry;

pub(super) const TABLE: &[Entry] = &[Entry::widened("EmbedLayerNormalization", 1, embed)];

/// The normalized sum of a token's, its position's and its segment's rows; how many tokens the mask lets count; the sum.
fn embed(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Value>, Refusal> {
    let (ids, segments) = (node.input(0)?, node.optional(1));
    let (words, places, parts) = (node.input(2)?, node.input(3)?, node.optional(4));
    let (scale, bias) = (node.input(5)?, node.input(6)?);
    let (mask, positions) = (node.optional(7), node.optional(8));
    let epsilon = node.float("epsilon", 1e-12)?;
    node.ignore(&["mask_index_type"]);
    let [batch, tokens] = cx.of_rank(ids)?;
    let word = cx.gather(words, ids, 0)?;
    let place = match positions {
        Some(positions) => cx.gather(places, positions, 0)?,
        // As many rows as there are tokens, from the first on.
        None => cx.slice_dims(places, 0, Dim::from(0), tokens)?,
    };
    let mut sum = cx.add(word, place)?;
    match (segments, parts) {
        (Some(segments), Some(parts)) => {
            let part = cx.gather(parts, segments, 0)?;
            sum = cx.add(sum, part)?;
        }
        (None, None) => {}
        _ => return unsupported("segments without a table, or a table without segments"),
    }
    let y = layer(cx, sum, scale, Some(bias), epsilon)?;
    let count = match mask {
        _ if !node.wants(1) => y,
        Some(mask) => counted(cx, mask)?,
        None => zeros(cx, &batch)?,
    };
    Ok(vec![y, count, sum])
}

/// How many tokens of each row count.
fn counted(cx: &mut Context, mask: Value) -> Made {
    let mask = cx.cast(mask, DataType::I32)?;
    cx.reduce(ReduceKind::Sum, mask, &[1], false)
}

fn zeros(cx: &mut Context, batch: &Dim) -> Made {
    let zero = cx.constant(Tensor::from_i32(&[1], &[0])?)?;
    cx.expand_to(zero, vec![batch.clone()])
}
