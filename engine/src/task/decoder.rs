//! Token by token: a causal model with its KV state, which is reused as far as the next context agrees with the last.
//! Several contexts may be rows of one batch: they share the reading of the weights.

use std::rc::Rc;

use super::source::{Reader, Source};
use crate::backend::BackendError;
use crate::graph::{Bindings, Source as Place, ValueId};
use crate::model::{CausalLm, MAX_CHUNK, SourceKind};
use crate::session::{Session, SessionError};
use crate::tensor::Tensor;

/// Sizes of the runs that fill the KV state: few, so that few plans are compiled. A rest is padded.
const CHUNKS: [usize; 6] = [1, 4, 16, 32, 64, MAX_CHUNK];

/// The KV state's first capacity; it doubles when more is needed.
const FIRST_CAPACITY: usize = 256;

/// The same of a decoder without a cache, which computes as many tokens in each run as there is room for.
const FIRST_RECOMPUTED: usize = 32;

/// What one step did.
#[derive(Clone, Debug, PartialEq)]
pub enum Advance {
    /// A chunk more of the context is in the KV state.
    Prefilled { done: usize, total: usize },
    /// The whole context is, and these are the logits of the token after it.
    Logits(Vec<f32>),
}

/// Runs a causal model over contexts: one, or the rows of a batch side by side.
pub struct Decoder {
    session: Session,
    model: CausalLm,
    /// Of each row of the state: the tokens whose keys and values are in it.
    cached: Vec<Vec<u32>>,
    capacity: usize,
    /// Of an encoder-decoder: what it reads.
    reader: Option<Reader>,
}

/// The tokens of a row's context that a run takes: `count` from `at` on.
#[derive(Clone, Copy)]
struct Chunk {
    at: usize,
    count: usize,
}

impl Decoder {
    pub fn new(session: Session, model: CausalLm) -> Decoder {
        Decoder {
            session,
            model,
            cached: Vec::new(),
            capacity: 0,
            reader: None,
        }
    }

    /// The decoder of an encoder-decoder, whose encoder is the session's second part. It goes on from a source, which
    /// [`Decoder::set_source`] says, and in batches of one.
    pub fn reading(session: Session, model: CausalLm, kind: SourceKind) -> Decoder {
        Decoder {
            reader: Some(Reader::new(kind)),
            ..Decoder::new(session, model)
        }
    }

    /// What an encoder-decoder reads; `None` for a model that only goes on.
    pub fn source_kind(&self) -> Option<SourceKind> {
        self.reader.as_ref().map(Reader::kind)
    }

    /// Goes on from another source; the next call reads it. Nothing happens if it is the one at hand.
    pub fn set_source(&mut self, source: &Rc<Source>) {
        if let Some(reader) = &mut self.reader
            && reader.set(source)
        {
            self.reset();
        }
    }

