//! What is said in a recording, and when: Whisper's long-form decoding ("Robust Speech Recognition via Large-Scale Weak
//! Supervision", section 4.5) and, for CTC models such as Wav2Vec2, chunks with overlap.
//!
//! [`Transcription`] computes nothing itself. [`Transcription::step`] says what it needs next (samples, logits, a run of
//! the model) or gives a part of the transcript, so that whoever drives it decides where the model runs, can stop between
//! any two steps, and holds no more of the recording than a window. [`Model::step_transcription`] drives it natively.
//! In pages it lives in the module of codecs, beside the one that holds the model.
//!
//! [`Model::step_transcription`]: crate::task::Model::step_transcription

mod chunks;
mod drive;
mod pauses;
mod repetition;
mod rules;
#[cfg(test)]
mod tests;
mod tokens;
mod whisper;

use std::ops::Range;

use chunks::{ChunkedCtc, CtcTranscription};
pub use drive::{TranscribeEvent, TranscriptionError};
use serde_json::Value;
use whisper::{Whisper, WhisperTranscription};

use super::ctc::CtcError;
use crate::input::audio::{AudioError, AudioPreprocessor};
use crate::tensor::Tensor;

#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TranscribeError {
    #[error(transparent)]
    Audio(#[from] AudioError),
    #[error(transparent)]
    Ctc(#[from] CtcError),
    #[error("{file}: malformed JSON: {reason}")]
    Json { file: &'static str, reason: String },
    #[error("{0} is missing, which tells the model's tokens")]
    NoFile(&'static str),
    #[error("the tokenizer has no token {0}, with which Whisper is told what to do")]
    NoToken(&'static str),
    #[error("the id {id} is suppressed, but the vocabulary has {vocabulary}")]
    UnknownToken { id: u32, vocabulary: usize },
    #[error("language {asked:?}: the model knows {known}")]
    Language { asked: String, known: String },
    #[error("the model transcribes only: it has no token to translate with")]
    NoTranslation,
    #[error("a preprocessor of another kind than the model's: {0}")]
    Preprocessor(String),
    #[error("the window of {given} frames is not the model's, which has {wanted}")]
    Window { given: usize, wanted: usize },
    #[error(
        "a recording of {samples} samples is shorter than the {least} that the model hears at a time"
    )]
    TooShort { samples: usize, least: usize },
    #[error("{0} was given where the transcription waits for something else")]
    Unasked(&'static str),
}

/// What a tokenizer tells of its tokens.
pub trait Words {
    /// The id of a token as its file spells it.
    fn id(&self, token: &str) -> Option<u32>;
    /// The text of ids.
    fn text(&self, ids: &[u32]) -> String;
}

/// The files beside the weights, as far as there are any.
#[derive(Clone, Copy, Debug, Default)]
pub struct TranscribeFiles<'a> {
    pub config: Option<&'a [u8]>,
    pub generation_config: Option<&'a [u8]>,
    pub preprocessor_config: Option<&'a [u8]>,
    /// CTC models have their tokens here.
    pub vocabulary: Option<&'a [u8]>,
    pub tokenizer_config: Option<&'a [u8]>,
}

/// What is known of the model itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TranscribeFacts {
    /// Token ids there are.
    pub vocabulary: usize,
    /// Most tokens at a time.
    pub context_length: usize,
    /// Of an encoder-decoder: the shape of what it reads, mel bands and frames.
    pub features: Option<(usize, usize)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpeechTask {
    #[default]
    Transcribe,
    /// Into English.
    Translate,
}

/// How to transcribe. The thresholds are those of OpenAI's `transcribe.py`.
#[derive(Clone, Debug, PartialEq)]
pub struct TranscribeOptions {
    /// A code such as `en`; heard out of the first window if left out.
    pub language: Option<String>,
    pub task: SpeechTask,
    /// Whether Whisper says when it is that something is said. Otherwise a segment is a window. If left out, it does where the
    /// recording is longer than a window, as in `transformers`.
    pub timestamps: Option<bool>,
    /// A window goes on from what the ones before it said: their words are spelled the same, but an error, or a sentence that
    /// is said again, leads small models astray. Off, as in `transformers`.
    pub condition_on_previous: bool,
    /// Tried in this order until a window's text is neither too unlikely nor too repetitive.
    pub temperatures: Vec<f64>,
    /// The text's bytes over what compression leaves of them.
    pub most_compression: f64,
    /// The average natural logarithm of the tokens' probabilities.
    pub least_logprob: f64,
    /// A window that is more likely than this without speech, and unlikely as it was understood, is passed over.
    pub most_no_speech: f64,
    /// For what is drawn above temperature 0.
    pub seed: u64,
}

impl Default for TranscribeOptions {
    fn default() -> TranscribeOptions {
        TranscribeOptions {
            language: None,
            task: SpeechTask::Transcribe,
            timestamps: None,
            condition_on_previous: false,
            temperatures: vec![0.0, 0.2, 0.4, 0.6, 0.8, 1.0],
            most_compression: 2.4,
            least_logprob: -1.0,
            most_no_speech: 0.6,
            seed: 0,
        }
    }
}

/// A stretch of speech.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Segment {
    /// Seconds from the recording's beginning.
    pub start: f64,
    pub end: f64,
    pub text: String,
    /// The ids of the text.
    pub ids: Vec<u32>,
    /// The average natural logarithm of the probabilities of its window's tokens; Whisper only, as the next three.
    pub avg_logprob: Option<f64>,
    /// How likely its window holds no speech.
    pub no_speech_prob: Option<f64>,
    pub temperature: Option<f64>,
    pub compression_ratio: Option<f64>,
}

/// A part of a transcript.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Part {
    /// To be added to the text; what was given stays.
    pub text: String,
    /// The segment that says it.
    pub segment: Option<Segment>,
    /// What is being understood of the window at hand. The next part replaces it.
    pub tentative: String,
    /// Seconds that are done.
    pub seconds: f64,
}

