//! A model's graph run as it is on named tensors: what a parity check feeds and compares.

use std::collections::BTreeMap;
use std::rc::Rc;

use super::decoder::{DecodeError, Decoder};
use super::encoder::{EncoderRunner, run_recovering};
use super::source::Source;
use crate::graph::Bindings;
use crate::model::{SourceKind, TextHead};
use crate::session::SessionError;
use crate::tensor::{DataType, Tensor, TensorError};

const LOGITS: &str = "logits";

/// Tensors by name.
pub type Named = BTreeMap<String, Tensor>;

#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    #[error("input {0} is missing")]
    Missing(String),
    #[error("input {name}: {message}")]
    Input { name: String, message: String },
    #[error("the model has no output named {0}")]
    UnknownOutput(String),
    /// No graph of the model is for the numbers in these inputs; [`Model::add`](super::Model::add) takes one that is.
    #[error("{0}")]
    OtherNumbers(String),
    #[error(transparent)]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// A run of a model's graph under way, between whose steps a caller may do other things or stop. A step of a causal model
/// is one run of a plan; other kinds take one step.
#[derive(Debug)]
pub struct Forward {
    pub(super) inputs: Named,
    pub(super) outputs: Vec<String>,
    causal: Option<Causal>,
}

impl Forward {
    /// `outputs` empty means all. Inputs are looked at with the first step.
    pub fn new(inputs: Named, outputs: Vec<String>) -> Forward {
        Forward {
            inputs,
            outputs,
            causal: None,
        }
    }

    /// A causal model: `input_ids [batch, tokens]` → `logits [batch, tokens, vocabulary]`, a chunk of a row a step.
    pub(super) async fn causal(
        &mut self,
        decoder: &mut Decoder,
    ) -> Result<Option<Named>, ForwardError> {
        let causal = match &mut self.causal {
            Some(causal) => causal,
            none => none.insert(Causal::new(decoder, &self.inputs, &self.outputs)?),
        };
        causal.next(decoder).await
    }
}

/// Where a causal model's rows are.
#[derive(Debug)]
struct Causal {
    batch: usize,
    tokens: usize,
    ids: Vec<u32>,
    row: usize,
    /// Tokens of the row whose logits have come.
    given: usize,
    logits: Vec<f32>,
}

impl Causal {
    fn new(decoder: &Decoder, inputs: &Named, outputs: &[String]) -> Result<Causal, ForwardError> {
        if let Some(name) = outputs.iter().find(|name| *name != "logits") {
            return Err(ForwardError::UnknownOutput(name.clone()));
        }
        let ids = inputs
            .get("input_ids")
            .ok_or_else(|| ForwardError::Missing("input_ids".into()))?;
        let &[batch, tokens] = ids.shape() else {
            return Err(shape_fault("input_ids", ids, "[batch, tokens]"));
        };
        let all = token_ids("input_ids", ids)?;
        let vocabulary = decoder.model().vocabulary;
        Ok(Causal {
            batch,
            tokens,
            ids: all,
            row: 0,
            given: 0,
            logits: Vec::with_capacity(batch * tokens * vocabulary),
        })
    }

    /// The logits, after the last row.
    async fn next(&mut self, decoder: &mut Decoder) -> Result<Option<Named>, ForwardError> {
        if self.row < self.batch && self.tokens > 0 {
            let row = &self.ids[self.row * self.tokens..][..self.tokens];
            let logits = &mut self.logits;
            self.given = decoder
                .step_logits(row, self.given, |rows| logits.extend_from_slice(rows))
                .await?;
            if self.given == self.tokens {
                self.row += 1;
                self.given = 0;
            }
            if self.row < self.batch {
                return Ok(None);
            }
        }
        let shape = [self.batch, self.tokens, decoder.model().vocabulary];
        let logits = Tensor::from_f32(&shape, &std::mem::take(&mut self.logits))?;
        Ok(Some(Named::from([("logits".to_owned(), logits)])))
    }
}

/// An encoder-decoder: its encoder's inputs, and `decoder_input_ids [batch, tokens]` where logits are wanted →
/// `encoder_last_hidden_state [batch, positions, hidden]`, `logits [batch, tokens, vocabulary]`.
pub(super) async fn reading(
    decoder: &mut Decoder,
    kind: SourceKind,
    inputs: &Named,
    outputs: &[String],
) -> Result<Named, ForwardError> {
    const ENCODED: &str = "encoder_last_hidden_state";
    let known = [ENCODED, LOGITS];
    if let Some(name) = outputs.iter().find(|name| !known.contains(&name.as_str())) {
        return Err(ForwardError::UnknownOutput(name.clone()));
    }
    let wants = |name: &str| outputs.is_empty() || outputs.iter().any(|wanted| wanted == name);
    let sources = Source::rows(kind, inputs)?;
    let batch = sources.len();
    let ids = match inputs.get("decoder_input_ids") {
        Some(ids) => Some(ids),
        None if wants(LOGITS) => return Err(ForwardError::Missing("decoder_input_ids".into())),
        None => None,
    };
    let tokens = match ids.map(|ids| (ids, ids.shape())) {
        Some((_, &[rows, tokens])) if rows == batch => tokens,
        Some((ids, _)) => {
            let wanted = format!("[{batch}, tokens]");
            return Err(shape_fault("decoder_input_ids", ids, &wanted));
        }
        None => 0,
    };
    let ids = match ids {
        Some(ids) => token_ids("decoder_input_ids", ids)?,
        None => Vec::new(),
    };
    let vocabulary = decoder.model().vocabulary;
    let (mut encoded, mut logits) = (Vec::new(), Vec::new());
    let mut positions = 0;
    let mut hidden = 0;
    for (row, source) in sources.into_iter().enumerate() {
        let given = match &source {
            Source::Tokens { ids, .. } => Some(ids.len()),
            Source::Features(_) => None,
        };
        decoder.set_source(&Rc::new(source));
        if wants(ENCODED) {
            let results = decoder.encode(&[ENCODED]).await?;
            for state in &results {
                // What was padded for the encoder is cut off again.
                positions = given.unwrap_or(state.shape()[1]);
                hidden = state.shape()[2];
                encoded.extend_from_slice(&state.as_f32()?[..positions * hidden]);
            }
        }
        if wants(LOGITS) {
            let row = &ids[row * tokens..][..tokens];
            let each = |rows: &[f32]| logits.extend_from_slice(rows);
            decoder.logits(row, each).await?;
        }
    }
    let mut results = Named::new();
    if wants(ENCODED) {
        let encoded = Tensor::from_f32(&[batch, positions, hidden], &encoded)?;
        results.insert(ENCODED.to_owned(), encoded);
    }
    if wants(LOGITS) {
        let logits = Tensor::from_f32(&[batch, tokens, vocabulary], &logits)?;
        results.insert(LOGITS.to_owned(), logits);
    }
    Ok(results)
}

