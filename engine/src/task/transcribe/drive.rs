//! A transcription on a [`Model`], as native programs do it.

use super::{
    Part, Step, TranscribeError, TranscribeFacts, TranscribeFiles, Transcriber, Transcription,
    Words,
};
use crate::input::tokenizer::Tokenizer;
use crate::source::SourceError;
use crate::task::decoder::Advance;
use crate::task::forward::{ForwardError, Named};
use crate::task::{Model, TaskError};

#[derive(Debug, thiserror::Error)]
pub enum TranscriptionError {
    #[error(transparent)]
    Transcribe(#[from] TranscribeError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    File(#[from] SourceError),
}

/// What one call of [`Model::step_transcription`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum TranscribeEvent {
    /// The model computed something.
    Computed,
    Part(Part),
    /// There is no more: see [`Transcription::transcript`].
    Done,
}

impl Model {
    /// Reads the files that say how the model transcribes.
    ///
    /// # Errors
    /// A model of another kind, files that cannot be read, are no JSON or contradict the model, and what is missing.
    pub async fn transcriber(&self) -> Result<Transcriber, TranscriptionError> {
        if !self.can_transcribe() {
            return Err(self.wrong_kind("transcribe").into());
        }
        let files = self.files();
        let config = files.read("config.json").await?;
        let generation_config = files.read("generation_config.json").await?;
        let preprocessor_config = files.read("preprocessor_config.json").await?;
        let vocabulary = files.read("vocab.json").await?;
        let tokenizer_config = files.read("tokenizer_config.json").await?;
        let files = TranscribeFiles {
            config: config.as_deref(),
            generation_config: generation_config.as_deref(),
            preprocessor_config: preprocessor_config.as_deref(),
            vocabulary: vocabulary.as_deref(),
            tokenizer_config: tokenizer_config.as_deref(),
        };
        let facts = self.facts();
        let facts = TranscribeFacts {
            vocabulary: facts.vocabulary,
            context_length: facts.context_length,
            features: self.reads_features(),
        };
        Ok(match facts.features {
            Some(_) => Transcriber::new(&files, facts, self.tokenizer()?)?,
            None => Transcriber::new(&files, facts, &NoWords)?,
        })
    }

    /// Does one run of the model, or gives a part. `samples` is the whole recording, mono at [`Transcriber::rate`].
    ///
    /// # Errors
    /// A model that hears nothing, samples that are not finite, and what a session can say.
    pub async fn step_transcription(
        &mut self,
        transcription: &mut Transcription,
        samples: &[f32],
    ) -> Result<TranscribeEvent, TranscriptionError> {
        match transcription.step() {
            Step::Part(part) => return Ok(TranscribeEvent::Part(part)),
            Step::Done => return Ok(TranscribeEvent::Done),
            Step::Hear(range) => {
                let piece = samples.get(range);
                let piece = piece.ok_or(TranscribeError::Unasked("less sound"))?;
                let Some((name, tensor)) = transcription.hear(piece)? else {
                    return Ok(TranscribeEvent::Computed);
                };
                let named = Named::from([(name.to_owned(), tensor)]);
                if self.reads_features().is_some() {
                    self.listen(&named)?;
                } else {
                    let outputs = self.forward(&named, &["logits".to_owned()]).await?;
                    let logits = outputs.get("logits");
                    let logits = logits.ok_or_else(|| ForwardError::Missing("logits".into()));
                    let logits = logits.map_err(TaskError::from)?;
                    let values = logits.as_f32().map_err(ForwardError::from);
                    let classes = logits.shape().last().copied().unwrap_or(0);
                    transcription.answered(values.map_err(TaskError::from)?, classes)?;
                }
            }
            Step::Predict(context) => {
                if let Advance::Logits(logits) = self.advance(&context).await? {
                    transcription.predicted(logits, self.tokenizer()?)?;
                }
            }
            Step::Run => return Err(TranscribeError::Unasked("another step").into()),
        }
        Ok(TranscribeEvent::Computed)
    }
}

impl Words for Tokenizer {
    fn id(&self, token: &str) -> Option<u32> {
        Tokenizer::id(self, token)
    }

    fn text(&self, ids: &[u32]) -> String {
        // Only ids that the vocabulary has are said; rows beyond it have no text.
        let known: Vec<u32> = ids
            .iter()
            .copied()
            .filter(|&id| self.token(id).is_some())
            .collect();
        self.decode(&known, true).unwrap_or_default()
    }
}

/// A CTC model has its own vocabulary.
struct NoWords;

impl Words for NoWords {
    fn id(&self, _: &str) -> Option<u32> {
        None
    }

    fn text(&self, _: &[u32]) -> String {
        String::new()
    }
}
