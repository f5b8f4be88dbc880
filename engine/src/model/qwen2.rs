//! Qwen2 (Yang et al. 2024): LLaMA's layers with biases on query, key and value.

use super::decoder;
use super::llama::{decoder_config, decoder_config_gguf};
use super::{BuildOptions, BuiltModel, Config, ModelError, Weights};
use crate::format::Metadata;

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let config = decoder_config(config, options)?;
    decoder::build("qwen2", &config, &decoder::HUGGING_FACE, weights)
}

pub(super) fn from_gguf(
    metadata: &Metadata,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let config = decoder_config_gguf(metadata, "qwen2", false, weights, options)?;
    decoder::build("qwen2", &config, &decoder::GGUF, weights)
}
