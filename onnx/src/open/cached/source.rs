//! The encoder of an encoder-decoder: what it makes of a source, and the keys and values that the decoder's attention to the
//! source needs of that, in states.

use fewbit_engine::graph::{Dim, Graph, GraphBuilder, GraphError, Shape, ValueId};
use fewbit_engine::model::{Config, SourceKind};
use fewbit_engine::session::WeightSource;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::DataType;

use super::{CacheName, Names, OpenError};
use crate::counting::integers;
use crate::import::{Filling, ImportOptions, Imported, OnnxFile, Part};
use crate::open::integers::Copy;
use crate::open::part::renamed;

/// Most tokens of a source where no config tells it.
const MOST_TOKENS: usize = 512;

/// The input that tells which tokens of a source count.
const MASK: &str = "attention_mask";

/// Frames for each position that the encoder of a spectrogram gives.
const STRIDE: usize = 2;

/// The encoder, ready for a session.
pub(super) struct Made {
    pub(super) graph: Graph,
    /// The weights, and what stands before their names in the graph.
    pub(super) weights: Vec<(&'static str, WeightSource)>,
    pub(super) kind: SourceKind,
    /// How many positions a source has, where that is always the same.
    pub(super) positions: Option<usize>,
}

pub(super) fn most_tokens(config: Option<&Config>) -> usize {
    let told = |name: &str| config.and_then(|config| config.size(name).ok());
    told("n_positions")
        .or_else(|| told("max_position_embeddings"))
        .unwrap_or(MOST_TOKENS)
}

/// # Errors
/// An encoder of another interface, or a decoder that makes no keys and values of what it gives.
pub(super) async fn encoder(
    files: &ModelFiles,
    names: &Names<'_>,
    options: &ImportOptions,
    config: Option<&Config>,
) -> Result<Made, OpenError> {
    let fault = |reason: String| OpenError::Parts {
        file: names.encoder.to_owned(),
        reason,
    };
    let file = OnnxFile::open(files, names.encoder).await?;
    let input = Input::of(&file, config).map_err(fault)?;
    let options_of_encoder = input.options(&file, options);
    let Imported { graph, source, .. } = file.import(&options_of_encoder).await?;
    let graph = renamed(graph, "encoder");
    let mut copy = Copy::new(&graph);
    let mask = input.declare(&mut copy)?;
    let outputs = copy.finish()?;
    let mut weights = vec![("encoder", source)];
    let mut b = copy.builder;
    let find = |name: &str| outputs.iter().find(|(known, _)| known == name);
    let hidden = find("last_hidden_state").or_else(|| find("encoder_last_hidden_state"));
    let Some(&(_, hidden)) = hidden else {
        return Err(fault("no last_hidden_state".to_owned()));
    };
    let mut made: Vec<(String, ValueId)> = outputs
        .iter()
        .filter(|(name, _)| CacheName::of(name).is_some())
        .cloned()
        .collect();
    if made.is_empty() {
        let name = names.first.unwrap_or(names.decoder);
        let file = OnnxFile::open_part(files, name, Part::Source).await?;
        let mut options = of_hidden(&file, options, b.shape(hidden));
        options.filling = options_of_encoder.filling.clone();
        let Imported { graph, source, .. } = file.import(&options).await?;
        let graph = renamed(graph, "source");
        weights.push(("source", source));
        let mut copy = Copy::onto(b, &graph);
        copy.give("encoder_hidden_states", hidden)?;
        if let Some(mask) = mask {
            copy.give(MASK, mask)?;
        }
        made = copy.finish()?;
        b = copy.builder;
    }
    b.output("encoder_last_hidden_state", hidden)?;
    let positions = b.shape(hidden)[1].fixed();
    for (name, value) in made {
        if let Some(cache) = CacheName::of(&name) {
            keep(&mut b, &cache.state(), value, positions)?;
        }
    }
    Ok(Made {
        graph: b.finish(),
        weights,
        kind: input.kind,
        positions,
    })
}

/// Writes `[batch, heads, positions, size]` to a state from its beginning on.
fn keep(
    b: &mut GraphBuilder,
    state: &str,
    value: ValueId,
    positions: Option<usize>,
) -> Result<(), GraphError> {
    let wide = b.cast(value, DataType::F32)?;
    let new = b.transpose(wide, &[0, 2, 1, 3])?;
    let mut shape: Shape = b.shape(wide).to_vec();
    if shape.len() == 4 && positions.is_none() {
        shape[2] = Dim::symbol("source");
    }
    let batch = shape[0].clone();
    let state = b.state(state, DataType::F32, shape)?;
    let start = integers(b, &[1], &[0])?;
    let start = b.expand(start, vec![batch])?;
    b.kv_append(state, new, start)?;
    Ok(())
}

/// The file that makes keys and values of `encoder_hidden_states`, which are of this shape.
fn of_hidden(file: &OnnxFile, options: &ImportOptions, hidden: &[Dim]) -> ImportOptions {
    let mut options = options.clone();
    let symbols = file.symbols("encoder_hidden_states").unwrap_or_default();
    for (symbol, dim) in symbols.into_iter().zip(hidden) {
        let Some(symbol) = symbol else { continue };
        match (dim.fixed(), dim.as_symbol()) {
            (Some(size), _) => _ = options.sizes.insert(symbol, size),
            (None, Some(name)) => _ = options.names.insert(symbol, name.to_owned()),
            (None, None) => {}
        }
    }
    options
}

/// What the encoder takes: tokens, or a spectrogram.
struct Input {
    kind: SourceKind,
}

impl Input {
    fn of(file: &OnnxFile, config: Option<&Config>) -> Result<Input, String> {
        let inputs = file.interface().inputs;
        let kind = match inputs.iter().any(|name| name == "input_features") {
            false => SourceKind::Tokens {
                max_tokens: most_tokens(config),
            },
            true => {
                let told = |key: &str| config.and_then(|config| config.size(key).ok());
                let size = |axis: usize, told: Option<usize>, key: &str| {
                    let declared = file.size("input_features", axis);
                    let size = declared.or(told);
                    size.ok_or_else(|| {
                        format!("input_features, whose size {key} tells in config.json")
                    })
                };
                let positions = told("max_source_positions");
                let frames = positions.and_then(|n| n.checked_mul(STRIDE));
                SourceKind::Features {
                    channels: size(1, told("num_mel_bins"), "num_mel_bins")?,
                    frames: size(2, frames, "max_source_positions")?,
                }
            }
        };
        let known: &[&str] = match kind {
            SourceKind::Tokens { .. } => &["input_ids", MASK],
            SourceKind::Features { .. } => &["input_features"],
        };
        match inputs.iter().find(|name| !known.contains(&name.as_str())) {
            Some(other) => Err(format!("the input {other} is not one of {known:?}")),
            None => Ok(Input { kind }),
        }
    }