/// The whole of a transcript.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Transcript {
    pub text: String,
    pub ids: Vec<u32>,
    pub segments: Vec<Segment>,
    /// The language's code, where the model knows several.
    pub language: Option<String>,
}

/// What a transcription needs to go on, or what it has.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// These samples, mono at [`Transcriber::rate`]: [`Transcription::hear`].
    Hear(Range<usize>),
    /// The logits of the token after these ids, of a model that has read what [`Transcription::hear`] gave last:
    /// [`Transcription::predicted`].
    Predict(Vec<u32>),
    /// The logits of a run on what [`Transcription::hear`] gave: [`Transcription::answered`].
    Run,
    Part(Part),
    Done,
}

/// How a model transcribes: what its files say, read once.
#[derive(Debug)]
pub enum Transcriber {
    #[doc(hidden)]
    Whisper(WhisperSpeech),
    #[doc(hidden)]
    Ctc(CtcSpeech),
}

/// What there is to know of a Whisper.
#[derive(Debug)]
pub struct WhisperSpeech(std::rc::Rc<Whisper>);

/// What there is to know of a CTC model.
#[derive(Debug)]
pub struct CtcSpeech(std::rc::Rc<ChunkedCtc>);

impl Transcriber {
    /// # Errors
    /// A file that is no JSON or contradicts the model, and what is missing.
    pub fn new(
        files: &TranscribeFiles<'_>,
        facts: TranscribeFacts,
        words: &dyn Words,
    ) -> Result<Transcriber, TranscribeError> {
        Ok(match facts.features {
            Some(shape) => Transcriber::Whisper(WhisperSpeech(
                Whisper::new(files, facts, shape, words)?.into(),
            )),
            None => Transcriber::Ctc(CtcSpeech(ChunkedCtc::new(files)?.into())),
        })
    }

    /// Samples a second that it hears.
    pub fn rate(&self) -> u32 {
        match self {
            Transcriber::Whisper(WhisperSpeech(whisper)) => whisper.rate(),
            Transcriber::Ctc(CtcSpeech(ctc)) => ctc.rate(),
        }
    }

    /// The languages that can be asked for; empty where there is no choice.
    pub fn languages(&self) -> Vec<&str> {
        match self {
            Transcriber::Whisper(WhisperSpeech(whisper)) => whisper.languages(),
            Transcriber::Ctc(_) => Vec::new(),
        }
    }

