//! DistilBERT (Sanh et al. 2019): BERT with half the layers, no segments and no pooler.

use super::bert::{FirstPosition, Names, Tower};
use super::block::Activation;
use super::{BuiltModel, Config, ModelError, Weights};

const NAMES: Names = Names {
    words: "embeddings.word_embeddings.weight",
    positions: "embeddings.position_embeddings.weight",
    segments: "",
    embedding_norm: "embeddings.LayerNorm",
    query: "transformer.layer.{}.attention.q_lin",
    key: "transformer.layer.{}.attention.k_lin",
    value: "transformer.layer.{}.attention.v_lin",
    attention_output: "transformer.layer.{}.attention.out_lin",
    attention_norm: "transformer.layer.{}.sa_layer_norm",
    up: "transformer.layer.{}.ffn.lin1",
    down: "transformer.layer.{}.ffn.lin2",
    output_norm: "transformer.layer.{}.output_layer_norm",
    pooler: "",
};

/// What the reference implementation has instead of a field.
const EPSILON: f32 = 1e-12;

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
) -> Result<BuiltModel, ModelError> {
    let activation = config.str("activation").unwrap_or("gelu");
    let tower = Tower {
        vocabulary: config.size("vocab_size")?,
        hidden: config.size("dim")?,
        layers: config.size("n_layers")?,
        heads: config.size("n_heads")?,
        feed_forward: config.size("hidden_dim")?,
        positions: config.size("max_position_embeddings")?,
        first: FirstPosition::Zero,
        segments: None,
        epsilon: EPSILON,
        activation: Activation::named("activation", activation)?,
        names: &NAMES,
    };
    tower.build("distilbert", weights, Some(config))
}
