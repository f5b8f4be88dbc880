//! What a text, a picture or a sound is.

use serde::Serialize;

use super::{Answer, Question};
use crate::model::TextHead;
use crate::task::can::Task;
use crate::task::forward::Named;
use crate::task::labels::classify;
use crate::task::model::{Model, Runner, TaskError};

/// What a token of a text is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenLabel {
    /// As the tokenizer's file spells it.
    pub token: String,
    pub id: u32,
    /// The likeliest class, its name and its probability.
    pub class: usize,
    pub label: String,
    pub score: f32,
}

impl Model {
    pub(super) async fn classify(
        &mut self,
        question: &Question,
        tensors: &Named,
    ) -> Result<Answer, TaskError> {
        let [logits] = self.run_once(Task::Classify, tensors, ["logits"]).await?;
        Ok(self.scores(&logits, question))
    }

    pub(super) async fn classify_texts(
        &mut self,
        question: &Question,
    ) -> Result<Answer, TaskError> {
        let texts = question.texts.iter().map(String::as_str);
        let ids = self.encode_cut(texts, None)?;
        let (logits, of_tokens) = match &mut self.runner {
            Runner::Encoder(runner) => match runner.model().head {
                Some(head @ (TextHead::Text | TextHead::Tokens)) => {
                    let logits = runner.outputs(&ids, "logits").await?;
                    (logits, head == TextHead::Tokens)
                }
                _ => return Err(self.wrong_kind("classify texts")),
            },
            _ => return Err(self.wrong_kind("classify texts")),
        };
        if !of_tokens {
            return Ok(self.scores(&logits, question));
        }
        let tokenizer = self.tokenizer()?;
        let texts = ids.iter().zip(&logits).map(|(ids, logits)| {
            let each = ids
                .iter()
                .zip(logits.chunks_exact(logits.len() / ids.len()));
            // What stands around every text is no part of it.
            let each = each.filter(|(id, _)| !tokenizer.is_special(**id));
            each.flat_map(|(&id, logits)| {
                let best = classify(logits, &self.labels, 1).into_iter();
                best.map(move |best| TokenLabel {
                    token: tokenizer.token(id).unwrap_or_default().to_owned(),
                    id,
                    class: best.class,
                    label: best.label,
                    score: best.score,
                })
            })
            .collect()
        });
        Ok(Answer::Tokens(texts.collect()))
    }

    fn scores(&self, logits: &[Vec<f32>], question: &Question) -> Answer {
        let each = logits.iter();
        let each = each.map(|logits| classify(logits, &self.labels, question.top()));
        Answer::Scores(each.collect())
    }
}
