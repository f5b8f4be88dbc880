//! A model's ONNX files opened as a model with its task.

mod cached;
mod decoder;
mod integers;
mod part;
mod sequence;
mod special;
mod text;

use fewbit_engine::graph::{Graph, GraphError};
use fewbit_engine::model::{BuiltModel, Config, Feedforward, KNOWN, ModelKind, ONNX};
use fewbit_engine::source::SourceError;
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel};

use special::SpecialTokens;

use crate::import::{ImportError, ImportOptions, Imported, OnnxFile};

/// The file that is taken among several, as Hugging Face's repositories call them; the more exact first.
const WHOLE: [&str; 8] = [
    "model",
    "model_fp16",
    "model_quantized",
    "model_int8",
    "model_q4",
    "model_q4f16",
    "decoder_model_merged",
    "decoder_with_past_model",
];

/// What stands behind the names of an encoder-decoder's files; the more exact first.
const VARIANTS: [&str; 6] = ["", "_fp16", "_quantized", "_int8", "_q4", "_q4f16"];

/// An encoder and its decoder, each by the first of its names that there is: a decoder with a cache before one without.
const ENCODERS: [&str; 2] = ["encoder_model", "encoder"];
const DECODERS: [&str; 4] = [
    "decoder_model_merged",
    "decoder_with_past_model",
    "decoder_model",
    "decoder",
];

/// Why ONNX files have not become a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no ONNX file among the files")]
    NoModel,
    #[error("{0}: several ONNX files, and none of them is the whole model")]
    Several(String),
    #[error("{file}: {reason}")]
    Parts { file: String, reason: String },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Opens the ONNX file or files among `files`: the one there is, the one of the usual name, or an encoder and its decoder.
///
/// A model of text (`input_ids` and what goes with them) whose output is `last_hidden_state` or `logits` is an encoder with the
/// tasks of one; a decoder that takes its cache and gives it back is a causal model, beside an encoder an encoder-decoder; one without a cache beside an encoder too, which computes all tokens anew for each;
/// all others run once from named tensors to named tensors. Integers of 64 bits become 32 where all fit whatever goes
/// in; inputs of them become 32 in any case.
///
/// # Errors
/// None or several such files; what [`OnnxFile::open`] and [`OnnxFile::import`] say of one.
pub async fn open(files: &ModelFiles, options: &ImportOptions) -> Result<OpenModel, OpenError> {
    let config = files.read("config.json").await?;
    let config = config.as_deref().and_then(|json| Config::parse(json).ok());
    let names: Vec<&str> = files.names_ending(".onnx").collect();
    let named = |stem: &str| {
        let here = format!("{stem}.onnx");
        let below = format!("onnx/{stem}.onnx");
        let mut all = names.iter();
        all.find(|&&name| name == here || name == below).copied()
    };
    let usual = WHOLE.into_iter().find_map(named);
    for variant in VARIANTS {
        // A whole model goes before the parts of a less exact one.
        if usual.is_some() && !variant.is_empty() {
            break;
        }
        let named = |stem: &str| named(&format!("{stem}{variant}"));
        let encoder = ENCODERS.into_iter().find_map(named);
        let decoder = DECODERS.into_iter().find_map(named);
        let (Some(encoder), Some(decoder)) = (encoder, decoder) else {
            continue;
        };
        let special = SpecialTokens::read(files).await?;
        let told = (config.as_ref(), &special);
        let interface = OnnxFile::interface_of(files, decoder).await?;
        if interface.has_cache() {
            let names = cached::Names {
                encoder,
                decoder,
                first: named("decoder_model").filter(|&first| first != decoder),
            };
            return cached::open(files, &names, options, told).await;
        }
        let encoder = OnnxFile::open(files, encoder).await?;
        let decoder = OnnxFile::open(files, decoder).await?;
        return sequence::open(&encoder, &decoder, options, told).await;
    }
    let name = match (usual, names.as_slice()) {
        (Some(name), _) | (None, &[name]) => name,
        (None, []) => return Err(OpenError::NoModel),
        (None, several) => return Err(OpenError::Several(several.join(", "))),
    };
    if let Some(open) = decoder::open(files, name, config.as_ref()).await? {
        return Ok(open);
    }
    let file = OnnxFile::open(files, name).await?;
    if let Some(options) = text::options(&file, options)
        && let Ok(imported) = file.import(&options).await
        && let Some(open) = text::open(&imported, config.as_ref())?
    {
        let source = imported.source;
        return Ok(opened(open, source, config.as_ref()));
    }
    let imported = counting(&file, options).await?;
    let graph = integers::narrowed(&imported.graph)?;
    Ok(opened_once(graph, imported, config.as_ref()))
}

