//! What is known of models of the manifest: token ids, greedy continuations with their margins, embeddings.
//!
//! The files in `references/` were computed in float32 by PyTorch, those of ONNX models by ONNX Runtime ([`onnx`]). A continuation is scored teacher-forced, so that one
//! near tie does not decide all that follows: the listed id must be the best wherever its margin over the second is at
//! least 0.02 (activations in floating point) or 0.25 (quantized to 8 bits). A text of 165 tokens must be as likely in
//! the mean to 0.005 or 0.03 (negative log-likelihood, natural logarithm).
//!
//! The prompts of the continuations are held to the same, but with 8-bit activations their few tokens allow no more than
//! this: what those activations do to one token's likelihood is scatter, so the error of a mean of `n` tokens is taken to
//! fall with the root of `n`, and 0.03 for 164 tokens is 0.03·√(164/n). That is 0.19 for the shortest, of 4: it catches
//! a wrong kernel, and the text catches what is subtler.

mod onnx;

use serde::Deserialize;

use super::Findings;
use super::folder::compare_ids;
use crate::job::{EmbedJob, GenerateJob, Message, Prompt, RunError, Sampling, ScoreJob};
use crate::results::record::TensorRow;
use crate::runner::Runner;
use crate::speech::TranscribeJob;

const GENERATE: &[(&str, &str)] = &[(
    "smollm2-135m-instruct",
    include_str!("../../references/smollm2-135m-instruct.json"),
)];
const EMBED: &[(&str, &str)] = &[
    (
        "all-minilm-l6-v2",
        include_str!("../../references/all-minilm-l6-v2.json"),
    ),
    (
        "all-minilm-l6-v2-int8",
        include_str!("../../references/all-minilm-l6-v2-int8.json"),
    ),
];
const TAGS: &[(&str, &str)] = &[(
    "distilbert-tagger",
    include_str!("../../references/distilbert-tagger.json"),
)];
const ANSWERS: &[(&str, &str)] = &[(
    "flan-t5-small-titles",
    include_str!("../../references/flan-t5-small-titles.json"),
)];
const PROBABILITIES: &[(&str, &str)] = &[(
    "smart-turn-v3.2",
    include_str!("../../references/smart-turn-v3.2.json"),
)];

const SPEECH: &[(&str, &str)] = &[(
    "whisper-tiny.en",
    include_str!("../../references/whisper-tiny.en.json"),
)];

/// Eleven seconds of John F. Kennedy's inaugural address (1961, in the public domain), 16 kHz, mono, FLAC.
pub const RECORDING: &[u8] = include_bytes!("../../references/jfk.flac");

/// Least cosine between an embedding and its reference, by floats and where activations are quantized to 8 bits.
const COSINE: f64 = 0.9999;
const COSINE_QUANTIZED: f64 = 0.999;

/// The reference of one model.
pub enum KnownReference {
    Generate(Generations),
    Embed(Vec<Sentence>),
    Tags(Vec<onnx::TaggedText>),
    Answers(Vec<onnx::Answered>),
    Probabilities(Vec<onnx::Spectrum>),
    Speech(Vec<Heard>),
}

/// What is said in a recording.
#[derive(Clone, Debug, Deserialize)]
pub struct Heard {
    sound: String,
    ids: Vec<u32>,
    text: String,
}

/// Of a language model.
#[derive(Clone, Debug, Deserialize)]
pub struct Generations {
    continuations: Vec<Continuation>,
    text: ScoredText,
}

/// A text with the mean negative log-likelihood of its tokens after the first.
#[derive(Clone, Debug, Deserialize)]
pub struct ScoredText {
    text: String,
    ids: Vec<u32>,
    mean_nll: f64,
}

