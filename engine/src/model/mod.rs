//! Model architectures: a builder each, from Hugging Face config or GGUF metadata and a checkpoint's
//! tensors to a [`Graph`]. One file an architecture; blocks that are the same in the papers are in [`block`].

pub mod backbone;
pub mod bert;
pub mod block;
pub mod clap;
pub mod clip;
mod config;
mod decoder;
pub mod detr;
pub mod distilbert;
mod encoder_decoder;
pub mod gpt2;
#[cfg(test)]
mod hostile;
mod image_config;
pub mod llama;
pub mod qwen2;
pub mod roberta;
mod swin;
pub mod t5;
mod text_head;
pub mod vit;
pub mod wav2vec2;
mod weights;
pub mod whisper;

pub use config::{Config, ConfigError};
pub use decoder::DecoderConfig;
pub use weights::Weights;

use std::borrow::Cow;

use crate::format::{Checkpoint, Metadata};
use crate::graph::{Dim, Graph, GraphError};
use crate::tensor::{ElementType, Tensor};

#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("architecture {} is not supported; {known} are", config::shown(.0), known = KNOWN.join(", "))]
    UnknownArchitecture(String),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{file}: tensor {name} is missing")]
    MissingTensor { file: String, name: String },
    #[error("{file}: tensor {name} has shape {got:?} and type {element}, {wanted:?} is wanted")]
    TensorShape {
        file: String,
        name: String,
        element: ElementType,
        got: Vec<usize>,
        wanted: Vec<usize>,
    },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] crate::tensor::TensorError),
}

/// The names of the architectures there are, as `model_type` and `general.architecture` have them.
pub const KNOWN: &[&str] = &[
    "bert",
    "clap",
    "clip",
    "deit",
    "detr",
    "distilbert",
    "gpt2",
    "llama",
    "qwen2",
    "roberta",
    "t5",
    "vit",
    "wav2vec2",
    "whisper",
];

/// The architecture of a graph that came as one, from an ONNX file whose config names none of [`KNOWN`].
pub const ONNX: &str = "onnx";

/// The architecture of a graph that was built as one, call by call, and came from no file.
pub const GRAPH: &str = "graph";

/// A model as a graph with symbols, and what a session must know to run it.
#[derive(Debug)]
pub struct BuiltModel {
    pub architecture: &'static str,
    pub graph: Graph,
    pub kind: ModelKind,
}

#[derive(Clone, Debug)]
pub enum ModelKind {
    /// Predicts the next token. Inputs `input_ids [batch, tokens]`, `position [batch]` (tokens already in
    /// the KV state), `rows [rows]` (which of the `batch·tokens` positions to predict after); output
    /// `logits [rows, vocabulary]`; states of `capacity` tokens. All inputs are i32.
    CausalLm(CausalLm),
    /// Makes a vector a token. Inputs `input_ids`, `attention_mask`, `token_type_ids`, each i32
    /// `[batch, tokens]`; output `last_hidden_state [batch, tokens, hidden]` and, where the checkpoint has the
    /// weights, `pooler_output [batch, hidden]` and the `logits` of a [`TextHead`].
    Encoder(Encoder),
    /// Runs once from named tensors to named tensors, without states: images in, classes or boxes out.
    /// The graph's own inputs and outputs say which.
    Feedforward(Feedforward),
    /// Reads a source once and predicts tokens after it. The built model's graph is the decoder, with the inputs
    /// and the output of [`ModelKind::CausalLm`] and attention to the source.
    EncoderDecoder(EncoderDecoder),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CausalLm {
    pub vocabulary: usize,
    /// Tokens the model's positions (and its rotary tables) reach.
    pub context_length: usize,
    pub layers: usize,
    pub eos_ids: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoder {
    pub hidden: usize,
    pub max_tokens: usize,
    pub head: Option<TextHead>,
}

/// What an encoder's output `logits` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextHead {
    /// Classes of a text, `[batch, labels]`.
    Text,
    /// Classes of each of its tokens, `[batch, tokens, labels]`.
    Tokens,
    /// Which token a masked one was: `[rows, vocabulary]` for the positions of the input `rows [rows]` (i32) among
    /// all `batch · tokens`.
    Masked,
}

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedforward {
    /// Integer inputs that need not be given, and what they are filled with then; their shape follows from
    /// the other inputs.
    pub defaults: Vec<(Cow<'static, str>, i32)>,
    /// The most that a symbol of the graph may stand for.
    pub limits: Vec<(Cow<'static, str>, usize)>,
    /// Symbols that numbers in inputs tell.
    pub counts: Vec<Count>,
    /// Symbols that are room for so many, told by those before them and by the inputs' shapes.
    pub rooms: Vec<Room>,
    /// Inputs whose numbers are put into the graph: it is for these alone.
    pub assumed: Vec<(String, Tensor)>,
}

/// A symbol that stands for a number in an input, which is none below 0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Count {
    pub symbol: String,
    pub input: String,
    /// The number's place among the input's elements.
    pub at: usize,
}

/// Room for a number of elements that is another in each run, as a decoder's growing length: the symbol stands for the next
/// power of two from [`Room::LEAST`] on, and for `most` where that is less. A run of more than `most` is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Room {
    pub symbol: String,
    pub of: Dim,
    pub most: usize,
}

impl Room {
    pub const LEAST: usize = 32;

