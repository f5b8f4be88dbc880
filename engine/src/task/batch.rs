//! Several generations at once, as rows of one batch: each step reads the weights once for all of them.

use super::decoder::{DecodeError, Decoder};
use super::generate::{Event, GenerateError, GenerateOptions, Generation};
use crate::input::tokenizer::Tokenizer;

/// Generations under way side by side. Drop it to stop.
pub struct BatchGeneration {
    rows: Vec<Generation>,
}

impl BatchGeneration {
    /// Prepares to go on from each of `prompts`, which may be of different lengths. A row's tokens are those that
    /// it would have alone, with the seed of `options` plus the row's number.
    ///
    /// # Errors
    /// As [`Generation::new`], for any of the prompts; that there is none.
    pub fn new(
        decoder: &Decoder,
        prompts: Vec<Vec<u32>>,
        options: &GenerateOptions,
    ) -> Result<BatchGeneration, GenerateError> {
        let batch = prompts.len();
        if batch == 0 {
            return Err(DecodeError::Empty.into());
        }
        let rows = prompts.into_iter().enumerate().map(|(row, prompt)| {
            let cached = decoder.reusable(batch, row, &prompt);
            let mut options = options.clone();
            options.sampling.seed = options.sampling.seed.wrapping_add(row as u64);
            Generation::prepare(decoder.model(), prompt, cached, &options)
        });
        Ok(BatchGeneration {
            rows: rows.collect::<Result<_, _>>()?,
        })
    }

    pub fn rows(&self) -> &[Generation] {
        &self.rows
    }

    /// The closing event of a row that has ended, once; without it, [`BatchGeneration::next`] gives it.
    pub fn finish(&mut self, row: usize) -> Option<Event> {
        self.rows.get_mut(row)?.finish()
    }

    /// Does one run and gives what it did to each row that has not finished, with the row's number.
    ///
    /// # Errors
    /// As [`Generation::next`]; [`GenerateError::Ended`] once every row has finished.
    pub async fn next(
        &mut self,
        decoder: &mut Decoder,
        tokenizer: Option<&Tokenizer>,
    ) -> Result<Vec<(usize, Event)>, GenerateError> {
        let finished = self.rows.iter_mut().enumerate();
        let mut events: Vec<(usize, Event)> = finished
            .filter_map(|(row, generation)| Some((row, generation.finish()?)))
            .collect();
        let contexts: Vec<Option<&[u32]>> = self.rows.iter().map(Generation::wanted).collect();
        if contexts.iter().all(Option::is_none) {
            return match events.is_empty() {
                true => Err(GenerateError::Ended),
                false => Ok(events),
            };
        }
        if let [row] = self.rows.as_slice() {
            row.set_source(decoder);
        }
        let advances = decoder.advance_batch(&contexts).await?;
        for (row, (generation, advance)) in self.rows.iter_mut().zip(advances).enumerate() {
            if let Some(advance) = advance {
                let event = generation.take(decoder.model(), tokenizer, advance)?;
                events.push((row, event));
            }
        }
        events.sort_by_key(|(row, _)| *row);
        Ok(events)
    }
}

/// A batch of one, which may read a source.
impl From<Generation> for BatchGeneration {
    fn from(generation: Generation) -> BatchGeneration {
        BatchGeneration {
            rows: vec![generation],
        }
    }
}
