//! Why a tokenizer could not be made, or a text not encoded.

/// Errors of [`super::Tokenizer`]. Files are hostile: each names the file and the place in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenizerError {
    /// The file is not the JSON it should be, or a part of it has the wrong shape.
    #[error("{file}: {reason}")]
    Json { file: &'static str, reason: String },
    /// A part of the file contradicts itself or another part.
    #[error("{file}: {at}: {reason}")]
    Malformed {
        file: &'static str,
        at: String,
        reason: String,
    },
    /// There is no vocabulary, or it has no entries.
    #[error("{file}: the vocabulary is absent or empty")]
    NoVocabulary { file: &'static str },
    /// The file asks for something this engine does not have.
    #[error("{file}: {part} `{name}` is not supported")]
    Unsupported {
        file: &'static str,
        part: &'static str,
        name: String,
    },
    /// A regular expression of the tokenizer does not compile.
    #[error("tokenizer pattern {pattern:?}: {reason}")]
    Pattern { pattern: String, reason: String },
    /// A regular expression of the tokenizer backtracks past its limit on this text.
    #[error("tokenizer pattern {pattern:?} backtracks without end on the text at byte {offset}")]
    PatternLimit { pattern: String, offset: usize },
    /// The text to encode is longer than [`super::MAX_TEXT_BYTES`].
    #[error("the text has {bytes} bytes; at most {limit} can be encoded at once")]
    TextTooLong { bytes: usize, limit: usize },
    /// Normalizing or splitting made the text grow past all measure.
    #[error("{part} makes the text grow past {limit} bytes")]
    TextGrows { part: &'static str, limit: usize },
    /// The text holds something for which the vocabulary has no token, and it has no unknown token.
    #[error("no token for {text:?}, and the vocabulary has no unknown token")]
    NoToken { text: String },
    /// An id outside the vocabulary was to be decoded.
    #[error("token id {id} is not in the vocabulary of {vocab_size}")]
    UnknownId { id: u32, vocab_size: usize },
}

/// Shortens what is quoted in an error.
pub(super) fn excerpt(text: &str) -> String {
    const LIMIT: usize = 80;
    match text.char_indices().nth(LIMIT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
