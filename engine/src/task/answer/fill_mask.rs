//! What may stand in place of a text's masks.

use serde::Serialize;

use super::{Answer, AnswerError, Question};
use crate::model::TextHead;
use crate::task::can::Task;
use crate::task::labels::{softmax, top};
use crate::task::model::{Model, Runner, TaskError};

/// A token in a mask's place.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fill {
    /// Its text.
    pub token: String,
    pub id: u32,
    /// 0 to 1.
    pub score: f32,
    /// The whole text with it; other masks are still there.
    pub sequence: String,
}

impl Model {
    pub(super) async fn fill_mask(&mut self, question: &Question) -> Result<Answer, TaskError> {
        let can = |runner: &Runner| match runner {
            Runner::Encoder(runner) => runner.model().head == Some(TextHead::Masked),
            _ => false,
        };
        if !can(&self.runner) {
            return Err(self.wrong_kind(Task::FillMask.name()));
        }
        let mut answers = Vec::with_capacity(question.texts.len());
        for (index, text) in question.texts.iter().enumerate() {
            let tokenizer = self.tokenizer.as_ref().ok_or(TaskError::NoTokenizer)?;
            let mut usual = ["[MASK]", "<mask>"].into_iter();
            let mask = tokenizer.special().mask;
            let mask = mask.or_else(|| usual.find_map(|mask| tokenizer.id(mask)));
            let mask = mask.ok_or(AnswerError::NoMaskToken)?;
            let mut ids = tokenizer.encode(text, true)?;
            let places: Vec<usize> = (0..ids.len()).filter(|&at| ids[at] == mask).collect();
            if places.is_empty() {
                let mask = tokenizer.token(mask).unwrap_or_default().to_owned();
                return Err(AnswerError::NoMask { index, mask }.into());
            }
            let Runner::Encoder(runner) = &mut self.runner else {
                return Err(self.wrong_kind(Task::FillMask.name()));
            };
            let logits = runner.logits_at(&ids, &places).await?;
            let mut masks = Vec::with_capacity(places.len());
            for (&at, logits) in places.iter().zip(&logits) {
                let mut fills = Vec::new();
                for (id, score) in top(softmax(logits), question.top()) {
                    ids[at] = id as u32;
                    // A model may have more rows than the tokenizer has tokens.
                    let Ok(token) = tokenizer.decode(&[ids[at]], false) else {
                        continue;
                    };
                    fills.push(Fill {
                        token,
                        id: ids[at],
                        score,
                        sequence: tokenizer.decode(&ids, places.len() == 1)?,
                    });
                }
                ids[at] = mask;
                masks.push(fills);
            }
            answers.push(masks);
        }
        Ok(Answer::Fills(answers))
    }
}
