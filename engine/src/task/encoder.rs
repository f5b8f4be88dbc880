//! Vectors of tokens from an encoder, texts in batches.

use crate::backend::BackendError;
use crate::graph::Bindings;
use crate::model::Encoder;
use crate::session::{Session, SessionError};
use crate::tensor::{Tensor, TensorError};

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
    #[error(transparent)]
    Tensor(#[from] TensorError),
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

    /// One output of each text: `[tokens, size]` without padding where it has tokens, `[size]` where it has not.
    ///
    /// # Errors
    /// A text without tokens or with more than the model takes, and what a session can say.
    pub async fn outputs(
        &mut self,
        texts: &[Vec<u32>],
        output: &str,
    ) -> Result<Vec<Vec<f32>>, EncodeError> {
        for (index, ids) in texts.iter().enumerate() {
            self.check(index, ids)?;
        }
        // Texts of like length share a batch, so that little is padded.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by_key(|&index| texts[index].len());
        let mut results = vec![Vec::new(); texts.len()];
        for group in order.chunks(MAX_BATCH) {
            let batch: Vec<&[u32]> = group.iter().map(|&index| texts[index].as_slice()).collect();
            let states = self.run(&batch, output, None).await?;
            let row = states.elements() / batch.len();
            // All sizes are of the graph and the batch, which are not 0.
            for (&index, values) in group.iter().zip(states.as_f32()?.chunks_exact(row)) {
                let kept = match *states.shape() {
                    [_, tokens, _] => row / tokens * texts[index].len(),
                    _ => row,
                };
                results[index] = values[..kept].to_vec();
            }
        }
        Ok(results)
    }

    /// The logits of a head for masked tokens, at these places of a text: as many each as there are tokens to choose from.
    ///
    /// # Errors
    /// As [`EncoderRunner::outputs`].
    pub async fn logits_at(
        &mut self,
        ids: &[u32],
        places: &[usize],
    ) -> Result<Vec<Vec<f32>>, EncodeError> {
        self.check(0, ids)?;
        let rows: Vec<i32> = places.iter().map(|&at| at as i32).collect();
        let logits = self.run(&[ids], "logits", Some(&rows)).await?;
        let each = logits.elements() / rows.len().max(1);
        let each = logits.as_f32()?.chunks(each.max(1));
        Ok(each.map(<[f32]>::to_vec).collect())
    }

    fn check(&self, index: usize, ids: &[u32]) -> Result<(), EncodeError> {
        let (tokens, limit) = (ids.len(), self.model.max_tokens);
        if tokens == 0 {
            return Err(EncodeError::Empty { index });
        }
        if tokens > limit {
            return Err(EncodeError::TooLong {
                index,
                tokens,
                limit,
            });
        }
        Ok(())
    }

    async fn run(
        &mut self,
        batch: &[&[u32]],
        output: &str,
        rows: Option<&[i32]>,
    ) -> Result<Tensor, SessionError> {
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
        let mut inputs = vec![
            ("input_ids", &ids),
            ("attention_mask", &mask),
            ("token_type_ids", &segments),
        ];
        let mut bindings = Bindings::from([
            ("batch".to_owned(), batch.len()),
            ("tokens".to_owned(), tokens),
        ]);
        let wanted;
        if let Some(rows) = rows {
            wanted = Tensor::from_i32(&[rows.len()], rows)?;
            inputs.push(("rows", &wanted));
            bindings.insert("rows".to_owned(), rows.len());
        }
        let mut results =
            run_recovering(&mut self.session, 0, &bindings, &inputs, &[output]).await?;
        Ok(results.remove(0))
    }
}

/// Runs a graph without states again if the device was lost under it.
pub(super) async fn run_recovering(
    session: &mut Session,
    part: usize,
    bindings: &Bindings,
    inputs: &[(&str, &Tensor)],
    outputs: &[&str],
) -> Result<Vec<Tensor>, SessionError> {
    loop {
        match session.run_part(part, bindings, inputs, outputs).await {
            Err(SessionError::Backend(BackendError::DeviceLost(reason))) => {
                session.recover(&reason).await?
            }
            result => return result,
        }
    }
}
