//! Text to token ids and back, from `tokenizer.json` or from GGUF metadata.
//!
//! The steps are those of Hugging Face's `tokenizers`, and a test holds this module against that crate.
//! It is not used itself because it would take 600 kB of the megabyte that a page may download, swallows
//! the error of a pattern that backtracks without end, and panics on files that contradict themselves.
//!
//! 1. Added and control tokens are found in the text ([`added_tokens`]).
//! 2. What stands between them is normalized ([`normalizer`]) and split into pieces ([`pre_tokenizer`]).
//! 3. Each piece becomes ids ([`model`]: BPE, WordPiece, Unigram, whole words).
//! 4. The ids the model expects around a text are put there ([`post_processor`]).

mod added_tokens;
mod byte_level;
mod character_map;
mod config;
mod decoder;
mod error;
mod gguf;
mod json;
mod model;
mod normalizer;
mod pattern;
mod post_processor;
mod pre_tokenizer;
mod trie;
mod vocabulary;

#[cfg(test)]
mod tests;

use std::borrow::Cow;

pub use config::TokenizerConfig;
pub use error::TokenizerError;

use crate::format::Metadata;
use added_tokens::{AddedTokens, Part};
use decoder::Decoder;
use model::Model;
use normalizer::Normalizer;
use post_processor::PostProcessor;
use pre_tokenizer::{Piece, PreTokenizer};
use vocabulary::Vocabulary;

/// The longest text that is encoded at once, in bytes.
pub const MAX_TEXT_BYTES: usize = 16 << 20;

/// Turns text into the ids of one vocabulary, and ids into text.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    model: Model,
    added: AddedTokens,
    normalizer: Option<Normalizer>,
    pre_tokenizer: Option<PreTokenizer>,
    post_processor: PostProcessor,
    decoder: Decoder,
    special: Special,
    /// SentencePiece in GGUF: a space goes before the text, and before text after a control token.
    space_prefix: bool,
    chat_template: Option<String>,
}

/// Ids with a part to play.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Special {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unk: Option<u32>,
    pub pad: Option<u32>,
    /// Stands for a token that a model is to guess.
    pub mask: Option<u32>,
    /// Any of these ends a generation: `eos`, and a chat model's end of turn.
    pub end_of_generation: Vec<u32>,
}

impl Special {
    fn add_end_of_generation(&mut self, id: u32) {
        if !self.end_of_generation.contains(&id) {
            self.end_of_generation.push(id);
        }
    }
}

impl Tokenizer {
    /// From the bytes of a `tokenizer.json`. What that file does not say (which token ends a text, the
    /// chat template) comes with [`Self::with_config`].
    ///
    /// # Errors
    /// Names the part of the file that is wrong or not supported.
    pub fn from_tokenizer_json(bytes: &[u8]) -> Result<Self, TokenizerError> {
        json::read(bytes)
    }

    /// From a GGUF file's metadata.
    ///
    /// # Errors
    /// Names the key that is missing, wrong or not supported.
    pub fn from_gguf(metadata: &Metadata) -> Result<Self, TokenizerError> {
        gguf::read(metadata)
    }

    /// The ids of `text`. Control tokens spelled out in it (`<|im_start|>`) become their ids. With
    /// `add_special`, what the model expects around a text (`[CLS] … [SEP]`) is put there; a rendered
    /// chat template has it already.
    ///
    /// # Errors
    /// The text is longer than [`MAX_TEXT_BYTES`], a pattern of the file backtracks without end on it,
    /// or it holds what the vocabulary has no token for.
    pub fn encode(&self, text: &str, add_special: bool) -> Result<Vec<u32>, TokenizerError> {
        if text.len() > MAX_TEXT_BYTES {
            return Err(TokenizerError::TextTooLong {
                bytes: text.len(),
                limit: MAX_TEXT_BYTES,
            });
        }
        let mut ids = Vec::with_capacity(text.len() / 3 + 4);
        if add_special {
            ids.extend(&self.post_processor.before);
        }
        let mut first = true;
        let mut after_token = true;
        for part in self.added.split_raw(text) {
            match part {
                Part::Token(id) => {
                    ids.push(id);
                    after_token = true;
                }
                Part::Text(text) => {
                    self.encode_text(text, first, after_token, &mut ids)?;
                    after_token = false;
                }
            }
            first = false;
        }
        if add_special {
            ids.extend(&self.post_processor.after);
        }
        Ok(ids)
    }

