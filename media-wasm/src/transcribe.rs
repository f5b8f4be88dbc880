//! Transcription behind the boundary: this module says what the model in the other one is to do next, and makes a transcript
//! of what comes back (`engine/src/task/transcribe`).

use fewbit_engine::input::audio::AudioError;
use fewbit_engine::task::transcribe::{
    self, Part, Segment, SpeechTask, Step, TranscribeError, TranscribeFacts, TranscribeFiles,
    TranscribeOptions, Words,
};
use js_sys::{Array, Object, Reflect, Uint8Array};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::{audio_fault, error, to_js};

#[wasm_bindgen]
extern "C" {
    /// The other module's tokenizer.
    pub type JsWords;

    #[wasm_bindgen(method)]
    fn id(this: &JsWords, token: &str) -> Option<u32>;

    #[wasm_bindgen(method)]
    fn text(this: &JsWords, ids: Vec<u32>) -> String;
}

impl Words for JsWords {
    fn id(&self, token: &str) -> Option<u32> {
        JsWords::id(self, token)
    }

    fn text(&self, ids: &[u32]) -> String {
        JsWords::text(self, ids.to_vec())
    }
}

/// How a model transcribes.
#[wasm_bindgen]
pub struct Transcriber(transcribe::Transcriber);

#[wasm_bindgen]
impl Transcriber {
    /// `files` has the bytes of `config.json`, `generation_config.json`, `preprocessor_config.json`, `vocab.json` and
    /// `tokenizer_config.json` by name, as far as the model has them; `mels` and `frames` are 0 for a CTC model.
    #[wasm_bindgen(constructor)]
    pub fn new(
        files: &Object,
        vocabulary: usize,
        context_length: usize,
        mels: usize,
        frames: usize,
        words: &JsWords,
    ) -> Result<Transcriber, JsValue> {
        let read = |name: &str| {
            let bytes = Reflect::get(files, &name.into()).ok()?;
            Some(bytes.dyn_into::<Uint8Array>().ok()?.to_vec())
        };
        let [
            config,
            generation_config,
            preprocessor_config,
            vocab,
            tokenizer_config,
        ] = [
            "config.json",
            "generation_config.json",
            "preprocessor_config.json",
            "vocab.json",
            "tokenizer_config.json",
        ]
        .map(read);
        let files = TranscribeFiles {
            config: config.as_deref(),
            generation_config: generation_config.as_deref(),
            preprocessor_config: preprocessor_config.as_deref(),
            vocabulary: vocab.as_deref(),
            tokenizer_config: tokenizer_config.as_deref(),
        };
        let facts = TranscribeFacts {
            vocabulary,
            context_length,
            features: (mels > 0).then_some((mels, frames)),
        };
        let transcriber = transcribe::Transcriber::new(&files, facts, words);
        transcriber.map(Transcriber).map_err(|error| fault(&error))
    }

    /// Samples a second that it hears.
    #[wasm_bindgen(getter)]
    pub fn rate(&self) -> u32 {
        self.0.rate()
    }

    /// Begins with a recording of so many samples. `options` as JSON are those of `TranscribeOptions` in `web/src/transcribe.ts`.
    pub fn begin(&self, samples: usize, options: &str) -> Result<Transcription, JsValue> {
        let options = read_options(options)?;
        let begun = self.0.begin(samples, &options);
        begun.map(Transcription).map_err(|error| fault(&error))
    }
}

/// A transcription under way.
#[wasm_bindgen]
pub struct Transcription(transcribe::Transcription);

#[wasm_bindgen]
impl Transcription {
    /// As JSON: `{ hear: [from, to] }` samples, `{ predict: ids }`, or `{ part }`; `undefined` at the end.
    pub fn step(&mut self) -> Option<String> {
        let step = match self.0.step() {
            Step::Hear(range) => json!({ "hear": [range.start, range.end] }),
            Step::Predict(ids) => json!({ "predict": ids }),
            // The driver runs the model as soon as it has the input.
            Step::Run => json!({ "run": true }),
            Step::Part(part) => json!({ "part": part_json(&part) }),
            Step::Done => return None,
        };
        Some(step.to_string())
    }

    /// Takes the samples asked for and gives the model's input; `undefined` where there is nothing to be heard.
    pub fn hear(&mut self, samples: Vec<f32>) -> Result<Option<Array>, JsValue> {
        let input = self.0.hear(&samples).map_err(|error| fault(&error))?;
        input.map(|named| to_js(&[named])).transpose()
    }

    /// Takes the logits of the next token.
    pub fn predicted(&mut self, logits: Vec<f32>, words: &JsWords) -> Result<(), JsValue> {
        let taken = self.0.predicted(logits, words);
        taken.map_err(|error| fault(&error))
    }

    /// Takes the logits of a run of a CTC model.
    pub fn answered(&mut self, logits: &[f32], classes: usize) -> Result<(), JsValue> {
        let taken = self.0.answered(logits, classes);
        taken.map_err(|error| fault(&error))
    }

    /// All that was given in parts, as JSON.
    pub fn transcript(&self) -> String {
        let transcript = self.0.transcript();
        let segments: Vec<Value> = transcript.segments.iter().map(segment_json).collect();
        json!({
            "text": transcript.text,
            "ids": transcript.ids,
            "segments": segments,
            "language": transcript.language,
        })
        .to_string()
    }
}

fn part_json(part: &Part) -> Value {
    let mut json = json!({
        "text": part.text,
        "tentative": part.tentative,
        "seconds": part.seconds,
    });
    if let Some(segment) = &part.segment {
        json["segment"] = segment_json(segment);
    }
    json
}

fn segment_json(segment: &Segment) -> Value {
    let mut json = json!({
        "start": segment.start,
        "end": segment.end,
        "text": segment.text,
        "ids": segment.ids,
    });
    for (name, value) in [
        ("avgLogprob", segment.avg_logprob),
        ("noSpeechProb", segment.no_speech_prob),
        ("temperature", segment.temperature),
        ("compressionRatio", segment.compression_ratio),
    ] {
        if let Some(value) = value {
            json[name] = value.into();
        }
    }
    json
}

fn read_options(text: &str) -> Result<TranscribeOptions, JsValue> {
    let bad = |reason: String| error("bad_argument", &reason);
    let given: Value = serde_json::from_str(text).map_err(|error| bad(error.to_string()))?;
    let usual = TranscribeOptions::default();
    Ok(TranscribeOptions {
        language: given["language"].as_str().map(str::to_owned),
        task: match given["task"].as_str() {
            None | Some("transcribe") => SpeechTask::Transcribe,
            Some("translate") => SpeechTask::Translate,
            Some(other) => {
                return Err(bad(format!(
                    "task {other:?} is neither transcribe nor translate"
                )));
            }
        },
        timestamps: given["timestamps"].as_bool().or(usual.timestamps),
        condition_on_previous: given["conditionOnPrevious"]
            .as_bool()
            .unwrap_or(usual.condition_on_previous),
        seed: given["seed"].as_u64().unwrap_or(usual.seed),
        ..usual
    })
}

fn fault(problem: &TranscribeError) -> JsValue {
    let code = match problem {
        TranscribeError::Audio(problem @ AudioError::Config(_)) => return audio_fault(problem),
        TranscribeError::NoFile(_)
        | TranscribeError::NoToken(_)
        | TranscribeError::NoTranslation => "unsupported",
        TranscribeError::Audio(_)
        | TranscribeError::Language { .. }
        | TranscribeError::TooShort { .. } => "bad_argument",
        TranscribeError::Unasked(_) => "internal",
        _ => "bad_model",
    };
    error(code, &problem.to_string())
}
