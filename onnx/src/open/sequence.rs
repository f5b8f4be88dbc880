//! An encoder and a decoder without a cache, as an encoder-decoder.
//!
//! What such a decoder keeps between runs are the tokens themselves and what the encoder made of the source: two states. It
//! computes all tokens anew each time, over the whole capacity, of which causal attention makes what is beyond the tokens count
//! for nothing; so one plan serves until the capacity grows.

use fewbit_engine::graph::{Dim, Graph, GraphBuilder, GraphError, Shape, Source, ValueId};
use fewbit_engine::model::{CausalLm, Config, EncoderDecoder, ModelKind, SourceKind};
use fewbit_engine::task::checkpoint::OpenModel;
use fewbit_engine::tensor::DataType;

use super::integers::Copy;
use super::part::{add_weights, renamed};
use super::special::SpecialTokens;
use super::{OpenError, opened};
use crate::counting::{counted, integers, length, tokens_so_far};
use crate::import::{Filling, ImportOptions, Imported, OnnxFile, rows_first};

/// Most tokens where no config tells it.
const MOST_TOKENS: usize = 512;

/// What the encoder made, in a state.
const ENCODED: &str = "encoded";

/// The decoder's input that tells which of `capacity` tokens there are, where it has one.
const SO_FAR: &str = "tokens so far";

pub(super) async fn open(
    encoder: &OnnxFile,
    decoder: &OnnxFile,
    options: &ImportOptions,
    (config, special): (Option<&Config>, &SpecialTokens),
) -> Result<OpenModel, OpenError> {
    let source = ["batch", "tokens"];
    let filled = |filling: Vec<Filling>| ImportOptions {
        filling,
        ..options.clone()
    };
    let made = import(
        encoder,
        filled(vec![Filling::new("attention_mask", source)]),
        &[("input_ids", &source), ("attention_mask", &source)],
    )
    .await?;
    let from = ["batch", "source"];
    let Imported {
        graph,
        source: mut files,
        ..
    } = import(
        decoder,
        filled(vec![
            Filling::new(SO_FAR, ["batch", "capacity"]),
            Filling::new("encoder_attention_mask", from),
        ]),
        &[
            ("input_ids", &["batch", "capacity"]),
            ("encoder_hidden_states", &from),
            ("encoder_attention_mask", &from),
        ],
    )
    .await?;
    let (encoder_graph, hidden) = encoder_graph(&made.graph)?;
    let (graph, vocabulary) = decoder_graph(&graph, hidden)?;
    let encoder_graph = renamed(encoder_graph, "encoder");
    add_weights(&mut files, made.source, "encoder");
    let most = config.and_then(|config| config.size("n_positions").ok());
    let number = |name: &str| {
        let found = config.and_then(|config| config.size(name).ok());
        found.and_then(|id| u32::try_from(id).ok())
    };
    let most = most.unwrap_or(MOST_TOKENS);
    let kind = ModelKind::EncoderDecoder(EncoderDecoder {
        encoder: encoder_graph,
        decoder: CausalLm {
            vocabulary,
            context_length: most,
            layers: 0,
            eos_ids: number("eos_token_id").or(special.end).into_iter().collect(),
        },
        source: SourceKind::Tokens { max_tokens: most },
        start_id: number("decoder_start_token_id").or(special.start),
    });
    Ok(opened((graph, kind), files, config))
}

/// Imports a file whose inputs are these, with these names of their first dimensions.
async fn import(
    file: &OnnxFile,
    mut options: ImportOptions,
    inputs: &[(&str, &[&str])],
) -> Result<Imported, OpenError> {
    let fault = |reason: String| OpenError::Parts {
        file: file.name().to_owned(),
        reason,
    };
    for name in file.interface().inputs {
        let Some((_, wanted)) = inputs.iter().find(|(known, _)| *known == name) else {
            return Err(fault(format!("the input {name} is not one of {inputs:?}")));
        };
        let symbols = file.symbols(&name).unwrap_or_default();
        for (symbol, name) in symbols.into_iter().flatten().zip(*wanted) {
            options.names.insert(symbol, (*name).to_owned());
        }
    }
    Ok(file.import(&options).await?)
}

fn named(names: &[&str]) -> Shape {
    names.iter().map(|name| Dim::symbol(name)).collect()
}

fn wrong(what: &str, shape: &[Dim]) -> GraphError {
    GraphError::Operand {
        op: "open",
        message: format!("{what} of {shape:?}"),
    }
}

