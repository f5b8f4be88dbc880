//! Hugging Face's `tokenizer.json`.

use serde::Deserialize;
use serde_json::Value;

use super::added_tokens::{AddedToken, AddedTokens};
use super::decoder::{Decoder, DecoderJson};
use super::error::TokenizerError;
use super::model::{Bpe, BpeOptions, Model, Unigram, WordPiece};
use super::normalizer::{Normalizer, NormalizerJson};
use super::post_processor::{PostProcessor, PostProcessorJson};
use super::pre_tokenizer::{PreTokenizer, PreTokenizerJson};
use super::vocabulary::Vocabulary;
use super::{Special, Tokenizer};

const FILE: &str = "tokenizer.json";

/// Truncation and padding are the caller's business: what the file says of them is passed over.
#[derive(Deserialize)]
struct TokenizerJson {
    #[serde(default)]
    added_tokens: Vec<AddedToken>,
    #[serde(default)]
    normalizer: Option<Value>,
    #[serde(default)]
    pre_tokenizer: Option<Value>,
    #[serde(default)]
    post_processor: Option<Value>,
    #[serde(default)]
    decoder: Option<Value>,
    model: ModelJson,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(rename = "type")]
    kind: Option<String>,
    vocab: Option<VocabularyJson>,
    merges: Option<Vec<MergeJson>>,
    unk_token: Option<String>,
    unk_id: Option<u32>,
    continuing_subword_prefix: Option<String>,
    end_of_word_suffix: Option<String>,
    #[serde(default)]
    fuse_unk: bool,
    #[serde(default)]
    byte_fallback: bool,
    #[serde(default)]
    ignore_merges: bool,
    max_input_chars_per_word: Option<usize>,
}

/// Tokens with ids, or, in a Unigram model, a list of tokens with scores.
#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "model.vocab is neither tokens with ids nor tokens with scores"
)]
enum VocabularyJson {
    Ids(std::collections::BTreeMap<String, u32>),
    Scores(Vec<(String, f64)>),
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "a merge is neither a text nor a pair of texts")]
enum MergeJson {
    Pair(String, String),
    Joined(String),
}

pub(super) fn read(bytes: &[u8]) -> Result<Tokenizer, TokenizerError> {
    let json: TokenizerJson = serde_json::from_slice(bytes).map_err(|error| json_error(&error))?;
    let (mut vocabulary, model) = read_model(json.model)?;
    let normalizer = part("normalizer", json.normalizer)?
        .map(|json: NormalizerJson| Normalizer::from_json(FILE, json))
        .transpose()?;
    let pre_tokenizer = part("pre_tokenizer", json.pre_tokenizer)?
        .map(|json: PreTokenizerJson| PreTokenizer::from_json(FILE, json))
        .transpose()?;
    let post_processor = part("post_processor", json.post_processor)?
        .map(|json: PostProcessorJson| PostProcessor::from_json(FILE, json))
        .transpose()?
        .unwrap_or_default();
    let decoder = part("decoder", json.decoder)?
        .map(|json: DecoderJson| Decoder::from_json(FILE, json))
        .transpose()?;
    for token in &json.added_tokens {
        vocabulary.add(FILE, &token.content, token.id)?;
    }
    let around = post_processor.before.iter().chain(&post_processor.after);
    for &id in around {
        if vocabulary.token(id).is_none() {
            return Err(TokenizerError::Malformed {
                file: FILE,
                at: "post_processor".into(),
                reason: format!("there is no token {id}"),
            });
        }
    }
    let added = AddedTokens::new(FILE, json.added_tokens, normalizer.as_ref())?;
    let special = Special {
        unk: match &model {
            Model::WordPiece(model) => Some(model.unk),
            Model::WordLevel { unk } => *unk,
            _ => None,
        },
        ..Special::default()
    };
    Ok(Tokenizer {
        vocabulary,
        model,
        added,
        normalizer,
        pre_tokenizer,
        post_processor,
        decoder: decoder.unwrap_or_default(),
        special,
        space_prefix: false,
        chat_template: None,
    })
}

