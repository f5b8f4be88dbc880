//! From tokens back to text, one token at a time: each gives bytes that do not depend on later ones, so a
//! stream and a whole decode agree.

use serde::Deserialize;

use super::byte_level;
use super::error::TokenizerError;
use super::pattern::Pattern;
use super::pre_tokenizer::{PatternJson, Prepend};

/// Steps each token passes, in order.
#[derive(Debug, Default)]
pub(super) struct Decoder {
    steps: Vec<Step>,
    /// Taken once from the start of the whole text: how many of which character.
    strip_start: Option<(char, usize)>,
}

#[derive(Debug)]
enum Step {
    ByteLevel,
    ByteFallback,
    Metaspace {
        replacement: char,
        drop_first: bool,
    },
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    /// A suffix that ends words becomes the space after them.
    BpeSuffix(String),
    Replace {
        pattern: Pattern,
        content: String,
    },
    Strip {
        character: char,
        start: usize,
        stop: usize,
    },
}

/// A decoder as `tokenizer.json` spells it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum DecoderJson {
    ByteLevel,
    ByteFallback,
    Metaspace {
        replacement: char,
        add_prefix_space: Option<bool>,
        prepend_scheme: Option<Prepend>,
    },
    WordPiece {
        prefix: String,
        cleanup: bool,
    },
    #[serde(rename = "BPEDecoder")]
    BpeDecoder {
        suffix: String,
    },
    Replace {
        pattern: PatternJson,
        content: String,
    },
    Strip {
        content: char,
        start: usize,
        stop: usize,
    },
    Fuse,
    #[serde(rename = "CTC")]
    Ctc,
    Sequence {
        decoders: Vec<DecoderJson>,
    },
}

impl Decoder {
    pub(super) fn byte_level() -> Self {
        Self {
            steps: vec![Step::ByteLevel],
            strip_start: None,
        }
    }

    pub(super) fn word_piece(prefix: &str, cleanup: bool) -> Self {
        let prefix = prefix.to_owned();
        Self {
            steps: vec![Step::WordPiece { prefix, cleanup }],
            strip_start: None,
        }
    }

    /// SentencePiece: `▁` is a space, `<0x..>` a byte; the space that encoding put first goes again.
    pub(super) fn sentence_piece(added_space: bool) -> Self {
        Self {
            steps: vec![
                Step::ByteFallback,
                Step::Metaspace {
                    replacement: '▁',
                    drop_first: false,
                },
            ],
            strip_start: added_space.then_some((' ', 1)),
        }
    }

    pub(super) fn from_json(file: &'static str, json: DecoderJson) -> Result<Self, TokenizerError> {
        let mut decoder = Self::default();
        let mut fused = false;
        decoder.push(file, json, &mut fused)?;
        Ok(decoder)
    }

    fn push(
        &mut self,
        file: &'static str,
        json: DecoderJson,
        fused: &mut bool,
    ) -> Result<(), TokenizerError> {
        let unsupported = |name: &str| TokenizerError::Unsupported {
            file,
            part: "decoder",
            name: name.to_owned(),
        };
        let step = match json {
            DecoderJson::Sequence { decoders } => {
                return decoders
                    .into_iter()
                    .try_for_each(|json| self.push(file, json, fused));
            }
            DecoderJson::Fuse => {
                *fused = true;
                return Ok(());
            }
            DecoderJson::Ctc => return Err(unsupported("CTC")),
            // After `Fuse` a step sees the whole text; only this one can still be done as it streams.
            DecoderJson::Strip {
                content,
                start,
                stop: 0,
            } if *fused && self.strip_start.is_none() => {
                self.strip_start = Some((content, start));
                return Ok(());
            }
            _ if *fused => return Err(unsupported("of this kind after Fuse")),
            DecoderJson::ByteLevel => Step::ByteLevel,
            DecoderJson::ByteFallback => Step::ByteFallback,
            DecoderJson::Metaspace {
                replacement,
                add_prefix_space,
                prepend_scheme,
            } => Step::Metaspace {
                replacement,
                drop_first: add_prefix_space != Some(false)
                    && prepend_scheme != Some(Prepend::Never),
            },
            DecoderJson::WordPiece { prefix, cleanup } => Step::WordPiece { prefix, cleanup },
            DecoderJson::BpeDecoder { suffix } => Step::BpeSuffix(suffix),
            DecoderJson::Replace { pattern, content } => Step::Replace {
                pattern: pattern.compile()?,
                content,
            },
            DecoderJson::Strip {
                content,
                start,
                stop,
            } => Step::Strip {
                character: content,
                start,
                stop,
            },
        };
        self.steps.push(step);
        Ok(())
    }

    /// The bytes of `token`, which is the text's first or not.
    pub(super) fn bytes(&self, token: &str, first: bool) -> Result<Vec<u8>, TokenizerError> {
        let mut text = token.to_owned();
        for step in &self.steps {
            text = match step {
                Step::ByteLevel => return Ok(byte_level::to_bytes(&text)),
                Step::ByteFallback => match fallback_byte(&text) {
                    Some(byte) => return Ok(vec![byte]),
                    None => text,
                },
                Step::Metaspace {
                    replacement,
                    drop_first,
                } => {
                    let with = if first && *drop_first { "" } else { " " };
                    text.replace(*replacement, with)
                }
                Step::WordPiece { prefix, cleanup } => {
                    let joined = match text.strip_prefix(prefix.as_str()) {
                        _ if first => text,
                        Some(rest) => rest.to_owned(),
                        None => format!(" {text}"),
                    };
                    if *cleanup { clean_up(&joined) } else { joined }
                }
                Step::BpeSuffix(suffix) if suffix.is_empty() => text,
                Step::BpeSuffix(suffix) => text.replace(suffix.as_str(), " "),
                Step::Replace { pattern, content } => pattern.replace_all(&text, content)?,
                Step::Strip {
                    character,
                    start,
                    stop,
                } => strip(&text, *character, *start, *stop).to_owned(),
            };
        }
        if first && let Some((character, count)) = self.strip_start {
            text = strip(&text, character, count, 0).to_owned();
        }
        Ok(text.into_bytes())
    }
}

fn strip(text: &str, character: char, start: usize, stop: usize) -> &str {
    let mut rest = text;
    for _ in 0..start.min(text.len()) {
        rest = rest.strip_prefix(character).unwrap_or(rest);
    }
    for _ in 0..stop.min(text.len()) {
        rest = rest.strip_suffix(character).unwrap_or(rest);
    }
    rest
}

/// The byte of a token like `<0x0A>`.
fn fallback_byte(token: &str) -> Option<u8> {
    let digits = token.strip_prefix("<0x")?.strip_suffix('>')?;
    (digits.len() == 2).then(|| u8::from_str_radix(digits, 16).ok())?
}

/// Takes back the spaces that joining words put before English punctuation.
fn clean_up(text: &str) -> String {
    const REPLACEMENTS: [(&str, &str); 11] = [
        (" .", "."),
        (" ?", "?"),
        (" !", "!"),
        (" ,", ","),
        (" ' ", "'"),
        (" n't", "n't"),
        (" 'm", "'m"),
        (" do not", " don't"),
        (" 's", "'s"),
        (" 've", "'ve"),
        (" 're", "'re"),
    ];
    REPLACEMENTS
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}