/// An encoder: `input_ids`, and where given `attention_mask` and `token_type_ids`, each `[batch, tokens]` → the graph's outputs.
pub(super) async fn encoder(
    runner: &mut EncoderRunner,
    inputs: &Named,
    outputs: &[String],
) -> Result<Named, ForwardError> {
    let ids = inputs
        .get("input_ids")
        .ok_or_else(|| ForwardError::Missing("input_ids".into()))?;
    let &[batch, tokens] = ids.shape() else {
        return Err(shape_fault("input_ids", ids, "[batch, tokens]"));
    };
    let limit = runner.model().max_tokens;
    if tokens > limit || tokens == 0 {
        return Err(shape_fault(
            "input_ids",
            ids,
            &format!("1 to {limit} tokens"),
        ));
    }
    let ids = integers("input_ids", ids)?;
    let shape = ids.shape().to_vec();
    let given = |name: &str, default: i32| -> Result<Tensor, ForwardError> {
        match inputs.get(name) {
            Some(tensor) if tensor.shape() == shape => integers(name, tensor),
            Some(tensor) => Err(shape_fault(name, tensor, &format!("{shape:?}"))),
            None => Ok(Tensor::from_i32(&shape, &vec![default; batch * tokens])?),
        }
    };
    let mask = given("attention_mask", 1)?;
    let segments = given("token_type_ids", 0)?;
    let known: Vec<String> = runner
        .session()
        .graph()
        .outputs
        .iter()
        .map(|(name, _)| name.clone())
        .collect();
    let wanted: Vec<&str> = match outputs {
        [] => known.iter().map(String::as_str).collect(),
        some => some.iter().map(String::as_str).collect(),
    };
    let mut bindings = Bindings::from([("batch".to_owned(), batch), ("tokens".to_owned(), tokens)]);
    let mut tensors = vec![
        ("input_ids", &ids),
        ("attention_mask", &mask),
        ("token_type_ids", &segments),
    ];
    // Such a head computes the rows that it is asked for: all of them.
    let by_rows = runner.model().head == Some(TextHead::Masked) && wanted.contains(&LOGITS);
    let rows: Vec<i32> = (0..(batch * tokens) as i32).collect();
    let rows = Tensor::from_i32(&[rows.len()], &rows)?;
    if by_rows {
        bindings.insert("rows".to_owned(), rows.elements());
        tensors.push(("rows", &rows));
    }
    let results = run_recovering(runner.session_mut(), 0, &bindings, &tensors, &wanted).await?;
    let mut named: Named = wanted.into_iter().map(str::to_owned).zip(results).collect();
    if by_rows && let Some(logits) = named.remove(LOGITS) {
        let shape = [batch, tokens, logits.shape()[1]];
        let logits = Tensor::from_bytes(logits.data_type(), &shape, logits.bytes())?;
        named.insert(LOGITS.to_owned(), logits);
    }
    Ok(named)
}

fn token_ids(name: &str, tensor: &Tensor) -> Result<Vec<u32>, ForwardError> {
    let ids = integers(name, tensor)?;
    ids.as_i32()?
        .iter()
        .map(|&id| {
            u32::try_from(id).map_err(|_| ForwardError::Input {
                name: name.to_owned(),
                message: format!("{id} is no token id"),
            })
        })
        .collect()
}

/// Integers of any width as i32; an error where one does not fit.
pub(super) fn integers(name: &str, tensor: &Tensor) -> Result<Tensor, ForwardError> {
    if tensor.data_type().is_float() {
        return Err(ForwardError::Input {
            name: name.to_owned(),
            message: format!("{} given, integers wanted", tensor.data_type()),
        });
    }
    if tensor.data_type() == DataType::I32 {
        return Ok(tensor.clone());
    }
    let values: Result<Vec<i32>, ForwardError> = tensor
        .to_f64_vec()
        .into_iter()
        .map(|value| {
            // Every i32 is exact in f64, and so is every neighbour that would not fit.
            let fits = value >= f64::from(i32::MIN) && value <= f64::from(i32::MAX);
            fits.then_some(value as i32)
                .ok_or_else(|| ForwardError::Input {
                    name: name.to_owned(),
                    message: format!("{value} does not fit in 32 bits"),
                })
        })
        .collect();
    Ok(Tensor::from_i32(tensor.shape(), &values?)?)
}

pub(super) fn shape_fault(name: &str, tensor: &Tensor, wanted: &str) -> ForwardError {
    ForwardError::Input {
        name: name.to_owned(),
        message: format!("shape {:?} given, {wanted} wanted", tensor.shape()),
    }
}
