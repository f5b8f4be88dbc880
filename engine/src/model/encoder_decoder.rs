//! What encoder-decoders share: an encoder that runs once a source and leaves its keys and values in states, and a
//! decoder that goes on token by token with attention to them.

use super::block::{MultiHead, mask_bias};
use super::{ModelError, Weights};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::{DataType, Tensor};

/// How many positions of a source the states hold: a number, or the symbol `source`, as much as is asked for.
pub(super) fn source_capacity() -> Dim {
    Dim::symbol("source")
}

/// In the encoder: keeps what the cross-attention of decoder layer `layer` needs of `encoded [batch, positions, hidden]`.
pub(super) fn remember(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    attention: &MultiHead,
    layer: usize,
    encoded: ValueId,
    capacity: Dim,
) -> Result<(), ModelError> {
    let batch = b.shape(encoded)[0].clone();
    let start = b.constant(Tensor::from_i32(&[1], &[0])?);
    let start = b.expand(start, vec![batch.clone()])?;
    let k = attention.keys(b, weights, encoded)?;
    let v = attention.values(b, weights, encoded)?;
    for (what, new) in [("cross_k", k), ("cross_v", v)] {
        let state = state(b, what, attention, layer, &batch, capacity.clone())?;
        b.kv_append(state, new, start)?;
    }
    Ok(())
}

/// In the decoder: the attention of layer `layer` to the source.
pub(super) fn cross_attention(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    attention: &MultiHead,
    layer: usize,
    x: ValueId,
    source: &Source,
) -> Result<ValueId, ModelError> {
    let batch = b.shape(x)[0].clone();
    let q = attention.queries(b, weights, x)?;
    let mut recall = |what| {
        let capacity = source.capacity.clone();
        state(b, what, attention, layer, &batch, capacity)
    };
    let (k, v) = (recall("cross_k")?, recall("cross_v")?);
    attention.attend(b, weights, [q, k, v], None, source.bias)
}

/// In the decoder: the causal attention of layer `layer` to the tokens so far, which are kept in states of
/// `capacity` tokens.
pub(super) fn causal_attention(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    attention: &MultiHead,
    layer: usize,
    x: ValueId,
    position: ValueId,
    bias: Option<ValueId>,
) -> Result<ValueId, ModelError> {
    let batch = b.shape(x)[0].clone();
    let q = attention.queries(b, weights, x)?;
    let k = attention.keys(b, weights, x)?;
    let v = attention.values(b, weights, x)?;
    let mut append = |what, new| -> Result<ValueId, ModelError> {
        let capacity = Dim::symbol("capacity");
        let state = state(b, what, attention, layer, &batch, capacity)?;
        Ok(b.kv_append(state, new, position)?)
    };
    let (k, v) = (append("k", k)?, append("v", v)?);
    attention.attend(b, weights, [q, k, v], Some(position), bias)
}

/// What the decoder knows of a source beside its states.
pub(super) struct Source {
    pub(super) capacity: Dim,
    /// Hides what is no source, where that differs from source to source.
    pub(super) bias: Option<ValueId>,
}

impl Source {
    /// A source of up to `source` tokens; `encoder_attention_mask [batch, source]` tells which there are.
    pub(super) fn masked(b: &mut GraphBuilder) -> Result<Source, ModelError> {
        let capacity = source_capacity();
        let shape = vec![Dim::symbol("batch"), capacity.clone()];
        let mask = b.input("encoder_attention_mask", DataType::I32, shape)?;
        Ok(Source {
            capacity,
            bias: Some(mask_bias(b, mask)?),
        })
    }

    /// A source that always has `positions`.
    pub(super) fn whole(positions: usize) -> Source {
        Source {
            capacity: Dim::from(positions),
            bias: None,
        }
    }
}

/// What every decoder is given.
pub(super) struct DecoderInputs {
    /// `[batch, tokens]`
    pub(super) ids: ValueId,
    /// `[batch]`: tokens before these.
    pub(super) position: ValueId,
    /// `[rows]`: which of the `batch · tokens` positions to predict after.
    pub(super) rows: ValueId,
}

impl DecoderInputs {
    pub(super) fn new(b: &mut GraphBuilder) -> Result<DecoderInputs, ModelError> {
        let (batch, tokens) = (Dim::symbol("batch"), Dim::symbol("tokens"));
        Ok(DecoderInputs {
            ids: b.input("input_ids", DataType::I32, vec![batch.clone(), tokens])?,
            position: b.input("position", DataType::I32, vec![batch])?,
            rows: b.input("rows", DataType::I32, vec![Dim::symbol("rows")])?,
        })
    }

    /// The positions asked for out of `x [batch, tokens, hidden]`: `[rows, hidden]`.
    pub(super) fn wanted(
        &self,
        b: &mut GraphBuilder,
        x: ValueId,
        hidden: usize,
    ) -> Result<ValueId, ModelError> {
        let flat = b.reshape(x, vec![Dim::symbol("positions"), Dim::from(hidden)])?;
        Ok(b.gather(flat, self.rows, 0)?)
    }

    /// Where each token stands, i32 `[batch, tokens]`; a run has at most `most` tokens.
    pub(super) fn positions(
        &self,
        b: &mut GraphBuilder,
        most: usize,
    ) -> Result<ValueId, ModelError> {
        let tokens = Dim::symbol("tokens");
        let steps = super::block::positions(b, tokens.clone(), most)?;
        let steps = b.reshape(steps, vec![Dim::from(1), tokens])?;
        let start = b.reshape(self.position, vec![Dim::symbol("batch"), Dim::from(1)])?;
        Ok(b.add_values(start, steps)?)
    }
}

fn state(
    b: &mut GraphBuilder,
    what: &str,
    attention: &MultiHead,
    layer: usize,
    batch: &Dim,
    capacity: Dim,
) -> Result<ValueId, ModelError> {
    let shape = vec![
        batch.clone(),
        Dim::from(attention.heads),
        capacity,
        Dim::from(attention.head_size),
    ];
    Ok(b.state(&format!("{what}.{layer}"), DataType::F32, shape)?)
}
