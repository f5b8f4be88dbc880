//! From what a caller asks to token ids that leave room for the answer.

use super::chat::Message;
use super::context_policy::{self, ContextError, ContextPolicy};
use super::model::{Model, TaskError};

/// What a model is asked to go on from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prompt {
    /// Encoded with the tokens that the model expects around a text.
    Text(String),
    Ids(Vec<u32>),
    /// Rendered by the model's chat template, up to where the assistant begins.
    Chat(Vec<Message>),
}

impl From<ContextError<TaskError>> for TaskError {
    fn from(error: ContextError<TaskError>) -> TaskError {
        match error {
            ContextError::Count(error) => error,
            ContextError::TooLong {
                tokens, capacity, ..
            } => TaskError::ContextFull {
                tokens,
                limit: capacity,
            },
        }
    }
}

impl Model {
    /// The ids of `prompt`, with room for an answer of up to `max_tokens`. `now` is the time in seconds
    /// since 1970, for templates that state the date.
    ///
    /// With [`ContextPolicy::Error`] one token of room is enough: an answer that meets the end of the
    /// context ends there. With [`ContextPolicy::DropOldestTurns`] a chat loses its oldest turns, and a text
    /// its oldest tokens (not the one that begins every text), until `max_tokens` or a quarter of the
    /// context, whichever is less, is free.
    ///
    /// # Errors
    /// [`TaskError::ContextFull`] if there is no room and nothing may go; whatever encoding says.
    pub fn encode_prompt(
        &self,
        prompt: &Prompt,
        policy: ContextPolicy,
        max_tokens: usize,
        now: Option<i64>,
    ) -> Result<Vec<u32>, TaskError> {
        let capacity = self.facts().context_length;
        let reserve = match policy {
            ContextPolicy::Error => 1,
            ContextPolicy::DropOldestTurns => max_tokens.min(capacity / 4).max(1),
        };
        let ids = match prompt {
            Prompt::Chat(messages) => {
                // The last count is not always that of what is kept, so the ids are made once more.
                let count = |messages: &[Message]| Ok(self.encode_chat(messages, now)?.len());
                let fitted = context_policy::fit(messages, policy, reserve, capacity, count)?;
                return self.encode_chat(&fitted.messages, now);
            }
            Prompt::Text(text) => self.encode(text)?,
            Prompt::Ids(ids) => ids.clone(),
        };
        let fits = context_policy::check::<TaskError>(ids.len(), reserve, capacity);
        if fits.is_ok() || policy == ContextPolicy::Error {
            fits?;
            return Ok(ids);
        }
        let bos = self.tokenizer().ok().and_then(|t| t.special().bos);
        let room = capacity - reserve;
        Ok(context_policy::newest_ids(&ids, bos, room))
    }
}
