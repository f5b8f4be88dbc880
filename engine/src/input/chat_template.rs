//! Chat templates: the Jinja in a model's files, as `transformers` renders it
//! (<https://huggingface.co/docs/transformers/chat_templating>).
//!
//! A template is hostile: it runs with fuel, under caps on what it writes and on the memory it takes on the way, and with
//! a limit on nesting.

mod bounded;
mod budget;
mod clock;
mod python;

use minijinja::value::{Kwargs, Value};
use minijinja::{Error, ErrorKind, context};

use crate::task::chat::Message;

/// Instructions of the template engine; a conversation of 1,000 turns takes about 30,000.
const FUEL: u64 = 2_000_000;
/// Bytes of the rendered text, those of macros and blocks that are rendered on the way counted too.
const MAX_OUTPUT_BYTES: usize = 8 << 20;
/// Bytes of the template; the longest in use have about 20 kB.
const MAX_TEMPLATE_BYTES: usize = 256 << 10;
const MAX_NESTING: usize = 64;

/// Why a conversation could not be rendered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChatTemplateError {
    #[error("the model's files hold no chat template")]
    Missing,
    #[error("the chat template has {bytes} bytes; at most {limit} can be")]
    TooLong { bytes: usize, limit: usize },
    /// The template is not Jinja, or asks for what there is not.
    #[error("chat template, line {line}: {reason}")]
    Template { line: usize, reason: String },
    /// The template itself refuses these messages (`raise_exception`).
    #[error("the chat template refuses these messages: {0}")]
    Refused(String),
    #[error("the chat template does not end: stopped after {FUEL} steps")]
    Endless,
    #[error("the chat template writes more than {MAX_OUTPUT_BYTES} bytes")]
    TooMuchOutput,
    /// Of what, and where.
    #[error("chat template, line {line}: too much memory for {what}")]
    TooMuchMemory { line: usize, what: String },
}

/// What a template is rendered with, beside the messages.
#[derive(Debug, Default, Clone, Copy)]
pub struct ChatOptions<'a> {
    /// End with the beginning of the assistant's turn.
    pub add_generation_prompt: bool,
    /// `bos_token` and `eos_token` as text.
    pub bos_token: Option<&'a str>,
    pub eos_token: Option<&'a str>,
    /// JSON of OpenAI's `tools`.
    pub tools: Option<&'a str>,
    /// Seconds since 1970, UTC, for `strftime_now`. The engine has no clock; without this the function is
    /// not defined, and templates fall back to a date of their own.
    pub now: Option<i64>,
}

/// A chat template that compiles.
#[derive(Debug)]
pub struct ChatTemplate {
    source: String,
}

const NAME: &str = "chat_template";

impl ChatTemplate {
    /// Compiles Jinja.
    ///
    /// # Errors
    /// The source is too long or is no Jinja.
    pub fn new(source: &str) -> Result<Self, ChatTemplateError> {
        if source.len() > MAX_TEMPLATE_BYTES {
            return Err(ChatTemplateError::TooLong {
                bytes: source.len(),
                limit: MAX_TEMPLATE_BYTES,
            });
        }
        let source = without_generation_tags(source);
        bounded::compile(&source).map_err(|error| template_error(&error))?;
        Ok(Self { source })
    }

    /// The conversation as the text that the model continues.
    ///
    /// # Errors
    /// The template refuses the messages, does not end, writes too much, or uses what is not there.
    pub fn render(
        &self,
        messages: &[Message],
        options: &ChatOptions<'_>,
    ) -> Result<String, ChatTemplateError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|message| {
                let role = message.role.template_name();
                let content = &message.content;
                match &message.name {
                    Some(name) => context!(role, content, name),
                    None => context!(role, content),
                }
            })
            .collect();
        let tools = match options.tools {
            Some(json) => {
                serde_json::from_str(json).map_err(|error| ChatTemplateError::Template {
                    line: 0,
                    reason: format!("tools: {error}"),
                })?
            }
            None => Value::from(()),
        };
        let strftime_now = options
            .now
            .map(|now| Value::from_function(move |format: String| clock::strftime(now, &format)));
        let context = context!(
            messages,
            tools,
            documents => Value::from(()),
            add_generation_prompt => options.add_generation_prompt,
            bos_token => options.bos_token.unwrap_or_default(),
            eos_token => options.eos_token.unwrap_or_default(),
            ..strftime_now.map_or(context!(), |strftime_now| context!(strftime_now)),
        );
        bounded::render(&self.source, context).map_err(|error| template_error(&error))
    }
}

/// What templates call to turn messages away.
fn refuse(message: String) -> Result<(), Error> {
    Err(Error::new(ErrorKind::InvalidOperation, message).with_source(Refused))
}

/// `{% generation %}` only marks what an assistant said, for training; it changes no text.
fn without_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(start) = rest.find("{%") {
        let Some(length) = rest[start..].find("%}") else {
            break;
        };
        let tag = &rest[start..start + length + 2];
        let inner = tag[2..length].trim_matches(['-', '+']).trim();
        out.push_str(&rest[..start]);
        match inner {
            // A tag that does nothing, with the same white space control.
            "generation" => out.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => out.push_str(&tag.replace("endgeneration", "endif")),
            _ => out.push_str(tag),
        }
        rest = &rest[start + length + 2..];
    }
    out.push_str(rest);
    out
}

/// Marks an error as raised by the template itself.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("raise_exception")
    }
}

impl std::error::Error for Refused {}

/// Marks an error as caused by too much output.
#[derive(Debug)]
struct OutputFull;

impl std::fmt::Display for OutputFull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("too much output")
    }
}

impl std::error::Error for OutputFull {}

fn template_error(error: &Error) -> ChatTemplateError {
    if error.kind() == ErrorKind::OutOfFuel {
        return ChatTemplateError::Endless;
    }
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(inner) = cause {
        if inner.is::<OutputFull>() {
            return ChatTemplateError::TooMuchOutput;
        }
        if let Some(budget::TooMuch(what)) = inner.downcast_ref() {
            return ChatTemplateError::TooMuchMemory {
                line: error.line().unwrap_or(0),
                what: (*what).to_owned(),
            };
        }
        if inner.is::<Refused>() {
            let message = error.detail().unwrap_or_default();
            return ChatTemplateError::Refused(message.chars().take(400).collect());
        }
        if let Some(error) = inner.downcast_ref::<Error>()
            && error.kind() == ErrorKind::OutOfFuel
        {
            return ChatTemplateError::Endless;
        }
        cause = inner.source();
    }
    let reason = match error.detail() {
        Some(detail) => format!("{}: {detail}", error.kind()),
        None => error.kind().to_string(),
    };
    ChatTemplateError::Template {
        line: error.line().unwrap_or(0),
        reason: reason.chars().take(400).collect(),
    }
}

/// `indent=…` of `tojson`, and nothing else.
fn indent(kwargs: &Kwargs) -> Result<Option<usize>, Error> {
    let indent: Option<usize> = kwargs.get("indent")?;
    // `ensure_ascii`, `separators` and `sort_keys` say what is done here in any case.
    for name in ["ensure_ascii", "separators", "sort_keys"] {
        let _: Option<Value> = kwargs.get(name)?;
    }
    kwargs.assert_all_used()?;
    Ok(indent.map(|width| width.min(16)))
}

#[cfg(test)]
mod tests;
