//! SentencePiece's precompiled character map: a double-array trie from character sequences to their
//! replacements (`precompiled_charsmap` in `tokenizer.json` and in GGUF files).
//!
//! Layout, little-endian: `u32` bytes of the trie, the trie as `u32` units, then the replacements as
//! UTF-8, each ended by a zero byte. A unit holds bit 8: has a leaf; bits 10…: offset to the children,
//! shifted left by 8 if bit 9 is set; bits 0…7 and 31: label. A leaf's bits 0…30 are the position of the
//! replacement. (Yata et al., darts-clone.)

use base64::Engine as _;

use super::error::TokenizerError;

#[derive(Debug)]
pub(super) struct CharacterMap {
    units: Vec<u32>,
    replacements: String,
}

impl CharacterMap {
    pub(super) fn from_base64(file: &'static str, text: &str) -> Result<Self, TokenizerError> {
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(text)
            .map_err(|error| malformed(file, error.to_string()))?;
        Self::from_bytes(file, &bytes)
    }

    pub(super) fn from_bytes(file: &'static str, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let (size, rest) = bytes
            .split_first_chunk::<4>()
            .ok_or_else(|| malformed(file, "shorter than its header".into()))?;
        let size = u32::from_le_bytes(*size) as usize;
        let (trie, replacements) = rest.split_at_checked(size).ok_or_else(|| {
            let rest = rest.len();
            malformed(file, format!("a trie of {size} bytes in {rest}"))
        })?;
        let units = trie
            .chunks_exact(4)
            .map(|unit| u32::from_le_bytes([unit[0], unit[1], unit[2], unit[3]]))
            .collect();
        let replacements = std::str::from_utf8(replacements)
            .map_err(|error| malformed(file, error.to_string()))?
            .to_owned();
        Ok(Self {
            units,
            replacements,
        })
    }

    /// Replaces, from left to right, the longest sequences that the map holds; the rest stays.
    pub(super) fn apply(&self, text: &str) -> String {
        let mut out = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            match self.longest(rest) {
                Some((length, with)) => {
                    out.push_str(with);
                    rest = &rest[length..];
                }
                None => {
                    out.push(first);
                    rest = &rest[first.len_utf8()..];
                }
            }
        }
        out
    }

    fn longest(&self, text: &str) -> Option<(usize, &str)> {
        let mut found = None;
        let mut node = offset(*self.units.first()?);
        for (at, &byte) in text.as_bytes().iter().enumerate() {
            node ^= byte as usize;
            let Some(&unit) = self.units.get(node) else {
                break;
            };
            if byte == 0 || unit & (1 << 31 | 0xFF) != byte as u32 {
                break;
            }
            node ^= offset(unit);
            if unit >> 8 & 1 == 1
                && let Some(&leaf) = self.units.get(node)
                && text.is_char_boundary(at + 1)
                && let Some(tail) = self.replacements.get((leaf & !(1 << 31)) as usize..)
            {
                let with = tail.split('\0').next().unwrap_or_default();
                found = Some((at + 1, with));
            }
        }
        found
    }
}

fn offset(unit: u32) -> usize {
    ((unit >> 10) << ((unit & (1 << 9)) >> 6)) as usize
}

fn malformed(file: &'static str, reason: String) -> TokenizerError {
    TokenizerError::Malformed {
        file,
        at: "precompiled character map".into(),
        reason,
    }
}
