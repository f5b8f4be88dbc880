//! Vectors of texts, and of pictures and sounds where a model has both in one space.

use super::forward::{ForwardError, Named};
use super::model::{Model, Runner, TaskError};
use crate::tensor::Tensor;

/// Texts that a tower reads in one run.
const MAX_BATCH: usize = 8;

/// A tower's texts are padded to multiples of this, so that few plans are compiled.
const TOKEN_STEP: usize = 16;

/// One text's vector.
#[derive(Clone, Debug, PartialEq)]
pub struct Embedding {
    pub input_ids: Vec<u32>,
    pub vector: Vec<f32>,
}

impl Model {
    /// One vector a text, pooled and normalized as the model's files say, or in the space that texts share with
    /// pictures or sounds (CLIP, CLAP). A text longer than the model takes is cut.
    pub async fn embed(&mut self, texts: &[&str]) -> Result<Vec<Embedding>, TaskError> {
        if !self.can_embed() {
            self.tokenizer()?;
            return Err(self.wrong_kind("embed"));
        }
        let ids = self.encode_cut(texts.iter().copied(), self.pooling.max_tokens)?;
        let mut vectors = Vec::with_capacity(ids.len());
        match &mut self.runner {
            Runner::Encoder(runner) => {
                let hidden = runner.model().hidden;
                for state in runner.outputs(&ids, "last_hidden_state").await? {
                    vectors.push(self.pooling.pool(&state, hidden)?);
                }
            }
            Runner::Feedforward(runner) => {
                for batch in ids.chunks(MAX_BATCH) {
                    let inputs = token_tensors(batch, runner.model().limit("tokens"))?;
                    let outputs = runner.run(&inputs, &["text_embeds".to_owned()]).await?;
                    vectors.extend(rows(&outputs["text_embeds"])?);
                }
            }
            Runner::Causal(_) => {}
        }
        let both = ids.into_iter().zip(vectors);
        Ok(both
            .map(|(input_ids, vector)| Embedding { input_ids, vector })
            .collect())
    }

    /// One vector of length 1 a picture or sound, given as the tensors that the model's preprocessor makes of a batch,
    /// in the space of [`Model::embed`].
    pub async fn embed_tensors(&mut self, tensors: &Named) -> Result<Vec<Vec<f32>>, TaskError> {
        let output = self.likenesses().map(|[_, vectors]| vectors.to_owned());
        match (&mut self.runner, output) {
            (Runner::Feedforward(runner), Some(output)) => {
                let outputs = runner.run(tensors, std::slice::from_ref(&output)).await?;
                Ok(rows(&outputs[&output])?)
            }
            _ => Err(self.wrong_kind("embed pictures or sounds")),
        }
    }

    /// The ids of texts as the model expects them. What goes beyond what it takes, and beyond `limit`, is cut, but for
    /// the token that closes a text.
    pub(super) fn encode_cut<'a>(
        &self,
        texts: impl Iterator<Item = &'a str>,
        limit: Option<usize>,
    ) -> Result<Vec<Vec<u32>>, TaskError> {
        let tokenizer = self.tokenizer()?;
        let limit = limit.unwrap_or(usize::MAX).min(self.facts().context_length);
        texts
            .map(|text| {
                let mut ids = tokenizer.encode(text, true)?;
                if ids.len() > limit {
                    let last = ids.pop();
                    ids.truncate(limit.saturating_sub(1));
                    ids.extend(last);
                }
                Ok(ids)
            })
            .collect()
    }
}

/// `input_ids` and `attention_mask` `[texts, tokens]` of a tower that takes up to `limit` tokens; texts are padded to
/// the longest.
pub(super) fn token_tensors(
    texts: &[Vec<u32>],
    limit: Option<usize>,
) -> Result<Named, ForwardError> {
    let longest = texts.iter().map(Vec::len).max().unwrap_or(0).max(1);
    let tokens = longest
        .next_multiple_of(TOKEN_STEP)
        .min(limit.unwrap_or(usize::MAX).max(longest));
    let (mut ids, mut mask) = (Vec::new(), Vec::new());
    for (row, text) in texts.iter().enumerate() {
        ids.extend(text.iter().map(|&id| id as i32));
        mask.resize(ids.len(), 1);
        ids.resize((row + 1) * tokens, 0);
        mask.resize(ids.len(), 0);
    }
    let shape = [texts.len(), tokens];
    let tensor = |values: &[i32]| Tensor::from_i32(&shape, values);
    Ok(Named::from([
        ("input_ids".to_owned(), tensor(&ids)?),
        ("attention_mask".to_owned(), tensor(&mask)?),
    ]))
}

/// The values of each batch row.
pub(super) fn rows(tensor: &Tensor) -> Result<Vec<Vec<f32>>, ForwardError> {
    let batch = tensor.shape().first().copied().unwrap_or(0);
    let size = tensor.elements() / batch.max(1);
    let rows = tensor.as_f32()?.chunks(size.max(1));
    Ok(rows.map(<[f32]>::to_vec).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_padded_to_the_longest_and_within_the_limit() {
        let texts = [vec![5, 6, 7], vec![8]];
        let tensors = token_tensors(&texts, Some(4)).unwrap();
        let values = |name: &str| tensors[name].as_i32().unwrap().to_vec();
        assert_eq!(tensors["input_ids"].shape(), [2, 4]);
        assert_eq!(values("input_ids"), [5, 6, 7, 0, 8, 0, 0, 0]);
        assert_eq!(values("attention_mask"), [1, 1, 1, 0, 1, 0, 0, 0]);
        let tensors = token_tensors(&texts, None).unwrap();
        assert_eq!(tensors["input_ids"].shape(), [2, 16]);
        assert_eq!(
            rows(&Tensor::from_f32(&[2, 1], &[1.0, 2.0]).unwrap()).unwrap(),
            [[1.0], [2.0]]
        );
    }
}