/// Opens the one ONNX file among `files` as it is: a graph that runs once and has no task, whose integers of 64 bits stay.
///
/// # Errors
/// None or several such files; what [`OnnxFile::open`] and [`OnnxFile::import`] say of one.
pub async fn open_as_it_is(
    files: &ModelFiles,
    options: &ImportOptions,
) -> Result<OpenModel, OpenError> {
    let names: Vec<&str> = files.names_ending(".onnx").collect();
    let name = match names.as_slice() {
        [] => return Err(OpenError::NoModel),
        &[name] => name,
        several => return Err(OpenError::Several(several.join(", "))),
    };
    let file = OnnxFile::open(files, name).await?;
    let mut imported = counting(&file, options).await?;
    let graph = std::mem::take(&mut imported.graph);
    Ok(opened_once(graph, imported, None))
}

/// A file imported with what its inputs' numbers decide: as symbols, where they may be, else for the numbers that are given, or
/// for zeros or ones as long as none are: a graph for others is then another import ([`fewbit_engine::task::Model::add`]).
///
/// # Errors
/// What [`OnnxFile::import`] says, of such inputs that they must be known beforehand.
async fn counting(file: &OnnxFile, options: &ImportOptions) -> Result<Imported, ImportError> {
    let asked = match with_counted(file, options).await {
        Err(error @ ImportError::ValueNeeded { .. }) => error,
        result => return result,
    };
    for fill in [0, 1] {
        if let Some(imported) = with_assumed(file, options, fill).await {
            return Ok(imported);
        }
    }
    Err(asked)
}

async fn with_counted(file: &OnnxFile, options: &ImportOptions) -> Result<Imported, ImportError> {
    let mut options = options.clone();
    let mut asked = None;
    loop {
        let error = match file.import(&options).await {
            Ok(imported) => return Ok(imported),
            Err(error) => error,
        };
        let known = options.counted.len();
        if let ImportError::ValueNeeded { inputs, .. } = &error {
            let may = inputs.iter().filter(|name| file.may_count(name));
            options.counted.extend(may.cloned());
        }
        if options.counted.len() == known {
            return Err(asked.unwrap_or(error));
        }
        asked.get_or_insert(error);
    }
}

/// The file for as many zeros or ones as its inputs of fixed shapes have, where it asks for numbers.
async fn with_assumed(file: &OnnxFile, options: &ImportOptions, fill: u8) -> Option<Imported> {
    let mut options = options.clone();
    loop {
        let inputs = match file.import(&options).await {
            Ok(imported) => return Some(imported),
            Err(ImportError::ValueNeeded { inputs, .. }) => inputs,
            Err(_) => return None,
        };
        let known = options.values.len();
        for name in inputs {
            let tensor = file.filled(&name, fill)?;
            options.values.insert(name, tensor);
        }
        if options.values.len() == known {
            return None;
        }
    }
}

/// A model that runs once from named tensors to named tensors.
fn opened_once(graph: Graph, imported: Imported, config: Option<&Config>) -> OpenModel {
    let kind = ModelKind::Feedforward(Feedforward {
        counts: imported.counts,
        rooms: imported.rooms,
        assumed: imported.assumed,
        ..Feedforward::default()
    });
    opened((graph, kind), imported.source, config)
}

fn opened(
    (graph, kind): (Graph, ModelKind),
    source: fewbit_engine::session::WeightSource,
    config: Option<&Config>,
) -> OpenModel {
    let model_type = config.and_then(|config| config.str("model_type").ok());
    let known = KNOWN.iter().find(|&&name| Some(name) == model_type);
    OpenModel {
        source,
        built: BuiltModel {
            architecture: known.copied().unwrap_or(ONNX),
            graph,
            kind,
        },
        gguf: None,
    }
}
