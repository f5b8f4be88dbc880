//! What happens to a text before it is split: Unicode normal forms, lower case, replacements.

use serde::Deserialize;
use unicode_categories::UnicodeCategories;
use unicode_normalization_alignments::UnicodeNormalization;

use super::MAX_TEXT_BYTES;
use super::byte_level;
use super::character_map::CharacterMap;
use super::error::TokenizerError;
use super::pattern::Pattern;
use super::pre_tokenizer::PatternJson;

#[derive(Debug)]
pub(super) enum Normalizer {
    Bert(BertNormalizer),
    Strip {
        left: bool,
        right: bool,
    },
    StripAccents,
    Nfc,
    Nfd,
    Nfkc,
    Nfkd,
    Lowercase,
    Nmt,
    CharacterMap(CharacterMap),
    Replace {
        pattern: Pattern,
        content: String,
    },
    Prepend(String),
    ByteLevel,
    Sequence(Vec<Normalizer>),
    /// SentencePiece's `remove_extra_whitespaces`: none at the ends, one where there are more.
    CollapseSpaces,
}

/// BERT's basic tokenizer, the part that changes characters.
#[derive(Debug, Deserialize)]
pub(super) struct BertNormalizer {
    #[serde(default = "yes")]
    pub(super) clean_text: bool,
    #[serde(default = "yes")]
    pub(super) handle_chinese_chars: bool,
    /// As `lowercase` when absent.
    pub(super) strip_accents: Option<bool>,
    #[serde(default = "yes")]
    pub(super) lowercase: bool,
}

fn yes() -> bool {
    true
}

/// A normalizer as `tokenizer.json` spells it.
#[derive(Deserialize)]
#[serde(tag = "type")]
pub(super) enum NormalizerJson {
    BertNormalizer(BertNormalizer),
    Bert(BertNormalizer),
    Strip {
        #[serde(alias = "left", default = "yes")]
        strip_left: bool,
        #[serde(alias = "right", default = "yes")]
        strip_right: bool,
    },
    StripAccents,
    #[serde(rename = "NFC")]
    Nfc,
    #[serde(rename = "NFD")]
    Nfd,
    #[serde(rename = "NFKC")]
    Nfkc,
    #[serde(rename = "NFKD")]
    Nfkd,
    Lowercase,
    Nmt,
    Precompiled {
        precompiled_charsmap: String,
    },
    Replace {
        pattern: PatternJson,
        content: String,
    },
    Prepend {
        prepend: String,
    },
    ByteLevel,
    Sequence {
        normalizers: Vec<NormalizerJson>,
    },
}

impl Normalizer {
    pub(super) fn from_json(
        file: &'static str,
        json: NormalizerJson,
    ) -> Result<Self, TokenizerError> {
        Ok(match json {
            NormalizerJson::BertNormalizer(bert) | NormalizerJson::Bert(bert) => Self::Bert(bert),
            NormalizerJson::Strip {
                strip_left: left,
                strip_right: right,
            } => Self::Strip { left, right },
            NormalizerJson::StripAccents => Self::StripAccents,
            NormalizerJson::Nfc => Self::Nfc,
            NormalizerJson::Nfd => Self::Nfd,
            NormalizerJson::Nfkc => Self::Nfkc,
            NormalizerJson::Nfkd => Self::Nfkd,
            NormalizerJson::Lowercase => Self::Lowercase,
            NormalizerJson::Nmt => Self::Nmt,
            NormalizerJson::Precompiled {
                precompiled_charsmap,
            } => Self::CharacterMap(CharacterMap::from_base64(file, &precompiled_charsmap)?),
            NormalizerJson::Replace { pattern, content } => Self::Replace {
                pattern: pattern.compile()?,
                content,
            },
            NormalizerJson::Prepend { prepend } => Self::Prepend(prepend),
            NormalizerJson::ByteLevel => Self::ByteLevel,
            NormalizerJson::Sequence { normalizers } => Self::Sequence(
                normalizers
                    .into_iter()
                    .map(|json| Self::from_json(file, json))
                    .collect::<Result<_, _>>()?,
            ),
        })
    }