    /// Begins with a recording of so many samples.
    ///
    /// # Errors
    /// No samples, and options that the model cannot follow.
    pub fn begin(
        &self,
        samples: usize,
        options: &TranscribeOptions,
    ) -> Result<Transcription, TranscribeError> {
        if samples == 0 {
            return Err(AudioError::Empty.into());
        }
        Ok(match self {
            Transcriber::Whisper(WhisperSpeech(whisper)) => {
                let whisper = WhisperTranscription::new(whisper.clone(), samples, options)?;
                Transcription(Kind::Whisper(Box::new(whisper)))
            }
            Transcriber::Ctc(CtcSpeech(ctc)) => {
                let ctc = CtcTranscription::new(ctc.clone(), samples, options)?;
                Transcription(Kind::Ctc(Box::new(ctc)))
            }
        })
    }
}

/// A transcription under way. Drop it to stop.
#[derive(Debug)]
pub struct Transcription(Kind);

#[derive(Debug)]
enum Kind {
    Whisper(Box<WhisperTranscription>),
    Ctc(Box<CtcTranscription>),
}

impl Transcription {
    /// What it needs next, or a part. Asking again without an answer asks for the same; a part comes once.
    pub fn step(&mut self) -> Step {
        match &mut self.0 {
            Kind::Whisper(whisper) => whisper.step(),
            Kind::Ctc(ctc) => ctc.step(),
        }
    }

    /// Takes the samples asked for and gives the model's input by name; nothing where they are all quiet, upon which the next
    /// step tells what is needed.
    ///
    /// # Errors
    /// Samples that are not finite, or were not asked for.
    pub fn hear(
        &mut self,
        samples: &[f32],
    ) -> Result<Option<(&'static str, Tensor)>, TranscribeError> {
        Ok(match &mut self.0 {
            Kind::Whisper(whisper) => whisper.hear(samples)?.map(|x| ("input_features", x)),
            Kind::Ctc(ctc) => Some(("input_values", ctc.hear(samples)?)),
        })
    }

    /// Takes the logits of the next token.
    ///
    /// # Errors
    /// Logits that were not asked for.
    pub fn predicted(
        &mut self,
        logits: Vec<f32>,
        words: &dyn Words,
    ) -> Result<(), TranscribeError> {
        match &mut self.0 {
            Kind::Whisper(whisper) => whisper.predicted(logits, words),
            Kind::Ctc(_) => Err(TranscribeError::Unasked("logits of a token")),
        }
    }

    /// Takes the logits of a run, `[frames, classes]`.
    ///
    /// # Errors
    /// Logits that were not asked for, or that do not fit the vocabulary.
    pub fn answered(&mut self, logits: &[f32], classes: usize) -> Result<(), TranscribeError> {
        match &mut self.0 {
            Kind::Whisper(_) => Err(TranscribeError::Unasked("a run's logits")),
            Kind::Ctc(ctc) => ctc.answered(logits, classes),
        }
    }

    /// All that was given in parts.
    pub fn transcript(&self) -> &Transcript {
        match &self.0 {
            Kind::Whisper(whisper) => whisper.transcript(),
            Kind::Ctc(ctc) => ctc.transcript(),
        }
    }
}

impl Transcript {
    /// Adds a segment; what is to be added to the text for it.
    fn push(&mut self, segment: Segment) -> Part {
        let text = match self.text.is_empty() {
            true => segment.text.trim_start().to_owned(),
            // Whisper's segments begin with a space where there is one between words.
            false => segment.text.clone(),
        };
        self.text += &text;
        self.ids.extend(&segment.ids);
        let segment = Segment {
            text: segment.text.trim().to_owned(),
            ..segment
        };
        self.segments.push(segment.clone());
        Part {
            text,
            segment: Some(segment),
            ..Part::default()
        }
    }
}

/// The feature extractor that the files describe; `usual` if they do not.
fn preprocessor(
    files: &TranscribeFiles<'_>,
    usual: Value,
) -> Result<AudioPreprocessor, TranscribeError> {
    let model_type = usual["model_type"].as_str().map(str::to_owned);
    let preprocessor = match files.preprocessor_config {
        Some(json) => AudioPreprocessor::from_json(json, model_type.as_deref()),
        None => AudioPreprocessor::from_json(usual.to_string().as_bytes(), model_type.as_deref()),
    };
    Ok(preprocessor?)
}

/// Says where in the recording, not in the window, a sample is not finite.
fn placed(error: AudioError, from: usize) -> AudioError {
    match error {
        AudioError::NotFinite { index } => AudioError::NotFinite {
            index: from + index,
        },
        other => other,
    }
}
