//! GPT-2's way to write every byte as a printable character, so that tokens of bytes are text.
//! (<https://github.com/openai/gpt-2/blob/master/src/encoder.py>, `bytes_to_unicode`.)

/// Printable bytes stand for themselves; the others, in order, for U+0100 and on.
const fn alphabet() -> [char; 256] {
    let mut table = ['\0'; 256];
    let mut byte = 0usize;
    let mut shifted = 0u8;
    while byte < 256 {
        let printable = matches!(byte as u8, b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF);
        table[byte] = if printable {
            byte as u8 as char
        } else {
            // U+0100 … U+0143: two-byte scalar values, never surrogates.
            let Some(character) = char::from_u32(0x100 + shifted as u32) else {
                panic!("U+0100 and on are characters")
            };
            shifted += 1;
            character
        };
        byte += 1;
    }
    table
}

const ALPHABET: [char; 256] = alphabet();

/// Bytes by their character: the alphabet ends at U+0143.
const BYTES: [Option<u8>; 0x144] = {
    let mut table = [None; 0x144];
    let mut byte = 0usize;
    while byte < 256 {
        table[ALPHABET[byte] as usize] = Some(byte as u8);
        byte += 1;
    }
    table
};

/// Each byte of `text` as its character.
pub(super) fn to_characters(text: &str) -> String {
    text.bytes().map(|byte| ALPHABET[byte as usize]).collect()
}

/// The bytes a token stands for; a token with any other character stands for itself.
pub(super) fn to_bytes(token: &str) -> Vec<u8> {
    token
        .chars()
        .map(|character| BYTES.get(character as usize).copied().flatten())
        .collect::<Option<Vec<u8>>>()
        .unwrap_or_else(|| token.as_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_comes_back() {
        for byte in 0..=255u8 {
            let character = ALPHABET[byte as usize];
            assert_eq!(to_bytes(&character.to_string()), [byte]);
        }
        assert_eq!(to_characters(" é\n"), "ĠÃ©Ċ");
        assert_eq!(to_bytes("<|日本|>"), "<|日本|>".as_bytes());
    }
}