    pub(super) fn apply(&self, text: String) -> Result<String, TokenizerError> {
        let text = match self {
            Self::Bert(bert) => bert.apply(text),
            Self::Strip { left, right } => {
                let mut rest = text.as_str();
                if *left {
                    rest = rest.trim_start();
                }
                if *right {
                    rest = rest.trim_end();
                }
                rest.to_owned()
            }
            Self::StripAccents => text
                .chars()
                .filter(|&c| !unicode_normalization_alignments::char::is_combining_mark(c))
                .collect(),
            Self::Nfc => text.nfc().map(|(c, _)| c).collect(),
            Self::Nfd => text.nfd().map(|(c, _)| c).collect(),
            Self::Nfkc => text.nfkc().map(|(c, _)| c).collect(),
            Self::Nfkd => text.nfkd().map(|(c, _)| c).collect(),
            Self::Lowercase => lowercase(&text),
            Self::Nmt => nmt(&text),
            Self::CharacterMap(map) => map.apply(&text),
            Self::Replace { pattern, content } => pattern.replace_all(&text, content)?,
            Self::Prepend(_) if text.is_empty() => text,
            Self::Prepend(prefix) => format!("{prefix}{text}"),
            Self::ByteLevel => byte_level::to_characters(&text),
            Self::CollapseSpaces => {
                let words = text.split(' ').filter(|word| !word.is_empty());
                words.collect::<Vec<_>>().join(" ")
            }
            Self::Sequence(steps) => steps.iter().try_fold(text, |text, step| step.apply(text))?,
        };
        // A file may multiply the text with each step of a long sequence.
        let limit = 8 * MAX_TEXT_BYTES;
        if text.len() > limit {
            return Err(TokenizerError::TextGrows {
                part: "the normalizer",
                limit,
            });
        }
        Ok(text)
    }
}

impl BertNormalizer {
    fn apply(&self, text: String) -> String {
        let mut text = text;
        if self.clean_text {
            text = text
                .chars()
                .filter(|&c| c != '\0' && c != '\u{fffd}' && !is_control(c))
                .map(|c| if c.is_whitespace() { ' ' } else { c })
                .collect();
        }
        if self.handle_chinese_chars && text.chars().any(is_cjk) {
            text = text
                .chars()
                .flat_map(|c| {
                    let pad = is_cjk(c).then_some(' ');
                    pad.into_iter().chain([c]).chain(pad)
                })
                .collect();
        }
        if self.strip_accents.unwrap_or(self.lowercase) && !text.is_ascii() {
            let decomposed = text.nfd().map(|(c, _)| c);
            text = decomposed.filter(|c| !c.is_mark_nonspacing()).collect();
        }
        if self.lowercase {
            text = lowercase(&text);
        }
        text
    }
}

/// Character by character, as the reference does: no final sigma.
fn lowercase(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// Control, format, unassigned and private-use characters, but tab, newline and return.
fn is_control(c: char) -> bool {
    !matches!(c, '\t' | '\n' | '\r') && c.is_other()
}

/// The CJK blocks that BERT's `tokenize_chinese_chars` names.
fn is_cjk(c: char) -> bool {
    matches!(
        c as u32,
        0x4E00..=0x9FFF
            | 0x3400..=0x4DBF
            | 0x20000..=0x2A6DF
            | 0x2A700..=0x2B73F
            | 0x2B740..=0x2B81F
            | 0x2B920..=0x2CEAF
            | 0xF900..=0xFAFF
            | 0x2F800..=0x2FA1F
    )
}

/// SentencePiece's `nmt_nfkc`, the part before NFKC: control characters go, odd spaces become spaces.
fn nmt(text: &str) -> String {
    text.chars()
        .filter(|&c| {
            !matches!(
                c as u32,
                0x1..=0x8 | 0xB | 0xE..=0x1F | 0x7F | 0x8F | 0x9F
            )
        })
        .map(|c| match c as u32 {
            0x9
            | 0xA
            | 0xC
            | 0xD
            | 0x1680
            | 0x200B..=0x200F
            | 0x2028
            | 0x2029
            | 0x2581
            | 0xFEFF
            | 0xFFFD => ' ',
            _ => c,
        })
        .collect()
}
