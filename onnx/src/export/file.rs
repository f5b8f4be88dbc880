//! The bytes of an ONNX file: a protobuf message that is written as it goes, with the weights last, so that none of them
//! need be in memory whole.
//!
//! Protobuf tells a message's length before its content, and a field's order does not matter
//! (<https://protobuf.dev/programming-guides/encoding/>): every length here follows from shapes.

use std::io::Write;

use fewbit_engine::session::{UploadProgress, WeightSource};
use prost::Message;

use super::ExportError;
use super::states::StatePort;
use super::weights::{Done, Initializer, OnExport};
use crate::proto::{
    GraphProto, IR_VERSION, ModelProto, OPSET, OperatorSetIdProto, TensorProto, data_type_number,
};

/// Protobuf's limit for a message.
const MOST_BYTES: u64 = (2 << 30) - 1;

/// Fields of length-delimited type: their number and the wire type 2.
const MODEL_GRAPH: u8 = 7 << 3 | 2;
const GRAPH_INITIALIZER: u8 = 5 << 3 | 2;
const TENSOR_RAW_DATA: u8 = 9 << 3 | 2;
const TENSOR_EXTERNAL_DATA: u8 = 13 << 3 | 2;
const ENTRY_KEY: u8 = 1 << 3 | 2;
const ENTRY_VALUE: u8 = 2 << 3 | 2;

/// `TensorProto.EXTERNAL`
const EXTERNAL: i32 = 1;

/// Where a tensor begins in a file of weights, so that a runtime may map it into memory.
const ALIGNMENT: u64 = 4096;

/// A graph as an ONNX model whose weights are still to be written. Made by [`prepare`](super::prepare).
pub struct Prepared {
    pub(super) graph: GraphProto,
    pub(super) weights: Vec<Initializer>,
    pub(super) states: Vec<StatePort>,
    pub(super) position: Option<String>,
}

/// A file beside the model that takes the weights.
pub struct ExternalData<'a> {
    /// The file's name in the model's folder, by which the model names it.
    pub name: &'a str,
    pub out: &'a mut dyn Write,
}

impl Prepared {
    /// The weights that become initializers.
    pub fn weights(&self) -> &[Initializer] {
        &self.weights
    }

    /// The graph's states, as inputs and outputs of the model.
    pub fn states(&self) -> &[StatePort] {
        &self.states
    }

    /// The graph's input that the model has not, as it is the number of tokens in the caches.
    pub fn position(&self) -> Option<&str> {
        self.position.as_deref()
    }

    /// The model by itself: its initializers say that their elements are in the file `location` beside it, which whoever
    /// loads the model may give in memory instead.
    ///
    /// # Errors
    /// None but those of writing to memory.
    pub fn without_weights(&self, location: &str) -> Result<Vec<u8>, ExportError> {
        let mut out = Vec::new();
        let heads = self.heads(Some(location));
        let graph = self.graph.encode_to_vec();
        let initializers = heads.iter().map(|head| delimited(head.len() as u64));
        let length = graph.len() as u64 + initializers.sum::<u64>();
        out.write_all(&model().encode_to_vec())?;
        begin(&mut out, MODEL_GRAPH, length)?;
        out.write_all(&graph)?;
        for head in &heads {
            begin(&mut out, GRAPH_INITIALIZER, head.len() as u64)?;
            out.write_all(head)?;
        }
        Ok(out)
    }

    /// How many bytes the weights have in the file.
    pub fn weight_bytes(&self) -> u64 {
        let bytes = self.weights.iter().map(|weight| weight.bytes);
        bytes.fold(0, u64::saturating_add)
    }

    /// Whether the model is more than one ONNX file may hold (2 GiB), so that its weights need a file beside it.
    pub fn needs_external_data(&self) -> bool {
        let heads = self.weights.len() as u64 * 1024;
        let graph = self.graph.encoded_len() as u64;
        let total = self.weight_bytes().saturating_add(heads + graph);
        total.saturating_add(1024) > MOST_BYTES
    }

