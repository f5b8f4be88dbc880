//! A model of text that runs once: the graph of an [`Encoder`].

use fewbit_engine::graph::{Dim, Graph, GraphError, Source};
use fewbit_engine::model::{Config, Encoder, ModelKind, TextHead};
use fewbit_engine::tensor::DataType;
use serde_json::Value;

use super::integers::Copy;
use crate::import::{Filling, ImportOptions, Imported, OnnxFile};

/// What such a model takes.
const INPUTS: [&str; 3] = ["input_ids", "attention_mask", "token_type_ids"];

/// What it gives a token, by the names that exporters have for it.
const HIDDEN: [&str; 2] = ["last_hidden_state", "token_embeddings"];

/// Most tokens where neither a config nor a table of positions tells it.
const MOST_TOKENS: usize = 512;

/// How the file is imported as a model of text, if its inputs and outputs are those of one.
pub(super) fn options(file: &OnnxFile, options: &ImportOptions) -> Option<ImportOptions> {
    let interface = file.interface();
    let is_known = |name: &String| INPUTS.contains(&name.as_str());
    let gives = |name: &String| name == "logits" || HIDDEN.contains(&name.as_str());
    if !interface.inputs.iter().all(is_known)
        || !interface.inputs.iter().any(|name| name == INPUTS[0])
        || !interface.outputs.iter().any(gives)
    {
        return None;
    }
    let mut options = options.clone();
    for name in &interface.inputs {
        let symbols = file.symbols(name)?;
        let [Some(batch), Some(tokens)] = symbols.as_slice() else {
            return None;
        };
        options.names.insert(batch.clone(), "batch".to_owned());
        options.names.insert(tokens.clone(), "tokens".to_owned());
    }
    options.filling = vec![Filling::new(INPUTS[1], ["batch", "tokens"])];
    Some(options)
}

/// The graph with the inputs and outputs of an encoder, and what it is; `None` where its shapes are not those of one.
pub(super) fn open(
    imported: &Imported,
    config: Option<&Config>,
) -> Result<Option<(Graph, ModelKind)>, GraphError> {
    let graph = &imported.graph;
    let mut copy = Copy::new(graph);
    let shape = || vec![Dim::symbol("batch"), Dim::symbol("tokens")];
    for name in INPUTS {
        let input = copy.builder.input(name, DataType::I32, shape())?;
        copy.give(name, input)?;
    }
    let masked = predicts_masked(config);
    let (mut head, mut hidden) = (None, 0);
    for (name, id) in copy.finish()? {
        let made = copy.builder.shape(id).to_vec();
        let last = made.last().and_then(Dim::fixed);
        let Some(last) = last else {
            return Ok(None);
        };
        if name == "logits" {
            head = Some(match made.len() {
                2 => TextHead::Text,
                3 if masked => {
                    let rows = vec![Dim::symbol("rows")];
                    let rows = copy.builder.input("rows", DataType::I32, rows)?;
                    let flat = vec![made[0].clone() * made[1].clone(), Dim::from(last)];
                    let flat = copy.builder.reshape(id, flat)?;
                    let logits = copy.builder.gather(flat, rows, 0)?;
                    copy.builder.output("logits", logits)?;
                    head = Some(TextHead::Masked);
                    continue;
                }
                3 => TextHead::Tokens,
                _ => return Ok(None),
            });
            copy.builder.output("logits", id)?;
        } else if HIDDEN.contains(&name.as_str()) && made.len() == 3 && hidden == 0 {
            hidden = last;
            copy.builder.output(HIDDEN[0], id)?;
        } else {
            copy.builder.output(&name, id)?;
        }
    }
    let kind = ModelKind::Encoder(Encoder {
        hidden,
        max_tokens: most_tokens(graph, config),
        head,
    });
    Ok(Some((copy.builder.finish(), kind)))
}

fn predicts_masked(config: Option<&Config>) -> bool {
    let names = config.and_then(|config| config.get("architectures")?.as_array());
    let masked = |name: &Value| name.as_str().is_some_and(|n| n.ends_with("ForMaskedLM"));
    names.is_some_and(|names| names.iter().any(masked))
}

/// As many as the config says, else as the graph's table of positions has rows.
fn most_tokens(graph: &Graph, config: Option<&Config>) -> usize {
    if let Some(config) = config
        && let Ok(positions) = config.size("max_position_embeddings")
    {
        // RoBERTa's first two positions stand for padding and what is before it.
        let roberta = config
            .str("model_type")
            .is_ok_and(|t| t.contains("roberta"));
        return if roberta {
            positions.saturating_sub(2)
        } else {
            positions
        };
    }
    let tables = graph.values.iter().filter_map(|value| match &value.source {
        Source::Weight(name) if name.contains("position_embeddings") && value.shape.len() == 2 => {
            value.shape[0].fixed()
        }
        _ => None,
    });
    tables.min().unwrap_or(MOST_TOKENS)
}
