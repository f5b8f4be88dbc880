//! From a prompt to token ids that leave room in the context.

use fewbit_engine::task::Model;
use fewbit_engine::task::chat::Message;
use fewbit_engine::task::context_policy::{self, ContextError, ContextPolicy};

use crate::fault::Fault;
use crate::message::{Prompt, WhenFull};

/// The ids of `prompt`, however many.
pub(crate) fn encode(model: &Model, prompt: &Prompt) -> Result<Vec<u32>, Fault> {
    match prompt {
        Prompt::Text { text } => Ok(model.encode(text)?),
        Prompt::Ids { ids } => Ok(ids.clone()),
        Prompt::Chat { messages } => encode_chat(model, messages),
    }
}

/// The ids of `prompt`, with room for an answer.
///
/// With [`WhenFull::DropOldest`] a chat loses its oldest turns (never a system message, never the last
/// message), a text its oldest tokens (never the one that begins a text), until a quarter of the context, or
/// `max_tokens` if that is less, is free.
///
/// # Errors
/// `context_full` if there is no room and nothing may be dropped.
pub(crate) fn encode_with_room(
    model: &Model,
    prompt: &Prompt,
    when_full: WhenFull,
    max_tokens: usize,
) -> Result<Vec<u32>, Fault> {
    let limit = model.facts().context_length;
    let ids = encode(model, prompt)?;
    if when_full == WhenFull::Error {
        return if ids.len() < limit {
            Ok(ids)
        } else {
            Err(full(ids.len(), limit))
        };
    }
    let reserve = max_tokens.clamp(1, (limit / 4).max(1));
    let fitting = limit.saturating_sub(reserve);
    match prompt {
        _ if ids.len() <= fitting => Ok(ids),
        Prompt::Chat { messages } => drop_turns(model, messages, reserve, limit),
        Prompt::Text { .. } | Prompt::Ids { .. } => Ok(drop_tokens(model, ids, fitting)),
    }
}

fn drop_turns(
    model: &Model,
    messages: &[Message],
    reserve: usize,
    limit: usize,
) -> Result<Vec<u32>, Fault> {
    let count = |messages: &[Message]| Ok(encode_chat(model, messages)?.len());
    let policy = ContextPolicy::DropOldestTurns;
    match context_policy::fit(messages, policy, reserve, limit, count) {
        Ok(fitted) => encode_chat(model, &fitted.messages),
        Err(ContextError::Count(fault)) => Err(fault),
        Err(ContextError::TooLong { tokens, .. }) => Err(full(tokens, limit)),
    }
}

fn drop_tokens(model: &Model, ids: Vec<u32>, fitting: usize) -> Vec<u32> {
    let bos = model.tokenizer().ok().and_then(|t| t.special().bos);
    let begins = ids.first().copied().filter(|&id| Some(id) == bos);
    let keep = fitting.saturating_sub(usize::from(begins.is_some())).max(1);
    let rest = &ids[ids.len().saturating_sub(keep)..];
    begins.into_iter().chain(rest.iter().copied()).collect()
}

fn encode_chat(model: &Model, messages: &[Message]) -> Result<Vec<u32>, Fault> {
    let now = (js_sys::Date::now() / 1000.0) as i64;
    Ok(model.encode_chat(messages, Some(now))?)
}

fn full(tokens: usize, limit: usize) -> Fault {
    Fault::new(
        "context_full",
        format!("{tokens} tokens leave no room in the context of {limit}"),
    )
}
