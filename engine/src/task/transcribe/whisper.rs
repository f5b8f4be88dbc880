//! Windows of 30 s, each understood token by token, each beginning where the last one's speech ended
//! (`whisper/transcribe.py`, `whisper/decoding.py`).

use std::collections::VecDeque;
use std::rc::Rc;

use serde_json::json;

use super::pauses::Sounding;
use super::repetition::compression_ratio;
use super::rules::{best, choose, probability, restrict};
use super::tokens::WhisperTokens;
use super::{
    Part, Segment, SpeechTask, Step, TranscribeError, TranscribeFacts, TranscribeFiles,
    TranscribeOptions, Transcript, Words, placed, preprocessor,
};
use crate::input::audio::{AudioPreprocessor, WhisperFeatures};
use crate::task::random::Random;
use crate::tensor::Tensor;

/// Above this temperature a window's text is not gone on from.
const HOT: f64 = 0.5;

/// Frames to a step of time: the second convolution's stride.
const STEP_FRAMES: usize = 2;

/// A window moves on by this many seconds at least, whatever times the model says.
const LEAST_MOVE: f64 = 0.5;

/// Sound that is shorter and alone is passed over; a pause of so many seconds ends a window; what is heard along before and
/// after.
const LEAST_SOUND: f64 = 0.1;
const PAUSE: f64 = 1.5;
const AROUND: f64 = 0.2;

/// What the model passed over is heard again if it stands behind a pause of so many seconds and has so many of sound.
const PAUSE_BEFORE_REST: f64 = 0.5;
const SOUND_OF_REST: f64 = 1.0;

/// What is left at the end is not looked at if it is shorter, in seconds.
const LEAST_REST: f64 = 0.1;

/// A Whisper's files.
#[derive(Debug)]
pub(super) struct Whisper {
    features: WhisperFeatures,
    tokens: WhisperTokens,
    context_length: usize,
}

impl Whisper {
    pub(super) fn new(
        files: &TranscribeFiles<'_>,
        facts: TranscribeFacts,
        (mels, frames): (usize, usize),
        words: &dyn Words,
    ) -> Result<Whisper, TranscribeError> {
        let usual = json!({
            "model_type": "whisper",
            "feature_extractor_type": "WhisperFeatureExtractor",
            "feature_size": mels,
        });
        let features = match preprocessor(files, usual)? {
            AudioPreprocessor::Whisper(features) => features,
            _ => return Err(TranscribeError::Preprocessor("not Whisper's".into())),
        };
        if features.mels() != mels {
            let reason = format!("{} mel bands, the model hears {mels}", features.mels());
            return Err(TranscribeError::Preprocessor(reason));
        }
        let given = features.chunk_samples() / features.hop();
        if given != frames {
            return Err(TranscribeError::Window {
                given,
                wanted: frames,
            });
        }
        Ok(Whisper {
            features,
            tokens: WhisperTokens::read(files, words, facts.vocabulary)?,
            context_length: facts.context_length,
        })
    }

    pub(super) fn rate(&self) -> u32 {
        self.features.rate()
    }

    pub(super) fn languages(&self) -> Vec<&str> {
        let languages = self.tokens.languages.iter();
        languages.map(|(code, _)| code.as_str()).collect()
    }

    /// Seconds of so many samples.
    fn seconds(&self, samples: usize) -> f64 {
        samples as f64 / f64::from(self.rate())
    }

    fn samples(&self, seconds: f64) -> usize {
        (seconds * f64::from(self.rate())) as usize
    }

    /// Steps of time in so many seconds.
    fn steps(&self, seconds: f64) -> usize {
        self.samples(seconds) / self.step_samples()
    }

    /// Samples to a step of time.
    fn step_samples(&self) -> usize {
        STEP_FRAMES * self.features.hop()
    }
}

