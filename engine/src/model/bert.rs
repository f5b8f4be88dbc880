//! BERT (Devlin et al. 2018): a bidirectional encoder with learned positions and post-layer norms; and what its
//! family shares, as a tower that other models may have too.

use super::block::{
    Activation, EncoderLayer, FeedForward, Linear, MultiHead, Norm, NormOrder, Residual, mask_bias,
};
use super::text_head::{self, Encoded};
use super::{BuiltModel, Config, ConfigError, Encoder, ModelError, ModelKind, Weights};
use crate::format::Metadata;
use crate::graph::op::{Compare, Unary};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::{DataType, Tensor};

/// An encoder of the family: its sizes, and what differs from one member to another.
pub(super) struct Tower {
    pub(super) vocabulary: usize,
    pub(super) hidden: usize,
    pub(super) layers: usize,
    pub(super) heads: usize,
    pub(super) feed_forward: usize,
    /// Rows of the table of positions.
    pub(super) positions: usize,
    pub(super) first: FirstPosition,
    /// Kinds of segments; `None` where a token's segment makes no difference.
    pub(super) segments: Option<usize>,
    pub(super) epsilon: f32,
    pub(super) activation: Activation,
    pub(super) names: &'static Names,
}

/// Where positions begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FirstPosition {
    Zero,
    /// Tokens that are not this one, the padding, are counted from its id on (RoBERTa).
    AfterPadding(u32),
}

/// What the tower reads, i32 `[batch, tokens]` each; without `segments` all tokens are of the first.
#[derive(Clone, Copy)]
pub(super) struct TowerInputs {
    pub(super) ids: ValueId,
    pub(super) mask: ValueId,
    pub(super) segments: Option<ValueId>,
}

/// What a checkpoint calls the tensors; `{}` stands for the layer's number.
pub(super) struct Names {
    pub(super) words: &'static str,
    pub(super) positions: &'static str,
    pub(super) segments: &'static str,
    pub(super) embedding_norm: &'static str,
    pub(super) query: &'static str,
    pub(super) key: &'static str,
    pub(super) value: &'static str,
    pub(super) attention_output: &'static str,
    pub(super) attention_norm: &'static str,
    pub(super) up: &'static str,
    pub(super) down: &'static str,
    pub(super) output_norm: &'static str,
    pub(super) pooler: &'static str,
}

pub(super) const HUGGING_FACE: Names = Names {
    words: "embeddings.word_embeddings.weight",
    positions: "embeddings.position_embeddings.weight",
    segments: "embeddings.token_type_embeddings.weight",
    embedding_norm: "embeddings.LayerNorm",
    query: "encoder.layer.{}.attention.self.query",
    key: "encoder.layer.{}.attention.self.key",
    value: "encoder.layer.{}.attention.self.value",
    attention_output: "encoder.layer.{}.attention.output.dense",
    attention_norm: "encoder.layer.{}.attention.output.LayerNorm",
    up: "encoder.layer.{}.intermediate.dense",
    down: "encoder.layer.{}.output.dense",
    output_norm: "encoder.layer.{}.output.LayerNorm",
    pooler: "pooler.dense",
};

const GGUF: Names = Names {
    words: "token_embd.weight",
    positions: "position_embd.weight",
    segments: "token_types.weight",
    embedding_norm: "token_embd_norm",
    query: "blk.{}.attn_q",
    key: "blk.{}.attn_k",
    value: "blk.{}.attn_v",
    attention_output: "blk.{}.attn_output",
    attention_norm: "blk.{}.attn_output_norm",
    up: "blk.{}.ffn_up",
    down: "blk.{}.ffn_down",
    output_norm: "blk.{}.layer_output_norm",
    pooler: "pooler.dense",
};

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let tower = Tower::from_config(config, 2, FirstPosition::Zero)?;
    tower.build("bert", weights, Some(config))
}

