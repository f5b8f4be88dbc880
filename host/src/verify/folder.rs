//! A folder with `reference.safetensors` and `reference.json` beside the model's files.
//!
//! `in.NAME` are fed, `out.NAME` compared with the output NAME within `atol + rtol * |expected|`. `compare` may leave
//! positions out (`"NAME": "where in.MASK is N"`); `out.logits_full` belongs to `in.input_ids` followed by `generated_ids`;
//! `generated_ids` are what greedy decoding gives after `in.input_ids`; of an encoder-decoder, which has
//! `in.decoder_input_ids`, after the first row of its other inputs, the first id being the one that its texts begin with.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::format::{read_tensor, safetensors};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::tensor::{DataType, Tensor};
use serde::Deserialize;

use super::{Findings, Tolerance};
use crate::job::{ForwardJob, GenerateJob, Prompt, RunError, Sampling, TensorData};
use crate::results::record::TensorRow;
use crate::runner::Runner;

#[derive(Debug, thiserror::Error)]
pub enum ReferenceError {
    #[error("{path}: {message}")]
    Read { path: PathBuf, message: String },
    #[error("{path}: {message}")]
    Content { path: PathBuf, message: String },
}

/// What is in the folder, checked as far as that needs no model.
pub struct FolderReference {
    pub architecture: String,
    tolerance: Tolerance,
    inputs: BTreeMap<String, Tensor>,
    /// By name without `out.`.
    outputs: BTreeMap<String, Expected>,
    generated: Vec<u32>,
}

struct Expected {
    tensor: Tensor,
    mask: Option<Mask>,
}

/// Positions that count: where the input `name` is `value`.
#[derive(Clone, Debug, PartialEq)]
struct Mask {
    name: String,
    value: f64,
}

#[derive(Deserialize)]
struct Description {
    architecture: String,
    atol: f64,
    rtol: f64,
    #[serde(default)]
    compare: BTreeMap<String, String>,
    #[serde(default)]
    generated_ids: Vec<u32>,
    #[serde(default)]
    preprocessor_inputs: Vec<String>,
}

/// The input that only encoder-decoders have.
const DECODER_IDS: &str = "decoder_input_ids";

/// A prompt, a source and the ids that follow.
type Continuation<'a> = (Vec<u32>, BTreeMap<String, TensorData>, &'a [u32]);

/// An output whose inputs are followed by the generated ids.
const FULL: &str = "logits_full";

impl FolderReference {
    /// Whether `folder` has a reference.
    pub fn is_in(folder: &Path) -> bool {
        folder.join("reference.json").is_file()
    }

    /// Reads both files.
    ///
    /// # Errors
    /// A file that is missing or malformed, a `compare` rule that is not understood or names no input.
    pub fn read(folder: &Path) -> Result<FolderReference, ReferenceError> {
        let path = folder.join("reference.json");
        let description: Description =
            serde_json::from_slice(&bytes(&path)?).map_err(|e| ReferenceError::Content {
                path: path.clone(),
                message: e.to_string(),
            })?;
        let tensors_path = folder.join("reference.safetensors");
        let tensors = tensors(&tensors_path)?;
        FolderReference::new(description, tensors)
            .map_err(|message| ReferenceError::Content { path, message })
    }

