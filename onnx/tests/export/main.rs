//! What is written is read again and computed, operator by operator as ONNX's specification says, over the engine's scalar
//! reference; the numbers must be those of the graph, or those that `transformers` has.

mod interpreter;
mod models;
mod operators;
mod refusals;
mod writing;

use std::rc::Rc;

use fewbit_engine::format::{Checkpoint, TensorEntry};
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::MemorySource;
use fewbit_engine::tensor::ElementType;

/// A checkpoint in memory: name, element type, shape, bytes.
fn checkpoint(tensors: &[(&str, ElementType, &[usize], Vec<u8>)]) -> WeightSource {
    let mut bytes = Vec::new();
    let mut entries = Checkpoint {
        file: "memory".into(),
        ..Checkpoint::default()
    };
    for (name, element, shape, data) in tensors {
        let entry = TensorEntry {
            name: (*name).to_owned(),
            element: *element,
            shape: shape.to_vec(),
            file: 0,
            offset: bytes.len() as u64,
            bytes: data.len() as u64,
        };
        entries.tensors.insert((*name).to_owned(), entry);
        bytes.extend_from_slice(data);
    }
    WeightSource {
        checkpoint: entries,
        files: vec![Rc::new(MemorySource::new("memory".to_owned(), bytes))],
    }
}
