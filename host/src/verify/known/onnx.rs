//! What is known of ONNX models: as ONNX Runtime's CPU provider computes them.
//!
//! Tokens get the same class wherever the best one's logit is over the second's by more than 0.3.
//!
//! A model that quantizes its activations by each tensor's range is steady in no single bit: where one element is rounded the
//! other way, all that follows is, to the noise that 8 bits make. flan-t5's norm weights changed by 2·10⁻⁷ of themselves move its
//! margins in ONNX Runtime by up to 1.04, and six of eight such runs give another second text. So each token is asked for after the
//! reference's tokens before it, and compared where its margin is at least 1.1; a text made freely is compared up to
//! the first token that is not sure, and has to end. With sums that are rounded once, as the CPU makes them there, both
//! texts are the reference's.
//!
//! The probability of a model that is quantized throughout, its last layer too, moves in steps: of about 0.16 in its
//! log-odds, and by up to two and a half of them when the input moves by a ten-thousandth; it holds within 0.4.

use serde::Deserialize;

use super::missing;
use crate::job::{
    AnswerJob, ForwardJob, GenerateJob, GenerateResult, Prompt, RunError, Sampling, TensorData,
};
use crate::results::record::TensorRow;
use crate::runner::Runner;
use crate::verify::Findings;
use crate::verify::folder::compare_ids;

/// A text whose tokens are classified.
#[derive(Clone, Debug, Deserialize)]
pub struct TaggedText {
    text: String,
    /// With a token before and one after the text, which are not answered for.
    input_ids: Vec<u32>,
    argmax: Vec<u32>,
    /// Of each best logit over the second.
    margin: Vec<f64>,
}

/// Tokens with smaller margins are not compared.
const LEAST_MARGIN: f64 = 0.3;

pub(super) async fn check_tags(
    texts: &[TaggedText],
    runner: &mut dyn Runner,
    findings: &mut Findings,
) -> Result<(), RunError> {
    let job = AnswerJob {
        task: "classify".into(),
        texts: texts.iter().map(|text| text.text.clone()).collect(),
        top_k: Some(1),
        ..AnswerJob::default()
    };
    let answers = runner.answer(&job).await?.answers;
    for (i, text) in texts.iter().enumerate() {
        let numbers = |key: &str| -> Vec<u32> {
            let tokens = answers.get(i).and_then(|answer| answer.as_array());
            let number = |token: &serde_json::Value| token[key].as_u64().unwrap_or(u64::MAX);
            let tokens = tokens.into_iter().flatten();
            tokens.map(|token| number(token) as u32).collect()
        };
        findings
            .rows
            .extend(text.compare(i, &numbers("id"), &numbers("class")));
    }
    Ok(())
}

impl TaggedText {
    fn compare(&self, i: usize, ids: &[u32], classes: &[u32]) -> [TensorRow; 2] {
        let inside = 1..self.input_ids.len().saturating_sub(1);
        let own = &self.input_ids[inside.clone()];
        let compared = compare_ids(&format!("input_ids {i}"), ids, own);
        let name = format!("argmax {i}");
        if classes.len() != own.len() {
            return [compared, missing(&name)];
        }
        let sure = |at: &usize| self.margin.get(*at).is_some_and(|&m| m > LEAST_MARGIN);
        let sure: Vec<usize> = inside.filter(sure).collect();
        let got: Vec<u32> = sure.iter().map(|&at| classes[at - 1]).collect();
        let expected: Vec<u32> = sure.iter().map(|&at| self.argmax[at]).collect();
        [compared, compare_ids(&name, &got, &expected)]
    }
}

/// A text and what an encoder-decoder makes of it.
#[derive(Clone, Debug, Deserialize)]
pub struct Answered {
    text: String,
    input_ids: Vec<u32>,
    /// From the token that the decoder begins with to the one that ends the text.
    generated_ids: Vec<u32>,
    /// Of each generated id's logit over the second best.
    margins: Vec<f64>,
    decoded: String,
}

/// More tokens than any of the answers has.
const MOST_TOKENS: usize = 64;

/// Tokens with smaller margins are not compared.
const LEAST_MARGIN_QUANTIZED: f64 = 1.1;

