//! Prompts on their way to the engine.

use fewbit_engine::task::{self, Model};

use crate::fault::Fault;
use crate::message::Prompt;

impl From<Prompt> for task::Prompt {
    fn from(prompt: Prompt) -> task::Prompt {
        match prompt {
            Prompt::Text { text } => task::Prompt::Text(text),
            Prompt::Ids { ids } => task::Prompt::Ids(ids),
            Prompt::Chat { messages } => task::Prompt::Chat(messages),
        }
    }
}

/// Seconds since 1970, for templates that state the date.
pub(crate) fn now() -> Option<i64> {
    Some((js_sys::Date::now() / 1000.0) as i64)
}

/// The ids of `prompt`, however many.
pub(crate) fn encode(model: &Model, prompt: Prompt) -> Result<Vec<u32>, Fault> {
    Ok(match prompt {
        Prompt::Text { text } => model.encode(&text)?,
        Prompt::Ids { ids } => ids,
        Prompt::Chat { messages } => model.encode_chat(&messages, now())?,
    })
}
