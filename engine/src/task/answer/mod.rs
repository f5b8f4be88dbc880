//! Questions that a model answers at once: what a text, a picture or a sound is, what is in it, what is missing.
//!
//! Questions and answers are JSON at the boundary to JavaScript and in the command line's output; the names are these.

mod classify;
mod fill_mask;
mod zero_shot;

use serde::{Deserialize, Serialize};

pub use classify::TokenLabel;
pub use fill_mask::Fill;

use super::can::Task;
use super::detect::{DetectError, Detection, detections};
use super::embed::rows;
use super::forward::Named;
use super::labels::Score;
use super::model::{Model, Runner, TaskError};

/// Classes and tokens that are told where the question does not say how many.
const TOP: usize = 5;

/// How sure a model must be of a thing that it sees, where the question does not say.
const THRESHOLD: f32 = 0.5;

/// What is asked. Which fields count depends on the task.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Question {
    /// `classify`, `detect`, `zeroShot` or `fillMask`.
    pub task: Task,
    /// What to classify or to fill. A question without texts is about tensors.
    #[serde(default)]
    pub texts: Vec<String>,
    /// Width and height in pixels of each picture as it was given, for boxes in it.
    #[serde(default)]
    pub sizes: Vec<[usize; 2]>,
    /// What a picture or sound may be.
    #[serde(default)]
    pub labels: Vec<String>,
    /// A text with `{}` in a label's place.
    pub template: Option<String>,
    /// What is seen with less certainty is left out.
    pub threshold: Option<f32>,
    /// Most classes, or tokens for a mask.
    pub top_k: Option<usize>,
}

impl Question {
    /// A question with nothing said but the task.
    pub fn new(task: Task) -> Question {
        Question {
            task,
            texts: Vec::new(),
            sizes: Vec::new(),
            labels: Vec::new(),
            template: None,
            threshold: None,
            top_k: None,
        }
    }

    fn top(&self) -> usize {
        self.top_k.unwrap_or(TOP)
    }
}

/// An entry for each text, picture or sound.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Answer {
    /// What it is, the surest first.
    Scores(Vec<Vec<Score>>),
    /// What each of its tokens is.
    Tokens(Vec<Vec<TokenLabel>>),
    /// What is where in it, the surest first.
    Detections(Vec<Vec<Detection>>),
    /// What may stand for each of its masks, the likeliest first.
    Fills(Vec<Vec<Vec<Fill>>>),
}

#[derive(Debug, thiserror::Error)]
pub enum AnswerError {
    #[error("the question's {field} {wanted}")]
    Question {
        field: &'static str,
        wanted: &'static str,
    },
    #[error("{sizes} sizes are given for {pictures} pictures")]
    Sizes { sizes: usize, pictures: usize },
    #[error("the tokenizer has no mask token")]
    NoMaskToken,
    #[error("text {index} has no {mask} to fill")]
    NoMask { index: usize, mask: String },
    #[error(
        "config.json's task_specific_params have no such instruction, or several (they have: {0}); name the languages or give a prefix"
    )]
    Instruction(String),
    #[error(transparent)]
    Detect(#[from] DetectError),
}

impl Model {
    /// Answers `question` about its texts or, where it has none, about `tensors`, which the model's preprocessor has
    /// made of a batch of pictures or sounds.
    ///
    /// # Errors
    /// A task that the model cannot do; a field of the question or a tensor that is missing or does not fit; and what
    /// a run can say.
    pub async fn answer(
        &mut self,
        question: &Question,
        tensors: &Named,
    ) -> Result<Answer, TaskError> {
        match question.task {
            Task::Classify if question.texts.is_empty() => self.classify(question, tensors).await,
            Task::Classify => self.classify_texts(question).await,
            Task::Detect => self.detect(question, tensors).await,
            Task::ZeroShot => self.zero_shot(question, tensors).await,
            Task::FillMask => self.fill_mask(question).await,
            other => Err(self.wrong_kind(other.name())),
        }
    }

    async fn detect(&mut self, question: &Question, tensors: &Named) -> Result<Answer, TaskError> {
        const OUTPUTS: [&str; 2] = ["logits", "pred_boxes"];
        let [logits, boxes] = self.run_once(Task::Detect, tensors, OUTPUTS).await?;
        let (sizes, pictures) = (question.sizes.len(), logits.len());
        if sizes != pictures {
            return Err(AnswerError::Sizes { sizes, pictures }.into());
        }
        let threshold = question.threshold.unwrap_or(THRESHOLD);
        let each = logits.iter().zip(&boxes).zip(&question.sizes);
        let found = each.map(|((logits, boxes), &[width, height])| {
            detections(logits, boxes, (width, height), threshold, &self.labels)
        });
        let found: Result<_, _> = found.collect();
        Ok(Answer::Detections(found.map_err(AnswerError::from)?))
    }

    /// Outputs of a model that runs once, the values of each batch row.
    async fn run_once<const N: usize>(
        &mut self,
        task: Task,
        tensors: &Named,
        outputs: [&str; N],
    ) -> Result<[Vec<Vec<f32>>; N], TaskError> {
        let can = self.tasks().contains(&task);
        let Runner::Feedforward(runner) = &mut self.runner else {
            return Err(self.wrong_kind(task.name()));
        };
        if !can {
            return Err(self.wrong_kind(task.name()));
        }
        let names = outputs.map(str::to_owned);
        let given = runner.run(tensors, &names).await?;
        let mut values = [const { Vec::new() }; N];
        for (values, name) in values.iter_mut().zip(outputs) {
            *values = rows(&given[name])?;
        }
        Ok(values)
    }
}
