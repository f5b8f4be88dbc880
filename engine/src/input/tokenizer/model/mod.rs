//! From a piece of text to token ids: the four kinds of vocabulary.

mod bpe;
mod merge;
mod sentence_piece;
mod unigram;
mod word_piece;

pub(super) use bpe::{Bpe, BpeOptions};
pub(super) use sentence_piece::SentencePieceBpe;
pub(super) use unigram::Unigram;
pub(super) use word_piece::WordPiece;

use super::error::TokenizerError;
use super::vocabulary::Vocabulary;

/// How a pre-tokenized piece becomes ids.
#[derive(Debug)]
pub(super) enum Model {
    Bpe(Bpe),
    SentencePieceBpe(SentencePieceBpe),
    Unigram(Unigram),
    WordPiece(WordPiece),
    /// The whole piece is one token, or the unknown one.
    WordLevel {
        unk: Option<u32>,
    },
}

impl Model {
    /// Appends the ids of `piece`.
    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        if piece.is_empty() {
            return Ok(());
        }
        match self {
            Self::Bpe(model) => model.encode(vocabulary, piece, ids),
            Self::SentencePieceBpe(model) => model.encode(vocabulary, piece, ids),
            Self::Unigram(model) => model.encode(vocabulary, piece, ids),
            Self::WordPiece(model) => model.encode(vocabulary, piece, ids),
            Self::WordLevel { unk } => {
                let id = vocabulary.id(piece).or(*unk);
                ids.push(id.ok_or_else(|| no_token(piece))?);
                Ok(())
            }
        }
    }
}

fn no_token(piece: &str) -> TokenizerError {
    TokenizerError::NoToken {
        text: super::error::excerpt(piece),
    }
}
