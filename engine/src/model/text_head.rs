//! What a checkpoint may have on top of BERT, RoBERTa or DistilBERT: a classifier of texts or of their tokens, or the
//! head that says which token a masked one was. The tensors' names tell which it is.

use super::bert::Tower;
use super::block::{Activation, Linear, Norm, token};
use super::image_config::label_count;
use super::{Config, ModelError, TextHead, Weights};
use crate::graph::op::Unary;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::DataType;

/// A layer before the last: `activation(dense(x))`, and a norm in heads for masked tokens.
struct Transform {
    dense: &'static str,
    activation: Activation,
    norm: &'static str,
}

/// What an encoder has given, of which a head makes its output.
pub(super) struct Encoded {
    /// `[batch, tokens, hidden]`
    pub(super) states: ValueId,
    /// BERT's `[batch, hidden]`, where the checkpoint has the weights for it.
    pub(super) pooled: Option<ValueId>,
}

/// Adds the output `logits` of the head that the checkpoint has, if it has one: `[batch, labels]`, `[batch, tokens,
/// labels]`, or `[rows, vocabulary]` for the positions of the input `rows [rows]` among all `batch · tokens`.
///
/// `checkpoint` is without a tower's prefix, `weights` within it.
pub(super) fn add(
    b: &mut GraphBuilder,
    tower: &Tower,
    config: &Config,
    (checkpoint, weights): (&Weights<'_>, &Weights<'_>),
    encoded: &Encoded,
) -> Result<Option<TextHead>, ModelError> {
    let hidden = tower.hidden;
    let x = encoded.states;
    let dense = |b: &mut GraphBuilder, name, x, outputs| {
        let inputs = hidden;
        Linear {
            name,
            inputs,
            outputs,
        }
        .apply(b, checkpoint, x)
    };
    // The first token's state through a layer, as RoBERTa and DistilBERT have instead of a pooler.
    let first = |b: &mut GraphBuilder, name, activation| -> Result<ValueId, ModelError> {
        let first = token(b, x, 0)?;
        let first = dense(b, name, first, hidden)?;
        Ok(b.unary(activation, first)?)
    };
    let (head, logits) = if checkpoint.contains("classifier.out_proj.weight") {
        let x = first(b, "classifier.dense", Unary::Tanh)?;
        let labels = label_count(config)?;
        (TextHead::Text, dense(b, "classifier.out_proj", x, labels)?)
    } else if checkpoint.contains("classifier.weight") {
        let x = match encoded.pooled {
            // Old checkpoints that classify tokens have a pooler, which they do not use.
            Some(_) if classifies_tokens(config) => None,
            Some(pooled) => Some(pooled),
            None if checkpoint.contains("pre_classifier.weight") => {
                Some(first(b, "pre_classifier", Unary::Relu)?)
            }
            None => None,
        };
        let labels = label_count(config)?;
        // Of the three, only classifiers of tokens read the states as they are.
        match x {
            Some(x) => (TextHead::Text, dense(b, "classifier", x, labels)?),
            None => (
                TextHead::Tokens,
                dense(b, "classifier", encoded.states, labels)?,
            ),
        }
    } else if let Some(transform) = transform(tower, checkpoint) {
        let rows = b.input("rows", DataType::I32, vec![Dim::symbol("rows")])?;
        let shape = b.shape(x).to_vec();
        let all = shape[0].clone() * shape[1].clone();
        let flat = b.reshape(x, vec![all, Dim::from(hidden)])?;
        let x = b.gather(flat, rows, 0)?;
        let x = dense(b, transform.dense, x, hidden)?;
        let x = transform.activation.apply(b, x)?;
        let x = Norm::layer(hidden, tower.epsilon).apply(b, checkpoint, transform.norm, x)?;
        (
            TextHead::Masked,
            vocabulary(b, tower, (checkpoint, weights), x)?,
        )
    } else {
        return Ok(None);
    };
    b.output("logits", logits)?;
    Ok(Some(head))
}

fn classifies_tokens(config: &Config) -> bool {
    let classes = config.get("architectures").and_then(|list| list.as_array());
    let mut names = classes
        .into_iter()
        .flatten()
        .filter_map(|name| name.as_str());
    names.any(|name| name.ends_with("ForTokenClassification"))
}

/// The layer before a masked token's logits, by the names that BERT, RoBERTa and DistilBERT give it.
fn transform(tower: &Tower, checkpoint: &Weights<'_>) -> Option<Transform> {
    [
        Transform {
            dense: "cls.predictions.transform.dense",
            activation: tower.activation,
            norm: "cls.predictions.transform.LayerNorm",
        },
        Transform {
            dense: "lm_head.dense",
            activation: Activation::Gelu,
            norm: "lm_head.layer_norm",
        },
        Transform {
            dense: "vocab_transform",
            activation: tower.activation,
            norm: "vocab_layer_norm",
        },
    ]
    .into_iter()
    .find(|known| checkpoint.contains(&format!("{}.weight", known.dense)))
}

/// `[rows, hidden]` → `[rows, vocabulary]`, by the table of words unless the head has a matrix of its own.
fn vocabulary(
    b: &mut GraphBuilder,
    tower: &Tower,
    (checkpoint, weights): (&Weights<'_>, &Weights<'_>),
    x: ValueId,
) -> Result<ValueId, ModelError> {
    let (rows, hidden) = (tower.vocabulary, tower.hidden);
    let found = |names: &[&'static str]| {
        let mut names = names.iter().copied();
        names.find(|name| checkpoint.contains(name))
    };
    let own = [
        "cls.predictions.decoder.weight",
        "lm_head.decoder.weight",
        "vocab_projector.weight",
    ];
    let bias = [
        "cls.predictions.bias",
        "cls.predictions.decoder.bias",
        "lm_head.bias",
        "lm_head.decoder.bias",
        "vocab_projector.bias",
    ];
    let matrix = match found(&own) {
        Some(own) => checkpoint.matrix(b, own, rows, hidden)?,
        None => weights.matrix(b, tower.names.words, rows, hidden)?,
    };
    let bias = found(&bias).map(|name| checkpoint.vector(b, name, rows));
    Ok(b.block_matmul(x, matrix, bias.transpose()?)?)
}