pub(super) async fn check_answers(
    all: &[Answered],
    runner: &mut dyn Runner,
    findings: &mut Findings,
) -> Result<(), RunError> {
    for (i, one) in all.iter().enumerate() {
        let mut got = Vec::new();
        for at in one.sure() {
            let answer = runner.generate(&one.after(at), &|_| {}).await?;
            got.extend(answer.ids.first());
        }
        let expected: Vec<u32> = one.sure().map(|at| one.generated_ids[at + 1]).collect();
        let rows = &mut findings.rows;
        rows.push(compare_ids(&format!("generated_ids {i}"), &got, &expected));

        let job = GenerateJob {
            prompt: Prompt::Text(one.text.clone()),
            max_tokens: MOST_TOKENS,
            ignore_eos: false,
            source: Default::default(),
            ..one.after(0)
        };
        let answer = runner.generate(&job, &|_| {}).await?;
        rows.push(one.compare(i, &answer));
    }
    Ok(())
}

impl Answered {
    /// The steps whose tokens are sure.
    fn sure(&self) -> impl Iterator<Item = usize> {
        let margins = self.margins.iter().enumerate();
        let steps = self.generated_ids.len().saturating_sub(1);
        margins
            .filter(move |(at, margin)| *at < steps && **margin >= LEAST_MARGIN_QUANTIZED)
            .map(|(at, _)| at)
    }

    /// The token after the reference's first `at + 1`.
    fn after(&self, at: usize) -> GenerateJob {
        let ids = self.input_ids.iter().map(|&id| id as i32);
        let ids = TensorData {
            data_type: "i32".into(),
            shape: vec![1, self.input_ids.len()],
            data: ids.flat_map(i32::to_le_bytes).collect(),
        };
        GenerateJob {
            prompt: Prompt::Ids(self.generated_ids[..=at].to_vec()),
            source: [("input_ids".to_owned(), ids)].into(),
            max_tokens: 1,
            sampling: Sampling::greedy(),
            stop: vec![],
            ignore_eos: true,
            instruct: None,
            beside: vec![],
        }
    }

    /// A text that was made freely.
    fn compare(&self, i: usize, got: &GenerateResult) -> TensorRow {
        let own = self.generated_ids.get(1..).unwrap_or_default();
        let first = (0..own.len()).find(|at| !self.sure().any(|sure| sure == *at));
        let sure = first.unwrap_or(own.len());
        let ended = got.finish_reason == "stop";
        let same = got.ids.get(..sure) == own.get(..sure);
        TensorRow {
            compared: sure as u64 + 1,
            holds: ended && same,
            note: Some(match got.ids == own && got.text == self.decoded {
                true => "the same text".to_owned(),
                false => format!("{:?} beside {:?}", got.text, self.decoded),
            }),
            ..missing(&format!("text {i}"))
        }
    }
}

/// A spectrum of 80 bands and 800 frames, and how probable it is that a speaker has ended with it.
///
/// In frame `t` of band `m` it is `a sin(b t + 0.3 m) + c cos(d t (m mod 7 + 1))` where there is sound, −0.8 where there is none.
#[derive(Clone, Debug, Deserialize)]
pub struct Spectrum {
    /// `a`, `b`
    sine: [f64; 2],
    /// `c`, `d`
    cosine: [f64; 2],
    /// The first frame with sound, and the first one after it.
    sound: [usize; 2],
    probability: f64,
}

const BANDS: usize = 80;
const FRAMES: usize = 800;
const SILENCE: f32 = -0.8;

/// How far log-odds may be apart.
const LOG_ODDS: f64 = 0.4;

pub(super) async fn check_probabilities(
    spectra: &[Spectrum],
    runner: &mut dyn Runner,
    findings: &mut Findings,
) -> Result<(), RunError> {
    for (i, spectrum) in spectra.iter().enumerate() {
        let job = ForwardJob {
            inputs: [("input_features".to_owned(), spectrum.features())].into(),
            outputs: vec!["logits".into()],
        };
        let given = runner.forward(&job).await?.outputs;
        let name = format!("probability {i}");
        let got = given.get("logits").filter(|t| t.data_type == "f32");
        let got = got.and_then(|tensor| tensor.data.first_chunk());
        findings.rows.push(match got {
            Some(bytes) => spectrum.compare(&name, f64::from(f32::from_le_bytes(*bytes))),
            None => missing(&name),
        });
    }
    Ok(())
}