    fn new(
        description: Description,
        tensors: BTreeMap<String, Tensor>,
    ) -> Result<FolderReference, String> {
        let mut inputs = BTreeMap::new();
        let mut outputs = BTreeMap::new();
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix("in.") {
                if !description.preprocessor_inputs.iter().any(|p| p == name) {
                    inputs.insert(name.to_string(), tensor);
                }
            } else if let Some(name) = name.strip_prefix("out.") {
                outputs.insert(name.to_string(), Expected { tensor, mask: None });
            } else {
                return Err(format!("tensor `{name}` is neither in.* nor out.*"));
            }
        }
        for (name, rule) in &description.compare {
            let expected = outputs
                .get_mut(name)
                .ok_or_else(|| format!("compare: there is no out.{name}"))?;
            let mask = Mask::parse(rule).ok_or_else(|| format!("compare: cannot read `{rule}`"))?;
            let input = inputs
                .get(&mask.name)
                .ok_or_else(|| format!("compare: there is no in.{}", mask.name))?;
            if !expected.tensor.shape().starts_with(input.shape()) {
                return Err(format!(
                    "compare: in.{} {:?} does not lead out.{name} {:?}",
                    mask.name,
                    input.shape(),
                    expected.tensor.shape()
                ));
            }
            expected.mask = Some(mask);
        }
        if outputs.is_empty() && description.generated_ids.is_empty() {
            return Err("nothing to compare: no out.* and no generated_ids".into());
        }
        Ok(FolderReference {
            architecture: description.architecture,
            tolerance: Tolerance {
                atol: description.atol,
                rtol: description.rtol,
            },
            inputs,
            outputs,
            generated: description.generated_ids,
        })
    }

    /// Feeds the inputs and compares all outputs.
    pub(super) async fn check(&self, runner: &mut dyn Runner) -> Result<Findings, RunError> {
        let mut findings = Findings::default();
        let plain: Vec<String> = self
            .outputs
            .keys()
            .filter(|n| *n != FULL)
            .cloned()
            .collect();
        if !plain.is_empty() {
            let job = ForwardJob {
                inputs: self
                    .inputs
                    .iter()
                    .map(|(n, t)| (n.clone(), data(t)))
                    .collect(),
                outputs: plain.clone(),
            };
            let given = runner.forward(&job).await?.outputs;
            for name in &plain {
                findings.rows.push(self.compare(name, given.get(name)));
            }
        }
        if self.outputs.contains_key(FULL) {
            let job = ForwardJob {
                inputs: [("input_ids".to_string(), self.full_ids()?)].into(),
                outputs: vec!["logits".into()],
            };
            let given = runner.forward(&job).await?.outputs;
            findings.rows.push(self.compare(FULL, given.get("logits")));
        }
        if !self.generated.is_empty() {
            let (prompt, source, expected) = self.continuation()?;
            let job = GenerateJob {
                prompt: Prompt::Ids(prompt),
                source,
                max_tokens: expected.len(),
                sampling: Sampling::greedy(),
                stop: vec![],
                ignore_eos: true,
                instruct: None,
                beside: vec![],
            };
            let ids = runner.generate(&job, &|_| {}).await?.ids;
            findings
                .rows
                .push(compare_ids("generated_ids", &ids, expected));
        }
        Ok(findings)
    }

    fn compare(&self, name: &str, given: Option<&TensorData>) -> TensorRow {
        let expected = &self.outputs[name];
        let mut row = TensorRow {
            tensor: format!("out.{name}"),
            compared: 0,
            max_abs: None,
            max_rel: None,
            atol: Some(self.tolerance.atol),
            rtol: Some(self.tolerance.rtol),
            holds: false,
            note: None,
        };
        let got = match given.map(tensor_of) {
            None => {
                row.note = Some("the target did not give it".into());
                return row;
            }
            Some(Err(message)) => {
                row.note = Some(message);
                return row;
            }
            Some(Ok(got)) => got,
        };
        if got.shape() != expected.tensor.shape() {
            row.note = Some(format!(
                "shape {:?}, expected {:?}",
                got.shape(),
                expected.tensor.shape()
            ));
            return row;
        }
        let mask = expected.mask.as_ref().map(|mask| {
            let flags = self.inputs[&mask.name].to_f64_vec();
            let each = expected.tensor.elements() / flags.len().max(1);
            (flags, each.max(1), mask.value)
        });
        let takes = |i: usize| {
            mask.as_ref()
                .is_none_or(|(flags, each, value)| flags.get(i / each) == Some(value))
        };
        let difference =
            self.tolerance
                .compare(&got.to_f64_vec(), &expected.tensor.to_f64_vec(), takes);
        row.compared = difference.compared;
        row.max_abs = Some(difference.max_abs);
        row.max_rel = Some(difference.max_rel);
        row.holds = difference.compared > 0 && difference.failed == 0;
        row.note = match difference.first {
            Some(first) => Some(format!(
                "{} elements out of tolerance, the first at {first}",
                difference.failed
            )),
            None if difference.compared == 0 => Some("nothing to compare".into()),
            None => None,
        };
        row
    }

    /// What greedy decoding goes on from, what it reads before, and the ids that it then gives. An encoder-decoder
    /// reads the first row of every other input, and its first id is given, not generated.
    fn continuation(&self) -> Result<Continuation<'_>, RunError> {
        if !self.inputs.contains_key(DECODER_IDS) {
            return Ok((self.prompt()?, BTreeMap::new(), &self.generated));
        }
        let Some((first, rest)) = self.generated.split_first() else {
            let message = "generated_ids of an encoder-decoder begin with the given one";
            return Err(RunError::error("bad_reference", message));
        };
        let source = self.inputs.iter().filter(|(name, _)| *name != DECODER_IDS);
        let source = source.map(|(name, tensor)| (name.clone(), first_row(tensor)));
        Ok((vec![*first], source.collect(), rest))
    }

    fn prompt(&self) -> Result<Vec<u32>, RunError> {
        let wrong = |m: &str| RunError::error("bad_reference", format!("in.input_ids: {m}"));
        let ids = self
            .inputs
            .get("input_ids")
            .ok_or_else(|| wrong("missing"))?;
        if !matches!(ids.shape(), [_] | [1, _]) {
            return Err(wrong("generated_ids want a single sequence"));
        }
        ids.to_f64_vec()
            .iter()
            .map(|&id| {
                let whole = id >= 0.0 && id <= f64::from(u32::MAX) && id.fract() == 0.0;
                whole
                    .then_some(id as u32)
                    .ok_or_else(|| wrong("no token ids"))
            })
            .collect()
    }

    /// The prompt and what was generated after it, as one batch row.
    fn full_ids(&self) -> Result<TensorData, RunError> {
        let mut ids = self.prompt()?;
        ids.extend(&self.generated);
        Ok(TensorData {
            data_type: DataType::I64.name().into(),
            shape: vec![1, ids.len()],
            data: ids
                .iter()
                .flat_map(|&id| i64::from(id).to_le_bytes())
                .collect(),
        })
    }
}