/// What a window is being understood with.
#[derive(Debug, Default)]
struct Attempt {
    /// Which of the temperatures.
    at: usize,
    /// Tokens of the context that were not said in this window.
    before: usize,
    logprobs: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Samples are wanted.
    Hear,
    /// The logits after the start token are, which tell whether there is speech and in which language.
    Start,
    /// The logits of a token are.
    Say,
}

#[derive(Debug)]
pub(super) struct WhisperTranscription {
    whisper: Rc<Whisper>,
    options: TranscribeOptions,
    /// Whether the model says times.
    timestamps: bool,
    /// Samples of the recording, and how many of them are done.
    samples: usize,
    done: usize,
    /// Samples of the window at hand, and where there is sound in it.
    window: usize,
    sounding: Sounding,
    phase: Phase,
    language: Option<u32>,
    context: Vec<u32>,
    attempt: Attempt,
    no_speech: Option<f64>,
    random: Random,
    /// What windows before this one said, times included.
    previous: Vec<u32>,
    parts: VecDeque<Part>,
    transcript: Transcript,
}

/// A text of a window, once it has ended.
struct Said {
    tokens: Vec<u32>,
    avg_logprob: f64,
    compression_ratio: f64,
    temperature: f64,
}

impl WhisperTranscription {
    pub(super) fn new(
        whisper: Rc<Whisper>,
        samples: usize,
        options: &TranscribeOptions,
    ) -> Result<WhisperTranscription, TranscribeError> {
        let tokens = &whisper.tokens;
        let language = match options.language.as_deref() {
            None => None,
            // What a model of English alone transcribes anyway.
            Some("en") if tokens.languages.is_empty() => None,
            Some(code) => {
                let found = tokens.language(code);
                Some(found.ok_or_else(|| TranscribeError::Language {
                    asked: code.chars().take(20).collect(),
                    known: match tokens.languages.is_empty() {
                        true => "English only".to_owned(),
                        false => whisper.languages().join(", "),
                    },
                })?)
            }
        };
        if options.task == SpeechTask::Translate && tokens.translate.is_none() {
            return Err(TranscribeError::NoTranslation);
        }
        Ok(WhisperTranscription {
            options: options.clone(),
            timestamps: options
                .timestamps
                .unwrap_or(samples > whisper.features.chunk_samples()),
            samples,
            done: 0,
            window: 0,
            sounding: Sounding::default(),
            phase: Phase::Hear,
            language,
            context: Vec::new(),
            attempt: Attempt::default(),
            no_speech: None,
            random: Random::new(options.seed),
            previous: Vec::new(),
            parts: VecDeque::new(),
            transcript: Transcript::default(),
            whisper,
        })
    }

    pub(super) fn step(&mut self) -> Step {
        if let Some(part) = self.parts.pop_front() {
            return Step::Part(part);
        }
        match self.phase {
            Phase::Hear if self.is_over() => Step::Done,
            Phase::Hear => Step::Hear(self.done..self.window_end()),
            Phase::Start | Phase::Say => Step::Predict(self.context.clone()),
        }
    }

    pub(super) fn transcript(&self) -> &Transcript {
        &self.transcript
    }

    fn is_over(&self) -> bool {
        let rest = self.samples.saturating_sub(self.done);
        rest == 0 || (self.done > 0 && rest < self.whisper.samples(LEAST_REST))
    }

    fn window_end(&self) -> usize {
        let window = self.whisper.features.chunk_samples();
        self.samples.min(self.done + window)
    }

