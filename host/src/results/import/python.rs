//! JSON as Python and some editors write it: `NaN` and infinities, which JSON has not, become `null`, and a mark of the byte order
//! goes.

use std::io::{BufRead, Read};

/// Reads the same less what is no JSON.
pub(super) struct Plain<R> {
    from: R,
    begun: bool,
    in_text: bool,
    escaped: bool,
    /// A word outside of texts that is not at its end yet.
    word: Vec<u8>,
    ready: Vec<u8>,
    at: usize,
}

impl<R: BufRead> Plain<R> {
    pub(super) fn new(from: R) -> Plain<R> {
        Plain {
            from,
            begun: false,
            in_text: false,
            escaped: false,
            word: Vec::new(),
            ready: Vec::new(),
            at: 0,
        }
    }

    fn end_word(&mut self) {
        match self.word.as_slice() {
            b"NaN" | b"Infinity" | b"-Infinity" => self.ready.extend(b"null"),
            word => self.ready.extend(word),
        }
        self.word.clear();
    }

    fn byte(&mut self, byte: u8) {
        // No word of JSON's or Python's is as long.
        const LONGEST: usize = 32;
        if self.in_text {
            self.ready.push(byte);
            match (self.escaped, byte) {
                (true, _) => self.escaped = false,
                (false, b'\\') => self.escaped = true,
                (false, b'"') => self.in_text = false,
                _ => {}
            }
        } else if byte.is_ascii_alphabetic() || byte == b'-' {
            self.word.push(byte);
            if self.word.len() > LONGEST {
                self.end_word();
            }
        } else {
            self.end_word();
            self.ready.push(byte);
            self.in_text = byte == b'"';
        }
    }
}

impl<R: BufRead> Read for Plain<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let ready = self.fill_buf()?;
        let count = ready.len().min(into.len());
        into[..count].copy_from_slice(&ready[..count]);
        self.consume(count);
        Ok(count)
    }
}

impl<R: BufRead> BufRead for Plain<R> {
    fn fill_buf(&mut self) -> std::io::Result<&[u8]> {
        while self.at == self.ready.len() {
            self.ready.clear();
            self.at = 0;
            let mut some = self.from.fill_buf()?.to_vec();
            self.from.consume(some.len());
            if some.is_empty() {
                self.end_word();
                break;
            }
            if !std::mem::replace(&mut self.begun, true) && some.starts_with(b"\xef\xbb\xbf") {
                some.drain(..3);
            }
            for byte in some {
                self.byte(byte);
            }
        }
        Ok(&self.ready[self.at..])
    }

    fn consume(&mut self, count: usize) {
        self.at += count;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_python_s_are_null_and_texts_stay() {
        let text = "\u{feff}[NaN, -Infinity,Infinity, -1e-5, true, \"NaN \\\" -Infinity\"]";
        // Pieces of every size, so that words are cut.
        for size in 4..20 {
            let mut read = String::new();
            let from = std::io::BufReader::with_capacity(size, text.as_bytes());
            Plain::new(from).read_to_string(&mut read).unwrap();
            assert_eq!(
                read, "[null, null,null, -1e-5, true, \"NaN \\\" -Infinity\"]",
                "{size}"
            );
        }
    }
}
