//! Vectors of tokens from an encoder, texts in batches.

use crate::backend::BackendError;
use crate::graph::Bindings;
use crate::model::Encoder;
use crate::session::{Session, SessionError};
use crate::tensor::Tensor;

/// Texts computed in one run.
const MAX_BATCH: usize = 8;

/// Lengths are padded to multiples of this, so that few plans are compiled.
const TOKEN_STEP: usize = 16;

/// Runs an encoder over token ids.
pub struct EncoderRunner {
    session: Session,
    model: Encoder,
}

#[derive(Debug, thiserror::Error)]
pub enum EncodeError {
    #[error("text {index} has no tokens")]
    Empty { index: usize },
    #[error("text {index} has {tokens} tokens; the model takes {limit}")]
    TooLong {
        index: usize,
        tokens: usize,
        limit: usize,
    },
    #[error(transparent)]
    Session(#[from] SessionError),
}

impl EncoderRunner {
    pub fn new(session: Session, model: Encoder) -> EncoderRunner {
        EncoderRunner { session, model }
    }

    pub fn model(&self) -> &Encoder {
        &self.model
    }

    pub fn session(&self) -> &Session {
        &self.session
    }

    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    /// The last hidden state of each text's tokens, `[tokens, hidden]` a text, without padding.
    ///
    /// # Errors
    /// A text without tokens or with more than the model takes, and what a session can say.
    pub async fn hidden_states(
        &mut self,
        texts: &[Vec<u32>],
    ) -> Result<Vec<Vec<f32>>, EncodeError> {
        for (index, ids) in texts.iter().enumerate() {
            if ids.is_empty() {
                return Err(EncodeError::Empty { index });
            }
            if ids.len() > self.model.max_tokens {
                return Err(EncodeError::TooLong {
                    index,
                    tokens: ids.len(),
                    limit: self.model.max_tokens,
                });
            }
        }
        // Texts of like length share a batch, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&index| texts[index].len());
        let mut results = vec![Vec::new(); texts.len()];
        for group in order.chunks(MAX_BATCH) {
            let batch: Vec<&[u32]> = group.iter().map(|&index| texts[index].as_slice()).collect();
            let states = self.run(&batch).await?;
            for (&index, state) in group.iter().zip(states) {
                results[index] = state;
            }
        }
        Ok(results)
    }

    async fn run(&mut self, batch: &[&[u32]]) -> Result<Vec<Vec<f32>>, SessionError> {
        let longest = batch.iter().map(|ids| ids.len()).max().unwrap_or(1);
        let tokens = longest
            .next_multiple_of(TOKEN_STEP)
            .min(self.model.max_tokens);
        let shape = [batch.len(), tokens];
        let (mut ids, mut mask) = (Vec::new(), Vec::new());
        for row in batch {
            ids.extend(row.iter().map(|&id| id as i32));
            mask.extend(std::iter::repeat_n(1, row.len()));
            ids.resize(ids.len() + tokens - row.len(), 0);
            mask.resize(ids.len(), 0);
        }
        let ids = Tensor::from_i32(&shape, &ids)?;
        let mask = Tensor::from_i32(&shape, &mask)?;
        let segments = Tensor::from_i32(&shape, &vec![0; batch.len() * tokens])?;
        let inputs = [
            ("input_ids", &ids),
            ("attention_mask", &mask),
            ("token_type_ids", &segments),
        ];
        let bindings = Bindings::from([
            ("batch".to_owned(), batch.len()),
            ("tokens".to_owned(), tokens),
        ]);
        let hidden = run_recovering(
            &mut self.session,
            &bindings,
            &inputs,
            &["last_hidden_state"],
        )
        .await?;
        let row = tokens * self.model.hidden;
        let values = hidden[0].as_f32()?;
        Ok(batch
            .iter()
            .zip(values.chunks_exact(row.max(1)))
            .map(|(ids, state)| state[..ids.len() * self.model.hidden].to_vec())
            .collect())
    }
}

/// Runs a graph without states again if the device was lost under it.
pub(super) async fn run_recovering(
    session: &mut Session,
    bindings: &Bindings,
    inputs: &[(&str, &Tensor)],
    outputs: &[&str],
) -> Result<Vec<Tensor>, SessionError> {
    loop {
        match session.run(bindings, inputs, outputs).await {
            Err(SessionError::Backend(BackendError::DeviceLost(reason))) => {
                session.recover(&reason).await?
            }
            result => return result,
        }
    }
}