impl Mask {
    /// `where in.NAME is NUMBER`
    fn parse(rule: &str) -> Option<Mask> {
        let words: Vec<&str> = rule.split_whitespace().collect();
        match words[..] {
            ["where", name, "is", value] => Some(Mask {
                name: name.strip_prefix("in.")?.to_string(),
                value: value.parse().ok()?,
            }),
            _ => None,
        }
    }
}

/// Two lists of ids, which agree or not.
pub(super) fn compare_ids(name: &str, got: &[u32], expected: &[u32]) -> TensorRow {
    let first = (0..got.len().max(expected.len())).find(|&i| got.get(i) != expected.get(i));
    TensorRow {
        tensor: name.into(),
        compared: expected.len() as u64,
        max_abs: None,
        max_rel: None,
        atol: None,
        rtol: None,
        holds: first.is_none(),
        note: first.map(|i| {
            let word = |id: Option<&u32>| id.map_or("nothing".into(), u32::to_string);
            format!(
                "at {i}: {}, expected {}",
                word(got.get(i)),
                word(expected.get(i))
            )
        }),
    }
}

/// The first of a tensor's batch rows, as a batch of one.
fn first_row(tensor: &Tensor) -> TensorData {
    let mut row = data(tensor);
    if let Some(batch) = row.shape.first_mut() {
        row.data.truncate(row.data.len() / (*batch).max(1));
        *batch = (*batch).min(1);
    }
    row
}

fn data(tensor: &Tensor) -> TensorData {
    TensorData {
        data_type: tensor.data_type().name().into(),
        shape: tensor.shape().to_vec(),
        data: tensor.bytes().to_vec(),
    }
}

fn tensor_of(data: &TensorData) -> Result<Tensor, String> {
    let data_type = data_type(&data.data_type)
        .ok_or_else(|| format!("the target gave unknown type `{}`", data.data_type))?;
    Tensor::from_bytes(data_type, &data.shape, &data.data).map_err(|e| e.to_string())
}

fn data_type(name: &str) -> Option<DataType> {
    use DataType::*;
    [
        F64, F32, F16, Bf16, I64, I32, I16, I8, U64, U32, U16, U8, Bool,
    ]
    .into_iter()
    .find(|t| t.name() == name)
}

fn bytes(path: &Path) -> Result<Vec<u8>, ReferenceError> {
    std::fs::read(path).map_err(|e| ReferenceError::Read {
        path: path.to_path_buf(),
        message: e.to_string(),
    })
}