#[derive(Clone, Debug, Deserialize)]
pub struct Continuation {
    prompt: Said,
    prompt_ids: Vec<u32>,
    generated_ids: Vec<u32>,
    /// Of each generated id's logit over the second best.
    margins: Vec<f64>,
    /// Of `prompt_ids[1..]`.
    prompt_mean_nll: f64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Said {
    Text(String),
    Chat(Vec<Message>),
}

#[derive(Clone, Debug, Deserialize)]
pub struct Sentence {
    text: String,
    input_ids: Vec<u32>,
    embedding: Vec<f32>,
}

impl KnownReference {
    /// The reference of the manifest's `name`, if there is one.
    ///
    /// # Errors
    /// A built-in file that does not parse.
    pub fn of(name: &str) -> Result<Option<KnownReference>, serde_json::Error> {
        let find = |list: &[(&str, &'static str)]| {
            list.iter().find(|(n, _)| *n == name).map(|(_, json)| *json)
        };
        if let Some(json) = find(GENERATE) {
            return serde_json::from_str(json).map(|g| Some(KnownReference::Generate(g)));
        }
        if let Some(json) = find(EMBED) {
            return serde_json::from_str(json).map(|s| Some(KnownReference::Embed(s)));
        }
        if let Some(json) = find(TAGS) {
            return serde_json::from_str(json).map(|t| Some(KnownReference::Tags(t)));
        }
        if let Some(json) = find(ANSWERS) {
            return serde_json::from_str(json).map(|a| Some(KnownReference::Answers(a)));
        }
        if let Some(json) = find(SPEECH) {
            return serde_json::from_str(json).map(|s| Some(KnownReference::Speech(s)));
        }
        match find(PROBABILITIES) {
            Some(json) => {
                serde_json::from_str(json).map(|s| Some(KnownReference::Probabilities(s)))
            }
            None => Ok(None),
        }
    }

    pub(super) async fn check(
        &self,
        runner: &mut dyn Runner,
        activations: Option<&str>,
    ) -> Result<Findings, RunError> {
        let mut findings = Findings::default();
        let quantized = activations == Some("q8");
        match self {
            KnownReference::Tags(texts) => onnx::check_tags(texts, runner, &mut findings).await?,
            KnownReference::Answers(all) => {
                onnx::check_answers(all, runner, &mut findings).await?;
            }
            KnownReference::Probabilities(spectra) => {
                onnx::check_probabilities(spectra, runner, &mut findings).await?;
            }
            KnownReference::Speech(all) => {
                for heard in all {
                    heard.check(runner, &mut findings).await?;
                }
            }
            KnownReference::Generate(generations) => {
                for (i, continuation) in generations.continuations.iter().enumerate() {
                    continuation
                        .check(i, runner, quantized, &mut findings)
                        .await?;
                }
                generations
                    .text
                    .check(runner, quantized, &mut findings)
                    .await?;
            }
            KnownReference::Embed(sentences) => {
                let texts = sentences.iter().map(|s| s.text.clone()).collect();
                let answer = runner
                    .embed(&EmbedJob {
                        texts,
                        ..EmbedJob::default()
                    })
                    .await?;
                for (i, sentence) in sentences.iter().enumerate() {
                    let Some(got) = answer.embeddings.get(i) else {
                        findings.rows.push(missing(&format!("embedding {i}")));
                        continue;
                    };
                    let ids = format!("input_ids {i}");
                    findings
                        .rows
                        .push(compare_ids(&ids, &got.input_ids, &sentence.input_ids));
                    let least = if quantized { COSINE_QUANTIZED } else { COSINE };
                    let name = format!("embedding {i}");
                    findings
                        .rows
                        .push(sentence.compare(&name, &got.embedding, least));
                }
            }
        }
        Ok(findings)
    }
}

impl Heard {
    async fn check(
        &self,
        runner: &mut dyn Runner,
        findings: &mut Findings,
    ) -> Result<(), RunError> {
        let job = TranscribeJob {
            name: self.sound.clone(),
            data: RECORDING.to_vec(),
            ..TranscribeJob::default()
        };
        let said = runner.transcribe(&job, &|_| {}).await?;
        let name = format!("ids of {}", self.sound);
        findings.rows.push(compare_ids(&name, &said.ids, &self.ids));
        let holds = said.text.trim() == self.text;
        findings.rows.push(TensorRow {
            compared: 1,
            holds,
            note: (!holds).then(|| format!("heard `{}`", said.text.trim())),
            ..missing(&format!("text of {}", self.sound))
        });
        Ok(())
    }
}

impl Continuation {
    async fn check(
        &self,
        i: usize,
        runner: &mut dyn Runner,
        quantized: bool,
        findings: &mut Findings,
    ) -> Result<(), RunError> {
        let prompt = match &self.prompt {
            Said::Text(text) => Prompt::Text(text.clone()),
            Said::Chat(messages) => Prompt::Messages(messages.clone()),
        };
        let job = GenerateJob {
            prompt,
            source: Default::default(),
            max_tokens: 1,
            sampling: Sampling::greedy(),
            stop: vec![],
            ignore_eos: true,
            instruct: None,
            beside: vec![],
        };
        let generated = runner.generate(&job, &|_| {}).await?;
        let name = format!("prompt_ids {i}");
        let rows = &mut findings.rows;
        rows.push(compare_ids(&name, &generated.prompt_ids, &self.prompt_ids));

        let ids: Vec<u32> = [&self.prompt_ids[..], &self.generated_ids[..]].concat();
        let job = ScoreJob {
            text: None,
            ids: Some(ids),
        };
        let score = runner.score(&job).await?;
        rows.push(self.compare_best(i, &score.best, if quantized { 0.25 } else { 0.02 }));
        let name = format!("prompt_mean_nll {i}");
        let count = self.prompt_ids.len() - 1;
        let row = match score.nll.get(..count) {
            Some(nll) => compare_mean(&name, nll, self.prompt_mean_nll, quantized),
            None => missing(&name),
        };
        rows.push(row);
        Ok(())
    }

