//! What a runner is asked and what it answers. The same JSON goes to the browser's runner page, so names are
//! part of a contract: change them here, in `www/` and in `docs/` together.

mod graph;
mod navigator_ml;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use graph::{GraphAnswer, GraphJob, GraphResult, GraphRun, PageError};
pub use navigator_ml::{MlCall, MlCase, MlInput, NavigatorMlJob};

use crate::speech::TranscribeJob;

/// How a cell ended. There is no sixth, and no fallback that hides one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Ran, and agrees with the reference where there is one.
    Pass,
    /// Ran, with wrong numbers.
    Mismatch,
    /// Failed while running.
    Error,
    /// The target lacks a feature it needs, which the message names.
    Unsupported,
    /// Browser, driver, adapter or library not there.
    Unavailable,
}

impl Outcome {
    pub const fn name(self) -> &'static str {
        match self {
            Outcome::Pass => "pass",
            Outcome::Mismatch => "mismatch",
            Outcome::Error => "error",
            Outcome::Unsupported => "unsupported",
            Outcome::Unavailable => "unavailable",
        }
    }
}

/// Why a job gave no result.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RunError {
    /// `error`, `unsupported` or `unavailable`.
    pub outcome: Outcome,
    /// A short stable name, such as `unknown_architecture` or `no_driver`; a `FewbitError`'s `code` in a browser.
    pub code: String,
    pub message: String,
}

impl RunError {
    pub fn new(outcome: Outcome, code: impl Into<String>, message: impl Into<String>) -> RunError {
        RunError {
            outcome,
            code: code.into(),
            message: message.into(),
        }
    }

    pub fn error(code: impl Into<String>, message: impl Into<String>) -> RunError {
        RunError::new(Outcome::Error, code, message)
    }

    pub fn unsupported(code: impl Into<String>, message: impl Into<String>) -> RunError {
        RunError::new(Outcome::Unsupported, code, message)
    }

    pub fn unavailable(code: impl Into<String>, message: impl Into<String>) -> RunError {
        RunError::new(Outcome::Unavailable, code, message)
    }
}

/// One file of a model, under the name its config uses (`/` between folders).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobFile {
    pub name: String,
    pub bytes: u64,
    /// Lower-case hexadecimal; absent for a file that no manifest knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// The model as a page fetches it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PageModel {
    pub name: String,
    /// Ends in `/`; a file is at `base` + its name.
    pub base: String,
    pub files: Vec<JobFile>,
}

/// How to load; what is `None` is left to the runner.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// Threads asked for; `LoadInfo` says how many there were.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threads: Option<usize>,
    /// `float` or `q8`: whether activations may be quantized to 8 bits before products with block formats.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub activations: Option<Activations>,
    /// Tokens the KV state may hold; otherwise what the model allows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub context: Option<usize>,
}

/// Whether activations stay in floating point or are quantized to 8 bits per block before a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Activations {
    Float,
    Q8,
}

/// A job as it goes to the runner page: `{"kind": "generate", …}`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    Load(LoadJob),
    Generate(GenerateJob),
    Score(ScoreJob),
    Embed(EmbedJob),
    Answer(AnswerJob),
    Forward(ForwardJob),
    Onnx(OnnxJob),
    Graph(GraphJob),
    NavigatorMl(NavigatorMlJob),
    Transcribe(TranscribeJob),
    Dispose,
}

/// Loads a model in a page.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LoadJob {
    pub model: PageModel,
    /// `webgpu` or `wasm`; never `auto`, as a measured run must be what it says.
    pub backend: String,
    #[serde(default)]
    pub options: LoadOptions,
}

