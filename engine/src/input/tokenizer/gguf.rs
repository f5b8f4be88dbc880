//! Tokenizers from GGUF metadata (`tokenizer.ggml.*`, `tokenizer.chat_template`), with the meaning that
//! llama.cpp gives the keys (<https://github.com/ggml-org/ggml/blob/master/docs/gguf.md#tokenizer>).

use super::added_tokens::{AddedToken, AddedTokens};
use super::character_map::CharacterMap;
use super::decoder::Decoder;
use super::error::{TokenizerError, excerpt};
use super::model::{Bpe, BpeOptions, Model, SentencePieceBpe, Unigram, WordPiece};
use super::normalizer::{BertNormalizer, Normalizer};
use super::pattern::Pattern;
use super::post_processor::PostProcessor;
use super::pre_tokenizer::{Behavior, GPT2_PATTERN, PreTokenizer};
use super::vocabulary::Vocabulary;
use super::{Special, Tokenizer};
use crate::format::{MetaArray, MetaValue, Metadata, MetadataError};

const FILE: &str = "GGUF metadata";

const MODEL: &str = "tokenizer.ggml.model";
const TOKENS: &str = "tokenizer.ggml.tokens";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const TOKEN_TYPES: &str = "tokenizer.ggml.token_type";

/// `tokenizer.ggml.token_type`.
const TYPE_UNKNOWN: i32 = 2;
const TYPE_CONTROL: i32 = 3;
const TYPE_USER_DEFINED: i32 = 4;

const LLAMA3: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const QWEN2: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const GPT_4O: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// The patterns of a `tokenizer.ggml.pre`, applied one after the other, and whether a piece that is a
/// token stays whole.
fn pre_tokenizer_patterns(name: &str) -> Option<(&'static [&'static str], bool)> {
    Some(match name {
        "default" => (
            &[
                r"[\p{P}\$\+<=>\^~\|]+",
                GPT2_PATTERN,
                r"\p{N}+",
                r"[0-9][0-9][0-9]",
            ],
            false,
        ),
        "gpt-2" | "phi-2" | "jina-es" | "jina-de" | "jina-v1-en" | "jina-v2-es" | "jina-v2-de"
        | "mpt" | "olmo" | "jais" | "roberta-bpe" | "gigachat" => (&[GPT2_PATTERN], false),
        "llama3" | "llama-v3" | "llama-bpe" | "falcon3" | "falcon-h1" | "pixtral" => {
            (&[LLAMA3], true)
        }
        "dbrx" | "smaug-bpe" | "chatglm-bpe" | "glm4" => (&[LLAMA3], false),
        "qwen2" | "stablelm2" | "deepseek-r1-qwen" | "megrez" | "hunyuan" => (&[QWEN2], false),
        "smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone" | "minerva-7b" => {
            (&[r"\p{N}", GPT2_PATTERN], false)
        }
        "falcon" => (
            &[r"[\p{P}\$\+<=>\^~\|`]+", GPT2_PATTERN, r"[0-9][0-9][0-9]"],
            false,
        ),
        "gpt-4o" | "llama4" => (&[GPT_4O], false),
        "tekken" => (&[TEKKEN], true),
        _ => return None,
    })
}

/// Spellings after which a chat model has said what it had to say, where the file marks them as control
/// tokens; llama.cpp keeps the same list.
const END_OF_GENERATION: [&str; 14] = [
    "<|eot_id|>",
    "<|eom_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|end_of_text|>",
    "<|endoftext|>",
    "<|end_of_turn|>",
    "<end_of_turn>",
    "<|return|>",
    "<EOT>",
    "_<EOT>",
    "<|EOT|>",
    "<｜end▁of▁sentence｜>",
    "</s>",
];