    /// Reads the source at hand (again) and gives these outputs of the encoder.
    pub async fn encode(&mut self, outputs: &[&str]) -> Result<Vec<Tensor>, DecodeError> {
        loop {
            let results = match &mut self.reader {
                Some(reader) => reader.read(&mut self.session, outputs).await,
                None => return Err(DecodeError::NoSource),
            };
            if let Some(results) = self.recovered(results).await? {
                return Ok(results);
            }
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

    /// How many tokens of `context`, as row `row` of a batch of `batch`, need no computing, as the state has
    /// them from the call before. A batch of another size starts with nothing.
    pub fn reusable(&self, batch: usize, row: usize, context: &[u32]) -> usize {
        match self.cached.get(row) {
            Some(cached) if self.cached.len() == batch => {
                let same = cached.iter().zip(context).take_while(|(a, b)| a == b);
                same.count().min(context.len().saturating_sub(1))
            }
            _ => 0,
        }
    }

    /// Brings the state one chunk nearer to `context`, or, with the last chunk, gives the logits after it.
    /// A lost device is replaced, and the tokens are replayed by the calls that follow.
    ///
    /// # Errors
    /// An empty context, one longer than the model's, an id outside the vocabulary, and what a session can say.
    pub async fn advance(&mut self, context: &[u32]) -> Result<Advance, DecodeError> {
        let advances = self.advance_batch(&[Some(context)]).await?;
        let advance = advances.into_iter().next().flatten();
        advance.ok_or(DecodeError::Empty)
    }

    /// [`Decoder::advance`] of every row of a batch in one run; rows may be of any lengths, and a row that is
    /// `None` rests. A row has its place in the state as long as the batch keeps its size.
    ///
    /// # Errors
    /// As [`Decoder::advance`]; one row's error is that of the batch.
    pub async fn advance_batch(
        &mut self,
        contexts: &[Option<&[u32]>],
    ) -> Result<Vec<Option<Advance>>, DecodeError> {
        for context in contexts.iter().flatten() {
            self.check(context)?;
        }
        if self.must_read()? {
            self.encode(&[]).await?;
            let read = |context: &&[u32]| Advance::Prefilled {
                done: 0,
                total: context.len(),
            };
            let contexts = contexts.iter();
            return Ok(contexts.map(|context| context.as_ref().map(read)).collect());
        }
        self.set_rows(contexts.len());
        let rests = contexts.iter().enumerate().map(|(row, context)| {
            context.map_or(0, |context| {
                context.len() - self.reusable(contexts.len(), row, context)
            })
        });
        let Some(longest) = rests.max().filter(|&rest| rest > 0) else {
            return Ok(vec![None; contexts.len()]);
        };
        let (size, _) = self.next_chunk(longest);
        let chunks: Vec<Chunk> = contexts
            .iter()
            .enumerate()
            .map(|(row, context)| match context {
                Some(context) => {
                    let at = self.reusable(contexts.len(), row, context);
                    let count = size.min(context.len() - at);
                    Chunk { at, count }
                }
                // What a resting row writes lies behind its tokens, where nobody looks.
                None => Chunk {
                    at: self.cached[row].len(),
                    count: 0,
                },
            })
            .collect();
        let ends = |row: usize| {
            contexts[row].is_some_and(|context| chunks[row].at + chunks[row].count == context.len())
        };
        // As many rows whichever end here, so that one plan does for all.
        let rows: Vec<i32> = chunks
            .iter()
            .enumerate()
            .map(|(row, chunk)| (row * size + chunk.count.max(1) - 1) as i32)
            .collect();
        let any = (0..contexts.len()).any(ends);
        let outputs: &[&str] = if any { &["logits"] } else { &[] };
        let results = self.run(contexts, &chunks, size, &rows, outputs).await;
        let results = self.recovered(results).await?;
        let logits = match &results {
            Some(results) => results.first().map(Tensor::as_f32).transpose(),
            None => Ok(None),
        };
        let logits = logits.map_err(SessionError::from)?;
        let vocabulary = self.model.vocabulary;
        Ok(contexts
            .iter()
            .enumerate()
            .map(|(row, context)| {
                let total = (*context)?.len();
                Some(match logits {
                    Some(logits) if ends(row) => {
                        Advance::Logits(logits[row * vocabulary..(row + 1) * vocabulary].to_vec())
                    }
                    _ => Advance::Prefilled {
                        done: self.cached[row].len(),
                        total,
                    },
                })
            })
            .collect())
    }

    /// The logits after each token of `context`, `[context.len(), vocabulary]`, given chunk by chunk to `each`. The
    /// state is filled anew.
    ///
    /// # Errors
    /// As [`Decoder::advance`].
    pub async fn logits(
        &mut self,
        context: &[u32],
        mut each: impl FnMut(&[f32]),
    ) -> Result<(), DecodeError> {
        let mut given = 0;
        loop {
            given = self.step_logits(context, given, &mut each).await?;
            if given == context.len() {
                return Ok(());
            }
        }
    }

    /// One run of [`Decoder::logits`]: the logits of the tokens from `given` on that it computed go to `each`. Returns how
    /// many are given now; fewer than `context.len()` means to call again with that number. The first is called with 0.
    /// What runs in between may use the state.
    ///
    /// # Errors
    /// As [`Decoder::advance`].
    pub async fn step_logits(
        &mut self,
        context: &[u32],
        given: usize,
        each: impl FnOnce(&[f32]),
    ) -> Result<usize, DecodeError> {
        self.check(context)?;
        self.set_rows(1);
        if self.must_read()? {
            self.encode(&[]).await?;
        }
        let same = self.cached[0].iter().zip(context);
        let same = same.take_while(|(a, b)| a == b).count();
        // Behind `given` where the device was lost, or where another context came in between.
        let at = same.min(given);
        let (size, count) = self.next_chunk(context.len() - at);
        let rows: Vec<i32> = (0..size).map(|row| row.min(count - 1) as i32).collect();
        let chunks = [Chunk { at, count }];
        let results = self
            .run(&[Some(context)], &chunks, size, &rows, &["logits"])
            .await;
        let end = at + count;
        if let Some(results) = self.recovered(results).await?
            && let Some(logits) = results.first()
            && end > given
        {
            let values = logits.as_f32().map_err(SessionError::from)?;
            let vocabulary = self.model.vocabulary;
            each(&values[(given - at) * vocabulary..count * vocabulary]);
            return Ok(end);
        }
        Ok(given)
    }

    /// Forgets the state's tokens.
    pub fn reset(&mut self) {
        self.cached.iter_mut().for_each(Vec::clear);
    }

    /// Whether the source has to be read before the decoder can go on.
    fn must_read(&self) -> Result<bool, DecodeError> {
        match &self.reader {
            None => Ok(false),
            Some(reader) => match reader.is_ready() {
                None => Err(DecodeError::NoSource),
                Some(ready) => Ok(!ready),
            },
        }
    }

    /// A batch of another size has another state, with nothing in it.
    fn set_rows(&mut self, rows: usize) {
        if self.cached.len() != rows {
            self.cached = vec![Vec::new(); rows];
        }
    }

    /// Runs `size` positions of every row, of which each chunk's `count` are tokens and the rest padding.
    async fn run(
        &mut self,
        contexts: &[Option<&[u32]>],
        chunks: &[Chunk],
        size: usize,
        rows: &[i32],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, SessionError> {
        let batch = chunks.len();
        let ends = chunks.iter().map(|chunk| chunk.at + chunk.count);
        self.capacity = self.wanted_capacity(ends.max().unwrap_or(0));
        let mut bindings = Bindings::from([
            ("batch".to_owned(), batch),
            ("tokens".to_owned(), size),
            ("positions".to_owned(), batch * size),
            ("rows".to_owned(), rows.len()),
            ("capacity".to_owned(), self.capacity),
        ]);
        let mut ids = vec![0; batch * size];
        for ((context, chunk), ids) in contexts.iter().zip(chunks).zip(ids.chunks_exact_mut(size)) {
            let tokens = context.map_or(&[][..], |context| &context[chunk.at..][..chunk.count]);
            for (id, &token) in ids.iter_mut().zip(tokens) {
                *id = token as i32;
            }
        }
        let ids = Tensor::from_i32(&[batch, size], &ids)?;
        let position: Vec<i32> = chunks.iter().map(|chunk| chunk.at as i32).collect();
        let position = Tensor::from_i32(&[batch], &position)?;
        let rows = Tensor::from_i32(&[rows.len()], rows)?;
        let beside = match &self.reader {
            Some(reader) => reader.beside(&mut bindings)?,
            None => None,
        };
        let mut inputs = vec![
            ("input_ids", &ids),
            ("position", &position),
            ("rows", &rows),
        ];
        if let Some((name, tensor)) = &beside {
            inputs.push((name, tensor));
        }
        // Until the run has succeeded, only what was there before is certain.
        for (cached, chunk) in self.cached.iter_mut().zip(chunks) {
            cached.truncate(chunk.at);
        }
        let results = self.session.run(&bindings, &inputs, outputs).await?;
        for ((context, chunk), cached) in contexts.iter().zip(chunks).zip(&mut self.cached) {
            if let Some(context) = context {
                cached.extend_from_slice(&context[chunk.at..][..chunk.count]);
            }
        }
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
                self.reset();
                if let Some(reader) = &mut self.reader {
                    reader.forget();
                }
                self.session.recover(&reason).await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// [`next_chunk`], or as many tokens as the graph takes, if that is always the same.
    fn next_chunk(&self, rest: usize) -> (usize, usize) {
        let graph = self.session.graph();
        let ids = |id: &ValueId| matches!(&graph.value(*id).source, Place::Input(name) if name == "input_ids");
        let mut inputs = graph.inputs.iter().copied();
        let shape = inputs.find(ids).map(|id| &graph.value(id).shape);
        match shape.and_then(|shape| shape.get(1)?.fixed()) {
            Some(size) => (size, size.min(rest)),
            None if self.session.takes_symbols() => (rest.min(MAX_CHUNK), rest.min(MAX_CHUNK)),
            None => next_chunk(rest),
        }
    }

    fn wanted_capacity(&self, tokens: usize) -> usize {
        let first = match self.model.layers {
            0 => FIRST_RECOMPUTED,
            _ => FIRST_CAPACITY,
        };
        let mut capacity = self.capacity.max(first);
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
    #[error("there is no source to go on from")]
    NoSource,
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
