//! Whisper's tokens with a part to play, out of the files beside the weights.

use serde_json::Value;

use super::{TranscribeError, TranscribeFiles, Words};

/// The languages of Whisper's tokenizer, as `<|en|>` spells them (`whisper/tokenizer.py`).
const LANGUAGES: &str = "en zh de es ru ko fr ja pt tr pl ca nl ar sv it id hi fi vi he uk el ms cs ro da hu ta no th ur hr bg lt la mi ml cy sk te fa lv bn sr az sl kn et mk br eu is hy ne mn bs kk sq sw gl mr pa si km sn yo so af oc ka be tg sd gu am yi lo uz fo ht ps tk nn mt sa lb my bo tl mg as tt haw ln ha ba jw su yue";

/// A vocabulary of at least so many rows is that of a model of many languages.
const MULTILINGUAL: usize = 51_865;

/// What a model's text begins with, and which tokens it may not say.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct WhisperTokens {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Absent where the vocabulary has none, as in tests.
    pub(super) previous: Option<u32>,
    pub(super) no_speech: Option<u32>,
    pub(super) no_timestamps: Option<u32>,
    /// `<|0.00|>`; all ids from here on are times.
    pub(super) first_time: u32,
    /// Language codes and their tokens; empty for a model of English alone.
    pub(super) languages: Vec<(String, u32)>,
    pub(super) transcribe: Option<u32>,
    pub(super) translate: Option<u32>,
    /// Never said.
    pub(super) suppressed: Vec<u32>,
    /// Not said first.
    pub(super) suppressed_first: Vec<u32>,
    /// The latest time that a window may begin with, counted in steps.
    pub(super) latest_first_time: u32,
}

impl WhisperTokens {
    /// From the tokenizer by the tokens' names; `generation_config.json` (Hugging Face) or the `config.json` of CTranslate2
    /// says what is suppressed.
    pub(super) fn read(
        files: &TranscribeFiles<'_>,
        words: &dyn Words,
        vocabulary: usize,
    ) -> Result<WhisperTokens, TranscribeError> {
        let generation = json("generation_config.json", files.generation_config)?;
        let config = json("config.json", files.config)?;
        let id = |token: &str| words.id(token).filter(|&id| (id as usize) < vocabulary);
        let need = |token: &'static str| id(token).ok_or(TranscribeError::NoToken(token));
        let start = need("<|startoftranscript|>")?;
        let end = need("<|endoftext|>")?;
        let no_timestamps = id("<|notimestamps|>");
        let first_time = match no_timestamps {
            Some(id) => id + 1,
            None => need("<|0.00|>")?,
        };
        let many = match generation["is_multilingual"].as_bool() {
            Some(many) => many,
            None => vocabulary >= MULTILINGUAL,
        };
        let languages = LANGUAGES.split(' ').filter(|_| many);
        let languages: Vec<(String, u32)> = languages
            .filter_map(|code| Some((code.to_owned(), id(&format!("<|{code}|>"))?)))
            .collect();
        let tasks = |token: &str| id(token).filter(|_| !languages.is_empty());
        let previous = id("<|startofprev|>");
        let no_speech = id("<|nospeech|>").or_else(|| id("<|nocaptions|>"));
        let (transcribe, translate) = (tasks("<|transcribe|>"), tasks("<|translate|>"));
        let listed = |generation_key: &str, ctranslate2_key: &str| {
            ids(&generation[generation_key]).or_else(|| ids(&config[ctranslate2_key]))
        };
        let mut suppressed = listed("suppress_tokens", "suppress_ids").unwrap_or_default();
        // Whatever the files say: these belong before a text.
        suppressed.extend([start]);
        suppressed.extend(previous.into_iter().chain(no_speech).chain(no_timestamps));
        suppressed.extend(id("<|startoflm|>"));
        suppressed.extend(id("<|transcribe|>").into_iter().chain(id("<|translate|>")));
        let listed_first = listed("begin_suppress_tokens", "suppress_ids_begin");
        let suppressed_first = listed_first.unwrap_or_else(|| {
            let space = words.id("\u{120}").into_iter();
            space.chain([end]).collect()
        });
        for list in [&suppressed, &suppressed_first] {
            if let Some(&id) = list.iter().find(|&&id| id as usize >= vocabulary) {
                return Err(TranscribeError::UnknownToken { id, vocabulary });
            }
        }
        let latest = generation["max_initial_timestamp_index"].as_u64();
        Ok(WhisperTokens {
            start,
            end,
            previous,
            no_speech,
            no_timestamps,
            first_time,
            languages,
            transcribe,
            translate,
            suppressed,
            suppressed_first,
            // A second, as published.
            latest_first_time: latest.and_then(|at| u32::try_from(at).ok()).unwrap_or(50),
        })
    }

    /// The token of a language by its code.
    pub(super) fn language(&self, code: &str) -> Option<u32> {
        let found = self.languages.iter().find(|(known, _)| known == code);
        found.map(|&(_, id)| id)
    }

    pub(super) fn is_time(&self, id: u32) -> bool {
        id >= self.first_time
    }

    /// Tokens that are neither times nor control tokens.
    pub(super) fn texts(&self, ids: &[u32]) -> Vec<u32> {
        let texts = ids.iter().filter(|&&id| id < self.end.min(self.first_time));
        texts.copied().collect()
    }
}

/// A list of ids; `null` where there is none. Negative ones (-1 stands for "the usual" in OpenAI's options) are passed over.
fn ids(value: &Value) -> Option<Vec<u32>> {
    let list = value.as_array()?;
    let ids = list.iter().filter_map(Value::as_u64);
    Some(ids.filter_map(|id| u32::try_from(id).ok()).collect())
}

fn json(file: &'static str, bytes: Option<&[u8]>) -> Result<Value, TranscribeError> {
    let Some(bytes) = bytes else {
        return Ok(Value::Null);
    };
    serde_json::from_slice(bytes).map_err(|error| TranscribeError::Json {
        file,
        reason: error.to_string().chars().take(200).collect(),
    })
}
