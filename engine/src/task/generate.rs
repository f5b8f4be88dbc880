//! Text from a causal model, a token at a time.

use std::rc::Rc;

use super::decoder::{Advance, DecodeError, Decoder};
use super::sampling::{Choice, Sampler, SamplingError, SamplingParams};
use super::source::Source;
use super::stop::{StopError, StopStrings};
use super::text_stream::TextStream;
use crate::input::tokenizer::{Tokenizer, TokenizerError};
use crate::model::CausalLm;

/// How to generate.
#[derive(Clone, Debug)]
pub struct GenerateOptions {
    pub max_tokens: usize,
    pub sampling: SamplingParams,
    /// Texts that end the generation and are not part of it.
    pub stop: Vec<String>,
    /// Goes on over the model's end-of-text tokens, and shows control tokens, as references and benchmarks do.
    pub ignore_eos: bool,
}

impl Default for GenerateOptions {
    fn default() -> GenerateOptions {
        GenerateOptions {
            max_tokens: 256,
            sampling: SamplingParams::default(),
            stop: Vec::new(),
            ignore_eos: false,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FinishReason {
    /// The model's end of text, or a stop text.
    Stop,
    /// The tokens asked for are there.
    Length,
    /// The context can hold no more.
    ContextFull,
}

impl FinishReason {
    pub const fn name(self) -> &'static str {
        match self {
            FinishReason::Stop => "stop",
            FinishReason::Length => "length",
            FinishReason::ContextFull => "context_full",
        }
    }
}

/// What one call of [`Generation::next`] did.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// More of the prompt is computed.
    Prefill { done: usize, total: usize },
    /// A token, and the text that it completes (which may be empty).
    Token { choice: Choice, text: String },
    /// The end; `text` is what was held back.
    Finished { reason: FinishReason, text: String },
}

#[derive(Debug, thiserror::Error)]
pub enum GenerateError {
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Sampling(#[from] SamplingError),
    #[error(transparent)]
    Stop(#[from] StopError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error("the generation has ended")]
    Ended,
}

/// A generation under way. Drop it to stop.
pub struct Generation {
    /// What an encoder-decoder reads.
    source: Option<Rc<Source>>,
    context: Vec<u32>,
    prompt_tokens: usize,
    cached_tokens: usize,
    max_tokens: usize,
    ignore_eos: bool,
    sampler: Sampler,
    stop: StopStrings,
    stream: TextStream,
    ended: Option<FinishReason>,
    over: bool,
}

impl Generation {
    /// Prepares to go on from `prompt`.
    ///
    /// # Errors
    /// Options out of range; a prompt that is empty or longer than the context.
    pub fn new(
        decoder: &Decoder,
        prompt: Vec<u32>,
        options: &GenerateOptions,
    ) -> Result<Generation, GenerateError> {
        let cached_tokens = decoder.reusable(1, 0, &prompt);
        Generation::prepare(decoder.model(), prompt, cached_tokens, options)
    }

    /// Prepares to go on from `prompt` after a source, as an encoder-decoder does.
    ///
    /// # Errors
    /// As [`Generation::new`].
    pub fn after(
        decoder: &Decoder,
        source: Source,
        prompt: Vec<u32>,
        options: &GenerateOptions,
    ) -> Result<Generation, GenerateError> {
        let mut generation = Generation::prepare(decoder.model(), prompt, 0, options)?;
        // The one token that a model's texts begin with is no text.
        if generation.prompt_tokens == 1 {
            generation.stream = TextStream::new(!options.ignore_eos);
        }
        generation.source = Some(Rc::new(source));
        Ok(generation)
    }

    pub(super) fn prepare(
        model: &CausalLm,
        prompt: Vec<u32>,
        cached_tokens: usize,
        options: &GenerateOptions,
    ) -> Result<Generation, GenerateError> {
        let limit = model.context_length;
        if prompt.is_empty() {
            return Err(DecodeError::Empty.into());
        }
        if prompt.len() > limit {
            return Err(DecodeError::ContextFull {
                tokens: prompt.len(),
                limit,
            }
            .into());
        }
        Ok(Generation {
            source: None,
            prompt_tokens: prompt.len(),
            cached_tokens,
            max_tokens: options.max_tokens,
            ignore_eos: options.ignore_eos,
            sampler: Sampler::new(options.sampling.clone(), &prompt)?,
            stop: StopStrings::new(options.stop.clone())?,
            stream: TextStream::after_text(!options.ignore_eos),
            context: prompt,
            ended: (options.max_tokens == 0).then_some(FinishReason::Length),
            over: false,
        })
    }

    pub fn prompt_ids(&self) -> &[u32] {
        &self.context[..self.prompt_tokens]
    }

    /// The tokens generated so far.
    pub fn ids(&self) -> &[u32] {
        &self.context[self.prompt_tokens..]
    }

    /// Prompt tokens that the KV state had from the call before.
    pub fn cached_tokens(&self) -> usize {
        self.cached_tokens
    }

    /// Whether no more tokens come: the next call gives [`Event::Finished`], without computing.
    pub fn has_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Does one chunk of the prompt or one token.
    ///
    /// # Errors
    /// Whatever decoding says; after an error, or after [`Event::Finished`], the generation has ended.
    pub async fn next(
        &mut self,
        decoder: &mut Decoder,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Event, GenerateError> {
        if self.over {
            return Err(GenerateError::Ended);
        }
        if let Some(end) = self.finish() {
            return Ok(end);
        }
        self.set_source(decoder);
        let advance = decoder.advance(&self.context).await?;
        self.take(decoder.model(), tokenizer, advance)
    }

    /// Has an encoder-decoder read this generation's source.
    pub(super) fn set_source(&self, decoder: &mut Decoder) {
        if let Some(source) = &self.source {
            decoder.set_source(source);
        }
    }

    /// What the state has to hold for the next token; `None` where none is to come.
    pub(super) fn wanted(&self) -> Option<&[u32]> {
        (self.ended.is_none() && !self.over).then_some(&self.context)
    }

    /// The closing event, once, of a generation that has ended.
    pub(super) fn finish(&mut self) -> Option<Event> {
        let reason = self.ended.filter(|_| !self.over)?;
        self.over = true;
        let mut text = self.stop.push(&self.stream.finish());
        text += &self.stop.finish();
        Some(Event::Finished { reason, text })
    }

    /// Goes on with what the decoder made of [`Generation::wanted`].
    pub(super) fn take(
        &mut self,
        model: &CausalLm,
        tokenizer: Option<&Tokenizer>,
        advance: Advance,
    ) -> Result<Event, GenerateError> {
        match advance {
            Advance::Prefilled { done, total } => Ok(Event::Prefill { done, total }),
            Advance::Logits(logits) => {
                let choice = self.sampler.choose(&logits)?;
                let text = self.append(model, tokenizer, choice.id)?;
                Ok(Event::Token { choice, text })
            }
        }
    }

    fn append(
        &mut self,
        model: &CausalLm,
        tokenizer: Option<&Tokenizer>,
        id: u32,
    ) -> Result<String, GenerateError> {
        self.context.push(id);
        let generated = self.context.len() - self.prompt_tokens;
        let ends = model.eos_ids.contains(&id) || tokenizer.is_some_and(|t| t.ends_generation(id));
        if ends && !self.ignore_eos {
            self.ended = Some(FinishReason::Stop);
            return Ok(String::new());
        }
        let text = match tokenizer {
            Some(tokenizer) => self.stream.push(tokenizer, id)?,
            None => String::new(),
        };
        let text = self.stop.push(&text);
        if self.stop.stopped().is_some() {
            self.ended = Some(FinishReason::Stop);
        } else if generated >= self.max_tokens {
            self.ended = Some(FinishReason::Length);
        } else if self.context.len() >= model.context_length {
            self.ended = Some(FinishReason::ContextFull);
        }
        Ok(text)
    }
}
