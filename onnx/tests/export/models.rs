//! Whole models: the small checkpoints of the engine's tests, against what `transformers` computes with them.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use fewbit_engine::format::{read_tensor, safetensors};
use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::model::{BuildOptions, ModelKind};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel, open};
use fewbit_engine::tensor::{DataType, Tensor};

use crate::interpreter::{Named, described, read, run};

fn file(model: &str, name: &str) -> Rc<dyn ByteSource> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/reference");
    let bytes = std::fs::read(folder.join(model).join(name)).unwrap();
    Rc::new(MemorySource::new(name.to_owned(), bytes))
}

pub(crate) fn fixture(model: &str) -> OpenModel {
    let files = ["config.json", "model.safetensors"].map(|name| file(model, name));
    let files = ModelFiles::new(files.into());
    pollster::block_on(open(&files, BuildOptions::default())).unwrap()
}

/// What goes in and comes out, as `in.NAME` and `out.NAME`.
fn reference(model: &str) -> Named {
    let source = file(model, "reference.safetensors");
    let header = pollster::block_on(safetensors::read_header(&*source)).unwrap();
    let mut named = Named::new();
    for (name, entry) in &header.tensors {
        let bytes = pollster::block_on(read_tensor(std::slice::from_ref(&source), entry)).unwrap();
        let data_type = entry.element.plain().unwrap();
        let tensor = Tensor::from_bytes(data_type, &entry.shape, &bytes).unwrap();
        named.insert(name.clone(), tensor);
    }
    named
}

fn specialized(graph: &Graph, sizes: &[(&str, usize)]) -> Graph {
    let sizes = sizes.iter().map(|&(name, size)| (name.to_owned(), size));
    graph.specialize(&Bindings::from_iter(sizes)).unwrap()
}

fn agree(name: &str, got: &Tensor, expected: &Tensor, most: f32) {
    assert_eq!(got.shape(), expected.shape(), "{name}");
    let pairs = got.as_f32().unwrap().iter().zip(expected.as_f32().unwrap());
    let off = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off <= most, "{name} is off by {off}");
}

#[test]
fn whispers_encoder_says_what_transformers_does() {
    let model = fixture("whisper");
    let ModelKind::EncoderDecoder(parts) = &model.built.kind else {
        panic!("{:?}", model.built.kind);
    };
    let reference = reference("whisper");
    let features = reference["in.input_features"].clone();
    let batch = features.shape()[0];
    let graph = specialized(&parts.encoder, &[("batch", batch)]);
    let bytes = pollster::block_on(fewbit_onnx::export(&graph, &model.source)).unwrap();
    let inputs = Named::from([("input_features".to_owned(), features)]);
    let outputs = run(&bytes, &inputs);
    let name = "encoder_last_hidden_state";
    agree(
        name,
        &outputs[name],
        &reference[&format!("out.{name}")],
        1e-4,
    );
    // What the decoder's attention reads: a pair a layer, in the states' shape.
    let states: BTreeMap<&str, _> = graph
        .states()
        .map(|(_, name, value)| (name, value))
        .collect();
    assert_eq!(outputs.len(), 1 + states.len());
    for (state, value) in states {
        let (kind, layer) = state.split_once('.').unwrap();
        let part = if kind == "cross_k" { "key" } else { "value" };
        let name = &format!("present.{layer}.encoder.{part}")[..];
        assert_eq!(
            outputs[name].shape(),
            value.fixed_shape().unwrap(),
            "{name}"
        );
        assert!(outputs[name].as_f32().unwrap().iter().any(|&x| x != 0.0));
    }
}

#[test]
fn bert_says_what_transformers_does() {
    let model = fixture("bert");
    let reference = reference("bert");
    let shape = reference["in.input_ids"].shape().to_vec();
    let sizes = [("batch", shape[0]), ("tokens", shape[1])];
    let graph = specialized(&model.built.graph, &sizes);
    let bytes = pollster::block_on(fewbit_onnx::export(&graph, &model.source)).unwrap();
    let onnx = read(&bytes);
    assert_eq!(described(&onnx.input[0]), (7, shape.clone()), "i64 ids");
    let mut inputs = Named::new();
    for input in &onnx.input {
        let name = input.name.clone().unwrap();
        let ids = reference[&format!("in.{name}")].to_f64_vec();
        let ids: Vec<i32> = ids.iter().map(|&id| id as i32).collect();
        inputs.insert(name, Tensor::from_i32(&shape, &ids).unwrap());
    }
    let outputs = run(&bytes, &inputs);
    // Rows without padding are compared, as the others are nothing that anyone reads.
    let mask = inputs["attention_mask"].as_i32().unwrap();
    let expected = &reference["out.last_hidden_state"];
    let hidden = expected.shape()[2];
    let kept = |tensor: &Tensor| {
        let rows = tensor.as_f32().unwrap().chunks(hidden).zip(mask);
        let kept: Vec<f32> = rows
            .filter(|(_, counts)| **counts != 0)
            .flat_map(|(row, _)| row.to_vec())
            .collect();
        assert!(!kept.is_empty());
        Tensor::from_f32(&[kept.len()], &kept).unwrap()
    };
    let got = &outputs["last_hidden_state"];
    assert_eq!(got.data_type(), DataType::F32);
    agree("last_hidden_state", &kept(got), &kept(expected), 1e-4);
}