fn tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, ReferenceError> {
    let name = path.display().to_string();
    let source: Rc<dyn ByteSource> = Rc::new(MemorySource::new(name, bytes(path)?));
    pollster::block_on(async {
        let header = safetensors::read_header(&*source).await?;
        let mut tensors = BTreeMap::new();
        for (name, entry) in &header.tensors {
            let raw = read_tensor(std::slice::from_ref(&source), entry).await?;
            tensors.insert(name.clone(), (entry.element, entry.shape.clone(), raw));
        }
        Ok(tensors)
    })
    .map_err(
        |e: fewbit_engine::format::FormatError| ReferenceError::Content {
            path: path.to_path_buf(),
            message: e.to_string(),
        },
    )
    .and_then(|tensors| {
        tensors
            .into_iter()
            .map(|(name, (element, shape, raw))| {
                let wrong = |message: String| ReferenceError::Content {
                    path: path.to_path_buf(),
                    message: format!("{name}: {message}"),
                };
                let plain = element
                    .plain()
                    .ok_or_else(|| wrong(format!("{element} in a reference")))?;
                let tensor =
                    Tensor::from_bytes(plain, &shape, &raw).map_err(|e| wrong(e.to_string()))?;
                Ok((name.clone(), tensor))
            })
            .collect()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn description(compare: &str, generated: &str) -> Description {
        let json = format!(
            r#"{{"architecture": "bert", "atol": 0.01, "rtol": 0.0, "compare": {compare}, "generated_ids": {generated}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn named() -> BTreeMap<String, Tensor> {
        [
            ("in.input_ids", Tensor::from_i64(&[1, 2], &[5, 6])),
            ("in.attention_mask", Tensor::from_i64(&[1, 2], &[1, 0])),
            ("out.y", Tensor::from_f32(&[1, 2, 2], &[1.0, 2.0, 3.0, 4.0])),
        ]
        .into_iter()
        .map(|(name, tensor)| (name.to_string(), tensor.unwrap()))
        .collect()
    }

    #[test]
    fn masked_positions_are_left_out() {
        let rule = r#"{"y": "where in.attention_mask is 1"}"#;
        let reference = FolderReference::new(description(rule, "[]"), named()).unwrap();
        let give = |values: &[f32]| data(&Tensor::from_f32(&[1, 2, 2], values).unwrap());
        let row = reference.compare("y", Some(&give(&[1.005, 2.0, 99.0, 99.0])));
        assert!(row.holds && row.compared == 2, "{row:?}");
        let row = reference.compare("y", Some(&give(&[1.0, 2.02, 3.0, 4.0])));
        assert!(!row.holds && row.note.unwrap().contains("the first at 1"));
        assert!(!reference.compare("y", None).holds);
        let flat = data(&Tensor::from_f32(&[4], &[1.0, 2.0, 3.0, 4.0]).unwrap());
        assert!(!reference.compare("y", Some(&flat)).holds);
        let short = TensorData {
            data_type: "f32".into(),
            shape: vec![1, 2, 2],
            data: vec![0; 3],
        };
        assert!(!reference.compare("y", Some(&short)).holds);
    }

    #[test]
    fn rules_that_cannot_be_followed_are_errors() {
        for rule in [
            r#"{"y": "sometimes"}"#,
            r#"{"y": "where in.other is 1"}"#,
            r#"{"z": "where in.attention_mask is 1"}"#,
        ] {
            assert!(FolderReference::new(description(rule, "[]"), named()).is_err());
        }
        let mut nothing = named();
        nothing.remove("out.y");
        assert!(FolderReference::new(description("{}", "[]"), nothing).is_err());
    }

    #[test]
    fn full_logits_follow_the_generated_ids() {
        let reference = FolderReference::new(description("{}", "[7, 8]"), named()).unwrap();
        let full = tensor_of(&reference.full_ids().unwrap()).unwrap();
        assert_eq!(full.shape(), [1, 4]);
        assert_eq!(full.to_f64_vec(), [5.0, 6.0, 7.0, 8.0]);
        assert!(compare_ids("ids", &[7, 8], &[7, 8]).holds);
        let row = compare_ids("ids", &[7], &[7, 8]);
        assert!(!row.holds);
        assert_eq!(row.note.unwrap(), "at 1: nothing, expected 8");
    }
}
