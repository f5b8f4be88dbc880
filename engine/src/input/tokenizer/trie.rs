//! A trie over the bytes of tokens: which of them begin here?

use std::collections::HashMap;

use super::error::{TokenizerError, excerpt};

/// Searching costs at most this much for each byte of text, so longer tokens are refused.
const MAX_TOKEN_BYTES: usize = 2_048;

/// Maps byte strings to ids and finds all that are a prefix of a text.
#[derive(Debug, Default)]
pub(super) struct Trie {
    edges: HashMap<(u32, u8), u32>,
    /// Of each node but the root.
    values: Vec<Option<u32>>,
}

impl Trie {
    /// Empty tokens are passed over: they would match everywhere.
    pub(super) fn insert(
        &mut self,
        file: &'static str,
        token: &str,
        id: u32,
    ) -> Result<(), TokenizerError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenizerError::Malformed {
                file,
                at: format!("token {:?}", excerpt(token)),
                reason: format!("{} bytes; at most {MAX_TOKEN_BYTES} can be", token.len()),
            });
        }
        let mut node = 0;
        for &byte in token.as_bytes() {
            let fresh = self.values.len() as u32 + 1;
            node = *self.edges.entry((node, byte)).or_insert(fresh);
            if node == fresh {
                self.values.push(None);
            }
        }
        if node > 0 {
            self.values[node as usize - 1] = Some(id);
        }
        Ok(())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// `(length, id)` of every token that `text` begins with, shortest first.
    pub(super) fn prefixes<'a>(
        &'a self,
        text: &'a [u8],
    ) -> impl Iterator<Item = (usize, u32)> + 'a {
        let mut node = 0;
        text.iter()
            .map_while(move |&byte| {
                node = *self.edges.get(&(node, byte))?;
                Some(node)
            })
            .enumerate()
            .filter_map(|(at, node)| Some((at + 1, self.values[node as usize - 1]?)))
    }

    /// The longest token that `text` begins with.
    pub(super) fn longest(&self, text: &[u8]) -> Option<(usize, u32)> {
        self.prefixes(text).last()
    }
}