pub(super) fn from_gguf(
    metadata: &Metadata,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let size = |key: &str| -> Result<usize, ConfigError> {
        let value = metadata.usize(key)?;
        if value == 0 || value > 1 << 31 {
            return Err(ConfigError::Value {
                key: key.into(),
                got: value.to_string(),
                wanted: "a size from 1 to 2^31",
            });
        }
        Ok(value)
    };
    let tower = Tower {
        vocabulary: weights.rows(GGUF.words).unwrap_or(0),
        hidden: size("bert.embedding_length")?,
        layers: size("bert.block_count")?,
        heads: size("bert.attention.head_count")?,
        feed_forward: size("bert.feed_forward_length")?,
        positions: size("bert.context_length")?,
        first: FirstPosition::Zero,
        segments: Some(weights.rows(GGUF.segments).unwrap_or(2)),
        epsilon: metadata
            .f32("bert.attention.layer_norm_epsilon")
            .unwrap_or(1e-12),
        activation: Activation::Gelu,
        names: &GGUF,
    };
    tower.build("bert", weights, None)
}

impl Tower {
    /// From the fields that BERT's and RoBERTa's configs share. `segments` is how many there are where the
    /// config does not say.
    pub(super) fn from_config(
        config: &Config,
        segments: usize,
        first: FirstPosition,
    ) -> Result<Tower, ModelError> {
        if let Some(kind) = config.get("position_embedding_type")
            && kind.as_str() != Some("absolute")
        {
            return Err(super::config::wrong("position_embedding_type", kind, "absolute").into());
        }
        let activation = config.str("hidden_act").unwrap_or("gelu");
        Ok(Tower {
            vocabulary: config.size("vocab_size")?,
            hidden: config.size("hidden_size")?,
            layers: config.size("num_hidden_layers")?,
            heads: config.size("num_attention_heads")?,
            feed_forward: config.size("intermediate_size")?,
            positions: config.size("max_position_embeddings")?,
            first,
            segments: Some(config.size_or("type_vocab_size", segments)?),
            epsilon: config.f32_or("layer_norm_eps", 1e-12)?,
            activation: Activation::named("hidden_act", activation)?,
            names: &HUGGING_FACE,
        })
    }

    /// Most tokens of a text.
    pub(super) fn max_tokens(&self) -> usize {
        match self.first {
            FirstPosition::Zero => self.positions,
            FirstPosition::AfterPadding(padding) => {
                self.positions.saturating_sub(padding as usize + 1)
            }
        }
    }

    /// The tower as a model of its own, whose tensors may be under `{architecture}.`; with the head that the checkpoint
    /// has, if a `config` tells its labels.
    pub(super) fn build(
        &self,
        architecture: &'static str,
        checkpoint: &Weights<'_>,
        config: Option<&Config>,
    ) -> Result<BuiltModel, ModelError> {
        let prefix = format!("{architecture}.");
        let weights = &checkpoint.with_optional_prefix(&prefix, self.names.words);
        let mut b = GraphBuilder::new();
        let shape = vec![Dim::symbol("batch"), Dim::symbol("tokens")];
        let ids = b.input("input_ids", DataType::I32, shape.clone())?;
        let mask = b.input("attention_mask", DataType::I32, shape.clone())?;
        // Every encoder takes them, though not every one looks at them.
        let segments = b.input("token_type_ids", DataType::I32, shape)?;
        let inputs = TowerInputs {
            ids,
            mask,
            segments: Some(segments),
        };
        let x = self.apply(&mut b, weights, inputs)?;
        b.output("last_hidden_state", x)?;
        let mut encoded = Encoded {
            states: x,
            pooled: None,
        };
        if weights.contains(&format!("{}.weight", self.names.pooler)) {
            let pooled = self.pool(&mut b, weights, x)?;
            b.output("pooler_output", pooled)?;
            encoded.pooled = Some(pooled);
        }
        let head = match config {
            Some(config) => text_head::add(&mut b, self, config, (checkpoint, weights), &encoded)?,
            None => None,
        };
        Ok(BuiltModel {
            architecture,
            graph: b.finish(),
            kind: ModelKind::Encoder(Encoder {
                hidden: self.hidden,
                max_tokens: self.max_tokens(),
                head,
            }),
        })
    }

