//! Token by token: a causal model with its KV state, which is reused as far as the next context agrees with the last.

use crate::backend::BackendError;
use crate::graph::Bindings;
use crate::model::{CausalLm, MAX_CHUNK};
use crate::session::{Session, SessionError};
use crate::tensor::Tensor;

/// Sizes of the runs that fill the KV state: few, so that few plans are compiled. A rest is padded.
const CHUNKS: [usize; 6] = [1, 4, 16, 32, 64, MAX_CHUNK];

/// The KV state's first capacity; it doubles when more is needed.
const FIRST_CAPACITY: usize = 256;

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// A chunk more of the context is in the KV state.
    Prefilled { done: usize, total: usize },
    /// The whole context is, and these are the logits of the token after it.
    Logits(Vec<f32>),
}

/// Runs a causal model over contexts.
pub struct Decoder {
    session: Session,
    model: CausalLm,
    /// The tokens whose keys and values are in the state.
    cached: Vec<u32>,
    capacity: usize,
}

impl Decoder {
    pub fn new(session: Session, model: CausalLm) -> Decoder {
        Decoder {
            session,
            model,
            cached: Vec::new(),
            capacity: 0,
        }
    }

    pub fn model(&self) -> &CausalLm {
        &self.model
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// How many tokens of `context` need no computing, as the state has them from the call before.
    pub fn reusable(&self, context: &[u32]) -> usize {
        let same = self.cached.iter().zip(context).take_while(|(a, b)| a == b);
        same.count().min(context.len().saturating_sub(1))
    }

    /// Brings the state one chunk nearer to `context`, or, with the last chunk, gives the logits after it.
    /// A lost device is replaced, and the tokens are replayed by the calls that follow.
    ///
    /// # Errors
    /// An empty context, one longer than the model's, an id outside the vocabulary, and what a session can say.
    pub async fn advance(&mut self, context: &[u32]) -> Result<Advance, DecodeError> {
        self.check(context)?;
        let at = self.reusable(context);
        let (size, count) = next_chunk(context.len() - at);
        let last = at + count == context.len();
        let rows: Vec<i32> = vec![count as i32 - 1];
        let outputs: &[&str] = if last { &["logits"] } else { &[] };
        let results = self.run(context, at, size, count, &rows, outputs).await;
        match self.recovered(results).await? {
            None => Ok(Advance::Prefilled {
                done: 0,
                total: context.len(),
            }),
            Some(mut results) => match results.pop() {
                Some(logits) => Ok(Advance::Logits(
                    logits.as_f32().map_err(SessionError::from)?.to_vec(),
                )),
                None => Ok(Advance::Prefilled {
                    done: self.cached.len(),
                    total: context.len(),
                }),
            },
        }
    }

    /// The logits after each token of `context`, `[context.len(), vocabulary]`, given chunk by chunk to `each` with
    /// the index of the chunk's first token. The state is filled anew.
    pub async fn logits(
        &mut self,
        context: &[u32],
        mut each: impl FnMut(usize, &[f32]),
    ) -> Result<(), DecodeError> {
        self.check(context)?;
        self.cached.clear();
        let mut given = 0;
        while given < context.len() {
            let at = self.cached.len();
            let (size, count) = next_chunk(context.len() - at);
            let rows: Vec<i32> = (0..size).map(|row| row.min(count - 1) as i32).collect();
            let results = self.run(context, at, size, count, &rows, &["logits"]).await;
            let Some(results) = self.recovered(results).await? else {
                continue;
            };
            let end = self.cached.len();
            // After a lost device the first chunks come again; they were given already.
            if let Some(logits) = results.first()
                && end > given
            {
                let values = logits.as_f32().map_err(SessionError::from)?;
                let vocabulary = self.model.vocabulary;
                each(
                    given,
                    &values[(given - at) * vocabulary..count * vocabulary],
                );
                given = end;
            }
        }
        Ok(())
    }

    /// Forgets the state's tokens.
    pub fn reset(&mut self) {
        self.cached.clear();
    }

    async fn run(
        &mut self,
        context: &[u32],
        at: usize,
        size: usize,
        count: usize,
        rows: &[i32],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, SessionError> {
        self.capacity = self.wanted_capacity(at + count);
        let bindings = Bindings::from([
            ("batch".to_owned(), 1),
            ("tokens".to_owned(), size),
            ("positions".to_owned(), size),
            ("rows".to_owned(), rows.len()),
            ("capacity".to_owned(), self.capacity),
        ]);
        let mut ids: Vec<i32> = context[at..at + count]
            .iter()
            .map(|&id| id as i32)
            .collect();
        ids.resize(size, 0);
        let ids = Tensor::from_i32(&[1, size], &ids)?;
        let position = Tensor::from_i32(&[1], &[at as i32])?;
        let rows = Tensor::from_i32(&[rows.len()], rows)?;
        // Until the run has succeeded, only what was there before is certain.
        self.cached.truncate(at);
        let results = self
            .session
            .run(
                &bindings,
                &[
                    ("input_ids", &ids),
                    ("position", &position),
                    ("rows", &rows),
                ],
                outputs,
            )
            .await?;
        self.cached.extend_from_slice(&context[at..at + count]);
        Ok(results)
    }

    /// `None` if the device was lost and is there again, with nothing in the state.
    async fn recovered(
        &mut self,
        results: Result<Vec<Tensor>, SessionError>,
    ) -> Result<Option<Vec<Tensor>>, DecodeError> {
        match results {
            Ok(results) => Ok(Some(results)),
            Err(SessionError::Backend(BackendError::DeviceLost(reason))) => {
                self.cached.clear();
                self.session.recover(&reason).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn wanted_capacity(&self, tokens: usize) -> usize {
        let mut capacity = self.capacity.max(FIRST_CAPACITY);
        while capacity < tokens {
            capacity *= 2;
        }
        capacity.min(self.model.context_length)
    }

    fn check(&self, context: &[u32]) -> Result<(), DecodeError> {
        if context.is_empty() {
            return Err(DecodeError::Empty);
        }
        if context.len() > self.model.context_length {
            return Err(DecodeError::ContextFull {
                tokens: context.len(),
                limit: self.model.context_length,
            });
        }
        match context
            .iter()
            .find(|&&id| id as usize >= self.model.vocabulary)
        {
            Some(&id) => Err(DecodeError::UnknownToken {
                id,
                vocabulary: self.model.vocabulary,
            }),
            None => Ok(()),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    #[error("there are no tokens to go on from")]
    Empty,
    #[error("{tokens} tokens are more than the context of {limit}")]
    ContextFull { tokens: usize, limit: usize },
    #[error("token id {id} is outside the vocabulary of {vocabulary}")]
    UnknownToken { id: u32, vocabulary: usize },
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// The plan's size for the next run and how many of `rest` tokens it takes.
fn next_chunk(rest: usize) -> (usize, usize) {
    let whole = CHUNKS
        .iter()
        .rev()
        .find(|&&size| size <= rest)
        .copied()
        .unwrap_or(1);
    // One padded run instead of two is worth a third more rows, not more.
    match CHUNKS.iter().find(|&&size| size >= rest) {
        Some(&size) if 3 * size <= 4 * rest => (size, rest),
        _ => (whole, whole),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_cover_every_rest_and_are_of_few_sizes() {
        for total in 1..600 {
            let (mut rest, mut runs) = (total, 0);
            while rest > 0 {
                let (size, count) = next_chunk(rest);
                assert!(CHUNKS.contains(&size) && count <= size && count <= rest && count > 0);
                rest -= count;
                runs += 1;
            }
            assert!(
                runs <= total / MAX_CHUNK + 10,
                "{total} tokens in {runs} runs"
            );
        }
    }
}