/// What was loaded, on what. Absent fields are unknown there.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct LoadInfo {
    /// `cpu`, `wgpu`, `ort-cpu` and the other providers of ONNX Runtime, `webgpu`, `webnn` or `wasm`.
    pub backend: String,
    /// The variant that runs: `avx2`, `avx512-vnni`, `simd128`, `relaxed-simd`, `relaxed-simd+threads`, …; of ONNX Runtime its
    /// version, `onnxruntime 1.32.0`.
    pub variant: Option<String>,
    pub adapter: Option<AdapterInfo>,
    /// Features in use or found (SIMD level, `shader-f16`, `subgroups`, …).
    pub features: Vec<String>,
    pub threads_asked: Option<usize>,
    pub threads: Option<usize>,
    /// How numbers are computed: `float`, or `q8` where activations are quantized to 8 bits.
    pub activations: Option<String>,
    pub model: Option<ModelFacts>,
    pub browser: Option<BrowserFacts>,
    /// Flags and preferences the browser was started with; the options of ONNX Runtime's sessions.
    pub flags: Vec<String>,
    /// From the call to a model that is ready, in milliseconds.
    pub load_ms: Option<f64>,
    /// Of it, compiling plans and pipelines.
    pub compile_ms: Option<f64>,
    /// Of `load_ms`, by name: `runtime` (the wasm module), `files` (download into the cache, or reading it), `build` (parsing
    /// and upload). Milliseconds; empty where the target tells none apart.
    pub phases: BTreeMap<String, f64>,
    pub memory: MemoryFacts,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AdapterInfo {
    /// `unnamed` where the platform gives none.
    pub name: String,
    pub vendor: Option<String>,
    pub driver: Option<String>,
    /// Whether it computes on the CPU (SwiftShader, lavapipe, WARP); absent if that is unknown.
    pub software: Option<bool>,
    /// Hash over limits and features, for adapters without a name.
    pub fingerprint: Option<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ModelFacts {
    pub architecture: String,
    /// The block format (or data type) most weights have.
    pub block_format: Option<String>,
    /// Over all weights, scales and offsets counted.
    pub bits_per_weight: Option<f64>,
    pub parameters: Option<u64>,
    pub context: Option<usize>,
    pub vocabulary: Option<usize>,
}

/// From the WebDriver session, never from the flag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct BrowserFacts {
    pub name: String,
    pub version: String,
    pub driver: Option<String>,
    pub user_agent: Option<String>,
}

/// Bytes; what a platform does not tell stays `None`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryFacts {
    /// Length of the wasm memory, which never shrinks: its peak.
    pub wasm: Option<u64>,
    /// Our own GPU allocator's count: weights, states and plans.
    pub gpu: Option<u64>,
    /// Natively the largest resident set since the load began; of a browser the largest proportional set size of all its
    /// processes and the driver's together, seen at the ends of jobs.
    pub peak_resident: Option<u64>,
}

/// What stands before the first generated token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Prompt {
    Text(String),
    /// OpenAI-style messages, put through the model's chat template.
    Messages(Vec<Message>),
    Ids(Vec<u32>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GenerateJob {
    pub prompt: Prompt,
    /// What an encoder-decoder reads, by the names of its encoder's inputs; the prompt is then what its text begins
    /// with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub source: BTreeMap<String, TensorData>,
    pub max_tokens: usize,
    #[serde(default)]
    pub sampling: Sampling,
    /// Texts that end the generation and are not part of it.
    #[serde(default)]
    pub stop: Vec<String>,
    /// Goes on over the model's end-of-text tokens, as references and benchmarks do.
    #[serde(default)]
    pub ignore_eos: bool,
    /// What an encoder-decoder is told to do with the prompt, which is a text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instruct: Option<Instruct>,
    /// More prompts, whose answers are made side by side with the first one's. Nothing is told meanwhile.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Prompt>,
}

/// An answer to one of [`GenerateJob::beside`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Beside {
    pub ids: Vec<u32>,
    pub text: String,
}

/// `{"task": "translate", "from": "en", "to": "de"}` or `{"task": "summarize"}`; with `prefix`, the model is told that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruct {
    pub task: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
}

/// `greedy`, or drawing from the distribution after the filters in this order: repetition penalty, temperature, top-k, top-p, min-p.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Sampling {
    pub greedy: bool,
    pub temperature: f32,
    pub top_k: Option<usize>,
    pub top_p: Option<f32>,
    pub min_p: Option<f32>,
    pub repetition_penalty: Option<f32>,
    pub seed: Option<u64>,
}

impl Default for Sampling {
    fn default() -> Sampling {
        Sampling {
            greedy: false,
            temperature: 0.8,
            top_k: Some(40),
            top_p: Some(0.95),
            min_p: None,
            repetition_penalty: None,
            seed: None,
        }
    }
}

