//! Multi-head attention: the linear layers around `attention`.

use super::Linear;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// Multi-head attention (Vaswani et al. 2017, section 3.2.2). The names are of linear layers; `query`, `key` and
/// `value` go from `hidden` to `heads · head_size`, `output` back.
#[derive(Clone, Debug)]
pub struct MultiHead {
    pub query: String,
    pub key: String,
    pub value: String,
    pub output: String,
    pub hidden: usize,
    pub heads: usize,
    pub head_size: usize,
    /// What the products of queries and keys are multiplied with.
    pub scale: f32,
}

impl MultiHead {
    /// `1/√head_size`, the scale of most papers.
    pub fn usual_scale(head_size: usize) -> f32 {
        1.0 / (head_size as f32).sqrt()
    }

    /// Attention of `x` to itself, every token to every token.
    pub fn to_itself(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
        bias: Option<ValueId>,
    ) -> Result<ValueId, ModelError> {
        self.over(b, weights, [x, x, x], bias)
    }

    /// Attention with queries, keys and values made of different values, each `[batch, tokens, hidden]`.
    pub fn over(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        [queries, keys, values]: [ValueId; 3],
        bias: Option<ValueId>,
    ) -> Result<ValueId, ModelError> {
        let q = self.queries(b, weights, queries)?;
        let k = self.keys(b, weights, keys)?;
        let v = self.values(b, weights, values)?;
        let k = b.transpose(k, &[0, 2, 1, 3])?;
        let v = b.transpose(v, &[0, 2, 1, 3])?;
        self.attend(b, weights, [q, k, v], None, bias)
    }

    /// The queries that `x` asks, `[batch, tokens, heads, head_size]`.
    pub fn queries(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        self.split(b, weights, &self.query, x)
    }

    /// The keys of `x`, `[batch, tokens, heads, head_size]`, as `kv_append` takes them.
    pub fn keys(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        self.split(b, weights, &self.key, x)
    }

    /// The values of `x`, like [`MultiHead::keys`].
    pub fn values(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        self.split(b, weights, &self.value, x)
    }

    /// Attention of queries to keys and values `[batch, heads, keys, head_size]` (causal where a `position` is
    /// given), through the output layer: `[batch, tokens, hidden]`.
    pub fn attend(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        qkv: [ValueId; 3],
        position: Option<ValueId>,
        bias: Option<ValueId>,
    ) -> Result<ValueId, ModelError> {
        let out = b.attention(qkv, self.scale, position, bias)?;
        let width = self.heads * self.head_size;
        let mut shape = b.shape(out)[..2].to_vec();
        shape.push(Dim::from(width));
        let out = b.reshape(out, shape)?;
        Linear {
            name: &self.output,
            inputs: width,
            outputs: self.hidden,
        }
        .apply(b, weights, out)
    }

    fn split(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        name: &str,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let linear = Linear {
            name,
            inputs: self.hidden,
            outputs: self.heads * self.head_size,
        };
        let y = linear.apply(b, weights, x)?;
        let mut shape = b.shape(y)[..2].to_vec();
        shape.extend([Dim::from(self.heads), Dim::from(self.head_size)]);
        Ok(b.reshape(y, shape)?)
    }
}
