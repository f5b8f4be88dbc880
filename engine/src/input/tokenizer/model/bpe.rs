//! Byte pair encoding by ranked merges (Sennrich et al., 2016, <https://aclanthology.org/P16-1162>).

use std::borrow::Cow;
use std::collections::HashMap;

use super::super::error::{TokenizerError, excerpt};
use super::super::vocabulary::Vocabulary;
use super::merge::{Symbol, merge_all};

/// What `tokenizer.json` may say of a BPE model, apart from vocabulary and merges.
#[derive(Debug, Default)]
pub(in super::super) struct BpeOptions {
    pub(in super::super) unk: Option<u32>,
    /// Stands before every character but a piece's first.
    pub(in super::super) continuing_prefix: String,
    /// Stands after a piece's last character.
    pub(in super::super) end_suffix: String,
    /// Neighbouring unknown characters become one unknown token.
    pub(in super::super) fuse_unk: bool,
    /// Unknown characters become `<0x..>` tokens.
    pub(in super::super) byte_fallback: bool,
    /// A piece that is a token is that token, whatever the merges say.
    pub(in super::super) ignore_merges: bool,
}

#[derive(Debug)]
pub(in super::super) struct Bpe {
    /// Left and right id → rank and id of the merged token.
    merges: HashMap<(u32, u32), (u32, u32)>,
    options: BpeOptions,
    byte_tokens: Option<Box<[u32; 256]>>,
}

impl Bpe {
    /// Every merge must name two tokens whose joined spelling is a token.
    pub(in super::super) fn new<'a>(
        file: &'static str,
        vocabulary: &Vocabulary,
        merges: impl ExactSizeIterator<Item = (&'a str, &'a str)>,
        options: BpeOptions,
    ) -> Result<Self, TokenizerError> {
        let mut table = HashMap::with_capacity(merges.len());
        for (rank, (left, right)) in merges.enumerate() {
            let absent = |token: &str| TokenizerError::Malformed {
                file,
                at: format!("merge {rank}, {:?} {:?}", excerpt(left), excerpt(right)),
                reason: format!("{:?} is not in the vocabulary", excerpt(token)),
            };
            let left_id = vocabulary.id(left).ok_or_else(|| absent(left))?;
            let right_id = vocabulary.id(right).ok_or_else(|| absent(right))?;
            let tail = right
                .strip_prefix(options.continuing_prefix.as_str())
                .unwrap_or(right);
            let merged = format!("{left}{tail}");
            let id = vocabulary.id(&merged).ok_or_else(|| absent(&merged))?;
            table.insert((left_id, right_id), (rank as u32, id));
        }
        let byte_tokens = if options.byte_fallback {
            vocabulary.byte_tokens()
        } else {
            None
        };
        Ok(Self {
            merges: table,
            options,
            byte_tokens,
        })
    }

    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        if self.options.ignore_merges
            && let Some(id) = vocabulary.id(piece)
        {
            ids.push(id);
            return Ok(());
        }
        let mut symbols = self.symbols(vocabulary, piece);
        merge_all(&mut symbols, |left, right| {
            self.merges.get(&(left.id, right.id)).copied()
        });
        ids.extend(symbols.iter().map(|symbol| symbol.id));
        Ok(())
    }

    /// One symbol a character. A character without a token becomes its byte tokens, the unknown token,
    /// or, where the file has neither, nothing: so does the reference implementation.
    fn symbols(&self, vocabulary: &Vocabulary, piece: &str) -> Vec<Symbol> {
        let mut symbols = Vec::with_capacity(piece.len());
        let mut after_unknown = false;
        for (start, character) in piece.char_indices() {
            let end = start + character.len_utf8();
            let text = self.affixed(piece, start, end);
            if let Some(id) = vocabulary.id(&text) {
                symbols.push(Symbol { id, start, end });
                after_unknown = false;
            } else if let Some(byte_tokens) = &self.byte_tokens {
                for (offset, byte) in text.bytes().enumerate() {
                    symbols.push(Symbol {
                        id: byte_tokens[byte as usize],
                        start: start + offset,
                        end: start + offset + 1,
                    });
                }
                after_unknown = false;
            } else if let Some(id) = self.options.unk {
                if !(after_unknown && self.options.fuse_unk) {
                    symbols.push(Symbol { id, start, end });
                }
                after_unknown = true;
            }
        }
        symbols
    }

    fn affixed<'a>(&self, piece: &'a str, start: usize, end: usize) -> Cow<'a, str> {
        let prefix = if start > 0 {
            self.options.continuing_prefix.as_str()
        } else {
            ""
        };
        let suffix = if end == piece.len() {
            self.options.end_suffix.as_str()
        } else {
            ""
        };
        let text = &piece[start..end];
        if prefix.is_empty() && suffix.is_empty() {
            Cow::Borrowed(text)
        } else {
            Cow::Owned(format!("{prefix}{text}{suffix}"))
        }
    }
}