    /// The room for `size` elements; `None` for more than there may be.
    pub fn size(&self, size: usize) -> Option<usize> {
        let room = size.checked_next_power_of_two()?.max(Room::LEAST);
        (size <= self.most).then_some(room.min(self.most))
    }
}

impl Feedforward {
    /// The inputs whose numbers the graph goes by.
    pub fn goes_by(&self) -> impl Iterator<Item = &str> {
        let counts = self.counts.iter().map(|count| count.input.as_str());
        counts.chain(self.assumed.iter().map(|(name, _)| name.as_str()))
    }

    /// The most that the symbol `name` may stand for, if there is a limit.
    pub fn limit(&self, name: &str) -> Option<usize> {
        let found = self.limits.iter().find(|(symbol, _)| symbol == name);
        found.map(|&(_, limit)| limit)
    }
}

#[derive(Clone, Debug)]
pub struct EncoderDecoder {
    /// The graph that reads a source: output `encoder_last_hidden_state [batch, positions, hidden]`, states
    /// `cross_k.N` and `cross_v.N`, which the decoder's attention to the source reads.
    pub encoder: Graph,
    pub decoder: CausalLm,
    pub source: SourceKind,
    /// The token that a text begins with, where the config names one.
    pub start_id: Option<u32>,
}

/// What an encoder-decoder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// `input_ids` and `attention_mask`, i32 `[batch, tokens]`; states of `source` positions, of which the decoder's
    /// `encoder_attention_mask [batch, source]` (i32) tells the ones that count.
    Tokens { max_tokens: usize },
    /// `input_features [batch, channels, frames]`, f32, always whole.
    Features { channels: usize, frames: usize },
}

/// What a builder may be asked for.
#[derive(Clone, Debug, Default)]
pub struct BuildOptions {
    /// Most tokens of context wanted; the model's own limit holds if it is lower.
    pub context_length: Option<usize>,
    /// The values of a GGUF file's `rope_freqs.weight`, which scale the rotary frequencies.
    pub rope_divisors: Option<Vec<f32>>,
}

/// Contexts longer than this must be asked for, as states and tables grow with them.
pub const DEFAULT_CONTEXT: usize = 8192;

/// Most tokens that one run of a causal model takes.
pub const MAX_CHUNK: usize = 128;

/// Builds the model that a Hugging Face `config.json` describes.
pub fn from_config(
    config: &Config,
    checkpoint: &Checkpoint,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let weights = Weights::new(checkpoint);
    match config.str("model_type")? {
        "bert" => bert::from_config(config, &weights),
        "clap" => clap::from_config(config, &weights),
        "clip" => clip::from_config(config, &weights),
        "deit" => vit::deit(config, &weights),
        "detr" => detr::from_config(config, &weights),
        "distilbert" => distilbert::from_config(config, &weights),
        "roberta" | "xlm-roberta" => roberta::from_config(config, &weights),
        "wav2vec2" => wav2vec2::from_config(config, &weights),
        "whisper" => whisper::from_config(config, &weights),
        "gpt2" => gpt2::from_config(config, &weights, options),
        "llama" => llama::from_config(config, &weights, options),
        "qwen2" => qwen2::from_config(config, &weights, options),
        "t5" => t5::from_config(config, &weights, options),
        "vit" => vit::vit(config, &weights),
        other => Err(ModelError::UnknownArchitecture(other.to_owned())),
    }
}

/// Builds the model that a CTranslate2 file holds, which needs no config.
pub fn from_ctranslate2(checkpoint: &Checkpoint) -> Result<BuiltModel, ModelError> {
    whisper::from_ctranslate2(&checkpoint.metadata, &Weights::new(checkpoint))
}

/// Builds the model that a GGUF file's metadata describes.
pub fn from_gguf(
    metadata: &Metadata,
    checkpoint: &Checkpoint,
    options: &BuildOptions,
) -> Result<BuiltModel, ModelError> {
    let weights = Weights::new(checkpoint);
    match metadata
        .str("general.architecture")
        .map_err(ConfigError::from)?
    {
        "bert" => bert::from_gguf(metadata, &weights),
        "gpt2" => gpt2::from_gguf(metadata, &weights, options),
        "llama" => llama::from_gguf(metadata, &weights, options),
        "qwen2" => qwen2::from_gguf(metadata, &weights, options),
        other => Err(ModelError::UnknownArchitecture(other.to_owned())),
    }
}
