//! The JSON texts of the boundary. Names are those of the TypeScript API (`web/src/types.ts`).

use fewbit_engine::task::chat::Message;
use fewbit_engine::task::context_policy::ContextPolicy;
use fewbit_engine::task::sampling::SamplingParams;
use fewbit_engine::task::{Instruction, Task};
use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Reads a request; a fault of it is the caller's.
pub(crate) fn parse<'a, T: Deserialize<'a>>(json: &'a str) -> Result<T, Fault> {
    serde_json::from_str(json).map_err(|error| Fault::bad_argument(error.to_string()))
}

/// Writes an answer.
pub(crate) fn write<T: Serialize>(answer: &T) -> Result<String, Fault> {
    serde_json::to_string(answer).map_err(|error| Fault::new("internal", error.to_string()))
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum BackendName {
    Webgpu,
    Webnn,
    #[serde(rename = "webnn+wasm")]
    WebnnWasm,
    Wasm,
}

/// `MLPowerPreference`
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum PowerPreference {
    Default,
    HighPerformance,
    LowPower,
}

#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum ActivationsName {
    Auto,
    Float,
    Q8,
}

/// How to load. What is said of a back end is not read in builds without it.
#[cfg_attr(not(all(feature = "gpu", feature = "webnn")), allow(dead_code))]
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct LoadRequest {
    pub(crate) backend: BackendName,
    /// What the page found out of the adapter, which `wgpu` is not told in a browser.
    pub(crate) adapter_name: Option<String>,
    pub(crate) software_adapter: Option<bool>,
    pub(crate) context_length: Option<usize>,
    pub(crate) activations: ActivationsName,
    /// What WebNN's context is asked for.
    pub(crate) power_preference: Option<PowerPreference>,
    pub(crate) accelerated: Option<bool>,
    /// The pool's address, 0 for none, and how many threads it has.
    pub(crate) pool: usize,
    pub(crate) threads: usize,
}

/// What to go on from.
#[derive(Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Prompt {
    Text { text: String },
    Ids { ids: Vec<u32> },
    Chat { messages: Vec<Message> },
}

/// What to do when a prompt leaves no room in the context.
#[derive(Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WhenFull {
    #[default]
    Error,
    DropOldest,
}

impl From<WhenFull> for ContextPolicy {
    fn from(when_full: WhenFull) -> ContextPolicy {
        match when_full {
            WhenFull::Error => ContextPolicy::Error,
            WhenFull::DropOldest => ContextPolicy::DropOldestTurns,
        }
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// `true`, or how many alternatives to tell.
#[derive(Deserialize)]
#[serde(untagged)]
pub(crate) enum Logprobs {
    Flag(bool),
    Count(usize),
}

/// Prompts, whose answers are made side by side, and how to go on.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(crate) struct GenerateRequest {
    pub(crate) prompts: Vec<Prompt>,
    /// What to do with a text.
    pub(crate) instruct: Option<Instruction>,
    pub(crate) max_tokens: Option<usize>,
    temperature: Option<f32>,
    top_k: Option<usize>,
    top_p: Option<f32>,
    min_p: Option<f32>,
    repetition_penalty: Option<f32>,
    presence_penalty: Option<f32>,
    frequency_penalty: Option<f32>,
    seed: Option<u64>,
    stop: Option<OneOrMany>,
    logprobs: Option<Logprobs>,
    #[serde(default)]
    pub(crate) ignore_eos: bool,
    #[serde(default)]
    pub(crate) when_full: WhenFull,
}

impl GenerateRequest {
    pub(crate) fn sampling(&self) -> SamplingParams {
        let default = SamplingParams::default();
        SamplingParams {
            temperature: self.temperature.unwrap_or(default.temperature),
            top_k: self.top_k.unwrap_or(default.top_k),
            top_p: self.top_p.unwrap_or(default.top_p),
            min_p: self.min_p.unwrap_or(default.min_p),
            repetition_penalty: self
                .repetition_penalty
                .unwrap_or(default.repetition_penalty),
            presence_penalty: self.presence_penalty.unwrap_or(default.presence_penalty),
            frequency_penalty: self.frequency_penalty.unwrap_or(default.frequency_penalty),
            seed: self.seed.unwrap_or(default.seed),
            top_logprobs: match self.logprobs {
                Some(Logprobs::Count(count)) => count,
                _ => 0,
            },
        }
    }

    /// Whether each token's log-probability is wanted.
    pub(crate) fn wants_logprobs(&self) -> bool {
        !matches!(self.logprobs, None | Some(Logprobs::Flag(false)))
    }

    pub(crate) fn stop_texts(&mut self) -> Vec<String> {
        match self.stop.take() {
            None => Vec::new(),
            Some(OneOrMany::One(text)) => vec![text],
            Some(OneOrMany::Many(texts)) => texts,
        }
    }
}

/// A token of an answer.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Token {
    /// Which of the prompts it goes on from.
    pub(crate) row: usize,
    pub(crate) text: String,
    pub(crate) id: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) logprob: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) top_logprobs: Option<Vec<Alternative>>,
}

#[derive(Serialize)]
pub(crate) struct Alternative {
    pub(crate) id: u32,
    pub(crate) text: String,
    pub(crate) logprob: f32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct GenerateAnswer<'a> {
    pub(crate) text: &'a str,
    pub(crate) ids: &'a [u32],
    pub(crate) prompt_ids: &'a [u32],
    pub(crate) finish_reason: &'static str,
    pub(crate) usage: Usage,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Usage {
    pub(crate) prompt_tokens: usize,
    pub(crate) cached_tokens: usize,
    pub(crate) completion_tokens: usize,
}

#[derive(Serialize)]
pub(crate) struct Score {
    pub(crate) id: u32,
    pub(crate) nll: f64,
    pub(crate) best: u32,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ScoreAnswer<'a> {
    pub(crate) ids: &'a [u32],
    pub(crate) scores: Vec<Score>,
    pub(crate) mean_nll: f64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EmbedRequest {
    pub(crate) texts: Vec<String>,
}

/// What the model is and where it runs.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Info<'a> {
    pub(crate) architecture: &'a str,
    pub(crate) block_format: &'a str,
    pub(crate) bits_per_weight: f64,
    pub(crate) parameters: u64,
    pub(crate) weight_bytes: u64,
    pub(crate) context_length: usize,
    pub(crate) vocabulary: usize,
    pub(crate) tasks: Vec<Task>,
    pub(crate) inputs: Vec<&'static str>,
    pub(crate) activations: &'static str,
    /// The kernels' instruction set, or the features of the device in use.
    pub(crate) features: Vec<String>,
    /// The adapter or the devices, as the back end names them.
    pub(crate) device: String,
    pub(crate) threads: usize,
}