    /// Writes the model to `out`, with the weights in it or, where `external` is given, in that file.
    ///
    /// # Errors
    /// Weights that cannot be read, or that are not the graph's; a failed write; more than 2 GiB without `external`; an
    /// abort by `on_progress`. What was written until then is no model.
    pub async fn write(
        &self,
        source: &WeightSource,
        out: &mut dyn Write,
        mut external: Option<ExternalData<'_>>,
        on_progress: OnExport<'_>,
    ) -> Result<(), ExportError> {
        if external.is_none() && self.needs_external_data() {
            return Err(ExportError::TooLarge(self.weight_bytes()));
        }
        let mut done = Done {
            progress: UploadProgress {
                done: 0,
                total: self.weight_bytes(),
            },
            tell: on_progress,
        };
        let location = external.as_ref().map(|external| external.name);
        let heads = self.heads(location);
        let length = |weight: &Initializer, head: &[u8]| match location {
            Some(_) => head.len() as u64,
            None => head.len() as u64 + delimited(weight.bytes),
        };
        let graph = self.graph.encode_to_vec();
        let initializers = self.weights.iter().zip(&heads);
        let initializers = initializers.map(|(weight, head)| delimited(length(weight, head)));
        let graph_length = graph.len() as u64 + initializers.sum::<u64>();

        out.write_all(&model().encode_to_vec())?;
        begin(out, MODEL_GRAPH, graph_length)?;
        out.write_all(&graph)?;
        for (weight, head) in self.weights.iter().zip(&heads) {
            begin(out, GRAPH_INITIALIZER, length(weight, head))?;
            out.write_all(head)?;
            if location.is_none() {
                begin(out, TENSOR_RAW_DATA, weight.bytes)?;
                weight.write(source, out, &mut done).await?;
            }
        }
        if let Some(external) = &mut external {
            let mut end = 0;
            for weight in &self.weights {
                let gap = aligned(end) - end;
                external.out.write_all(&vec![0; gap as usize])?;
                weight.write(source, external.out, &mut done).await?;
                end += gap + weight.bytes;
            }
            external.out.flush()?;
        }
        out.flush()?;
        Ok(())
    }

    /// Each weight's `TensorProto` but for its elements.
    fn heads(&self, location: Option<&str>) -> Vec<Vec<u8>> {
        let mut end = 0;
        let heads = self.weights.iter().map(|weight| {
            let tensor = TensorProto {
                dims: weight.shape.iter().map(|&size| size as i64).collect(),
                data_type: Some(data_type_number(weight.data_type)),
                name: Some(weight.name.clone()),
                data_location: location.map(|_| EXTERNAL),
                ..TensorProto::default()
            };
            let mut head = tensor.encode_to_vec();
            if let Some(location) = location {
                let offset = aligned(end);
                end = offset + weight.bytes;
                entry(&mut head, "location", location);
                entry(&mut head, "offset", &offset.to_string());
                entry(&mut head, "length", &weight.bytes.to_string());
            }
            head
        });
        heads.collect()
    }
}

/// A model without its graph.
fn model() -> ModelProto {
    ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import: vec![OperatorSetIdProto {
            domain: Some(String::new()),
            version: Some(OPSET),
        }],
        producer_name: Some("fewbit".into()),
        producer_version: Some(env!("CARGO_PKG_VERSION").into()),
        ..ModelProto::default()
    }
}

/// Appends a `StringStringEntryProto` to a tensor.
fn entry(tensor: &mut Vec<u8>, key: &str, value: &str) {
    let mut pair = Vec::new();
    for (tag, text) in [(ENTRY_KEY, key), (ENTRY_VALUE, value)] {
        pair.push(tag);
        varint(&mut pair, text.len() as u64);
        pair.extend_from_slice(text.as_bytes());
    }
    tensor.push(TENSOR_EXTERNAL_DATA);
    varint(tensor, pair.len() as u64);
    tensor.extend(pair);
}

fn begin(out: &mut dyn Write, tag: u8, length: u64) -> Result<(), ExportError> {
    let mut head = vec![tag];
    varint(&mut head, length);
    Ok(out.write_all(&head)?)
}

/// The length of a field of `length` bytes with its tag and length.
fn delimited(length: u64) -> u64 {
    let mut head = Vec::new();
    varint(&mut head, length);
    1 + head.len() as u64 + length
}

/// Seven bits a byte, the lowest first, the top bit set on all but the last.
fn varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn aligned(offset: u64) -> u64 {
    offset.next_multiple_of(ALIGNMENT)
}
