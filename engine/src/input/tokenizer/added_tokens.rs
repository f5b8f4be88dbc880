//! Tokens that are found in the text before anything else is done to it: control tokens and a file's own
//! additions.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

use super::error::TokenizerError;
use super::normalizer::Normalizer;
use super::trie::Trie;

/// An entry of `added_tokens`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct AddedToken {
    pub(super) id: u32,
    /// Its text; once read, in the form that it is looked for and that decoding begins from.
    pub(super) content: String,
    /// Only where no word character touches it.
    #[serde(default)]
    pub(super) single_word: bool,
    /// Takes the white space before it along.
    #[serde(default)]
    pub(super) lstrip: bool,
    /// Takes the white space after it along.
    #[serde(default)]
    pub(super) rstrip: bool,
    /// Is looked for in the normalized text, in its normalized form.
    #[serde(default)]
    pub(super) normalized: bool,
    /// Is left out when decoding for people.
    #[serde(default)]
    pub(super) special: bool,
}

/// A part of a text: an added token, or what stands between them.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part<'a> {
    Token(u32),
    Text(Cow<'a, str>),
}

#[derive(Debug, Default)]
pub(super) struct AddedTokens {
    by_id: HashMap<u32, AddedToken>,
    raw: Trie,
    normalized: Trie,
}

impl AddedTokens {
    pub(super) fn new(
        file: &'static str,
        tokens: Vec<AddedToken>,
        normalizer: Option<&Normalizer>,
    ) -> Result<Self, TokenizerError> {
        let mut added = Self::default();
        for mut token in tokens {
            let trie = if token.normalized {
                if let Some(normalizer) = normalizer {
                    token.content = normalizer.apply(token.content)?;
                }
                &mut added.normalized
            } else {
                &mut added.raw
            };
            trie.insert(file, &token.content, token.id)?;
            added.by_id.insert(token.id, token);
        }
        Ok(added)
    }

    pub(super) fn get(&self, id: u32) -> Option<&AddedToken> {
        self.by_id.get(&id)
    }

    /// Splits at the tokens that are looked for in the text as it came.
    pub(super) fn split_raw<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        self.split(&self.raw, text)
    }

    /// Splits at the tokens that are looked for in the normalized text.
    pub(super) fn split_normalized<'a>(&self, text: &'a str) -> Vec<Part<'a>> {
        self.split(&self.normalized, text)
    }

    /// From left to right, the longest token at each place.
    fn split<'a>(&self, trie: &Trie, text: &'a str) -> Vec<Part<'a>> {
        if trie.is_empty() {
            return vec![Part::Text(Cow::Borrowed(text))];
        }
        let mut parts = Vec::new();
        let mut text_from = 0;
        let mut at = 0;
        while at < text.len() {
            // Tokens are UTF-8, so none begins or ends inside a character.
            match trie.longest(&text.as_bytes()[at..]) {
                Some((length, id)) if self.fits(id, text, at, at + length) => {
                    let (mut start, mut end) = (at, at + length);
                    if let Some(token) = self.by_id.get(&id) {
                        if token.lstrip {
                            start = text[text_from..start].trim_end().len() + text_from;
                        }
                        if token.rstrip {
                            end = text.len() - text[end..].trim_start().len();
                        }
                    }
                    if text_from < start {
                        parts.push(Part::Text(Cow::Borrowed(&text[text_from..start])));
                    }
                    parts.push(Part::Token(id));
                    text_from = end;
                    at = end;
                }
                Some((length, _)) => at += length,
                None => at += 1,
            }
        }
        if text_from < text.len() {
            parts.push(Part::Text(Cow::Borrowed(&text[text_from..])));
        }
        parts
    }

    fn fits(&self, id: u32, text: &str, start: usize, end: usize) -> bool {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let single_word = self.by_id.get(&id).is_some_and(|token| token.single_word);
        !single_word
            || !(text[..start].chars().next_back().is_some_and(is_word)
                || text[end..].chars().next().is_some_and(is_word))
    }
}