impl Sampling {
    pub fn greedy() -> Sampling {
        Sampling {
            greedy: true,
            ..Sampling::default()
        }
    }
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct GenerateResult {
    pub prompt_ids: Vec<u32>,
    pub ids: Vec<u32>,
    pub text: String,
    /// `stop` (end of text or a stop text), `length`, `aborted` or `context_full`.
    pub finish_reason: String,
    /// Prompt tokens found in the cached prefix and not computed again.
    pub cached_tokens: usize,
    /// Answers to the other prompts, in their order. The times are then from the call until each answer had its first token, and
    /// from there to the last token of all; the rates are of all answers together.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<Beside>,
    /// From the call to the first token, in milliseconds.
    pub time_to_first_token_ms: Option<f64>,
    pub prefill_ms: Option<f64>,
    /// For the tokens after the first.
    pub decode_ms: Option<f64>,
    /// Computed prompt tokens (without cached ones) per second.
    pub prefill_tokens_per_second: Option<f64>,
    /// Tokens after the first per second; absent when there was one only.
    pub decode_tokens_per_second: Option<f64>,
    pub memory: MemoryFacts,
}

/// Teacher-forced scoring of `ids`, or of `text` as the tokenizer encodes it; exactly one is given.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoreJob {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<Vec<u32>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ScoreResult {
    pub ids: Vec<u32>,
    /// Negative log-likelihood (natural logarithm) of `ids[i + 1]` after `ids[..=i]`.
    pub nll: Vec<f64>,
    /// The model's own best id in the place of `ids[i + 1]`.
    pub best: Vec<u32>,
    pub mean_nll: f64,
    pub elapsed_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct EmbedJob {
    pub texts: Vec<String>,
    /// Pictures or recordings, instead of texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
}

/// A picture or a recording as its file has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    pub name: String,
    /// In standard base64.
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

/// A question about texts, or about pictures or recordings. The names of what it says are the JavaScript API's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AnswerJob {
    /// `classify`, `detect`, `zeroShot` or `fillMask`.
    pub task: String,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<InputFile>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub threshold: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_k: Option<usize>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AnswerResult {
    /// One a text or file: `[{class, label, score}]`, with `box` for things in a picture and `token` and `id` for tokens;
    /// for masks a list each of `[{token, id, score, sequence}]`.
    pub answers: Vec<serde_json::Value>,
    pub elapsed_ms: Option<f64>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct EmbedResult {
    /// One a text, in order.
    pub embeddings: Vec<Embedding>,
    pub elapsed_ms: Option<f64>,
    pub memory: MemoryFacts,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Embedding {
    pub input_ids: Vec<u32>,
    pub embedding: Vec<f32>,
}

/// One run of the model's graph on named inputs.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ForwardJob {
    pub inputs: BTreeMap<String, TensorData>,
    /// Names of the outputs to give back; empty: all.
    #[serde(default)]
    pub outputs: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ForwardResult {
    pub outputs: BTreeMap<String, TensorData>,
    pub elapsed_ms: Option<f64>,
}

/// Runs an ONNX file once, in a worker of its own; the answer is a [`ForwardResult`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnnxJob {
    /// `webgpu` or `wasm`.
    pub backend: String,
    #[serde(with = "base64_bytes")]
    pub model: Vec<u8>,
    pub inputs: BTreeMap<String, TensorData>,
    pub outputs: Vec<String>,
    /// How long it may take in all.
    pub limit_ms: u64,
}

/// A tensor in JSON: its elements little-endian, row-major, in standard base64. In a [`GraphJob`] and its answer, one
/// element may stand for all.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TensorData {
    /// `f32`, `i64`, … as `fewbit_engine::tensor::DataType` prints them.
    pub data_type: String,
    pub shape: Vec<usize>,
    #[serde(with = "base64_bytes")]
    pub data: Vec<u8>,
}

pub(crate) mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::{Deserialize, Deserializer, Serializer};

    pub(crate) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(from)?;
        STANDARD
            .decode(text.as_bytes())
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn jobs_keep_their_json() {
        let job = Job::Generate(GenerateJob {
            prompt: Prompt::Text("Hi".into()),
            source: BTreeMap::new(),
            max_tokens: 4,
            sampling: Sampling::greedy(),
            stop: vec![],
            ignore_eos: true,
            instruct: None,
            beside: vec![],
        });
        let json = serde_json::to_value(&job).unwrap();
        assert_eq!(json["kind"], "generate");
        assert_eq!(json["prompt"]["text"], "Hi");
        assert_eq!(json["sampling"]["greedy"], true);
        assert_eq!(serde_json::from_value::<Job>(json).unwrap(), job);

        let short = r#"{"kind":"generate","prompt":{"ids":[1,2]},"max_tokens":1}"#;
        let Job::Generate(job) = serde_json::from_str(short).unwrap() else {
            panic!("not a generate job");
        };
        assert_eq!(job.prompt, Prompt::Ids(vec![1, 2]));
        assert!(!job.ignore_eos);
    }

    #[test]
    fn tensors_travel_as_base64() {
        let tensor = TensorData {
            data_type: "f32".into(),
            shape: vec![1],
            data: 1.0f32.to_le_bytes().to_vec(),
        };
        let json = serde_json::to_string(&tensor).unwrap();
        assert!(json.contains("\"AACAPw==\""), "{json}");
        assert_eq!(serde_json::from_str::<TensorData>(&json).unwrap(), tensor);
        assert!(
            serde_json::from_str::<TensorData>(r#"{"data_type":"f32","shape":[1],"data":"*"}"#)
                .is_err()
        );
    }
}