    /// The last hidden state, `[batch, tokens, hidden]`.
    pub(super) fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        inputs: TowerInputs,
    ) -> Result<ValueId, ModelError> {
        if self.heads == 0 || !self.hidden.is_multiple_of(self.heads) {
            return Err(ConfigError::Value {
                key: "num_attention_heads".into(),
                got: self.heads.to_string(),
                wanted: "a divisor of hidden_size",
            }
            .into());
        }
        let mut x = self.embed(b, weights, inputs)?;
        let bias = mask_bias(b, inputs.mask)?;
        for number in 0..self.layers {
            x = self.layer(number).apply(b, weights, x, Some(bias))?;
        }
        Ok(x)
    }

    /// `tanh(dense(first token))`, `[batch, hidden]`.
    pub(super) fn pool(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let first = b.slice_axis(x, 1, Dim::from(0), Dim::from(1))?;
        let shape = vec![b.shape(x)[0].clone(), Dim::from(self.hidden)];
        let first = b.reshape(first, shape)?;
        let dense = Linear {
            name: self.names.pooler,
            inputs: self.hidden,
            outputs: self.hidden,
        }
        .apply(b, weights, first)?;
        Ok(b.unary(Unary::Tanh, dense)?)
    }

    /// The sum of word, position and segment embeddings, normalized.
    fn embed(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        inputs: TowerInputs,
    ) -> Result<ValueId, ModelError> {
        let (names, hidden) = (self.names, self.hidden);
        let words = weights.matrix(b, names.words, self.vocabulary, hidden)?;
        let mut sum = b.embedding(words, inputs.ids)?;
        if let Some(segments) = self.segments {
            let table = weights.matrix(b, names.segments, segments, hidden)?;
            let segments = match inputs.segments {
                Some(segments) => segments,
                None => b.constant(Tensor::from_i32(&[1], &[0])?),
            };
            let segments = b.embedding(table, segments)?;
            sum = b.add_values(sum, segments)?;
        }
        let table = weights.matrix(b, names.positions, self.positions, hidden)?;
        let positions = match self.first {
            FirstPosition::Zero => {
                let tokens = b.shape(inputs.ids)[1].clone();
                let table = b.cast(table, DataType::F32)?;
                b.slice_axis(table, 0, Dim::from(0), tokens)?
            }
            FirstPosition::AfterPadding(padding) => {
                let rows = positions_after(b, inputs.ids, padding)?;
                b.embedding(table, rows)?
            }
        };
        let sum = b.add_values(sum, positions)?;
        Norm::layer(hidden, self.epsilon).apply(b, weights, names.embedding_norm, sum)
    }

    /// Layer number `number` with its names.
    fn layer(&self, number: usize) -> EncoderLayer {
        let names = self.names;
        let name = |pattern: &str| pattern.replace("{}", &number.to_string());
        let head_size = self.hidden / self.heads;
        EncoderLayer {
            residual: Residual {
                order: NormOrder::After,
                norm: Norm::layer(self.hidden, self.epsilon),
            },
            attention: MultiHead {
                query: name(names.query),
                key: name(names.key),
                value: name(names.value),
                output: name(names.attention_output),
                hidden: self.hidden,
                heads: self.heads,
                head_size,
                scale: MultiHead::usual_scale(head_size),
            },
            attention_norm: name(names.attention_norm),
            feed_forward: FeedForward {
                gate: None,
                up: name(names.up),
                down: name(names.down),
                hidden: self.hidden,
                inner: self.feed_forward,
                activation: self.activation,
            },
            feed_forward_norm: name(names.output_norm),
        }
    }
}

/// The position of each token that is not `padding`, counted from `padding + 1`; padding stands at `padding`.
fn positions_after(
    b: &mut GraphBuilder,
    ids: ValueId,
    padding: u32,
) -> Result<ValueId, ModelError> {
    let padding = padding as i32;
    let token = b.constant(Tensor::from_i32(&[], &[padding])?);
    let real = b.compare(Compare::NotEqual, ids, token)?;
    // Counted in f32, which every back end sums; no text comes near to what that cannot hold.
    let real = b.cast(real, DataType::F32)?;
    let count = b.cumulative_sum(real, 1)?;
    let count = b.mul(count, real)?;
    let first = b.number(padding as f32)?;
    let positions = b.add_values(count, first)?;
    Ok(b.cast(positions, DataType::I32)?)
}
