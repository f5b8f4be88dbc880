//! What an encoder-decoder reads before it predicts: made of named tensors, read once, kept as keys and values.

use std::rc::Rc;

use super::forward::{ForwardError, Named, integers, shape_fault};
use crate::graph::Bindings;
use crate::model::SourceKind;
use crate::session::{Session, SessionError};
use crate::tensor::{DataType, Tensor, TensorError};

/// The encoder among a session's parts; the decoder is the first.
const ENCODER: usize = 1;

/// Sources of tokens are padded to multiples of this, so that few plans are compiled.
const TOKEN_STEP: usize = 16;

/// The states' first room for a source of tokens; it doubles when more is needed.
const FIRST_ROOM: usize = 64;

/// A source, ready to be read.
#[derive(Clone, Debug, PartialEq)]
pub enum Source {
    /// Tokens, and which of them count.
    Tokens { ids: Vec<i32>, mask: Vec<i32> },
    /// `[1, channels, frames]`, f32.
    Features(Tensor),
}

impl Source {
    /// Tokens that all count.
    pub fn tokens(ids: &[u32]) -> Source {
        Source::Tokens {
            ids: ids.iter().map(|&id| id as i32).collect(),
            mask: vec![1; ids.len()],
        }
    }

    /// One source a batch row of the encoder's inputs by name: `input_ids` and, where given, `attention_mask`
    /// `[batch, tokens]`; or `input_features [batch, channels, frames]`.
    ///
    /// # Errors
    /// An input that is missing, or of another type or shape than the model's encoder takes.
    pub fn rows(kind: SourceKind, inputs: &Named) -> Result<Vec<Source>, ForwardError> {
        let need = |name: &str| {
            let found = inputs.get(name);
            found.ok_or_else(|| ForwardError::Missing(name.to_owned()))
        };
        match kind {
            SourceKind::Tokens { max_tokens } => {
                let ids = integers("input_ids", need("input_ids")?)?;
                let tokens = match *ids.shape() {
                    [_, tokens] if (1..=max_tokens).contains(&tokens) => tokens,
                    _ => {
                        let wanted = format!("[batch, 1 to {max_tokens} tokens]");
                        return Err(shape_fault("input_ids", &ids, &wanted));
                    }
                };
                let mask = match inputs.get("attention_mask") {
                    None => vec![1; ids.elements()],
                    Some(mask) if mask.shape() == ids.shape() => {
                        integers("attention_mask", mask)?.as_i32()?.to_vec()
                    }
                    Some(mask) => {
                        let wanted = format!("{:?}", ids.shape());
                        return Err(shape_fault("attention_mask", mask, &wanted));
                    }
                };
                let rows = ids.as_i32()?.chunks(tokens).zip(mask.chunks(tokens));
                let rows = rows.map(|(ids, mask)| Source::Tokens {
                    ids: ids.to_vec(),
                    mask: mask.to_vec(),
                });
                Ok(rows.collect())
            }
            SourceKind::Features { channels, frames } => {
                let features = need("input_features")?;
                let whole = [channels, frames];
                if features.shape().len() != 3 || features.shape()[1..] != whole {
                    let wanted = format!("[batch, {channels}, {frames}]");
                    return Err(shape_fault("input_features", features, &wanted));
                }
                if features.data_type() != DataType::F32 {
                    return Err(ForwardError::Input {
                        name: "input_features".into(),
                        message: format!("{} given, f32 wanted", features.data_type()),
                    });
                }
                let rows = features.as_f32()?.chunks(channels * frames);
                let rows = rows.map(|row| Tensor::from_f32(&[1, channels, frames], row));
                let rows = rows.map(|row| row.map(Source::Features));
                Ok(rows.collect::<Result<_, TensorError>>()?)
            }
        }
    }
}

/// Which source a decoder's states hold, and how much room they have.
pub(super) struct Reader {
    kind: SourceKind,
    source: Option<Rc<Source>>,
    /// Whether the states hold its keys and values.
    is_read: bool,
    room: usize,
}

impl Reader {
    pub(super) fn new(kind: SourceKind) -> Reader {
        Reader {
            kind,
            source: None,
            is_read: false,
            room: 0,
        }
    }

    pub(super) fn kind(&self) -> SourceKind {
        self.kind
    }

    /// Goes over to another source; false if it is the one at hand.
    pub(super) fn set(&mut self, source: &Rc<Source>) -> bool {
        let same = self
            .source
            .as_ref()
            .is_some_and(|at| Rc::ptr_eq(at, source));
        if !same {
            self.source = Some(source.clone());
            self.is_read = false;
        }
        !same
    }

    /// Says that the states are gone.
    pub(super) fn forget(&mut self) {
        self.is_read = false;
    }

    /// Whether the decoder may go on: `None` if there is no source at all.
    pub(super) fn is_ready(&self) -> Option<bool> {
        self.source.as_ref().map(|_| self.is_read)
    }

    /// Runs the encoder, if the source at hand is not read or `outputs` are asked for.
    pub(super) async fn read(
        &mut self,
        session: &mut Session,
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, SessionError> {
        let Some(source) = self.source.clone() else {
            return Ok(Vec::new());
        };
        self.is_read = false;
        let mut bindings = Bindings::from([("batch".to_owned(), 1)]);
        let results = match source.as_ref() {
            Source::Features(features) => {
                let inputs = [("input_features", features)];
                let run = session.run_part(ENCODER, &bindings, &inputs, outputs);
                run.await?
            }
            Source::Tokens { ids, mask } => {
                let size = ids.len().next_multiple_of(TOKEN_STEP).min(self.limit());
                self.room = self.room.max(FIRST_ROOM).max(size.next_power_of_two());
                bindings.insert("tokens".to_owned(), size);
                bindings.insert("source".to_owned(), self.room);
                let [ids, mask] = [padded(ids, size)?, padded(mask, size)?];
                let inputs = [("input_ids", &ids), ("attention_mask", &mask)];
                let run = session.run_part(ENCODER, &bindings, &inputs, outputs);
                run.await?
            }
        };
        self.is_read = true;
        Ok(results)
    }

    /// What the decoder's runs must know of the source: its room, and which positions count.
    pub(super) fn beside(
        &self,
        bindings: &mut Bindings,
    ) -> Result<Option<(&'static str, Tensor)>, TensorError> {
        let Some(Source::Tokens { mask, .. }) = self.source.as_deref() else {
            return Ok(None);
        };
        bindings.insert("source".to_owned(), self.room);
        Ok(Some(("encoder_attention_mask", padded(mask, self.room)?)))
    }

    fn limit(&self) -> usize {
        match self.kind {
            SourceKind::Tokens { max_tokens } => max_tokens,
            SourceKind::Features { frames, .. } => frames,
        }
    }
}

/// `values` with zeros behind them, `[1, size]`.
fn padded(values: &[i32], size: usize) -> Result<Tensor, TensorError> {
    let mut values = values.to_vec();
    values.resize(size, 0);
    Tensor::from_i32(&[1, size], &values)
}