pub(super) fn read(metadata: &Metadata) -> Result<Tokenizer, TokenizerError> {
    let tokens = match metadata.strings(TOKENS) {
        Ok([]) | Err(MetadataError::Missing { .. }) => {
            return Err(TokenizerError::NoVocabulary { file: FILE });
        }
        tokens => tokens.map_err(wrong)?,
    };
    let kind = metadata.str(MODEL).map_err(wrong)?;
    let types = token_types(metadata, tokens.len())?;
    let is_type = |id: usize, kind: i32| types.as_ref().is_some_and(|types| types[id] == kind);
    let entries = tokens.iter().enumerate().map(|(id, token)| {
        let token = if kind == "bert" && !is_type(id, TYPE_CONTROL) {
            word_piece_spelling(token)
        } else {
            token.clone()
        };
        (token, id as u32)
    });
    let vocabulary = Vocabulary::new(FILE, entries.collect())?;
    let id = |key: &str| special_id(metadata, key, &vocabulary);
    let mut special = Special {
        bos: id("tokenizer.ggml.bos_token_id")?,
        eos: id("tokenizer.ggml.eos_token_id")?,
        unk: id("tokenizer.ggml.unknown_token_id")?,
        pad: id("tokenizer.ggml.padding_token_id")?,
        mask: id("tokenizer.ggml.mask_token_id")?,
        end_of_generation: Vec::new(),
    };
    let separator = id("tokenizer.ggml.seperator_token_id")?; // the key is spelled so
    let class = id("tokenizer.ggml.cls_token_id")?;

    let mut added = Vec::new();
    for (at, token) in tokens.iter().enumerate() {
        let control = is_type(at, TYPE_CONTROL);
        if control || is_type(at, TYPE_USER_DEFINED) || is_type(at, TYPE_UNKNOWN) {
            let id = at as u32;
            if control && END_OF_GENERATION.contains(&token.as_str()) {
                special.end_of_generation.push(id);
            }
            added.push(AddedToken {
                id,
                content: token.clone(),
                single_word: false,
                lstrip: false,
                rstrip: false,
                normalized: false,
                special: !is_type(at, TYPE_USER_DEFINED),
            });
        }
    }
    for key in ["eos", "eot", "eom"] {
        if let Some(id) = id(&format!("tokenizer.ggml.{key}_token_id"))? {
            special.add_end_of_generation(id);
        }
    }

    let flag = |key: &str, default: bool| match metadata.bool(key) {
        Err(MetadataError::Missing { .. }) => Ok(default),
        value => value.map_err(wrong),
    };
    let spaced = kind == "llama" || kind == "t5";
    let space_prefix = spaced && flag("tokenizer.ggml.add_space_prefix", true)?;
    let mut add_bos = kind == "llama" || kind == "bert";
    let mut add_eos = kind == "t5" || kind == "bert";
    let (normalizer, pre_tokenizer, model, decoder) = match kind {
        "gpt2" => {
            let name = match metadata.str("tokenizer.ggml.pre") {
                Err(MetadataError::Missing { .. }) => "default",
                name => name.map_err(wrong)?,
            };
            let (patterns, ignore_merges) =
                pre_tokenizer_patterns(name).ok_or_else(|| unsupported("pre-tokenizer", name))?;
            // Llama 3's files say nothing of the token that its texts begin with.
            add_bos = matches!(name, "llama3" | "llama-v3" | "llama-bpe" | "tekken");
            let model = Model::Bpe(byte_pairs(metadata, &vocabulary, ignore_merges)?);
            let splits = byte_level_pre_tokenizer(patterns)?;
            (None, Some(splits), model, Decoder::byte_level())
        }
        "llama" => {
            let scores = metadata.f32s(SCORES).map_err(wrong)?;
            let model = SentencePieceBpe::new(FILE, &vocabulary, &scores, special.unk)?;
            (
                Some(spaces_to_marks()?),
                None,
                Model::SentencePieceBpe(model),
                Decoder::sentence_piece(space_prefix),
            )
        }
        "t5" => {
            let scores = metadata.f32s(SCORES).map_err(wrong)?;
            let scores = scores.into_iter().map(f64::from).collect();
            let model = Unigram::new(FILE, &vocabulary, scores, special.unk, true)?;
            let mut steps = Vec::new();
            if let Some(MetaValue::Array(map)) = metadata.get("tokenizer.ggml.precompiled_charsmap")
            {
                steps.push(Normalizer::CharacterMap(character_map(map)?));
            }
            if flag("tokenizer.ggml.remove_extra_whitespaces", false)? {
                steps.push(Normalizer::CollapseSpaces);
            }
            steps.push(spaces_to_marks()?);
            (
                Some(Normalizer::Sequence(steps)),
                None,
                Model::Unigram(model),
                Decoder::sentence_piece(space_prefix),
            )
        }
        "bert" => {
            let model = Model::WordPiece(WordPiece {
                unk: special.unk.or(vocabulary.id("[UNK]")).ok_or_else(|| {
                    malformed("tokenizer.ggml.unknown_token_id", "missing".into())
                })?,
                continuing_prefix: "##".into(),
                max_chars: 100,
            });
            let normalizer = Normalizer::Bert(BertNormalizer {
                clean_text: true,
                handle_chinese_chars: true,
                strip_accents: Some(true),
                lowercase: true,
            });
            let decoder = Decoder::word_piece("##", true);
            (Some(normalizer), Some(PreTokenizer::Bert), model, decoder)
        }
        other => return Err(unsupported("tokenizer.ggml.model", other)),
    };

    add_bos = flag("tokenizer.ggml.add_bos_token", add_bos)?;
    add_eos = flag("tokenizer.ggml.add_eos_token", add_eos)?;
    let (first, last) = match kind {
        "bert" => (class.or(special.bos), separator.or(special.eos)),
        _ => (special.bos, special.eos),
    };
    let post_processor = PostProcessor {
        before: first.filter(|_| add_bos).into_iter().collect(),
        after: last.filter(|_| add_eos).into_iter().collect(),
    };
    let added = AddedTokens::new(FILE, added, None)?;
    let chat_template = metadata.str("tokenizer.chat_template").ok();
    Ok(Tokenizer {
        vocabulary,
        model,
        added,
        normalizer,
        pre_tokenizer,
        post_processor,
        decoder,
        special,
        space_prefix,
        chat_template: chat_template.map(str::to_owned),
    })
}

