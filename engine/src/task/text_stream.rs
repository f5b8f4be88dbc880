//! Tokens to text as they come, in whole characters only.

use crate::input::tokenizer::{Tokenizer, TokenizerError};

/// Collects the bytes of tokens and gives out what is valid UTF-8. A character whose bytes are spread over
/// several tokens comes out with the last of them; bytes that can be no character become U+FFFD.
#[derive(Debug, Clone)]
pub struct TextStream {
    pending: Vec<u8>,
    first: bool,
    skip_special: bool,
}

impl TextStream {
    /// A stream at the beginning of a text. With `skip_special`, control tokens give nothing.
    pub fn new(skip_special: bool) -> Self {
        Self {
            pending: Vec::new(),
            first: true,
            skip_special,
        }
    }

    /// A stream that continues a text (a prompt, say) which has tokens already.
    pub fn after_text(skip_special: bool) -> Self {
        Self {
            first: false,
            ..Self::new(skip_special)
        }
    }

    /// Takes a token and gives the text that it completes, which may be empty.
    ///
    /// # Errors
    /// An id outside the vocabulary.
    pub fn push(&mut self, tokenizer: &Tokenizer, id: u32) -> Result<String, TokenizerError> {
        if self.skip_special && tokenizer.is_special(id) {
            return Ok(String::new());
        }
        self.pending.extend(tokenizer.token_bytes(id, self.first)?);
        self.first = false;
        let mut out = String::new();
        loop {
            match std::str::from_utf8(&self.pending) {
                Ok(text) => {
                    out.push_str(text);
                    self.pending.clear();
                    return Ok(out);
                }
                Err(error) => {
                    let good = error.valid_up_to();
                    out += &String::from_utf8_lossy(&self.pending[..good]);
                    match error.error_len() {
                        // Never a character, whatever follows.
                        Some(bad) => {
                            out.push(char::REPLACEMENT_CHARACTER);
                            self.pending.drain(..good + bad);
                        }
                        // The beginning of one.
                        None => {
                            self.pending.drain(..good);
                            return Ok(out);
                        }
                    }
                }
            }
        }
    }

    /// No more tokens: an unfinished character becomes U+FFFD.
    pub fn finish(&mut self) -> String {
        let pending = std::mem::take(&mut self.pending);
        String::from_utf8_lossy(&pending).into_owned()
    }
}

#[cfg(test)]
mod tests;