    /// `best[k]` stands in the place of `ids[k + 1]`.
    fn compare_best(&self, i: usize, best: &[u32], least_margin: f64) -> TensorRow {
        let name = format!("generated_ids {i}");
        let from = self.prompt_ids.len() - 1;
        let Some(best) = best.get(from..from + self.generated_ids.len()) else {
            return missing(&name);
        };
        let sure = |k: &usize| self.margins.get(*k).is_some_and(|&m| m >= least_margin);
        let sure: Vec<usize> = (0..self.generated_ids.len()).filter(sure).collect();
        let got: Vec<u32> = sure.iter().map(|&k| best[k]).collect();
        let expected: Vec<u32> = sure.iter().map(|&k| self.generated_ids[k]).collect();
        compare_ids(&name, &got, &expected)
    }
}

impl ScoredText {
    async fn check(
        &self,
        runner: &mut dyn Runner,
        quantized: bool,
        findings: &mut Findings,
    ) -> Result<(), RunError> {
        let job = ScoreJob {
            text: Some(self.text.clone()),
            ids: None,
        };
        let score = runner.score(&job).await?;
        let rows = &mut findings.rows;
        rows.push(compare_ids("text_ids", &score.ids, &self.ids));
        let row = match score.nll.get(..self.ids.len() - 1) {
            Some(nll) => compare_mean("text_mean_nll", nll, self.mean_nll, quantized),
            None => missing("text_mean_nll"),
        };
        rows.push(row);
        Ok(())
    }
}

/// The tokens of the text that the tolerance for 8-bit activations was given for.
const MEASURED_TOKENS: f64 = 164.0;

/// How far a mean negative log-likelihood of `tokens` tokens may be off; see the head of this file.
fn tolerance(tokens: usize, quantized: bool) -> f64 {
    if quantized {
        0.03 * (MEASURED_TOKENS / tokens.max(1) as f64).sqrt().max(1.0)
    } else {
        0.005
    }
}

fn compare_mean(name: &str, nll: &[f64], expected: f64, quantized: bool) -> TensorRow {
    if nll.is_empty() {
        return missing(name);
    }
    let error = (nll.iter().sum::<f64>() / nll.len() as f64 - expected).abs();
    let tolerance = tolerance(nll.len(), quantized);
    TensorRow {
        compared: nll.len() as u64,
        max_abs: Some(error),
        max_rel: Some(error / expected.abs()),
        atol: Some(tolerance),
        holds: error <= tolerance,
        note: None,
        ..missing(name)
    }
}

impl Sentence {
    fn compare(&self, name: &str, got: &[f32], least: f64) -> TensorRow {
        if got.len() != self.embedding.len() {
            return TensorRow {
                note: Some(format!(
                    "{} numbers, expected {}",
                    got.len(),
                    self.embedding.len()
                )),
                ..missing(name)
            };
        }
        let dot = |a: &[f32], b: &[f32]| -> f64 {
            a.iter()
                .zip(b)
                .map(|(x, y)| f64::from(*x) * f64::from(*y))
                .sum()
        };
        let lengths = (dot(got, got) * dot(&self.embedding, &self.embedding)).sqrt();
        let cosine = dot(got, &self.embedding) / lengths;
        let apart = got
            .iter()
            .zip(&self.embedding)
            .map(|(x, y)| f64::from((x - y).abs()));
        TensorRow {
            compared: got.len() as u64,
            max_abs: Some(apart.fold(0.0, f64::max)),
            holds: cosine >= least,
            note: Some(format!("cosine {cosine:.6}")),
            ..missing(name)
        }
    }
}

fn missing(name: &str) -> TensorRow {
    TensorRow {
        tensor: name.into(),
        compared: 0,
        max_abs: None,
        max_rel: None,
        atol: None,
        rtol: None,
        holds: false,
        note: Some("the target did not give it".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_references_are_of_manifest_models() {
        let manifest = crate::store::Manifest::built_in().unwrap();
        let onnx = TAGS
            .iter()
            .chain(ANSWERS)
            .chain(PROBABILITIES)
            .chain(SPEECH);
        for (name, _) in GENERATE.iter().chain(EMBED).chain(onnx) {
            assert!(manifest.find(name).is_some_and(|m| m.name == *name));
            assert!(KnownReference::of(name).unwrap().is_some());
        }
        assert!(KnownReference::of("other").unwrap().is_none());
    }

    #[test]
    fn only_sure_steps_count() {
        let continuation = Continuation {
            prompt: Said::Text("x".into()),
            prompt_ids: vec![1, 2],
            generated_ids: vec![3, 4, 5],
            margins: vec![1.0, 0.1, 1.0],
            prompt_mean_nll: 2.0,
        };
        // The first entry belongs to prompt_ids[1].
        assert!(continuation.compare_best(0, &[9, 3, 9, 5], 0.25).holds);
        assert!(!continuation.compare_best(0, &[9, 3, 9, 5], 0.02).holds);
        assert!(!continuation.compare_best(0, &[9, 3, 4], 0.25).holds);
    }

    #[test]
    fn means_of_few_tokens_may_scatter_with_8_bits() {
        let holds = |nll: &[f64], quantized| compare_mean("m", nll, 2.0, quantized).holds;
        assert!(holds(&[2.004], false) && !holds(&[2.02], false) && !holds(&[f64::NAN], false));
        assert!(!holds(&[], true) && !holds(&[f64::NAN], true));
        assert!((tolerance(164, true) - 0.03).abs() < 1e-12);
        assert!((tolerance(41, true) - 0.06).abs() < 1e-12);
        // A longer text is no licence for less.
        assert_eq!(tolerance(1000, true), 0.03);
        assert_eq!(tolerance(4, false), 0.005);
        assert!(holds(&[2.029; 164], true) && !holds(&[2.031; 164], true));
        assert!(holds(&[2.18; 4], true) && !holds(&[2.2; 4], true));
    }

    #[test]
    fn embeddings_by_cosine() {
        let sentence = Sentence {
            text: "x".into(),
            input_ids: vec![],
            embedding: vec![0.6, 0.8],
        };
        let holds = |got: &[f32], least| sentence.compare("e", got, least).holds;
        assert!(holds(&[0.6, 0.8], COSINE));
        assert!(!holds(&[0.8, 0.6], COSINE));
        assert!(!holds(&[0.0, 0.0], COSINE_QUANTIZED));
        assert!(!holds(&[0.6], COSINE));
        assert!(holds(&[0.57, 0.82], COSINE_QUANTIZED) && !holds(&[0.57, 0.82], COSINE));
    }
}