    pub(super) fn hear(&mut self, samples: &[f32]) -> Result<Option<Tensor>, TranscribeError> {
        if self.phase != Phase::Hear || samples.len() != self.window_end() - self.done {
            return Err(TranscribeError::Unasked("sound"));
        }
        let whisper = self.whisper.clone();
        let step = whisper.step_samples();
        let sounding = Sounding::of(samples, step);
        let around = whisper.steps(AROUND);
        let stretch = sounding.stretch(whisper.steps(LEAST_SOUND), whisper.steps(PAUSE));
        if samples.iter().all(|sample| sample.is_finite()) {
            let Some(stretch) = &stretch else {
                self.pass_over(samples.len());
                return Ok(None);
            };
            let quiet = stretch.start.saturating_sub(around);
            if quiet > around {
                self.pass_over(quiet * step);
                return Ok(None);
            }
        }
        // A sample that is no number makes it fail here.
        let end = stretch.map_or(samples.len(), |stretch| (stretch.end + around) * step);
        self.window = samples.len().min(end);
        self.sounding = sounding;
        let features = whisper.features.chunks(&[&samples[..self.window]]);
        let features = features.map_err(|error| placed(error, self.done))?;
        self.context = self.beginning();
        self.attempt = Attempt::default();
        self.no_speech = None;
        self.phase = Phase::Start;
        Ok(Some(features))
    }

    /// Goes on behind what is quiet.
    fn pass_over(&mut self, samples: usize) {
        self.done += samples;
        self.parts.push_back(Part {
            seconds: self.whisper.seconds(self.done),
            ..Part::default()
        });
    }

    /// What stands before the start token's successors: what was said before, as far as half of the context, and the start.
    fn beginning(&self) -> Vec<u32> {
        let tokens = &self.whisper.tokens;
        let mut context = Vec::new();
        if let Some(previous) = tokens.previous
            && !self.previous.is_empty()
        {
            let most = (self.whisper.context_length / 2).saturating_sub(1);
            let from = self.previous.len().saturating_sub(most);
            context.push(previous);
            context.extend(&self.previous[from..]);
        }
        context.push(tokens.start);
        context
    }

    pub(super) fn predicted(
        &mut self,
        logits: Vec<f32>,
        words: &dyn Words,
    ) -> Result<(), TranscribeError> {
        match self.phase {
            Phase::Hear => return Err(TranscribeError::Unasked("logits of a token")),
            Phase::Start => {
                let start = self.context.len();
                self.start(&logits);
                self.phase = Phase::Say;
                // Where nothing stands between the start and the text, these are the first token's logits.
                if self.context.len() == start {
                    self.say(logits, words);
                }
            }
            Phase::Say => self.say(logits, words),
        }
        Ok(())
    }

    /// Takes what the logits after the start token tell, and completes what stands before the text.
    fn start(&mut self, logits: &[f32]) {
        let tokens = &self.whisper.tokens;
        let no_speech = tokens.no_speech;
        self.no_speech = no_speech.and_then(|id| probability(logits, id));
        if self.language.is_none() {
            let known = tokens.languages.iter().filter_map(|&(_, id)| {
                let logit = logits.get(id as usize)?;
                Some((id, *logit))
            });
            let (ids, logits): (Vec<u32>, Vec<f32>) = known.unzip();
            self.language = best(&logits).map(|(at, _)| ids[at as usize]);
        }
        self.context.extend(self.language);
        let code = tokens
            .languages
            .iter()
            .find(|(_, id)| Some(*id) == self.language);
        self.transcript.language = code.map(|(code, _)| code.clone());
        self.context.extend(match self.options.task {
            SpeechTask::Transcribe => tokens.transcribe,
            SpeechTask::Translate => tokens.translate,
        });
        if !self.timestamps {
            self.context.extend(tokens.no_timestamps);
        }
        self.attempt.before = self.context.len();
    }

