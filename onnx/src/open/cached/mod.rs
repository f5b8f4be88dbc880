//! An encoder and a decoder that takes its cache and gives it back, as an encoder-decoder whose caches are in place.
//!
//! The keys and values of the attention to the source are made by the encoder's file, as ours are, or by the decoder's (its
//! branch without a cache, or a file of its own) of what the encoder gives: in either case once a source, by the graph of the
//! encoder. What the decoder then needs of its file is the logits, with a cache ([`in_place`]).

mod in_place;
mod length;
mod source;

use fewbit_engine::graph::Dim;
use fewbit_engine::model::{CausalLm, Config, EncoderDecoder, ModelKind};
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel};

use super::integers::narrowed;
use super::part::add_weights;
use super::special::SpecialTokens;
use super::{OpenError, opened};
use crate::import::{Filling, ImportOptions, Imported, OnnxFile, Part, wanted_rows};

/// Most tokens where no config tells it.
const MOST_TOKENS: usize = 512;

/// The file that a cache goes through, and what goes with it.
pub(super) struct Names<'a> {
    pub(super) encoder: &'a str,
    /// With a cache, or with both branches.
    pub(super) decoder: &'a str,
    /// The decoder without a cache, where it is a file of its own.
    pub(super) first: Option<&'a str>,
}

/// What a symbol of the file is in the graphs.
const PAST: &str = "past";

/// The input that tells which tokens of a run count, where the file needs it.
const COUNTS: &str = "tokens that count";

/// How configs call the most tokens that a decoder takes.
const LENGTHS: [&str; 3] = [
    "max_target_positions",
    "max_position_embeddings",
    "n_positions",
];

/// # Errors
/// Files that are not of such a model, or that do with a cache what cannot be done in place.
pub(super) async fn open(
    files: &ModelFiles,
    names: &Names<'_>,
    options: &ImportOptions,
    (config, special): (Option<&Config>, &SpecialTokens),
) -> Result<OpenModel, OpenError> {
    let told = |name: &str| {
        let found = config.and_then(|config| config.size(name).ok());
        found.and_then(|id| u32::try_from(id).ok())
    };
    let made = source::encoder(files, names, options, config).await?;
    let file = OnnxFile::open_part(files, names.decoder, Part::Logits).await?;
    let fault = |reason: String| OpenError::Parts {
        file: names.decoder.to_owned(),
        reason,
    };
    let options = decoder_options(&file, options, &made).map_err(fault)?;
    let Imported { graph, source, .. } = file.import(&options).await?;
    let done = in_place::in_place(&graph).map_err(fault)?;
    let graph = match done.all_rows {
        true => wanted_rows(&done.graph)?,
        false => done.graph,
    };
    let graph = narrowed(&graph)?;
    let shape = graph.value(graph.outputs[0].1).shape.clone();
    let vocabulary = shape.last().and_then(Dim::fixed);
    let vocabulary = vocabulary.ok_or_else(|| fault(format!("logits of {shape:?}")))?;

    let mut weights = source;
    for (prefix, own) in made.weights {
        add_weights(&mut weights, own, prefix);
    }
    let most = LENGTHS.iter().find_map(|name| config?.size(name).ok());
    let most = most.unwrap_or(MOST_TOKENS).min(done.positions);
    let eos = config.and_then(|config| config.ids("eos_token_id").ok());
    let kind = ModelKind::EncoderDecoder(EncoderDecoder {
        encoder: made.graph,
        decoder: CausalLm {
            vocabulary,
            context_length: most,
            layers: done.layers,
            eos_ids: eos.unwrap_or_else(|| special.end.into_iter().collect()),
        },
        source: made.kind,
        start_id: told("decoder_start_token_id").or(special.start),
    });
    Ok(opened((graph, kind), weights, config))
}

/// Names for what the decoder's file leaves open, as it is about tokens, the cache or the source.
fn decoder_options(
    file: &OnnxFile,
    options: &ImportOptions,
    made: &source::Made,
) -> Result<ImportOptions, String> {
    let mut options = options.clone();
    for name in file.interface().inputs {
        let source = "source";
        let wanted: &[&str] = match name.as_str() {
            "input_ids" => &["batch", "tokens"],
            "rows" => &["rows"],
            "encoder_attention_mask" => &["batch", source],
            name => match CacheName::of(name) {
                Some(CacheName { own: true, .. }) => &["batch", "heads", PAST],
                Some(_) => &["batch", "heads", source],
                None => return Err(format!("a decoder with an input {name}")),
            },
        };
        let symbols = file.symbols(&name).unwrap_or_default();
        for (symbol, wanted) in symbols.into_iter().zip(wanted) {
            let Some(symbol) = symbol else { continue };
            match made.positions.filter(|_| *wanted == source) {
                Some(size) => _ = options.sizes.insert(symbol, size),
                None => _ = options.names.insert(symbol, (*wanted).to_owned()),
            }
        }
    }
    options.filling = vec![Filling::new(COUNTS, ["batch", "tokens"])];
    Ok(options)
}

/// What an input or output of a cache is, by its name: `past_key_values.0.decoder.key`, `present.0.encoder.value`.
struct CacheName {
    layer: u32,
    /// Of the decoder's own tokens, not of the source.
    own: bool,
    key: bool,
}

impl CacheName {
    fn of(name: &str) -> Option<CacheName> {
        let rest = name
            .strip_prefix("past_key_values.")
            .or_else(|| name.strip_prefix("present."))?;
        let mut parts = rest.split('.');
        let (layer, whose, what) = (parts.next()?, parts.next()?, parts.next()?);
        Some(CacheName {
            layer: layer.parse().ok()?,
            own: match whose {
                "decoder" => true,
                "encoder" => false,
                _ => return None,
            },
            key: match what {
                "key" => true,
                "value" => false,
                _ => return None,
            },
        })
    }

    /// The state that it is, as our own models call it.
    fn state(&self) -> String {
        let kind = match (self.own, self.key) {
            (true, true) => "k",
            (true, false) => "v",
            (false, true) => "cross_k",
            (false, false) => "cross_v",
        };
        format!("{kind}.{}", self.layer)
    }
}
