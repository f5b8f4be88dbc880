//! A layer of a transformer encoder: attention of all tokens to all, then a feed-forward network.

use super::{FeedForward, MultiHead, Residual};
use crate::graph::{GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// Each sublayer with its residual connection and the name of its norm.
#[derive(Clone, Debug)]
pub struct EncoderLayer {
    pub residual: Residual,
    pub attention: MultiHead,
    pub attention_norm: String,
    pub feed_forward: FeedForward,
    pub feed_forward_norm: String,
}

impl EncoderLayer {
    /// `x [batch, tokens, hidden]`; `bias` broadcasts to `[batch, heads, tokens, tokens]`.
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
        bias: Option<ValueId>,
    ) -> Result<ValueId, ModelError> {
        let attend =
            |b: &mut GraphBuilder, x: ValueId| self.attention.to_itself(b, weights, x, bias);
        let x = self
            .residual
            .around(b, weights, &self.attention_norm, x, attend)?;
        let feed = |b: &mut GraphBuilder, x: ValueId| self.feed_forward.apply(b, weights, x);
        self.residual
            .around(b, weights, &self.feed_forward_norm, x, feed)
    }
}