fn byte_pairs(
    metadata: &Metadata,
    vocabulary: &Vocabulary,
    ignore_merges: bool,
) -> Result<Bpe, TokenizerError> {
    let merges = metadata.strings(MERGES).map_err(wrong)?;
    let pairs = merges
        .iter()
        .map(|merge| {
            super::split_merge(merge).ok_or_else(|| {
                let at = format!("{MERGES} {:?}", excerpt(merge));
                malformed(&at, "not two tokens with one space between them".into())
            })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let options = BpeOptions {
        ignore_merges,
        ..BpeOptions::default()
    };
    Bpe::new(FILE, vocabulary, pairs.into_iter(), options)
}

fn byte_level_pre_tokenizer(patterns: &[&str]) -> Result<PreTokenizer, TokenizerError> {
    let mut steps = patterns
        .iter()
        .map(|pattern| {
            Ok(PreTokenizer::Split {
                pattern: Pattern::new(pattern)?,
                behavior: Behavior::Isolated,
                invert: false,
            })
        })
        .collect::<Result<Vec<_>, TokenizerError>>()?;
    steps.push(PreTokenizer::ByteLevel {
        add_prefix_space: false,
        split: None,
    });
    Ok(PreTokenizer::Sequence(steps))
}

fn spaces_to_marks() -> Result<Normalizer, TokenizerError> {
    Ok(Normalizer::Replace {
        pattern: Pattern::literal(" ")?,
        content: "▁".into(),
    })
}

/// GGUF marks the words' beginnings with `▁`, BERT's own vocabulary their continuations with `##`.
fn word_piece_spelling(token: &str) -> String {
    match token.strip_prefix('▁') {
        Some(word) => word.to_owned(),
        None if token.starts_with('[') && token.ends_with(']') && token.len() > 2 => {
            token.to_owned()
        }
        None => format!("##{token}"),
    }
}

fn character_map(map: &MetaArray) -> Result<CharacterMap, TokenizerError> {
    let bytes: Vec<u8> = match map {
        MetaArray::U8(bytes) => bytes.clone(),
        MetaArray::I8(bytes) => bytes.iter().map(|&byte| byte as u8).collect(),
        other => {
            let reason = format!("an array of {}, bytes are needed", other.type_name());
            return Err(malformed("tokenizer.ggml.precompiled_charsmap", reason));
        }
    };
    CharacterMap::from_bytes(FILE, &bytes)
}

fn token_types(metadata: &Metadata, tokens: usize) -> Result<Option<Vec<i32>>, TokenizerError> {
    let types = match metadata.i32s(TOKEN_TYPES) {
        Err(MetadataError::Missing { .. }) => return Ok(None),
        types => types.map_err(wrong)?,
    };
    if types.len() != tokens {
        let reason = format!("{} types for {tokens} tokens", types.len());
        return Err(malformed(TOKEN_TYPES, reason));
    }
    Ok(Some(types))
}

fn special_id(
    metadata: &Metadata,
    key: &str,
    vocabulary: &Vocabulary,
) -> Result<Option<u32>, TokenizerError> {
    let id = match metadata.u32(key) {
        Err(MetadataError::Missing { .. }) => return Ok(None),
        id => id.map_err(wrong)?,
    };
    if vocabulary.token(id).is_none() {
        let reason = format!("{id} is not in the vocabulary of {}", vocabulary.len());
        return Err(malformed(key, reason));
    }
    Ok(Some(id))
}

fn wrong(error: MetadataError) -> TokenizerError {
    TokenizerError::Json {
        file: FILE,
        reason: error.to_string(),
    }
}

fn malformed(at: &str, reason: String) -> TokenizerError {
    TokenizerError::Malformed {
        file: FILE,
        at: at.to_owned(),
        reason,
    }
}

fn unsupported(part: &'static str, name: &str) -> TokenizerError {
    TokenizerError::Unsupported {
        file: FILE,
        part,
        name: excerpt(name),
    }
}