    fn options(&self, file: &OnnxFile, options: &ImportOptions) -> ImportOptions {
        let mut options = options.clone();
        let mut name = |input: &str, axis: usize, to: &str| {
            let symbols = file.symbols(input).unwrap_or_default();
            if let Some(Some(symbol)) = symbols.into_iter().nth(axis) {
                options.names.insert(symbol, to.to_owned());
            }
        };
        match self.kind {
            SourceKind::Tokens { .. } => {
                for input in ["input_ids", MASK] {
                    name(input, 0, "batch");
                    name(input, 1, "tokens");
                }
                options.filling = vec![Filling::new(MASK, ["batch", "tokens"])];
            }
            SourceKind::Features { channels, frames } => {
                name("input_features", 0, "batch");
                let symbols = file.symbols("input_features").unwrap_or_default();
                for (symbol, size) in symbols.into_iter().skip(1).zip([channels, frames]) {
                    if let Some(symbol) = symbol {
                        options.sizes.insert(symbol, size);
                    }
                }
            }
        }
        options
    }

    /// The inputs as every encoder here has them; gives the mask, if it is one of them.
    fn declare(&self, copy: &mut Copy<'_>) -> Result<Option<ValueId>, GraphError> {
        let mut mask = None;
        let inputs: &[(&str, DataType)] = match self.kind {
            SourceKind::Tokens { .. } => &[("input_ids", DataType::I32), (MASK, DataType::I32)],
            SourceKind::Features { .. } => &[("input_features", DataType::F32)],
        };
        for (name, data_type) in inputs {
            let mut shape = vec![Dim::symbol("batch")];
            shape.extend(match self.kind {
                SourceKind::Tokens { .. } => vec![Dim::symbol("tokens")],
                SourceKind::Features { channels, frames } => {
                    vec![Dim::from(channels), Dim::from(frames)]
                }
            });
            let input = copy.builder.input(name, *data_type, shape)?;
            copy.give(name, input)?;
            mask = (*name == MASK).then_some(input);
        }
        Ok(mask)
    }
}