    /// Takes the logits of this window's next token.
    fn say(&mut self, mut logits: Vec<f32>, words: &dyn Words) {
        let whisper = self.whisper.clone();
        let tokens = &whisper.tokens;
        let temperatures = &self.options.temperatures;
        let temperature = temperatures.get(self.attempt.at).copied().unwrap_or(0.0);
        let said = &self.context[self.attempt.before..];
        restrict(&mut logits, tokens, said, self.timestamps);
        let chosen = choose(&logits, temperature, &mut self.random);
        let mut ended = true;
        if let Some((id, logprob)) = chosen {
            self.attempt.logprobs += logprob;
            if id != tokens.end {
                self.context.push(id);
                let said = self.context.len() - self.attempt.before;
                ended = said >= whisper.context_length / 2
                    || self.context.len() >= whisper.context_length;
            }
        }
        let said = self.context[self.attempt.before..].to_vec();
        if !ended {
            let last = *said.last().unwrap_or(&0);
            if !tokens.is_time(last) {
                self.parts.push_back(Part {
                    tentative: words.text(&tokens.texts(&said)).trim_start().to_owned(),
                    seconds: whisper.seconds(self.done),
                    ..Part::default()
                });
            }
            return;
        }
        let said = Said {
            avg_logprob: self.attempt.logprobs / (said.len() + 1) as f64,
            compression_ratio: compression_ratio(&words.text(&tokens.texts(&said))),
            temperature,
            tokens: said,
        };
        let is_silent = self.is_silent(&said);
        let is_bad = said.compression_ratio > self.options.most_compression
            || said.avg_logprob < self.options.least_logprob;
        if is_bad && !is_silent && self.attempt.at + 1 < self.options.temperatures.len() {
            let before = self.attempt.before;
            self.context.truncate(before);
            self.attempt = Attempt {
                at: self.attempt.at + 1,
                before,
                logprobs: 0.0,
            };
            return;
        }
        self.finish_window(said, is_silent, words);
    }

    /// Whether there probably is no speech, and what was understood is unlikely as well.
    fn is_silent(&self, said: &Said) -> bool {
        self.no_speech
            .is_some_and(|p| p > self.options.most_no_speech)
            && said.avg_logprob < self.options.least_logprob
    }

    /// Makes segments of what was said and moves on.
    fn finish_window(&mut self, said: Said, is_silent: bool, words: &dyn Words) {
        let whisper = self.whisper.clone();
        let (from, end) = (self.done, self.done + self.window);
        let mut next = end;
        if !is_silent {
            let (pieces, spoken) = pieces(
                &said.tokens,
                &whisper.tokens,
                (end - from).div_ceil(whisper.step_samples()),
            );
            if let Some(steps) = spoken {
                let least = whisper.samples(LEAST_MOVE);
                next = end.min(from + (steps * whisper.step_samples()).max(least));
            }
            if let Some(rest) = pieces.last().and_then(|last| self.passed_over(last.end)) {
                next = next.min(from + rest);
            }
            for piece in pieces {
                self.push(from, &piece, &said, words);
            }
            self.previous.extend(&said.tokens);
        }
        let keep = whisper.context_length / 2;
        if !self.options.condition_on_previous || said.temperature > HOT {
            self.previous.clear();
        } else if self.previous.len() > keep {
            self.previous.drain(..self.previous.len() - keep);
        }
        self.done = next;
        self.phase = Phase::Hear;
        // Takes the place of what was tentative.
        self.parts.push_back(Part {
            seconds: whisper.seconds(next),
            ..Part::default()
        });
    }

    /// Where in the window, in samples, there is sound that the model passed over: it ends a window after one of two sentences
    /// at times, as if nothing came any more. `spoken` is the step to which it understood.
    fn passed_over(&self, spoken: usize) -> Option<usize> {
        let whisper = &self.whisper;
        let (step, steps) = (whisper.step_samples(), |seconds| whisper.steps(seconds));
        let window = self.window.div_ceil(step);
        let (pause, least) = (steps(PAUSE_BEFORE_REST), steps(SOUND_OF_REST));
        let rest = self.sounding.again(spoken, window, pause, least)?;
        let from = rest.saturating_sub(steps(AROUND)) * step;
        (from >= whisper.samples(LEAST_MOVE)).then_some(from)
    }

