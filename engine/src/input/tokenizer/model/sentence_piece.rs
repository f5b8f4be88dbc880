//! SentencePiece's BPE as GGUF files carry it (`tokenizer.ggml.model` = `llama`): no list of merges, the
//! pair whose joined text has the best score goes first (Kudo and Richardson, 2018,
//! <https://arxiv.org/abs/1808.06226>).

use super::super::error::TokenizerError;
use super::super::vocabulary::Vocabulary;
use super::merge::{NONE, Symbol, merge_all};
use super::no_token;

#[derive(Debug)]
pub(in super::super) struct SentencePieceBpe {
    /// Rank of each token's score, best first: smaller merges earlier, equal scores share a rank.
    ranks: Vec<u32>,
    byte_tokens: Option<Box<[u32; 256]>>,
    unk: Option<u32>,
}

impl SentencePieceBpe {
    /// `scores` by id, one for each token of the vocabulary; none may be NaN.
    pub(in super::super) fn new(
        file: &'static str,
        vocabulary: &Vocabulary,
        scores: &[f32],
        unk: Option<u32>,
    ) -> Result<Self, TokenizerError> {
        super::unigram::check_scores(file, vocabulary, scores.iter().map(|&score| score as f64))?;
        let mut order: Vec<u32> = (0..scores.len() as u32).collect();
        order.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]));
        let mut ranks = vec![0; scores.len()];
        let mut rank = 0;
        for (at, &id) in order.iter().enumerate() {
            if at > 0 && scores[order[at - 1] as usize] != scores[id as usize] {
                rank += 1;
            }
            ranks[id as usize] = rank;
        }
        Ok(Self {
            ranks,
            byte_tokens: vocabulary.byte_tokens(),
            unk,
        })
    }

    pub(super) fn encode(
        &self,
        vocabulary: &Vocabulary,
        piece: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut symbols: Vec<Symbol> = piece
            .char_indices()
            .map(|(start, character)| {
                let end = start + character.len_utf8();
                let id = vocabulary.id(&piece[start..end]).unwrap_or(NONE);
                Symbol { id, start, end }
            })
            .collect();
        merge_all(&mut symbols, |left, right| {
            let id = vocabulary.id(&piece[left.start..right.end])?;
            Some((*self.ranks.get(id as usize)?, id))
        });
        for symbol in symbols {
            let text = &piece[symbol.start..symbol.end];
            match (&self.byte_tokens, self.unk) {
                _ if symbol.id != NONE => ids.push(symbol.id),
                (Some(byte_tokens), _) => {
                    ids.extend(text.bytes().map(|byte| byte_tokens[byte as usize]));
                }
                (None, Some(unk)) => ids.push(unk),
                (None, None) => return Err(no_token(text)),
            }
        }
        Ok(())
    }
}