impl Spectrum {
    fn features(&self) -> TensorData {
        let ([a, b], [c, d]) = (self.sine, self.cosine);
        let at = |m: usize, t: usize| {
            let (m, x) = (m as f64, t as f64);
            match (self.sound[0]..self.sound[1]).contains(&t) {
                true => (a * (b * x + 0.3 * m).sin() + c * (d * x * (m % 7.0 + 1.0)).cos()) as f32,
                false => SILENCE,
            }
        };
        let values = (0..BANDS).flat_map(|m| (0..FRAMES).map(move |t| at(m, t)));
        TensorData {
            data_type: "f32".into(),
            shape: vec![1, BANDS, FRAMES],
            data: values.flat_map(f32::to_le_bytes).collect(),
        }
    }

    fn compare(&self, name: &str, got: f64) -> TensorRow {
        let odds = |p: f64| (p / (1.0 - p)).ln();
        let apart = (odds(got) - odds(self.probability)).abs();
        TensorRow {
            compared: 1,
            max_abs: Some((got - self.probability).abs()),
            holds: apart <= LOG_ODDS,
            note: Some(format!(
                "{got:.4}, {:.4} expected; log-odds {apart:.2} apart",
                self.probability
            )),
            ..missing(name)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sure_tags_count() {
        let text = TaggedText {
            text: "x".into(),
            input_ids: vec![101, 7, 8, 102],
            argmax: vec![0, 1, 2, 0],
            margin: vec![9.0, 0.2, 5.0, 9.0],
        };
        let holds =
            |ids: &[u32], classes: &[u32]| text.compare(0, ids, classes).map(|row| row.holds);
        assert_eq!(holds(&[7, 8], &[1, 2]), [true, true]);
        assert_eq!(holds(&[7, 8], &[5, 2]), [true, true]);
        assert_eq!(holds(&[7, 8], &[1, 5]), [true, false]);
        assert_eq!(holds(&[7, 9], &[1, 2]), [false, true]);
        assert_eq!(holds(&[7], &[1]), [false, false]);
    }

    #[test]
    fn a_text_is_compared_as_far_as_it_is_sure_and_has_to_end() {
        let one = Answered {
            text: "x".into(),
            input_ids: vec![5, 1],
            generated_ids: vec![0, 7, 8, 9, 1],
            margins: vec![2.0, 1.2, 0.1, 9.0],
            decoded: "a b c".into(),
        };
        assert_eq!(one.sure().collect::<Vec<_>>(), [0, 1, 3]);
        let job = one.after(3);
        assert!(matches!(job.prompt, Prompt::Ids(ids) if ids == [0, 7, 8, 9]));
        let holds = |ids: &[u32], finish_reason: &str| {
            let got = GenerateResult {
                ids: ids.to_vec(),
                finish_reason: finish_reason.into(),
                ..GenerateResult::default()
            };
            one.compare(0, &got).holds
        };
        assert!(holds(&[7, 8, 9, 1], "stop") && holds(&[7, 8, 4, 4, 1], "stop"));
        assert!(!holds(&[7, 4, 9, 1], "stop") && !holds(&[7], "stop"));
        assert!(!holds(&[7, 8, 9, 1], "length"));
    }

    #[test]
    fn probabilities_hold_by_their_odds() {
        let spectrum = Spectrum {
            sine: [1.0, 0.5],
            cosine: [0.0, 0.0],
            sound: [2, 4],
            probability: 0.01,
        };
        let holds = |got| spectrum.compare("p", got).holds;
        assert!(holds(0.01) && holds(0.014) && !holds(0.02));
        assert!(!holds(0.0) && !holds(1.0) && !holds(f64::NAN));
        let features = spectrum.features();
        let value = |at: usize| f32::from_le_bytes(*features.data[4 * at..].first_chunk().unwrap());
        assert_eq!(features.data.len(), 4 * BANDS * FRAMES);
        assert_eq!([value(1), value(4)], [SILENCE; 2]);
        assert_eq!(value(FRAMES + 3), (1.5f64 + 0.3).sin() as f32);
    }
}