    fn encode_text(
        &self,
        text: Cow<'_, str>,
        first: bool,
        after_token: bool,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut text = text.into_owned();
        if self.space_prefix && after_token {
            text.insert(0, ' ');
        }
        if let Some(normalizer) = &self.normalizer {
            text = normalizer.apply(text)?;
        }
        let mut at_start = first;
        for part in self.added.split_normalized(&text) {
            match part {
                Part::Token(id) => ids.push(id),
                Part::Text(text) => {
                    let mut pieces = vec![Piece {
                        text: text.into_owned(),
                        first: at_start,
                    }];
                    if let Some(pre_tokenizer) = &self.pre_tokenizer {
                        pieces = pre_tokenizer.apply(pieces)?;
                    }
                    for piece in pieces {
                        self.model.encode(&self.vocabulary, &piece.text, ids)?;
                    }
                }
            }
            at_start = false;
        }
        Ok(())
    }

    /// The text of `ids`; with `skip_special`, without control tokens. Bytes that are no UTF-8 (the
    /// first half of a character, say) become U+FFFD.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TokenizerError> {
        let mut bytes = Vec::with_capacity(4 * ids.len());
        let mut first = true;
        for &id in ids {
            if skip_special && self.is_special(id) {
                continue;
            }
            bytes.extend(self.token_bytes(id, first)?);
            first = false;
        }
        Ok(String::from_utf8(bytes)
            .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// What one token adds to a text, in bytes: joined, they are the text. `first` is whether it is the
    /// text's first token (SentencePiece's leading space goes, WordPiece puts none).
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn token_bytes(&self, id: u32, first: bool) -> Result<Vec<u8>, TokenizerError> {
        let added = self.added.get(id).map(|token| token.content.as_str());
        let token =
            added
                .or_else(|| self.vocabulary.token(id))
                .ok_or(TokenizerError::UnknownId {
                    id,
                    vocab_size: self.vocab_size(),
                })?;
        self.decoder.bytes(token, first)
    }

    /// A token as its file spells it.
    pub fn token(&self, id: u32) -> Option<&str> {
        self.vocabulary.token(id)
    }

    /// The id of a token as its file spells it.
    pub fn id(&self, token: &str) -> Option<u32> {
        self.vocabulary.id(token)
    }

    /// Whether `id` is a control token, which people are not shown.
    pub fn is_special(&self, id: u32) -> bool {
        self.added.get(id).is_some_and(|token| token.special)
    }

    /// The ids with a part to play.
    pub fn special(&self) -> &Special {
        &self.special
    }

    /// Whether generation is over with `id`.
    pub fn ends_generation(&self, id: u32) -> bool {
        self.special.end_of_generation.contains(&id)
    }

    /// One more than the greatest id (a model may have more rows than that).
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The Jinja source of the chat template that came with the tokenizer.
    pub fn chat_template(&self) -> Option<&str> {
        self.chat_template.as_deref()
    }
}

/// The two tokens of a merge as files write it: one space between, where a token may begin with a space.
fn split_merge(merge: &str) -> Option<(&str, &str)> {
    let space = merge
        .char_indices()
        .skip(1)
        .find(|&(_, character)| character == ' ')?
        .0;
    let (left, right) = (&merge[..space], &merge[space + 1..]);
    (!right.is_empty()).then_some((left, right))
}
