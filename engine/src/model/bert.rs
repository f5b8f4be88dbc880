//! BERT (Devlin et al. 2018): a bidirectional encoder with learned positions and post-layer norms.

use super::block::{
    Activation, EncoderLayer, FeedForward, Linear, MultiHead, Norm, NormOrder, Residual, mask_bias,
};
use super::{BuiltModel, Config, ConfigError, Encoder, ModelError, ModelKind, Weights};
use crate::format::Metadata;
use crate::graph::op::Unary;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// Sizes of a BERT.
struct BertConfig {
    vocabulary: usize,
    hidden: usize,
    layers: usize,
    heads: usize,
    feed_forward: usize,
    positions: usize,
    segments: usize,
    epsilon: f32,
    activation: Activation,
}

/// What a checkpoint calls the tensors; `{}` stands for the layer's number.
struct Names {
    words: &'static str,
    positions: &'static str,
    segments: &'static str,
    embedding_norm: &'static str,
    query: &'static str,
    key: &'static str,
    value: &'static str,
    attention_output: &'static str,
    attention_norm: &'static str,
    up: &'static str,
    down: &'static str,
    output_norm: &'static str,
    pooler: &'static str,
}

const HUGGING_FACE: Names = Names {
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
    if let Some(kind) = config.get("position_embedding_type")
        && kind.as_str() != Some("absolute")
    {
        return Err(super::config::wrong("position_embedding_type", kind, "absolute").into());
    }
    let bert = BertConfig {
        vocabulary: config.size("vocab_size")?,
        hidden: config.size("hidden_size")?,
        layers: config.size("num_hidden_layers")?,
        heads: config.size("num_attention_heads")?,
        feed_forward: config.size("intermediate_size")?,
        positions: config.size("max_position_embeddings")?,
        segments: config.size_or("type_vocab_size", 2)?,
        epsilon: config.f32_or("layer_norm_eps", 1e-12)?,
        activation: Activation::named("hidden_act", config.str("hidden_act").unwrap_or("gelu"))?,
    };
    let weights = weights.with_optional_prefix("bert.", HUGGING_FACE.words);
    build(&bert, &HUGGING_FACE, &weights)
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
    let bert = BertConfig {
        vocabulary: weights.rows(GGUF.words).unwrap_or(0),
        hidden: size("bert.embedding_length")?,
        layers: size("bert.block_count")?,
        heads: size("bert.attention.head_count")?,
        feed_forward: size("bert.feed_forward_length")?,
        positions: size("bert.context_length")?,
        segments: weights.rows(GGUF.segments).unwrap_or(2),
        epsilon: metadata
            .f32("bert.attention.layer_norm_epsilon")
            .unwrap_or(1e-12),
        activation: Activation::Gelu,
    };
    build(&bert, &GGUF, weights)
}

fn build(
    config: &BertConfig,
    names: &Names,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    if config.heads == 0 || !config.hidden.is_multiple_of(config.heads) {
        return Err(ConfigError::Value {
            key: "num_attention_heads".into(),
            got: config.heads.to_string(),
            wanted: "a divisor of hidden_size",
        }
        .into());
    }
    let mut b = GraphBuilder::new();
    let shape = vec![Dim::symbol("batch"), Dim::symbol("tokens")];
    let ids = b.input("input_ids", DataType::I32, shape.clone())?;
    let mask = b.input("attention_mask", DataType::I32, shape.clone())?;
    let segments = b.input("token_type_ids", DataType::I32, shape)?;

    let mut x = embed(&mut b, config, names, weights, ids, segments)?;
    let bias = mask_bias(&mut b, mask)?;
    for number in 0..config.layers {
        x = layer(config, names, number).apply(&mut b, weights, x, Some(bias))?;
    }
    b.output("last_hidden_state", x)?;
    if weights.contains(&format!("{}.weight", names.pooler)) {
        let pooled = pool(&mut b, config, names, weights, x)?;
        b.output("pooler_output", pooled)?;
    }
    Ok(BuiltModel {
        architecture: "bert",
        graph: b.finish(),
        kind: ModelKind::Encoder(Encoder {
            hidden: config.hidden,
            max_tokens: config.positions,
        }),
    })
}

/// The sum of word, position and segment embeddings, normalized.
fn embed(
    b: &mut GraphBuilder,
    config: &BertConfig,
    names: &Names,
    weights: &Weights<'_>,
    ids: ValueId,
    segments: ValueId,
) -> Result<ValueId, ModelError> {
    let words = weights.matrix(b, names.words, config.vocabulary, config.hidden)?;
    let words = b.embedding(words, ids)?;
    let table = weights.matrix(b, names.segments, config.segments, config.hidden)?;
    let segments = b.embedding(table, segments)?;
    let table = weights.matrix(b, names.positions, config.positions, config.hidden)?;
    let table = b.cast(table, DataType::F32)?;
    let positions = b.slice_axis(table, 0, Dim::from(0), Dim::symbol("tokens"))?;
    let sum = b.add_values(words, segments)?;
    let sum = b.add_values(sum, positions)?;
    Norm::layer(config.hidden, config.epsilon).apply(b, weights, names.embedding_norm, sum)
}

/// `tanh(dense(first token))`
fn pool(
    b: &mut GraphBuilder,
    config: &BertConfig,
    names: &Names,
    weights: &Weights<'_>,
    x: ValueId,
) -> Result<ValueId, ModelError> {
    let first = b.slice_axis(x, 1, Dim::from(0), Dim::from(1))?;
    let first = b.reshape(first, vec![Dim::symbol("batch"), Dim::from(config.hidden)])?;
    let dense = Linear {
        name: names.pooler,
        inputs: config.hidden,
        outputs: config.hidden,
    }
    .apply(b, weights, first)?;
    Ok(b.unary(Unary::Tanh, dense)?)
}

/// Layer number `number` with its names.
fn layer(config: &BertConfig, names: &Names, number: usize) -> EncoderLayer {
    let name = |pattern: &str| pattern.replace("{}", &number.to_string());
    let head_size = config.hidden / config.heads;
    EncoderLayer {
        residual: Residual {
            order: NormOrder::After,
            norm: Norm::layer(config.hidden, config.epsilon),
        },
        attention: MultiHead {
            query: name(names.query),
            key: name(names.key),
            value: name(names.value),
            output: name(names.attention_output),
            hidden: config.hidden,
            heads: config.heads,
            head_size,
            scale: MultiHead::usual_scale(head_size),
        },
        attention_norm: name(names.attention_norm),
        feed_forward: FeedForward {
            gate: None,
            up: name(names.up),
            down: name(names.down),
            hidden: config.hidden,
            inner: config.feed_forward,
            activation: config.activation,
        },
        feed_forward_norm: name(names.output_norm),
    }
}
