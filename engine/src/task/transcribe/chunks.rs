//! CTC over long recordings: chunks that overlap, of whose frames those near a cut are left to the neighbour, as they heard
//! too little around them. Words become segments where a pause is between them.

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::{Value, json};

use super::{
    Part, Segment, SpeechTask, Step, TranscribeError, TranscribeFiles, TranscribeOptions,
    Transcript, placed, preprocessor,
};
use crate::input::audio::{AudioPreprocessor, Wav2Vec2Features};
use crate::task::ctc::CtcDecoder;
use crate::task::labels::best;
use crate::tensor::Tensor;

/// What is heard at a time, and what of it at each cut is only heard along, in seconds.
const CHUNK: usize = 20;
const MARGIN: usize = 3;

/// A pause of so many seconds ends a segment, and so does its length.
const PAUSE: f64 = 0.5;
const LONGEST: f64 = 30.0;

/// The convolutions of all published models, where a config does not say: kernels and strides.
const KERNELS: [usize; 7] = [10, 3, 3, 3, 3, 2, 2];
const STRIDES: [usize; 7] = [5, 2, 2, 2, 2, 2, 2];

/// A CTC model's files.
#[derive(Debug)]
pub(super) struct ChunkedCtc {
    features: Wav2Vec2Features,
    decoder: CtcDecoder,
    /// Samples from one frame to the next, and that a frame is made of.
    stride: usize,
    least: usize,
}

