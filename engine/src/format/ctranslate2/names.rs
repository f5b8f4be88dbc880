//! What Hugging Face calls the tensors that CTranslate2's WhisperSpec has.

use crate::format::checkpoint::TensorEntry;
use crate::format::error::Fault;

/// The tensors that `entry` is under Hugging Face's names: itself renamed, or several that it holds one below
/// the other. A name that is not known stays.
pub(super) fn hugging_face(entry: TensorEntry) -> Result<Vec<TensorEntry>, Fault> {
    let Some(names) = renamed(&entry.name) else {
        return Ok(vec![entry]);
    };
    let parts = names.len();
    let rows = entry.shape.first().copied().unwrap_or(0);
    if rows % parts != 0 {
        return Err(Fault::Fused { rows, parts });
    }
    let bytes = entry.bytes / parts as u64;
    let split = names.into_iter().enumerate().map(|(part, name)| {
        let mut shape = entry.shape.clone();
        if let Some(first) = shape.first_mut() {
            *first = rows / parts;
        }
        TensorEntry {
            name,
            shape,
            offset: entry.offset + part as u64 * bytes,
            bytes,
            ..entry.clone()
        }
    });
    Ok(split.collect())
}

fn renamed(name: &str) -> Option<Vec<String>> {
    let (half, rest) = name.split_once('/')?;
    if half != "encoder" && half != "decoder" {
        return None;
    }
    let one = |name: &str| Some(vec![format!("model.{half}.{name}")]);
    match rest {
        "embeddings/weight" => return one("embed_tokens.weight"),
        "position_encodings/encodings" => return one("embed_positions.weight"),
        "layer_norm/gamma" => return one("layer_norm.weight"),
        "layer_norm/beta" => return one("layer_norm.bias"),
        "conv1/weight" | "conv1/bias" | "conv2/weight" | "conv2/bias" => {
            return one(&rest.replace('/', "."));
        }
        _ => {}
    }
    let (layer, rest) = rest.strip_prefix("layer_")?.split_once('/')?;
    if layer.is_empty() || !layer.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let (module, kind) = rest.rsplit_once('/')?;
    let kind = match kind {
        "gamma" => "weight",
        "beta" => "bias",
        "weight" | "bias" => kind,
        _ => return None,
    };
    let modules: &[&str] = match module {
        "self_attention/layer_norm" => &["self_attn_layer_norm"],
        "self_attention/linear_0" => &["self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"],
        "self_attention/linear_1" => &["self_attn.out_proj"],
        "attention/layer_norm" => &["encoder_attn_layer_norm"],
        "attention/linear_0" => &["encoder_attn.q_proj"],
        "attention/linear_1" => &["encoder_attn.k_proj", "encoder_attn.v_proj"],
        "attention/linear_2" => &["encoder_attn.out_proj"],
        "ffn/layer_norm" => &["final_layer_norm"],
        "ffn/linear_0" => &["fc1"],
        "ffn/linear_1" => &["fc2"],
        _ => return None,
    };
    let full = |module: &&str| format!("model.{half}.layers.{layer}.{module}.{kind}");
    Some(modules.iter().map(full).collect())
}
