//! How likely a model finds a text: teacher-forced negative log-likelihoods.

use super::decoder::{DecodeError, Decoder};
use super::sampling::{SamplingError, log_sum_exp};

/// One token's score.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TokenScore {
    pub id: u32,
    /// Negative log-likelihood (natural logarithm) of the token after those before it.
    pub nll: f64,
    /// The model's own best token in its place.
    pub best: u32,
}

#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Logits(#[from] SamplingError),
}

/// Scores under way: each [`Scoring::next`] is one run of the model, between which a caller may do other things or stop.
#[derive(Clone, Debug)]
pub struct Scoring {
    ids: Vec<u32>,
    scores: Vec<TokenScore>,
    /// Tokens whose logits have come.
    given: usize,
}

impl Scoring {
    /// Of `ids[1..]`, each after the ids before it.
    pub fn new(ids: Vec<u32>) -> Scoring {
        Scoring {
            ids,
            scores: Vec::new(),
            given: 0,
        }
    }

    /// Does one run; true when it was the last.
    ///
    /// # Errors
    /// Fewer than one id, more than the context, and what decoding says.
    pub async fn next(&mut self, decoder: &mut Decoder) -> Result<bool, ScoreError> {
        let vocabulary = decoder.model().vocabulary;
        // The last token's logits predict what is not in the text.
        let length = self.ids.len().saturating_sub(1).max(1).min(self.ids.len());
        let (ids, scores, first) = (&self.ids, &mut self.scores, self.given);
        let mut fault = None;
        self.given = decoder
            .step_logits(&ids[..length], first, |rows| {
                for (row, logits) in rows.chunks_exact(vocabulary).enumerate() {
                    let Some(&id) = ids.get(first + row + 1) else {
                        continue;
                    };
                    match one(logits, id) {
                        Ok(score) => scores.push(score),
                        Err(error) => fault = Some(error),
                    }
                }
            })
            .await?;
        match fault {
            Some(error) => Err(error.into()),
            None => Ok(self.given >= length),
        }
    }

    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Those that have come, in the order of `ids[1..]`.
    pub fn scores(&self) -> &[TokenScore] {
        &self.scores
    }
}

/// The mean of the scores' negative log-likelihoods; `None` without any.
pub fn mean_nll(scores: &[TokenScore]) -> Option<f64> {
    let sum: f64 = scores.iter().map(|score| score.nll).sum();
    (!scores.is_empty()).then(|| sum / scores.len() as f64)
}

fn one(logits: &[f32], id: u32) -> Result<TokenScore, SamplingError> {
    let total = log_sum_exp(logits)?;
    let mut best = 0;
    for (i, &logit) in logits.iter().enumerate() {
        if logit > logits[best] {
            best = i;
        }
    }
    Ok(TokenScore {
        id,
        nll: total - f64::from(logits[id as usize]),
        best: best as u32,
    })
}
