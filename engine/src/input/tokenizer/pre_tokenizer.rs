//! Splitting a normalized text into the pieces that the model sees, one at a time.

use std::ops::Range;

use serde::Deserialize;
use unicode_categories::UnicodeCategories;

use super::byte_level;
use super::error::TokenizerError;
use super::pattern::Pattern;

/// GPT-2's own splitting, which byte-level tokenizers use where their file names none.
pub(super) const GPT2_PATTERN: &str =
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+";

/// A part of the text, and whether it is the very first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) first: bool,
}

#[derive(Debug)]
pub(super) enum PreTokenizer {
    ByteLevel {
        add_prefix_space: bool,
        split: Option<Pattern>,
    },
    Split {
        pattern: Pattern,
        behavior: Behavior,
        invert: bool,
    },
    Metaspace {
        replacement: char,
        prepend: Prepend,
        split: bool,
    },
    Bert,
    Whitespace(Pattern),
    WhitespaceSplit,
    Delimiter(char),
    Punctuation(Behavior),
    Digits {
        individual: bool,
    },
    FixedLength(usize),
    Sequence(Vec<PreTokenizer>),
}

/// What becomes of a match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Behavior {
    Removed,
    Isolated,
    MergedWithPrevious,
    MergedWithNext,
    Contiguous,
}

/// Which pieces get a `▁` before them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Prepend {
    Always,
    First,
    Never,
}

/// A pattern as `tokenizer.json` spells it.
#[derive(Deserialize)]
pub(super) enum PatternJson {
    String(String),
    Regex(String),
}

impl PatternJson {
    pub(super) fn compile(&self) -> Result<Pattern, TokenizerError> {
        match self {
            Self::String(text) => Pattern::literal(text),
            Self::Regex(regex) => Pattern::new(regex),
        }
    }
}

fn yes() -> bool {
    true
}

fn isolated() -> Behavior {
    Behavior::Isolated
}

/// A pre-tokenizer as `tokenizer.json` spells it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum PreTokenizerJson {
    ByteLevel {
        #[serde(default)]
        add_prefix_space: bool,
        #[serde(default = "yes")]
        use_regex: bool,
    },
    Split {
        pattern: PatternJson,
        behavior: Behavior,
        #[serde(default)]
        invert: bool,
    },
    Metaspace {
        replacement: char,
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<Prepend>,
        split: Option<bool>,
    },
    BertPreTokenizer,
    Whitespace,
    WhitespaceSplit,
    #[serde(rename = "CharDelimiterSplit", alias = "Delimiter")]
    Delimiter {
        delimiter: char,
    },
    Punctuation {
        #[serde(default = "isolated")]
        behavior: Behavior,
    },
    Digits {
        #[serde(default)]
        individual_digits: bool,
    },
    FixedLength {
        length: usize,
    },
    Sequence {
        pretokenizers: Vec<PreTokenizerJson>,
    },
}

