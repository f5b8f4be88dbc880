//! Outputs of the reference checkpoints within the tolerance that comes with them.

use std::ops::ControlFlow;

use fewbit_engine::backend::Activations;
use fewbit_engine::task::Model;
use fewbit_engine::tensor::Tensor;

use crate::devices::{self, Target};
use crate::files;

const ATOL: f64 = 2e-4;
const RTOL: f64 = 1e-3;

pub(crate) fn load(target: Target, name: &str) -> Model {
    let files = files::folder(&files::fixture(name));
    let mut go_on = |_| ControlFlow::Continue(());
    pollster::block_on(Model::load(
        &files,
        target.device,
        Default::default(),
        &mut go_on,
    ))
    .unwrap_or_else(|error| panic!("{name} on {}: {error}", target.name))
}

/// Compares where `keep` says so; the largest error is printed with a failure.
fn assert_close(what: &str, got: &Tensor, expected: &Tensor, keep: impl Fn(usize) -> bool) {
    assert_eq!(got.shape(), expected.shape(), "{what}");
    let pairs = got.to_f64_vec().into_iter().zip(expected.to_f64_vec());
    for (i, (got, expected)) in pairs.enumerate().filter(|(i, _)| keep(*i)) {
        let error = (got - expected).abs();
        assert!(
            error <= ATOL + RTOL * expected.abs(),
            "{what}[{i}]: {got}, expected {expected}"
        );
    }
}

#[test]
fn bert_agrees_where_the_mask_is_one() {
    let reference = files::reference(&files::fixture("bert"));
    let mask = reference["in.attention_mask"].to_f64_vec();
    for target in devices::all(Activations::Float) {
        let name = target.name.clone();
        let mut model = load(target, "bert");
        let inputs = ["input_ids", "attention_mask", "token_type_ids"]
            .map(|input| (input.to_owned(), reference[&format!("in.{input}")].clone()));
        let outputs = pollster::block_on(model.forward(&inputs.into(), &[])).unwrap();
        let hidden = reference["out.last_hidden_state"].shape()[2];
        let masked = |i: usize| mask[i / hidden] == 1.0;
        let expected = &reference["out.last_hidden_state"];
        assert_close(&name, &outputs["last_hidden_state"], expected, masked);
        assert_close(
            &name,
            &outputs["pooler_output"],
            &reference["out.pooler_output"],
            |_| true,
        );
    }
}

#[test]
fn llama_and_qwen2_agree_token_by_token() {
    for architecture in ["llama", "qwen2"] {
        let reference = files::reference(&files::fixture(architecture));
        for target in devices::all(Activations::Float) {
            let name = format!("{architecture} on {}", target.name);
            let mut model = load(target, architecture);
            let inputs = [("input_ids".to_owned(), reference["in.input_ids"].clone())];
            let outputs = pollster::block_on(model.forward(&inputs.into(), &[])).unwrap();
            assert_close(&name, &outputs["logits"], &reference["out.logits"], |_| {
                true
            });
        }
    }
}

/// One tower of a model with two runs by itself, over as many texts or images as are given.
#[test]
fn a_tower_runs_without_the_other() {
    let reference = files::reference(&files::fixture("clip"));
    for target in devices::all(Activations::Float) {
        let name = target.name.clone();
        let mut model = load(target, "clip");
        for (input, output) in [
            ("input_ids", "text_embeds"),
            ("pixel_values", "image_embeds"),
        ] {
            let given = reference[&format!("in.{input}")].clone();
            let inputs = [(input.to_owned(), given)].into();
            let outputs = pollster::block_on(model.forward(&inputs, &[output.to_owned()])).unwrap();
            let expected = &reference[&format!("out.{output}")];
            assert_close(&name, &outputs[output], expected, |_| true);
        }
    }
}