/// With its output in a state; and how large it is a token.
fn encoder_graph(graph: &Graph) -> Result<(Graph, usize), GraphError> {
    let mut copy = Copy::new(graph);
    for name in ["input_ids", "attention_mask"] {
        let shape = named(&["batch", "tokens"]);
        let input = copy.builder.input(name, DataType::I32, shape)?;
        copy.give(name, input)?;
    }
    let outputs = copy.finish()?;
    let b = &mut copy.builder;
    let made = outputs.iter().find(|(name, _)| name == "last_hidden_state");
    let id = made.map(|&(_, id)| id);
    let id = id.ok_or_else(|| wrong("no last_hidden_state", &[]))?;
    let shape = b.shape(id).to_vec();
    let hidden = match shape.as_slice() {
        [_, _, hidden] => hidden.fixed(),
        _ => None,
    };
    let hidden = hidden.ok_or_else(|| wrong("last_hidden_state", &shape))?;
    b.output("encoder_last_hidden_state", id)?;
    let state = state(b, hidden)?;
    let mut new = named(&["batch", "tokens"]);
    new.extend([Dim::from(1), Dim::from(hidden)]);
    let new = b.reshape(id, new)?;
    let start = integers(b, &[1], &[0])?;
    let start = b.expand(start, named(&["batch"]))?;
    b.kv_append(state, new, start)?;
    Ok((copy.builder.finish(), hidden))
}

fn state(b: &mut GraphBuilder, hidden: usize) -> Result<ValueId, GraphError> {
    let mut shape = named(&["batch"]);
    shape.extend([Dim::from(1), Dim::symbol("source"), Dim::from(hidden)]);
    b.state(ENCODED, DataType::F32, shape)
}

/// The inputs and output of a decoder around one that takes all tokens; and how many tokens there are to choose from.
fn decoder_graph(graph: &Graph, hidden: usize) -> Result<(Graph, usize), GraphError> {
    let mut copy = Copy::new(graph);
    let b = &mut copy.builder;
    let ids = b.input("input_ids", DataType::I32, named(&["batch", "tokens"]))?;
    let position = b.input("position", DataType::I32, named(&["batch"]))?;
    let rows = b.input("rows", DataType::I32, named(&["rows"]))?;
    let mask = named(&["batch", "source"]);
    let mask = b.input("encoder_attention_mask", DataType::I32, mask)?;

    let all = vec![
        Dim::symbol("batch"),
        Dim::from(1),
        Dim::symbol("capacity"),
        Dim::from(1),
    ];
    // Numbers up to 2^24 are exact in the type that states have.
    let tokens = b.state("tokens", DataType::F32, all)?;
    let mut new = named(&["batch", "tokens"]);
    new.extend([Dim::from(1), Dim::from(1)]);
    let new_ids = b.cast(ids, DataType::F32)?;
    let new_ids = b.reshape(new_ids, new)?;
    let tokens = b.kv_append(tokens, new_ids, position)?;
    let tokens = b.reshape(tokens, named(&["batch", "capacity"]))?;
    let tokens = b.cast(tokens, DataType::I32)?;

    let encoded = state(b, hidden)?;
    let mut shape = named(&["batch", "source"]);
    shape.push(Dim::from(hidden));
    let encoded = b.reshape(encoded, shape)?;
    copy.give("input_ids", tokens)?;
    copy.give("encoder_hidden_states", encoded)?;
    copy.give("encoder_attention_mask", mask)?;
    if takes(graph, SO_FAR) {
        let so_far = tokens_so_far(&mut copy.builder, rows, position)?;
        let so_far = copy.builder.cast(so_far, DataType::I32)?;
        copy.give(SO_FAR, so_far)?;
    }
    let outputs = copy.finish()?;
    let logits = outputs.iter().find(|(name, _)| name == "logits");
    let logits = logits.ok_or_else(|| wrong("no logits", &[]))?.1;
    let b = &mut copy.builder;
    let shape = b.shape(logits).to_vec();
    let vocabulary = match shape.as_slice() {
        [_, _, vocabulary] => vocabulary.fixed(),
        _ => None,
    };
    let vocabulary = vocabulary.ok_or_else(|| wrong("logits", &shape))?;
    let places = places(b, position)?;
    let places = b.gather(places, rows, 0)?;
    let (batch, capacity) = (Dim::symbol("batch"), Dim::symbol("capacity"));
    let flat = vec![batch * capacity, Dim::from(vocabulary)];
    let flat = b.reshape(logits, flat)?;
    let wanted = b.gather(flat, places, 0)?;
    b.output("logits", wanted)?;
    Ok((rows_first(&copy.builder.finish())?, vocabulary))
}

fn takes(graph: &Graph, input: &str) -> bool {
    let is_it =
        |id: &ValueId| matches!(&graph.value(*id).source, Source::Input(name) if name == input);
    graph.inputs.iter().any(is_it)
}

/// Where each of a run's `batch · tokens` tokens stands among all `batch · capacity`.
fn places(b: &mut GraphBuilder, position: ValueId) -> Result<ValueId, GraphError> {
    let [batch, tokens] = ["batch", "tokens"].map(Dim::symbol);
    let room = length(b, Dim::symbol("capacity"))?;
    let row = counted(b, batch.clone())?;
    let row = b.mul(row, room)?;
    let row = b.add_values(row, position)?;
    let row = b.reshape(row, vec![batch.clone(), Dim::from(1)])?;
    let step = counted(b, tokens.clone())?;
    let step = b.reshape(step, vec![Dim::from(1), tokens.clone()])?;
    let places = b.add_values(row, step)?;
    b.reshape(places, vec![batch * tokens])
}
