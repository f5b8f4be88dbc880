//! Stop strings, which may begin in one token and end in another.

/// Why stop strings were refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StopError {
    #[error("a stop string is empty")]
    Empty,
    #[error("{count} stop strings; at most {limit} can be given")]
    TooMany { count: usize, limit: usize },
    #[error("a stop string of {bytes} bytes; at most {limit} can be given")]
    TooLong { bytes: usize, limit: usize },
}

const MAX_STOPS: usize = 64;
const MAX_STOP_BYTES: usize = 4096;

/// Passes text through until a stop string appears. Text that may be the beginning of a stop string is
/// held back until it is clear that it is not; the stop string itself, and what follows, never comes out.
#[derive(Debug, Clone)]
pub struct StopStrings {
    stops: Vec<String>,
    held: String,
    stopped: Option<usize>,
}

impl StopStrings {
    /// # Errors
    /// An empty stop string, or too many or too long ones.
    pub fn new(stops: Vec<String>) -> Result<Self, StopError> {
        if stops.len() > MAX_STOPS {
            return Err(StopError::TooMany {
                count: stops.len(),
                limit: MAX_STOPS,
            });
        }
        for stop in &stops {
            match stop.len() {
                0 => return Err(StopError::Empty),
                1..=MAX_STOP_BYTES => {}
                bytes => {
                    return Err(StopError::TooLong {
                        bytes,
                        limit: MAX_STOP_BYTES,
                    });
                }
            }
        }
        Ok(Self {
            stops,
            held: String::new(),
            stopped: None,
        })
    }

    /// Takes what was generated and gives what may be shown now.
    pub fn push(&mut self, text: &str) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        self.held.push_str(text);
        // The stop string that is complete first, as the characters come; of those the one further left.
        let found = self
            .stops
            .iter()
            .enumerate()
            .filter_map(|(index, stop)| {
                let start = self.held.find(stop.as_str())?;
                Some((start + stop.len(), start, index))
            })
            .min();
        if let Some((_, start, index)) = found {
            self.stopped = Some(index);
            self.held.truncate(start);
            return std::mem::take(&mut self.held);
        }
        let rest = self
            .held
            .split_off(self.held.len() - self.longest_beginning());
        std::mem::replace(&mut self.held, rest)
    }

    /// No more will come: what was held back was no stop string.
    pub fn finish(&mut self) -> String {
        std::mem::take(&mut self.held)
    }

    /// The stop string that appeared.
    pub fn stopped(&self) -> Option<&str> {
        Some(self.stops[self.stopped?].as_str())
    }

    /// How many bytes at the end of `held` may be the beginning of a stop string.
    fn longest_beginning(&self) -> usize {
        self.stops
            .iter()
            .map(|stop| {
                let most = self.held.len().min(stop.len() - 1);
                (1..=most)
                    .rev()
                    .find(|&length| {
                        self.held.as_bytes().ends_with(&stop.as_bytes()[..length])
                            && stop.is_char_boundary(length)
                    })
                    .unwrap_or(0)
            })
            .max()
            .unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], tokens: &[&str]) -> (Vec<String>, Option<String>) {
        let stops = stops.iter().map(|&stop| stop.to_owned()).collect();
        let mut strings = StopStrings::new(stops).unwrap();
        let mut out: Vec<String> = tokens.iter().map(|token| strings.push(token)).collect();
        out.push(strings.finish());
        (out, strings.stopped().map(str::to_owned))
    }

    #[test]
    fn a_stop_string_over_several_tokens_never_shows() {
        let (out, stopped) = run(&["\nUser:"], &["Hi", "!\n", "Us", "er", ": more", "x"]);
        assert_eq!(out, ["Hi", "!", "", "", "", "", ""]);
        assert_eq!(stopped.as_deref(), Some("\nUser:"));
    }

    #[test]
    fn what_was_held_back_for_nothing_comes_out() {
        let (out, stopped) = run(&["abcd"], &["xab", "c", "e", "abc"]);
        assert_eq!(out, ["x", "", "abce", "", "abc"]);
        assert_eq!(stopped, None);
    }

    #[test]
    fn the_stop_string_complete_first_wins() {
        assert_eq!(run(&["abcd", "bc"], &["xabcd"]).0, ["xa", ""]);
        assert_eq!(run(&["b", "ab"], &["xab"]).0, ["x", ""]);
    }

    #[test]
    fn useless_stop_strings_are_refused() {
        assert_eq!(
            StopStrings::new(vec![String::new()]).unwrap_err(),
            StopError::Empty
        );
        assert!(StopStrings::new(vec!["x".into(); 65]).is_err());
        assert!(StopStrings::new(vec!["x".repeat(5000)]).is_err());
    }

    proptest! {
        #[test]
        fn how_the_text_is_cut_makes_no_difference(
            text in "[abé]{0,40}",
            stops in prop::collection::vec("[abé]{1,4}", 0..3),
            cuts in prop::collection::vec(0usize..8, 0..40),
        ) {
            let mut strings = StopStrings::new(stops.clone()).unwrap();
            let mut out = String::new();
            let characters: Vec<char> = text.chars().collect();
            let mut at = 0;
            for cut in cuts {
                let end = (at + cut).min(characters.len());
                out += &strings.push(&characters[at..end].iter().collect::<String>());
                at = end;
            }
            out += &strings.push(&characters[at..].iter().collect::<String>());
            out += &strings.finish();

            let mut expected = text.as_str();
            let first = stops
                .iter()
                .filter_map(|stop| Some((text.find(stop.as_str())? + stop.len(), text.find(stop.as_str())?)))
                .min();
            if let Some((_, start)) = first {
                expected = &text[..start];
            }
            prop_assert_eq!(out, expected);
        }
    }
}
