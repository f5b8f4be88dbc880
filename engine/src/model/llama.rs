//! LLaMA (Touvron et al. 2023) and what shares its layers and names, such as SmolLM2.

use super::block::{Activation, Rope, RopeScaling};
use super::config::wrong;
use super::decoder::{self, DecoderConfig};
use super::{BuildOptions, BuiltModel, Config, ConfigError, DEFAULT_CONTEXT, ModelError, Weights};
use crate::format::Metadata;

pub(super) fn from_config(
    config: &Config,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let config = decoder_config(config, options)?;
    decoder::build("llama", &config, &decoder::HUGGING_FACE, weights)
}

pub(super) fn from_gguf(
    metadata: &Metadata,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    // llama.cpp's converter permutes the rows of query and key so that rotary pairs are neighbours.
    let config = decoder_config_gguf(metadata, "llama", true, weights, options)?;
    decoder::build("llama", &config, &decoder::GGUF, weights)
}

/// The fields that LLaMA and Qwen2 configs share.
pub(super) fn decoder_config(
    config: &Config,
    options: &BuildOptions,
) -> Result<DecoderConfig, ModelError> {
    let hidden = config.size("hidden_size")?;
    let heads = config.size("num_attention_heads")?;
    let kv_heads = config.size_or("num_key_value_heads", heads)?;
    if heads % kv_heads != 0 {
        return Err(ConfigError::Value {
            key: "num_key_value_heads".into(),
            got: kv_heads.to_string(),
            wanted: "a divisor of num_attention_heads",
        }
        .into());
    }
    let head_size = config.size_or("head_dim", hidden / heads)?;
    if let Some(window) = config.get("sliding_window")
        && config.bool_or("use_sliding_window", true)?
    {
        return Err(wrong(
            "sliding_window",
            window,
            "null (sliding windows are not supported)",
        )
        .into());
    }
    let parameters = config.object("rope_parameters")?;
    let scaling = match &parameters {
        Some(_) => parameters.clone(),
        None => config.object("rope_scaling")?,
    };
    let theta = match &parameters {
        Some(parameters) => parameters.f32_or("rope_theta", 10000.0)?,
        None => config.f32_or("rope_theta", 10000.0)?,
    };
    Ok(DecoderConfig {
        vocabulary: config.size("vocab_size")?,
        hidden,
        feed_forward: config.size("intermediate_size")?,
        layers: config.size("num_hidden_layers")?,
        heads,
        kv_heads,
        head_size,
        context_length: context(config.size("max_position_embeddings")?, options),
        epsilon: config.f32("rms_norm_eps")?,
        activation: Activation::named("hidden_act", config.str("hidden_act").unwrap_or("silu"))?,
        rope: Rope {
            theta,
            scaling: RopeScaling::from_config(scaling.as_ref())?,
            rotated: rotated("head_dim", head_size)?,
            interleaved: false,
        },
        eos_ids: config.ids("eos_token_id")?,
    })
}

/// The same from GGUF metadata under `architecture.`.
pub(super) fn decoder_config_gguf(
    metadata: &Metadata,
    architecture: &str,
    interleaved: bool,
    weights: &Weights<'_>,
    options: &BuildOptions,
) -> Result<DecoderConfig, ModelError> {
    let key = |name: &str| format!("{architecture}.{name}");
    let size = |name: &str| -> Result<usize, ConfigError> {
        let value = metadata.usize(&key(name))?;
        if value == 0 || value > 1 << 31 {
            return Err(ConfigError::Value {
                key: key(name),
                got: value.to_string(),
                wanted: "a size from 1 to 2^31",
            });
        }
        Ok(value)
    };
    let size_or = |name: &str, default: usize| -> Result<usize, ConfigError> {
        if metadata.contains(&key(name)) {
            size(name)
        } else {
            Ok(default)
        }
    };
    let hidden = size("embedding_length")?;
    let heads = size("attention.head_count")?;
    let kv_heads = size_or("attention.head_count_kv", heads)?;
    if heads % kv_heads != 0 {
        return Err(ConfigError::Value {
            key: key("attention.head_count_kv"),
            got: kv_heads.to_string(),
            wanted: "a divisor of attention.head_count",
        }
        .into());
    }
    let head_size = size_or("attention.key_length", hidden / heads)?;
    rotated(&key("attention.key_length"), head_size)?;
    let rotated = rotated(
        &key("rope.dimension_count"),
        size_or("rope.dimension_count", head_size)?.min(head_size),
    )?;
    let scaling_type = key("rope.scaling.type");
    let scaling = match metadata.str(&scaling_type).unwrap_or("none") {
        "none" | "" => match &options.rope_divisors {
            Some(divisors) => RopeScaling::Divisors(divisors.clone()),
            None => RopeScaling::None,
        },
        "linear" => RopeScaling::Linear {
            factor: metadata
                .f32(&key("rope.scaling.factor"))
                .map_err(ConfigError::from)?,
        },
        other => {
            return Err(ConfigError::Value {
                key: scaling_type,
                got: other.to_owned(),
                wanted: "none or linear",
            }
            .into());
        }
    };
    let vocabulary = match weights.rows("token_embd.weight") {
        Some(rows) => rows,
        None => size("vocab_size")?,
    };
    let eos = metadata.u32("tokenizer.ggml.eos_token_id").ok();
    Ok(DecoderConfig {
        vocabulary,
        hidden,
        feed_forward: size("feed_forward_length")?,
        layers: size("block_count")?,
        heads,
        kv_heads,
        head_size,
        context_length: context(size("context_length")?, options),
        epsilon: metadata
            .f32(&key("attention.layer_norm_rms_epsilon"))
            .map_err(ConfigError::from)?,
        activation: Activation::Silu,
        rope: Rope {
            theta: metadata.f32(&key("rope.freq_base")).unwrap_or(10000.0),
            scaling,
            rotated,
            interleaved,
        },
        eos_ids: eos.into_iter().collect(),
    })
}

fn context(limit: usize, options: &BuildOptions) -> usize {
    limit.min(options.context_length.unwrap_or(DEFAULT_CONTEXT))
}

/// The largest head that is believed; known models have up to 512. The rotary tables grow with it before
/// any tensor has confirmed it.
const MAX_HEAD_SIZE: usize = 4096;

/// How many elements of a head are rotated, if the number can be true.
fn rotated(key: &str, size: usize) -> Result<usize, ConfigError> {
    if size.is_multiple_of(2) && (1..=MAX_HEAD_SIZE).contains(&size) {
        Ok(size)
    } else {
        Err(ConfigError::Value {
            key: key.into(),
            got: size.to_string(),
            wanted: "an even number up to 4096",
        })
    }
}
