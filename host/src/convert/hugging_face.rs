//! A GGUF file of LLaMA or Qwen2 as Hugging Face has such models: names of tensors, order of rows, `config.json`.
//!
//! llama.cpp's converter permutes the rows of LLaMA's query and key so that rotary pairs are neighbours: row `2j + p` of a
//! head in GGUF is row `p · half + j` of it here. The tokenizer is not converted.

use fewbit_engine::format::{Checkpoint, TensorEntry};
use serde_json::{Map, Value, json};

use super::safetensors::Tensor;

/// A checkpoint under Hugging Face's names.
pub(super) struct HuggingFace<'a> {
    pub(super) tensors: Vec<Tensor<'a>>,
    pub(super) config: Value,
}

/// Parts of a layer: GGUF's name and Hugging Face's.
const LAYER: [(&str, &str); 9] = [
    ("attn_norm", "input_layernorm"),
    ("attn_q", "self_attn.q_proj"),
    ("attn_k", "self_attn.k_proj"),
    ("attn_v", "self_attn.v_proj"),
    ("attn_output", "self_attn.o_proj"),
    ("ffn_norm", "post_attention_layernorm"),
    ("ffn_gate", "mlp.gate_proj"),
    ("ffn_up", "mlp.up_proj"),
    ("ffn_down", "mlp.down_proj"),
];

impl HuggingFace<'_> {
    /// `None` for what is not LLaMA or Qwen2, or has a tensor or a setting that these have no name for.
    pub(super) fn of(checkpoint: &Checkpoint) -> Option<HuggingFace<'_>> {
        let metadata = &checkpoint.metadata;
        let architecture = metadata.str("general.architecture").ok()?;
        let class = match architecture {
            "llama" => "LlamaForCausalLM",
            "qwen2" => "Qwen2ForCausalLM",
            _ => return None,
        };
        let key = |name: &str| format!("{architecture}.{name}");
        let size = |name: &str| metadata.usize(&key(name)).ok();
        let heads = size("attention.head_count")?;
        let kv_heads = size("attention.head_count_kv").unwrap_or(heads);
        let hidden = size("embedding_length")?;
        let head_size = size("attention.key_length").unwrap_or(hidden / heads.max(1));
        let rotated = size("rope.dimension_count").unwrap_or(head_size);
        let scaling = metadata.str(&key("rope.scaling.type")).unwrap_or("none");
        if rotated != head_size || !matches!(scaling, "none" | "" | "linear") || heads == 0 {
            return None;
        }
        let mut tensors = Vec::new();
        for entry in checkpoint.tensors.values() {
            let (name, part) = named(&entry.name)?;
            let heads = match (architecture, part) {
                ("llama", "attn_q") => Some(heads),
                ("llama", "attn_k") => Some(kv_heads),
                _ => None,
            };
            if heads.is_some_and(|heads| !permutes(entry, heads)) {
                return None;
            }
            tensors.push(Tensor { name, entry, heads });
        }
        let embedding = checkpoint.find("token_embd.weight")?;
        let mut config = Map::new();
        let mut set = |key: &str, value: Value| config.insert(key.to_owned(), value);
        set("architectures", json!([class]));
        set("model_type", json!(architecture));
        set("vocab_size", json!(embedding.shape.first()));
        set("hidden_size", json!(hidden));
        set("intermediate_size", json!(size("feed_forward_length")?));
        set("num_hidden_layers", json!(size("block_count")?));
        set("num_attention_heads", json!(heads));
        set("num_key_value_heads", json!(kv_heads));
        set("head_dim", json!(head_size));
        set("hidden_act", json!("silu"));
        set("max_position_embeddings", json!(size("context_length")?));
        set(
            "rms_norm_eps",
            short(
                metadata
                    .f32(&key("attention.layer_norm_rms_epsilon"))
                    .ok()?,
            ),
        );
        set(
            "rope_theta",
            short(metadata.f32(&key("rope.freq_base")).unwrap_or(10_000.0)),
        );
        if scaling == "linear" {
            let factor = metadata.f32(&key("rope.scaling.factor")).ok()?;
            set(
                "rope_scaling",
                json!({"type": "linear", "factor": short(factor)}),
            );
        }
        set(
            "tie_word_embeddings",
            json!(checkpoint.find("output.weight").is_none()),
        );
        for (name, key) in [("bos_token_id", "bos"), ("eos_token_id", "eos")] {
            if let Ok(id) = metadata.u32(&format!("tokenizer.ggml.{key}_token_id")) {
                set(name, json!(id));
            }
        }
        Some(HuggingFace {
            tensors,
            config: Value::Object(config),
        })
    }
}

/// A number as it is written in decimal, not as the nearest of 32 bits is in 64.
fn short(value: f32) -> Value {
    value
        .to_string()
        .parse::<f64>()
        .map_or(Value::Null, |value| json!(value))
}

/// Hugging Face's name of a tensor, and GGUF's of the part of a layer that it is of.
fn named(name: &str) -> Option<(String, &str)> {
    match name {
        "token_embd.weight" => return Some(("model.embed_tokens.weight".into(), "")),
        "output_norm.weight" => return Some(("model.norm.weight".into(), "")),
        "output.weight" => return Some(("lm_head.weight".into(), "")),
        _ => {}
    }
    let mut parts = name.strip_prefix("blk.")?.split('.');
    let (layer, part, kind) = (parts.next()?, parts.next()?, parts.next()?);
    let plain = layer.bytes().all(|byte| byte.is_ascii_digit()) && !layer.is_empty();
    if !plain || parts.next().is_some() || !matches!(kind, "weight" | "bias") {
        return None;
    }
    let (_, own) = LAYER.iter().find(|(known, _)| *known == part)?;
    Some((format!("model.layers.{layer}.{own}.{kind}"), part))
}

/// Whether a tensor's rows are so many heads of pairs.
fn permutes(entry: &TensorEntry, heads: usize) -> bool {
    let rows = entry.shape.first().copied().unwrap_or(0);
    heads > 0 && rows.is_multiple_of(2 * heads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_hugging_faces() {
        let of = |name: &str| named(name).map(|(name, _)| name);
        let some = of("blk.12.attn_q.bias");
        assert_eq!(
            some.as_deref(),
            Some("model.layers.12.self_attn.q_proj.bias")
        );
        for none in [
            "blk..attn_q.weight",
            "blk.1.attn_q",
            "blk.x.attn_q.weight",
            "rope_freqs.weight",
            "blk.1.ssm_in.weight",
        ] {
            assert_eq!(of(none), None, "{none}");
        }
        assert_eq!(short(1e-5), json!(0.00001));
    }
}