impl ChunkedCtc {
    pub(super) fn new(files: &TranscribeFiles<'_>) -> Result<ChunkedCtc, TranscribeError> {
        let usual = json!({
            "model_type": "wav2vec2",
            "feature_extractor_type": "Wav2Vec2FeatureExtractor",
        });
        let features = match preprocessor(files, usual)? {
            AudioPreprocessor::Wav2Vec2(features) => features,
            _ => return Err(TranscribeError::Preprocessor("not Wav2Vec2's".into())),
        };
        let vocabulary = files
            .vocabulary
            .ok_or(TranscribeError::NoFile("vocab.json"))?;
        let decoder = CtcDecoder::from_json(vocabulary, files.tokenizer_config)?;
        let config: Value = match files.config {
            Some(json) => serde_json::from_slice(json).map_err(|error| TranscribeError::Json {
                file: "config.json",
                reason: error.to_string().chars().take(200).collect(),
            })?,
            None => Value::Null,
        };
        let sizes = |key: &str, usual: &[usize]| -> Vec<usize> {
            let sizes = config[key].as_array().map(|sizes| {
                let sizes = sizes.iter().filter_map(Value::as_u64);
                // The builder has checked them; whatever else is here must only not overflow.
                sizes.map(|size| size.clamp(1, 1 << 16) as usize).collect()
            });
            sizes.unwrap_or_else(|| usual.to_vec())
        };
        let (mut stride, mut least) = (1usize, 1usize);
        let convolutions = sizes("conv_kernel", &KERNELS);
        for (kernel, step) in convolutions.iter().zip(sizes("conv_stride", &STRIDES)) {
            least = least.saturating_add((kernel - 1).saturating_mul(stride));
            stride = stride.saturating_mul(step);
        }
        let chunk = CHUNK * features.rate() as usize;
        if least > chunk || stride > MARGIN * features.rate() as usize {
            let reason = format!("a frame every {stride} samples");
            return Err(TranscribeError::Preprocessor(reason));
        }
        Ok(ChunkedCtc {
            features,
            decoder,
            stride,
            least,
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.features.rate()
    }

    /// Samples of so many seconds, in whole frames.
    fn frames(&self, seconds: usize) -> usize {
        seconds * self.rate() as usize / self.stride
    }

    fn seconds(&self, frame: usize) -> f64 {
        (frame * self.stride) as f64 / f64::from(self.rate())
    }
}

/// A word, with the frames that it was heard in.
#[derive(Debug)]
struct Heard {
    text: String,
    ids: Vec<u32>,
    start: usize,
    end: usize,
}

#[derive(Debug)]
pub(super) struct CtcTranscription {
    ctc: Rc<ChunkedCtc>,
    samples: usize,
    /// The frame that the chunk at hand begins with, and whether it is being run.
    chunk: usize,
    waits_for_logits: bool,
    is_over: bool,
    /// The best path from frame `path_from` on, as far as its words have not ended.
    path: Vec<usize>,
    path_from: usize,
    words: Vec<Heard>,
    parts: VecDeque<Part>,
    transcript: Transcript,
}

impl CtcTranscription {
    pub(super) fn new(
        ctc: Rc<ChunkedCtc>,
        samples: usize,
        options: &TranscribeOptions,
    ) -> Result<CtcTranscription, TranscribeError> {
        if options.task == SpeechTask::Translate {
            return Err(TranscribeError::NoTranslation);
        }
        if samples < ctc.least {
            let least = ctc.least;
            return Err(TranscribeError::TooShort { samples, least });
        }
        Ok(CtcTranscription {
            ctc,
            samples,
            chunk: 0,
            waits_for_logits: false,
            is_over: false,
            path: Vec::new(),
            path_from: 0,
            words: Vec::new(),
            parts: VecDeque::new(),
            transcript: Transcript::default(),
        })
    }

    pub(super) fn step(&mut self) -> Step {
        match self.parts.pop_front() {
            Some(part) => Step::Part(part),
            None if self.is_over => Step::Done,
            None if self.waits_for_logits => Step::Run,
            None => Step::Hear(self.range()),
        }
    }

    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    /// The samples of the chunk at hand. All chunks but that of a short recording are equally long, so that one plan does
    /// for them.
    fn range(&self) -> std::ops::Range<usize> {
        let from = self.chunk * self.ctc.stride;
        let chunk = self.ctc.frames(CHUNK) * self.ctc.stride;
        from..self.samples.min(from + chunk)
    }

    pub(super) fn hear(&mut self, samples: &[f32]) -> Result<Tensor, TranscribeError> {
        let range = self.range();
        if self.waits_for_logits || self.is_over || samples.len() != range.len() {
            return Err(TranscribeError::Unasked("sound"));
        }
        let values = self.ctc.features.values(&[samples]);
        let (values, _) = values.map_err(|error| placed(error, range.start))?;
        self.waits_for_logits = true;
        Ok(values)
    }

    pub(super) fn answered(
        &mut self,
        logits: &[f32],
        classes: usize,
    ) -> Result<(), TranscribeError> {
        if !self.waits_for_logits {
            return Err(TranscribeError::Unasked("a run's logits"));
        }
        let ctc = self.ctc.clone();
        ctc.decoder.check(logits, classes)?;
        let frames: Vec<usize> = logits.chunks_exact(classes).map(best).collect();
        self.waits_for_logits = false;
        let range = self.range();
        let chunk = ctc.frames(CHUNK);
        // As far as a whole chunk more does not fit, the last one ends with the recording.
        let last_chunk = (self.samples / ctc.stride).saturating_sub(chunk);
        let is_last = self.chunk >= last_chunk;
        let margin = if is_last { 0 } else { ctc.frames(MARGIN) };
        let known = self.path_from + self.path.len();
        let skip = known.saturating_sub(self.chunk);
        let keep = frames.len().saturating_sub(margin);
        self.path.extend(frames.get(skip..keep).unwrap_or_default());
        self.take_words(is_last);
        self.is_over = is_last;
        let next = self.path_from + self.path.len();
        let next = next.saturating_sub(ctc.frames(MARGIN)).min(last_chunk);
        self.chunk = next.max(self.chunk);
        let seconds = match is_last {
            true => self.samples as f64 / f64::from(ctc.rate()),
            false => ctc.seconds(range.start / ctc.stride + keep),
        };
        if is_last {
            self.flush(seconds);
        }
        let words: Vec<&str> = self.words.iter().map(|word| &*word.text).collect();
        self.parts.push_back(Part {
            tentative: words.join(" "),
            seconds,
            ..Part::default()
        });
        Ok(())
    }

    /// Moves the words of the path that have ended into segments.
    fn take_words(&mut self, all: bool) {
        let ctc = self.ctc.clone();
        let ends = |&id: &usize| ctc.decoder.is_delimiter(id);
        let whole = match all {
            true => self.path.len(),
            false => self.path.iter().rposition(&ends).map_or(0, |at| at + 1),
        };
        let path: Vec<usize> = self.path.drain(..whole).collect();
        let mut at = self.path_from;
        self.path_from += whole;
        for piece in path.split(&ends) {
            let begin = at;
            // The delimiter is a frame too.
            at += piece.len() + 1;
            let heard = ctc.decoder.collapse(piece);
            let (Some(first), Some(last)) = (heard.words.first(), heard.words.last()) else {
                continue;
            };
            let word = Heard {
                start: begin + first.frames.start,
                end: begin + last.frames.end,
                ids: heard.ids.iter().map(|&id| id as u32).collect(),
                text: heard.text,
            };
            let apart = self.words.last().is_some_and(|before| {
                let segment_start = self.words.first().map_or(0, |word| word.start);
                ctc.seconds(word.start - before.end.min(word.start)) > PAUSE
                    || ctc.seconds(word.end - segment_start) > LONGEST
            });
            if apart {
                self.flush(ctc.seconds(word.start));
            }
            self.words.push(word);
        }
    }

    /// Makes a segment of the words at hand.
    fn flush(&mut self, seconds: f64) {
        let words = std::mem::take(&mut self.words);
        let (Some(first), Some(last)) = (words.first(), words.last()) else {
            return;
        };
        let delimiter = self.ctc.decoder.delimiter().map(|id| id as u32);
        let mut ids = Vec::new();
        let mut text = String::new();
        for word in &words {
            if !ids.is_empty() {
                ids.extend(delimiter);
            }
            ids.extend(&word.ids);
            text.push(' ');
            text += &word.text;
        }
        let segment = Segment {
            start: self.ctc.seconds(first.start),
            end: self.ctc.seconds(last.end),
            text,
            ids,
            ..Segment::default()
        };
        let part = self.transcript.push(segment);
        self.parts.push_back(Part { seconds, ..part });
    }
}
