//! WordPiece (Schuster and Nakajima, 2012; as BERT uses it): from the left, the longest token that fits.

use super::super::error::TokenizerError;
use super::super::vocabulary::Vocabulary;

#[derive(Debug)]
pub(in super::super) struct WordPiece {
    pub(in super::super) unk: u32,
    /// Stands before every token that continues a word, `##` in BERT.
    pub(in super::super) continuing_prefix: String,
    /// Longer words are unknown.
    pub(in super::super) max_chars: usize,
}

impl WordPiece {
    /// The greatest `max_input_chars_per_word` taken from a file: matching is quadratic in it.
    pub(in super::super) const MAX_CHARS: usize = 1_000;

    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        word: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let before = ids.len();
        if word.chars().count() > self.max_chars || !self.split(vocabulary, word, ids) {
            ids.truncate(before);
            ids.push(self.unk);
        }
        Ok(())
    }

    /// Whether the whole word could be split.
    fn split(&self, vocabulary: &Vocabulary, word: &str, ids: &mut Vec<u32>) -> bool {
        let mut start = 0;
        let mut candidate = String::with_capacity(word.len() + self.continuing_prefix.len());
        while start < word.len() {
            let rest = &word[start..];
            let ends = rest.char_indices().rev().map(|(at, _)| at);
            let found = [rest.len()].into_iter().chain(ends).find_map(|end| {
                candidate.clear();
                if start > 0 {
                    candidate.push_str(&self.continuing_prefix);
                }
                candidate.push_str(&rest[..end]);
                (end > 0).then(|| Some((end, vocabulary.id(&candidate)?)))?
            });
            let Some((length, id)) = found else {
                return false;
            };
            ids.push(id);
            start += length;
        }
        true
    }
}