    fn push(&mut self, from: usize, piece: &Piece<'_>, said: &Said, words: &dyn Words) {
        let whisper = &self.whisper;
        let ids = whisper.tokens.texts(piece.tokens);
        let text = words.text(&ids);
        if text.trim().is_empty() {
            return;
        }
        let at = |steps: usize| {
            let samples = from + steps * whisper.step_samples();
            whisper.seconds(samples.min(from + self.window))
        };
        let place = self.sounding.trim(piece.start..piece.end);
        let (start, end) = (at(place.start), at(place.end));
        if end <= start {
            return;
        }
        let segment = Segment {
            start,
            end,
            text,
            ids,
            avg_logprob: Some(said.avg_logprob),
            no_speech_prob: self.no_speech,
            temperature: Some(said.temperature),
            compression_ratio: Some(said.compression_ratio),
        };
        let seconds = whisper.seconds(from);
        let part = self.transcript.push(segment);
        self.parts.push_back(Part { seconds, ..part });
    }
}

/// What stands between two times, in steps of the window.
#[derive(Debug, PartialEq)]
struct Piece<'a> {
    start: usize,
    end: usize,
    tokens: &'a [u32],
}

/// The pieces of a window of `window` steps, and to which step it was understood; `None` is to its end.
fn pieces<'a>(
    said: &'a [u32],
    tokens: &WhisperTokens,
    window: usize,
) -> (Vec<Piece<'a>>, Option<usize>) {
    let is_time = |at: usize| said.get(at).is_some_and(|&id| tokens.is_time(id));
    let step = |id: u32| (id.saturating_sub(tokens.first_time)) as usize;
    // One time at the end: nothing is said after it.
    let ends_alone = said.len() >= 2 && is_time(said.len() - 1) && !is_time(said.len() - 2);
    let mut cuts: Vec<usize> = (1..said.len())
        .filter(|&at| is_time(at - 1) && is_time(at))
        .collect();
    if cuts.is_empty() {
        let mut times = said.iter().rev().filter(|&&id| tokens.is_time(id));
        let last = times.next().map(|&id| step(id)).filter(|&last| last > 0);
        let start = said
            .first()
            .filter(|_| is_time(0))
            .map_or(0, |&id| step(id));
        let end = last.filter(|&last| last > start).unwrap_or(window);
        let piece = Piece {
            start: start.min(end),
            end,
            tokens: said,
        };
        return (vec![piece], None);
    }
    if ends_alone {
        cuts.push(said.len());
    }
    let mut pieces = Vec::with_capacity(cuts.len());
    let mut begin = 0;
    for cut in cuts {
        let piece = &said[begin..cut];
        pieces.push(Piece {
            start: step(piece[0]),
            end: step(piece[piece.len() - 1]),
            tokens: piece,
        });
        begin = cut;
    }
    let spoken = pieces.last().map(|piece| piece.end);
    (pieces, spoken.filter(|_| !ends_alone))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens() -> WhisperTokens {
        WhisperTokens {
            end: 10,
            first_time: 20,
            ..WhisperTokens::default()
        }
    }

    fn places(said: &[u32]) -> (Vec<(usize, usize)>, Option<usize>) {
        let tokens = tokens();
        let (pieces, spoken) = pieces(said, &tokens, 100);
        let places = pieces.iter().map(|piece| (piece.start, piece.end));
        (places.collect(), spoken)
    }

    #[test]
    fn times_cut_a_window() {
        // The last piece, which has no end, is heard again.
        assert_eq!(
            places(&[20, 1, 25, 25, 2, 30, 31, 3]),
            (vec![(0, 5), (5, 10)], Some(10))
        );
        // One that ends alone is the end of the window.
        assert_eq!(
            places(&[20, 1, 25, 27, 2, 30]),
            (vec![(0, 5), (7, 10)], None)
        );
        assert_eq!(places(&[22, 1, 30]), (vec![(2, 10)], None));
        assert_eq!(places(&[20, 1]), (vec![(0, 100)], None));
        assert_eq!(places(&[1, 2]), (vec![(0, 100)], None));
        assert_eq!(places(&[]), (vec![(0, 100)], None));
    }
}
