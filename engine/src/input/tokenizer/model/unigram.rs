//! Unigram language model (Kudo, 2018, <https://arxiv.org/abs/1804.10959>): the segmentation with the
//! greatest sum of log-probabilities, by Viterbi.

use super::super::error::{TokenizerError, excerpt};
use super::super::trie::Trie;
use super::super::vocabulary::Vocabulary;
use super::no_token;

/// An unknown character costs this much more than the least probable token.
const UNKNOWN_PENALTY: f64 = 10.0;

#[derive(Debug)]
pub(in super::super) struct Unigram {
    scores: Vec<f64>,
    trie: Trie,
    unknown_score: f64,
    unk: Option<u32>,
    byte_tokens: Option<Box<[u32; 256]>>,
}

/// The best way to reach a byte of the piece.
#[derive(Clone, Copy)]
struct Best {
    score: f64,
    start: usize,
    id: Option<u32>,
}

impl Unigram {
    /// `scores` are log-probabilities by id, one for each token; none may be NaN.
    pub(in super::super) fn new(
        file: &'static str,
        vocabulary: &Vocabulary,
        scores: Vec<f64>,
        unk: Option<u32>,
        byte_fallback: bool,
    ) -> Result<Self, TokenizerError> {
        check_scores(file, vocabulary, scores.iter().copied())?;
        let mut trie = Trie::default();
        for (id, token) in vocabulary.iter() {
            // A spelling that stands twice counts once, as its first id.
            if vocabulary.id(token) == Some(id) {
                trie.insert(file, token, id)?;
            }
        }
        let least = scores.iter().copied().fold(f64::INFINITY, f64::min);
        Ok(Self {
            unknown_score: least - UNKNOWN_PENALTY,
            scores,
            trie,
            unk,
            byte_tokens: if byte_fallback {
                vocabulary.byte_tokens()
            } else {
                None
            },
        })
    }

    pub(super) fn encode(
        &self,
        _vocabulary: &Vocabulary,
        piece: &str,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let path = self.best_path(piece);
        let mut at = 0;
        while at < path.len() {
            let (start, mut end, id) = path[at];
            at += 1;
            let Some(id) = id.filter(|&id| Some(id) != self.unk) else {
                // Neighbouring unknown characters are one unknown token.
                while let Some(&(_, next_end, None)) = path.get(at) {
                    end = next_end;
                    at += 1;
                }
                self.push_unknown(&piece[start..end], ids)?;
                continue;
            };
            ids.push(id);
        }
        Ok(())
    }

    /// `(start, end, id)` from left to right; no id where only the unknown token fits.
    fn best_path(&self, piece: &str) -> Vec<(usize, usize, Option<u32>)> {
        let mut best: Vec<Option<Best>> = vec![None; piece.len() + 1];
        let reach = |best: &mut Vec<Option<Best>>, end: usize, candidate: Best| {
            if best[end].is_none_or(|known| candidate.score > known.score) {
                best[end] = Some(candidate);
            }
        };
        for (start, character) in piece.char_indices() {
            let so_far = match (start, best[start]) {
                (0, _) => 0.0,
                (_, Some(best)) => best.score,
                (_, None) => continue,
            };
            let width = character.len_utf8();
            let mut whole_character = false;
            for (length, id) in self.trie.prefixes(&piece.as_bytes()[start..]) {
                whole_character |= length == width;
                let score = so_far + self.scores[id as usize];
                let id = Some(id);
                reach(&mut best, start + length, Best { score, start, id });
            }
            if !whole_character {
                let score = so_far + self.unknown_score;
                let id = None;
                reach(&mut best, start + width, Best { score, start, id });
            }
        }
        let mut path = Vec::new();
        let mut end = piece.len();
        while end > 0
            && let Some(step) = best[end]
        {
            path.push((step.start, end, step.id));
            end = step.start;
        }
        path.reverse();
        path
    }

    fn push_unknown(&self, text: &str, ids: &mut Vec<u32>) -> Result<(), TokenizerError> {
        if let Some(byte_tokens) = &self.byte_tokens {
            ids.extend(text.bytes().map(|byte| byte_tokens[byte as usize]));
        } else {
            ids.push(self.unk.ok_or_else(|| no_token(text))?);
        }
        Ok(())
    }
}

/// One score for each id, and each a number.
pub(super) fn check_scores(
    file: &'static str,
    vocabulary: &Vocabulary,
    scores: impl ExactSizeIterator<Item = f64>,
) -> Result<(), TokenizerError> {
    let malformed = |at: String, reason: String| TokenizerError::Malformed { file, at, reason };
    if scores.len() != vocabulary.len() {
        let (scores, tokens) = (scores.len(), vocabulary.len());
        return Err(malformed(
            "scores".into(),
            format!("{scores} scores for {tokens} tokens"),
        ));
    }
    for (id, score) in scores.enumerate() {
        if score.is_nan() {
            let token = excerpt(vocabulary.token(id as u32).unwrap_or_default());
            return Err(malformed(
                format!("score of token {id}, {token:?}"),
                "not a number".into(),
            ));
        }
    }
    Ok(())
}
