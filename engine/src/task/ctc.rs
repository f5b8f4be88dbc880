//! Text from the frames of a CTC model ("Connectionist Temporal Classification", Graves et al. 2006, section 3.2, best
//! path), with the vocabulary of a `Wav2Vec2CTCTokenizer`.

use std::collections::HashMap;
use std::ops::Range;

use serde_json::Value;

use super::labels::best;

/// Ids and tokens of the largest vocabulary in use are below 12,000.
const MAX_TOKENS: usize = 1 << 20;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CtcError {
    #[error("{file}: malformed JSON: {reason}")]
    Json { file: &'static str, reason: String },
    #[error("vocab.json: {0}")]
    Vocabulary(String),
    #[error("vocab.json has no token {0:?}, which the tokenizer's config names as padding")]
    NoBlank(String),
    #[error("the logits have {logits} values, no whole number of frames of {classes} classes")]
    Logits { logits: usize, classes: usize },
    #[error("the logits have {classes} classes, the vocabulary has the id {id}")]
    Classes { classes: usize, id: usize },
}

/// A CTC model's vocabulary.
#[derive(Debug, Clone)]
pub struct CtcDecoder {
    /// By id; a hole is an empty token.
    tokens: Vec<String>,
    blank: usize,
    delimiter: String,
    lower_case: bool,
}

/// What a recording says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Transcript {
    pub text: String,
    /// The ids that make the text: repetitions collapsed, blanks dropped.
    pub ids: Vec<usize>,
    pub words: Vec<Word>,
}

/// A word and the frames that it was heard in. A frame is as many samples as the model's convolutions stride over (320 for
/// Wav2Vec2: 20 ms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    pub text: String,
    pub frames: Range<usize>,
}

impl CtcDecoder {
    /// From `vocab.json` and, if there is one, `tokenizer_config.json` (`pad_token`, `word_delimiter_token`,
    /// `do_lower_case`, and `target_lang` where the vocabulary has several languages).
    ///
    /// # Errors
    /// No JSON, no vocabulary, or one without the padding token, which is CTC's blank.
    pub fn from_json(vocabulary: &[u8], config: Option<&[u8]>) -> Result<CtcDecoder, CtcError> {
        let vocabulary = parse("vocab.json", vocabulary)?;
        let config = match config {
            Some(config) => parse("tokenizer_config.json", config)?,
            None => Value::Null,
        };
        let text = |name: &str, default: &str| -> String {
            // A token is text, or an object with the text as `content`.
            let value = &config[name];
            let text = value.as_str().or_else(|| value["content"].as_str());
            text.unwrap_or(default).to_owned()
        };
        let language = text("target_lang", "");
        let entries = match &vocabulary[language.as_str()] {
            Value::Object(entries) => entries,
            _ => vocabulary
                .as_object()
                .ok_or_else(|| CtcError::Vocabulary("not a JSON object".into()))?,
        };
        let mut tokens = Vec::new();
        let mut ids = HashMap::new();
        for (token, id) in entries {
            let id = id
                .as_u64()
                .and_then(|id| usize::try_from(id).ok())
                .filter(|&id| id < MAX_TOKENS)
                .ok_or_else(|| {
                    let shown: String = token.chars().take(40).collect();
                    CtcError::Vocabulary(format!("the id of {shown:?} is {id}"))
                })?;
            if tokens.len() <= id {
                tokens.resize(id + 1, String::new());
            }
            tokens[id].clone_from(token);
            ids.insert(token.as_str(), id);
        }
        let blank_token = text("pad_token", "<pad>");
        // What fine-tuning scripts call it.
        let blank = ids
            .get(blank_token.as_str())
            .or_else(|| ids.get("[PAD]"))
            .copied()
            .ok_or(CtcError::NoBlank(blank_token))?;
        Ok(CtcDecoder {
            tokens,
            blank,
            delimiter: text("word_delimiter_token", "|"),
            lower_case: config["do_lower_case"].as_bool().unwrap_or(false),
        })
    }

    /// The best path through `logits`, `[frames, classes]`.
    ///
    /// # Errors
    /// The logits are no whole number of frames, or have fewer classes than the vocabulary.
    pub fn decode(&self, logits: &[f32], classes: usize) -> Result<Transcript, CtcError> {
        self.check(logits, classes)?;
        let path: Vec<usize> = logits.chunks_exact(classes).map(best).collect();
        Ok(self.collapse(&path))
    }

    /// Whether `logits` are frames of `classes`, and the vocabulary has no more.
    pub(super) fn check(&self, logits: &[f32], classes: usize) -> Result<(), CtcError> {
        if classes < self.tokens.len() {
            return Err(CtcError::Classes {
                classes,
                id: self.tokens.len() - 1,
            });
        }
        if !logits.len().is_multiple_of(classes) {
            return Err(CtcError::Logits {
                logits: logits.len(),
                classes,
            });
        }
        Ok(())
    }