impl PreTokenizer {
    pub(super) fn from_json(
        file: &'static str,
        json: PreTokenizerJson,
    ) -> Result<Self, TokenizerError> {
        Ok(match json {
            PreTokenizerJson::ByteLevel {
                add_prefix_space,
                use_regex,
            } => Self::ByteLevel {
                add_prefix_space,
                split: use_regex.then(|| Pattern::new(GPT2_PATTERN)).transpose()?,
            },
            PreTokenizerJson::Split {
                pattern,
                behavior,
                invert,
            } => Self::Split {
                pattern: pattern.compile()?,
                behavior,
                invert,
            },
            PreTokenizerJson::Metaspace {
                replacement,
                add_prefix_space,
                prepend_scheme,
                split,
            } => Self::Metaspace {
                replacement,
                prepend: match add_prefix_space {
                    Some(false) => Prepend::Never,
                    _ => prepend_scheme.unwrap_or(Prepend::Always),
                },
                split: split.unwrap_or(true),
            },
            PreTokenizerJson::BertPreTokenizer => Self::Bert,
            PreTokenizerJson::Whitespace => Self::Whitespace(Pattern::new(r"\w+|[^\w\s]+")?),
            PreTokenizerJson::WhitespaceSplit => Self::WhitespaceSplit,
            PreTokenizerJson::Delimiter { delimiter } => Self::Delimiter(delimiter),
            PreTokenizerJson::Punctuation { behavior } => Self::Punctuation(behavior),
            PreTokenizerJson::Digits { individual_digits } => Self::Digits {
                individual: individual_digits,
            },
            PreTokenizerJson::FixedLength { length: 0 } => {
                return Err(TokenizerError::Malformed {
                    file,
                    at: "pre_tokenizer FixedLength".into(),
                    reason: "a length of 0".into(),
                });
            }
            PreTokenizerJson::FixedLength { length } => Self::FixedLength(length),
            PreTokenizerJson::Sequence { pretokenizers } => Self::Sequence(
                pretokenizers
                    .into_iter()
                    .map(|json| Self::from_json(file, json))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    pub(super) fn apply(&self, pieces: Vec<Piece>) -> Result<Vec<Piece>, TokenizerError> {
        use Behavior::{Contiguous, Isolated, MergedWithNext, Removed};
        match self {
            Self::ByteLevel {
                add_prefix_space,
                split,
            } => {
                let pieces = prepend(pieces, |piece| {
                    (*add_prefix_space && !piece.text.starts_with(' ')).then_some(' ')
                });
                let mut pieces = match split {
                    Some(pattern) => split_each(pieces, Isolated, |text| {
                        Ok(with_gaps(text, pattern.find_all(text)?))
                    })?,
                    None => pieces,
                };
                for piece in &mut pieces {
                    piece.text = byte_level::to_characters(&piece.text);
                }
                Ok(pieces)
            }
            Self::Split {
                pattern,
                behavior,
                invert,
            } => split_each(pieces, *behavior, |text| {
                let mut parts = with_gaps(text, pattern.find_all(text)?);
                if *invert {
                    parts
                        .iter_mut()
                        .for_each(|(_, matched)| *matched = !*matched);
                }
                Ok(parts)
            }),
            Self::Metaspace {
                replacement,
                prepend: scheme,
                split,
            } => {
                let mut pieces = pieces;
                for piece in &mut pieces {
                    piece.text = piece
                        .text
                        .replace(' ', replacement.encode_utf8(&mut [0; 4]));
                }
                let pieces = prepend(pieces, |piece| {
                    let here = match scheme {
                        Prepend::Always => true,
                        Prepend::First => piece.first,
                        Prepend::Never => false,
                    };
                    (here && !piece.text.starts_with(*replacement)).then_some(*replacement)
                });
                if *split {
                    split_characters(pieces, MergedWithNext, |c| c == *replacement)
                } else {
                    Ok(pieces)
                }
            }
            Self::Bert => {
                let words = split_characters(pieces, Removed, char::is_whitespace)?;
                split_characters(words, Isolated, is_punctuation)
            }
            Self::Whitespace(pattern) => split_each(pieces, Removed, |text| {
                let mut parts = with_gaps(text, pattern.find_all(text)?);
                parts
                    .iter_mut()
                    .for_each(|(_, matched)| *matched = !*matched);
                Ok(parts)
            }),
            Self::WhitespaceSplit => split_characters(pieces, Removed, char::is_whitespace),
            Self::Delimiter(delimiter) => split_characters(pieces, Removed, |c| c == *delimiter),
            Self::Punctuation(behavior) => split_characters(pieces, *behavior, is_punctuation),
            Self::Digits { individual } => {
                let behavior = if *individual { Isolated } else { Contiguous };
                split_characters(pieces, behavior, char::is_numeric)
            }
            Self::FixedLength(length) => split_each(pieces, Isolated, |text| {
                let starts = text.char_indices().step_by(*length).map(|(at, _)| at);
                let starts: Vec<usize> = starts.collect();
                let ends = starts.iter().skip(1).copied().chain([text.len()]);
                Ok(starts
                    .iter()
                    .zip(ends)
                    .map(|(&start, end)| (start..end, true))
                    .collect())
            }),
            Self::Sequence(steps) => steps
                .iter()
                .try_fold(pieces, |pieces, step| step.apply(pieces)),
        }
    }
}

/// Unicode punctuation, and every ASCII character that is neither letter nor digit nor space.
fn is_punctuation(c: char) -> bool {
    c.is_ascii_punctuation() || c.is_punctuation()
}

fn prepend(mut pieces: Vec<Piece>, what: impl Fn(&Piece) -> Option<char>) -> Vec<Piece> {
    for piece in &mut pieces {
        if let Some(character) = what(piece) {
            piece.text.insert(0, character);
        }
    }
    pieces
}

/// The ranges of `text`, matched or not, in order and without gaps.
type Parts = Vec<(Range<usize>, bool)>;

fn with_gaps(text: &str, matches: Vec<Range<usize>>) -> Parts {
    let mut parts = Vec::with_capacity(2 * matches.len() + 1);
    let mut from = 0;
    for range in matches {
        if range.start > from {
            parts.push((from..range.start, false));
        }
        from = range.end;
        parts.push((range, true));
    }
    if from < text.len() {
        parts.push((from..text.len(), false));
    }
    parts
}

fn split_characters(
    pieces: Vec<Piece>,
    behavior: Behavior,
    is_match: impl Fn(char) -> bool,
) -> Result<Vec<Piece>, TokenizerError> {
    split_each(pieces, behavior, |text| {
        let matches = text
            .char_indices()
            .filter(|&(_, c)| is_match(c))
            .map(|(at, c)| at..at + c.len_utf8());
        Ok(with_gaps(text, matches.collect()))
    })
}

/// Splits every piece; empty ones vanish.
fn split_each(
    pieces: Vec<Piece>,
    behavior: Behavior,
    parts: impl Fn(&str) -> Result<Parts, TokenizerError>,
) -> Result<Vec<Piece>, TokenizerError> {
    let mut out = Vec::with_capacity(pieces.len());
    for piece in pieces {
        for range in behavior.merge(parts(&piece.text)?) {
            if !range.is_empty() {
                out.push(Piece {
                    first: piece.first && range.start == 0,
                    text: piece.text[range].to_owned(),
                });
            }
        }
    }
    Ok(out)
}

impl Behavior {
    fn merge(self, parts: Parts) -> Vec<Range<usize>> {
        let mut out: Vec<Range<usize>> = Vec::with_capacity(parts.len());
        let mut previous_matched = false;
        match self {
            Self::Isolated => out.extend(parts.into_iter().map(|(range, _)| range)),
            Self::Removed => out.extend(
                parts
                    .into_iter()
                    .filter(|(_, matched)| !matched)
                    .map(|(range, _)| range),
            ),
            Self::Contiguous => {
                for (range, matched) in parts {
                    match out.last_mut() {
                        Some(last) if matched == previous_matched => last.end = range.end,
                        _ => out.push(range),
                    }
                    previous_matched = matched;
                }
            }
            Self::MergedWithPrevious => {
                for (range, matched) in parts {
                    match out.last_mut() {
                        Some(last) if matched && !previous_matched => last.end = range.end,
                        _ => out.push(range),
                    }
                    previous_matched = matched;
                }
            }
            Self::MergedWithNext => {
                for (range, matched) in parts.into_iter().rev() {
                    match out.last_mut() {
                        Some(next) if matched && !previous_matched => next.start = range.start,
                        _ => out.push(range),
                    }
                    previous_matched = matched;
                }
                out.reverse();
            }
        }
        out
    }
}
