//! Tokens and their ids, both ways.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::{TokenizerError, excerpt};

/// No file may name an id further beyond its number of tokens than this: memory stays in proportion
/// to the file.
const ID_SLACK: usize = 65_536;

/// Tokens as the file spells them (byte-level characters, `▁`, `##`), by id and by spelling. Ids may
/// have holes. The first id of a spelling wins; a later one still decodes.
#[derive(Debug, Default)]
pub(super) struct Vocabulary {
    tokens: Vec<Option<Arc<str>>>,
    ids: HashMap<Arc<str>, u32>,
}

impl Vocabulary {
    /// From `(token, id)` in any order. Two tokens for one id are an error.
    pub(super) fn new(
        file: &'static str,
        entries: Vec<(String, u32)>,
    ) -> Result<Self, TokenizerError> {
        if entries.is_empty() {
            return Err(TokenizerError::NoVocabulary { file });
        }
        let mut vocabulary = Self {
            tokens: Vec::with_capacity(entries.len()),
            ids: HashMap::with_capacity(entries.len()),
        };
        let count = entries.len();
        for (token, id) in entries {
            vocabulary.insert(file, token, id, count)?;
        }
        Ok(vocabulary)
    }

    /// Adds a token under an id; the same token and id twice is fine.
    pub(super) fn add(
        &mut self,
        file: &'static str,
        token: &str,
        id: u32,
    ) -> Result<(), TokenizerError> {
        let count = self.tokens.len();
        self.insert(file, token.to_owned(), id, count)
    }

    fn insert(
        &mut self,
        file: &'static str,
        token: String,
        id: u32,
        count: usize,
    ) -> Result<(), TokenizerError> {
        let malformed = |reason: String| TokenizerError::Malformed {
            file,
            at: format!("token {:?}", excerpt(&token)),
            reason,
        };
        let at = id as usize;
        if at > count + ID_SLACK {
            return Err(malformed(format!(
                "its id {id} is far beyond the number of tokens, {count}"
            )));
        }
        if at >= self.tokens.len() {
            self.tokens.resize(at + 1, None);
        }
        if let Some(other) = &self.tokens[at] {
            if **other == *token {
                return Ok(());
            }
            let other = excerpt(other);
            return Err(malformed(format!(
                "its id {id} is already that of {other:?}"
            )));
        }
        let token: Arc<str> = token.into();
        self.tokens[at] = Some(token.clone());
        self.ids.entry(token).or_insert(id);
        Ok(())
    }

    /// One more than the greatest id.
    pub(super) fn len(&self) -> usize {
        self.tokens.len()
    }

    pub(super) fn id(&self, token: &str) -> Option<u32> {
        self.ids.get(token).copied()
    }

    pub(super) fn token(&self, id: u32) -> Option<&str> {
        self.tokens.get(id as usize)?.as_deref()
    }

    /// The ids of `<0x00>` … `<0xFF>`, if all are there.
    pub(super) fn byte_tokens(&self) -> Option<Box<[u32; 256]>> {
        let mut ids = Box::new([0u32; 256]);
        for (byte, id) in ids.iter_mut().enumerate() {
            *id = self.id(&format!("<0x{byte:02X}>"))?;
        }
        Some(ids)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &str)> {
        self.tokens
            .iter()
            .enumerate()
            .filter_map(|(id, token)| Some((id as u32, token.as_deref()?)))
    }
}
