//! Regular expressions from a tokenizer file, with a limit on their backtracking.
//!
//! The patterns need look-around, so the engine backtracks, and a file may hold one that does so without
//! end. Each search first runs under a small limit, which real patterns never reach; a search that reaches
//! it is tried once more under a large one, and a text may ask for that only a few times.

use std::ops::Range;
use std::sync::OnceLock;

use fancy_regex::{Regex, RegexBuilder, RuntimeError};

use super::error::{TokenizerError, excerpt};

const QUICK_LIMIT: usize = 2_000;
const PATIENT_LIMIT: usize = 500_000;
const PATIENT_SEARCHES: usize = 16;
/// Bytes that one compiled automaton of a pattern may take.
const COMPILED_LIMIT: usize = 4 << 20;
/// Longer patterns are refused: the longest in use has about 400 bytes.
const MAX_PATTERN_BYTES: usize = 8_192;

/// A pattern that splits or replaces text.
#[derive(Debug)]
pub(super) struct Pattern {
    source: String,
    quick: Box<Regex>,
    patient: OnceLock<Option<Box<Regex>>>,
}

impl Pattern {
    pub(super) fn new(source: &str) -> Result<Self, TokenizerError> {
        let wrong = |reason: String| TokenizerError::Pattern {
            pattern: excerpt(source),
            reason,
        };
        if source.len() > MAX_PATTERN_BYTES {
            return Err(wrong(format!("longer than {MAX_PATTERN_BYTES} bytes")));
        }
        let quick = compile(source, QUICK_LIMIT).map_err(|error| wrong(error.to_string()))?;
        Ok(Self {
            source: source.to_owned(),
            quick,
            patient: OnceLock::new(),
        })
    }

    /// A pattern that matches `text` literally.
    pub(super) fn literal(text: &str) -> Result<Self, TokenizerError> {
        Self::new(&fancy_regex::escape(text))
    }

    /// All matches from left to right, none overlapping.
    pub(super) fn find_all(&self, text: &str) -> Result<Vec<Range<usize>>, TokenizerError> {
        let mut found = Vec::new();
        let mut patient_searches = 0;
        let mut from = 0;
        let mut last_end = None;
        while from <= text.len() {
            let Some(range) = self.find(text, from, &mut patient_searches)? else {
                break;
            };
            let empty = range.is_empty();
            from = range.end;
            if empty {
                from += text[range.end..].chars().next().map_or(1, char::len_utf8);
                if last_end == Some(range.end) {
                    continue;
                }
            }
            last_end = Some(range.end);
            found.push(range);
        }
        Ok(found)
    }

    /// `text` with every match replaced by `with`, taken literally.
    pub(super) fn replace_all(&self, text: &str, with: &str) -> Result<String, TokenizerError> {
        let mut out = String::with_capacity(text.len());
        let mut from = 0;
        for range in self.find_all(text)? {
            out.push_str(&text[from..range.start]);
            out.push_str(with);
            from = range.end;
        }
        out.push_str(&text[from..]);
        Ok(out)
    }

    fn find(
        &self,
        text: &str,
        from: usize,
        patient_searches: &mut usize,
    ) -> Result<Option<Range<usize>>, TokenizerError> {
        match search(&self.quick, text, from) {
            Ok(found) => return Ok(found),
            Err(Stopped::AtLimit) if *patient_searches < PATIENT_SEARCHES => {}
            Err(_) => return Err(self.limit(from)),
        }
        *patient_searches += 1;
        let patient = self
            .patient
            .get_or_init(|| compile(&self.source, PATIENT_LIMIT).ok());
        match patient {
            Some(regex) => search(regex, text, from).map_err(|_| self.limit(from)),
            None => Err(self.limit(from)),
        }
    }

    fn limit(&self, offset: usize) -> TokenizerError {
        TokenizerError::PatternLimit {
            pattern: excerpt(&self.source),
            offset,
        }
    }
}

enum Stopped {
    AtLimit,
    Otherwise,
}

fn search(regex: &Regex, text: &str, from: usize) -> Result<Option<Range<usize>>, Stopped> {
    match regex.find_from_pos(text, from) {
        Ok(found) => Ok(found.map(|found| found.range())),
        Err(fancy_regex::Error::RuntimeError(RuntimeError::BacktrackLimitExceeded)) => {
            Err(Stopped::AtLimit)
        }
        Err(_) => Err(Stopped::Otherwise),
    }
}

fn compile(source: &str, backtrack_limit: usize) -> Result<Box<Regex>, fancy_regex::Error> {
    RegexBuilder::new(source)
        .backtrack_limit(backtrack_limit)
        .delegate_size_limit(COMPILED_LIMIT)
        .delegate_dfa_size_limit(COMPILED_LIMIT)
        .build()
        .map(Box::new)
}
