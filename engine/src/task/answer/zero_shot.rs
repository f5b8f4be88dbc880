//! Which of any labels fits a picture or a sound, by CLIP and CLAP.

use super::{Answer, AnswerError, Question};
use crate::task::can::Task;
use crate::task::embed::token_tensors;
use crate::task::forward::Named;
use crate::task::labels::zero_shot;
use crate::task::model::{Model, TaskError};

/// Where a template has the label.
const PLACE: &str = "{}";

impl Model {
    pub(super) async fn zero_shot(
        &mut self,
        question: &Question,
        tensors: &Named,
    ) -> Result<Answer, TaskError> {
        let task = Task::ZeroShot.name();
        let [logits, _] = self.likenesses().ok_or_else(|| self.wrong_kind(task))?;
        // Of a label alone the models know less than of it in a phrase, as they have read captions.
        let usual = match logits {
            "logits_per_image" => "a photo of {}",
            _ => "This is a sound of {}.",
        };
        let template = question.template.as_deref().unwrap_or(usual);
        let wrong = |field, wanted| AnswerError::Question { field, wanted };
        if !template.contains(PLACE) {
            return Err(wrong("template", "has no {} for a label").into());
        }
        if question.labels.is_empty() {
            return Err(wrong("labels", "are missing").into());
        }
        let texts: Vec<String> = question
            .labels
            .iter()
            .map(|label| template.replace(PLACE, label))
            .collect();
        let ids = self.encode_cut(texts.iter().map(String::as_str), None)?;
        let mut inputs = token_tensors(&ids, Some(self.facts().context_length))?;
        for (name, tensor) in tensors {
            inputs.entry(name.clone()).or_insert_with(|| tensor.clone());
        }
        let [logits] = self.run_once(Task::ZeroShot, &inputs, [logits]).await?;
        let each = logits.iter();
        let each = each.map(|logits| zero_shot(logits, &question.labels));
        Ok(Answer::Scores(each.collect()))
    }
}