fn read_model(json: ModelJson) -> Result<(Vocabulary, Model), TokenizerError> {
    let merges = json.merges.unwrap_or_default();
    let (entries, scores) = match json.vocab {
        None => return Err(TokenizerError::NoVocabulary { file: FILE }),
        Some(VocabularyJson::Ids(ids)) => (ids.into_iter().collect::<Vec<_>>(), None),
        Some(VocabularyJson::Scores(list)) => {
            let (tokens, scores): (Vec<_>, Vec<_>) = list.into_iter().unzip();
            let entries = tokens.into_iter().zip(0..).collect();
            (entries, Some(scores))
        }
    };
    let vocabulary = Vocabulary::new(FILE, entries)?;
    let named = |token: &str| {
        vocabulary
            .id(token)
            .ok_or_else(|| TokenizerError::Malformed {
                file: FILE,
                at: "model.unk_token".into(),
                reason: format!("{token:?} is not in the vocabulary"),
            })
    };
    let unk = json.unk_token.as_deref().map(named).transpose()?;
    let kind = match (json.kind.as_deref(), &scores) {
        (Some(kind), _) => kind,
        // Files from before the field: the shape tells.
        (None, Some(_)) => "Unigram",
        (None, None) if !merges.is_empty() => "BPE",
        (None, None) => "WordPiece",
    };
    let model = match (kind, scores) {
        ("BPE", None) => {
            let pairs = merges
                .iter()
                .enumerate()
                .map(|(rank, merge)| split_merge(rank, merge))
                .collect::<Result<Vec<_>, _>>()?;
            let options = BpeOptions {
                unk,
                continuing_prefix: json.continuing_subword_prefix.unwrap_or_default(),
                end_suffix: json.end_of_word_suffix.unwrap_or_default(),
                fuse_unk: json.fuse_unk,
                byte_fallback: json.byte_fallback,
                ignore_merges: json.ignore_merges,
            };
            Model::Bpe(Bpe::new(FILE, &vocabulary, pairs.into_iter(), options)?)
        }
        ("Unigram", Some(scores)) => {
            let unk = json.unk_id;
            if let Some(id) = unk
                && vocabulary.token(id).is_none()
            {
                return Err(TokenizerError::Malformed {
                    file: FILE,
                    at: "model.unk_id".into(),
                    reason: format!("there is no token {id}"),
                });
            }
            let fallback = json.byte_fallback;
            Model::Unigram(Unigram::new(FILE, &vocabulary, scores, unk, fallback)?)
        }
        ("WordPiece", None) => {
            let max_chars = json.max_input_chars_per_word.unwrap_or(100);
            if max_chars > WordPiece::MAX_CHARS {
                let limit = WordPiece::MAX_CHARS;
                return Err(TokenizerError::Malformed {
                    file: FILE,
                    at: "model.max_input_chars_per_word".into(),
                    reason: format!("{max_chars}; at most {limit} can be"),
                });
            }
            Model::WordPiece(WordPiece {
                unk: unk.map_or_else(|| named("[UNK]"), Ok)?,
                continuing_prefix: json.continuing_subword_prefix.unwrap_or("##".into()),
                max_chars,
            })
        }
        ("WordLevel", None) => Model::WordLevel { unk },
        ("BPE" | "Unigram" | "WordPiece" | "WordLevel", _) => {
            return Err(TokenizerError::Malformed {
                file: FILE,
                at: "model.vocab".into(),
                reason: format!("not the shape that a {kind} model has"),
            });
        }
        (other, _) => {
            return Err(TokenizerError::Unsupported {
                file: FILE,
                part: "model",
                name: super::error::excerpt(other),
            });
        }
    };
    Ok((vocabulary, model))
}

fn split_merge(rank: usize, merge: &MergeJson) -> Result<(&str, &str), TokenizerError> {
    match merge {
        MergeJson::Pair(left, right) => Ok((left, right)),
        MergeJson::Joined(joined) => {
            super::split_merge(joined).ok_or_else(|| TokenizerError::Malformed {
                file: FILE,
                at: format!("merge {rank}, {:?}", super::error::excerpt(joined)),
                reason: "not two tokens with one space between them".into(),
            })
        }
    }
}

/// One of the parts that name their `type`.
fn part<T: serde::de::DeserializeOwned>(
    name: &'static str,
    json: Option<Value>,
) -> Result<Option<T>, TokenizerError> {
    let Some(json) = json.filter(|json| !json.is_null()) else {
        return Ok(None);
    };
    serde_json::from_value(json)
        .map(Some)
        .map_err(|error| TokenizerError::Malformed {
            file: FILE,
            at: name.into(),
            reason: super::error::excerpt(&error.to_string()),
        })
}

fn json_error(error: &serde_json::Error) -> TokenizerError {
    TokenizerError::Json {
        file: FILE,
        reason: error.to_string(),
    }
}
