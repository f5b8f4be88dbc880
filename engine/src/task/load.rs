//! What a model's files say beside its graph: its tokenizer, how its vectors are pooled, what it is.

use std::collections::BTreeMap;

use super::checkpoint::ModelFiles;
use super::model::LoadError;
use super::pooling::{Pooling, pooling_folder};
use crate::format::{Checkpoint, Metadata};
use crate::input::tokenizer::{Tokenizer, TokenizerConfig};
use crate::model::ModelKind;
use crate::tensor::ElementType;

/// What a model is.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelFacts {
    pub architecture: &'static str,
    /// The element type that most weights have, by name: a block format or a data type.
    pub block_format: String,
    /// Over all weights, scales and offsets counted.
    pub bits_per_weight: f64,
    pub parameters: u64,
    pub weight_bytes: u64,
    /// Most tokens at a time; 0 for a model that takes none.
    pub context_length: usize,
    /// Token ids there are; 0 for a model that predicts none.
    pub vocabulary: usize,
}

pub(super) async fn read_tokenizer(
    files: &ModelFiles,
    gguf: Option<&Metadata>,
) -> Result<Option<Tokenizer>, LoadError> {
    if let Some(json) = files.read("tokenizer.json").await? {
        let tokenizer_config = files.read("tokenizer_config.json").await?;
        let special_tokens_map = files.read("special_tokens_map.json").await?;
        let generation_config = files.read("generation_config.json").await?;
        let template = files.read("chat_template.jinja").await?;
        let template = template
            .as_deref()
            .and_then(|bytes| std::str::from_utf8(bytes).ok());
        let config = TokenizerConfig {
            tokenizer_config: tokenizer_config.as_deref(),
            special_tokens_map: special_tokens_map.as_deref(),
            generation_config: generation_config.as_deref(),
            chat_template: template,
        };
        return Ok(Some(
            Tokenizer::from_tokenizer_json(&json)?.with_config(&config)?,
        ));
    }
    match gguf {
        Some(metadata) if metadata.contains("tokenizer.ggml.model") => {
            Ok(Some(Tokenizer::from_gguf(metadata)?))
        }
        _ => Ok(None),
    }
}

pub(super) fn facts(
    checkpoint: &Checkpoint,
    architecture: &'static str,
    kind: &ModelKind,
) -> ModelFacts {
    let mut weights: BTreeMap<String, u64> = BTreeMap::new();
    let (mut parameters, mut bits) = (0u64, 0.0);
    for entry in checkpoint.tensors.values() {
        let integer =
            matches!(entry.element, ElementType::Plain(data_type) if !data_type.is_float());
        if integer {
            continue;
        }
        let elements = entry.elements() as u64;
        *weights.entry(entry.element.to_string()).or_default() += elements;
        parameters += elements;
        bits += entry.element.bits_per_weight() * elements as f64;
    }
    let most = weights.into_iter().max_by_key(|(_, elements)| *elements);
    let (context_length, vocabulary) = match kind {
        ModelKind::CausalLm(model) => (model.context_length, model.vocabulary),
        ModelKind::EncoderDecoder(model) => {
            (model.decoder.context_length, model.decoder.vocabulary)
        }
        ModelKind::Encoder(model) => (model.max_tokens, 0),
        ModelKind::Feedforward(model) => (model.limit("tokens").unwrap_or(0), 0),
    };
    ModelFacts {
        architecture,
        block_format: most.map_or_else(String::new, |(name, _)| name),
        bits_per_weight: bits / parameters.max(1) as f64,
        parameters,
        weight_bytes: checkpoint.total_bytes(),
        context_length,
        vocabulary,
    }
}

pub(super) async fn read_pooling(
    files: &ModelFiles,
    gguf: Option<&Metadata>,
) -> Result<Pooling, LoadError> {
    if let Some(metadata) = gguf {
        return Ok(Pooling::from_gguf(metadata.u32("bert.pooling_type").ok())?);
    }
    let modules = files.read("modules.json").await?;
    let folder = modules.as_deref().map(pooling_folder).transpose()?;
    let folder = folder.unwrap_or_else(|| "1_Pooling".to_owned());
    let pooling = files.read(&format!("{folder}/config.json")).await?;
    let sentence = files.read("sentence_bert_config.json").await?;
    Ok(Pooling::from_files(
        modules.as_deref(),
        pooling.as_deref(),
        sentence.as_deref(),
    )?)
}