    /// Whether a class stands between words.
    pub(super) fn is_delimiter(&self, id: usize) -> bool {
        self.tokens.get(id) == Some(&self.delimiter)
    }

    /// The class that stands between words.
    pub(super) fn delimiter(&self) -> Option<usize> {
        let mut tokens = self.tokens.iter();
        tokens.position(|token| *token == self.delimiter)
    }

    /// The text of a path: one id a frame.
    pub fn collapse(&self, path: &[usize]) -> Transcript {
        let mut transcript = Transcript::default();
        let mut word: Option<Word> = None;
        let mut frame = 0;
        while frame < path.len() {
            let id = path[frame];
            let begin = frame;
            while path.get(frame) == Some(&id) {
                frame += 1;
            }
            if id == self.blank {
                continue;
            }
            transcript.ids.push(id);
            // A class beyond the vocabulary has no text.
            let token = self.tokens.get(id).map_or("", String::as_str);
            if token == self.delimiter {
                transcript.words.extend(word.take());
                continue;
            }
            let text = if self.lower_case {
                token.to_lowercase()
            } else {
                token.to_owned()
            };
            match &mut word {
                Some(word) => {
                    word.text += &text;
                    word.frames.end = frame;
                }
                None => {
                    word = Some(Word {
                        text,
                        frames: begin..frame,
                    });
                }
            }
        }
        transcript.words.extend(word);
        let words: Vec<&str> = transcript.words.iter().map(|word| &*word.text).collect();
        transcript.text = words.join(" ");
        transcript
    }
}

fn parse(file: &'static str, json: &[u8]) -> Result<Value, CtcError> {
    serde_json::from_slice(json).map_err(|error| CtcError::Json {
        file,
        reason: error.to_string().chars().take(200).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const VOCABULARY: &[u8] =
        br#"{"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "E": 5, "H": 6, "L": 7, "O": 8}"#;

    fn decoder() -> CtcDecoder {
        CtcDecoder::from_json(VOCABULARY, None).expect("a vocabulary")
    }

    #[test]
    fn repetitions_collapse_and_blanks_separate() {
        // H H _ E L L _ L O | | O: the blank keeps the two L apart.
        let path = [6, 6, 0, 5, 7, 7, 0, 7, 8, 4, 4, 8];
        let transcript = decoder().collapse(&path);
        assert_eq!(transcript.text, "HELLO O");
        assert_eq!(transcript.ids, [6, 5, 7, 7, 8, 4, 8]);
        let words: Vec<_> = transcript
            .words
            .iter()
            .map(|word| (word.text.as_str(), word.frames.clone()))
            .collect();
        assert_eq!(words, [("HELLO", 0..9), ("O", 11..12)]);
    }

    #[test]
    fn delimiters_at_the_ends_and_silence_make_no_words() {
        assert_eq!(decoder().collapse(&[4, 0, 4, 6, 4, 0, 4]).text, "H");
        assert_eq!(decoder().collapse(&[0, 0, 0]), Transcript::default());
        assert_eq!(decoder().collapse(&[]), Transcript::default());
    }

    #[test]
    fn the_best_class_of_each_frame_counts() {
        let mut logits = vec![0.0; 3 * 10];
        for (frame, id) in [6, 0, 8].into_iter().enumerate() {
            logits[frame * 10 + id] = 1.0;
        }
        let transcript = decoder().decode(&logits, 10).expect("three frames");
        assert_eq!(transcript.text, "HO");
        let error = decoder().decode(&logits[1..], 10).expect_err("29 values");
        assert!(error.to_string().contains("29"), "{error}");
        let error = decoder().decode(&logits, 8).expect_err("8 classes");
        assert!(error.to_string().contains("has the id 8"), "{error}");
    }

    #[test]
    fn the_config_names_other_tokens() {
        let vocabulary = br#"{"deu": {"[PAD]": 1, "_": 0, "A": 2}, "eng": {"A": 0}}"#;
        let config = br#"{"pad_token": {"content": "[PAD]"}, "word_delimiter_token": "_", "do_lower_case": true, "target_lang": "deu"}"#;
        let decoder = CtcDecoder::from_json(vocabulary, Some(config)).expect("a vocabulary");
        assert_eq!(decoder.collapse(&[2, 1, 2, 0, 2]).text, "aa a");
    }

    #[test]
    fn bad_files_are_refused() {
        for (vocabulary, config, told) in [
            (&b"{"[..], None, "vocab.json: malformed JSON"),
            (b"[]", None, "not a JSON object"),
            (br#"{"a": -1}"#, None, "the id of \"a\" is -1"),
            (br#"{"a": 99999999999}"#, None, "99999999999"),
            (br#"{"a": 1}"#, None, "\"<pad>\""),
            (br#"{"<pad>": 1}"#, Some(&b"x"[..]), "tokenizer_config.json"),
        ] {
            let error = CtcDecoder::from_json(vocabulary, config).expect_err(told);
            assert!(error.to_string().contains(told), "{error}");
        }
    }
}
