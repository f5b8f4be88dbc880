//! How much a text repeats itself, as Whisper's fallback asks: "the zlib compression rate" (OpenAI's `transcribe.py`).
//!
//! A model that has lost the thread says the same over and over, and such a text shrinks far. Only the ratio is of
//! interest, so nothing is compressed: a greedy LZ77 parse tells the literals and matches that DEFLATE (RFC 1951)
//! would write, and the cheaper of its fixed and its own codes what they cost. Within a tenth of zlib's ratio.

use std::collections::HashMap;

/// DEFLATE's matches.
const MATCH: std::ops::RangeInclusive<usize> = 3..=258;
const WINDOW: usize = 32 << 10;
/// Earlier places that are tried for a match.
const TRIES: usize = 32;
/// zlib's header and checksum, and the end of the block.
const WRAPPING_BITS: f64 = 8.0 * 6.0 + 3.0 + 7.0;
/// What a table of codes costs: its own head, and about so much a code used.
const TABLE_BITS: f64 = 70.0;
const CODE_BITS: f64 = 3.4;

/// Bytes of `text` over the bytes that zlib would make of them; 0 for an empty text.
pub(super) fn compression_ratio(text: &str) -> f64 {
    let bytes = text.trim().as_bytes();
    if bytes.is_empty() {
        return 0.0;
    }
    let mut costs = Costs::default();
    let mut places: HashMap<[u8; 3], Vec<usize>> = HashMap::new();
    let mut at = 0;
    while at < bytes.len() {
        let (length, distance) = longest(bytes, at, &places);
        let step = if MATCH.contains(&length) {
            costs.push_match(length, distance);
            length
        } else {
            costs.push_literal(bytes[at]);
            1
        };
        for place in at..at + step {
            if let Some(&[a, b, c]) = bytes.get(place..place + 3) {
                places.entry([a, b, c]).or_default().push(place);
            }
        }
        at += step;
    }
    bytes.len() as f64 / (costs.bits() / 8.0).ceil()
}

/// The longest earlier occurrence of what begins at `at`: its length and how far back it is.
fn longest(bytes: &[u8], at: usize, places: &HashMap<[u8; 3], Vec<usize>>) -> (usize, usize) {
    let Some(&[a, b, c]) = bytes.get(at..at + 3) else {
        return (0, 0);
    };
    let mut best = (0, 0);
    for &place in places
        .get(&[a, b, c])
        .into_iter()
        .flatten()
        .rev()
        .take(TRIES)
    {
        if at - place > WINDOW {
            break;
        }
        // A match may run into what it is a match of.
        let same = bytes[at..].iter().zip(&bytes[place..]);
        let length = same.take_while(|(a, b)| a == b).count().min(*MATCH.end());
        if length > best.0 {
            best = (length, at - place);
        }
    }
    best
}

/// What was written, by code.
#[derive(Default)]
struct Costs {
    /// Literals by their byte, lengths from 256 on.
    symbols: HashMap<u16, usize>,
    distances: HashMap<u16, usize>,
    /// Bits behind the codes, which are the same whatever the codes.
    extra: f64,
    /// With the fixed codes: 8 or 9 bits a literal, 7 a length, 5 a distance.
    fixed: f64,
}

impl Costs {
    fn push_literal(&mut self, byte: u8) {
        *self.symbols.entry(u16::from(byte)).or_default() += 1;
        self.fixed += if byte < 144 { 8.0 } else { 9.0 };
    }

    fn push_match(&mut self, length: usize, distance: usize) {
        // Four lengths, then two distances, to each power of two.
        let (length_code, length_extra) = bucket(length - *MATCH.start(), 4);
        let (distance_code, distance_extra) = bucket(distance - 1, 2);
        *self.symbols.entry(256 + length_code).or_default() += 1;
        *self.distances.entry(distance_code).or_default() += 1;
        self.extra += length_extra + distance_extra;
        self.fixed += 7.0 + 5.0;
    }

    fn bits(&self) -> f64 {
        let used = self.symbols.len() + self.distances.len();
        let own = entropy(&self.symbols) + entropy(&self.distances);
        let own = own + TABLE_BITS + CODE_BITS * used as f64;
        WRAPPING_BITS + self.extra + own.min(self.fixed)
    }
}

/// The code of `value` where each power of two has `codes` of them, and the bits behind it.
fn bucket(value: usize, codes: usize) -> (u16, f64) {
    if value < 2 * codes {
        return (value as u16, 0.0);
    }
    let extra = value.ilog2() - codes.ilog2();
    let within = (value >> extra) - codes;
    (
        (codes * (1 + extra as usize) + within) as u16,
        f64::from(extra),
    )
}

/// Bits of a whole sequence under an ideal code.
fn entropy(counts: &HashMap<u16, usize>) -> f64 {
    let total: usize = counts.values().sum();
    let bits = |&count: &usize| -(count as f64) * (count as f64 / total as f64).log2();
    // A code has a bit at least.
    counts.values().map(bits).sum::<f64>().max(total as f64)
}

#[cfg(test)]
mod tests {
    use super::compression_ratio;

    #[test]
    fn agrees_with_zlib() {
        // Ratios of Python's `len(text) / len(zlib.compress(text))`.
        let said = "And so my fellow Americans ask not what your country can do for you, ask what you can do for your country.";
        let loops = "I'm going to go to the next one. ".repeat(12);
        for (text, zlib) in [
            (said.to_owned(), RATIOS[0]),
            (loops, RATIOS[1]),
            ("Thank you.".to_owned(), RATIOS[2]),
            ("ha".repeat(100), RATIOS[3]),
            (PROSE.to_owned(), RATIOS[4]),
            (PROSE.repeat(2), RATIOS[5]),
            ("そうですね。".repeat(10), RATIOS[6]),
        ] {
            let ratio = compression_ratio(&text);
            assert!(
                (ratio / zlib - 1.0).abs() < 0.1,
                "{ratio} for zlib's {zlib}: {text}"
            );
        }
        assert_eq!(compression_ratio(" "), 0.0);
    }

    const PROSE: &str = "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of a wife. However little known the feelings or views of such a man may be on his first entering a neighbourhood, this truth is so well fixed in the minds of the surrounding families, that he is considered as the rightful property of some one or other of their daughters.";

    const RATIOS: [f64; 7] = [1.342, 9.186, 0.556, 15.385, 1.629, 3.137, 5.806];
}
