//! Every carried reference on every back end: all of its outputs, and the ids that greedy generation gives.

use std::collections::BTreeMap;
use std::path::Path;

use fewbit_engine::backend::Activations;
use fewbit_engine::task::Model;
use fewbit_engine::task::forward::Named;
use fewbit_engine::task::generate::{Event, GenerateOptions};
use fewbit_engine::task::sampling::SamplingParams;
use fewbit_engine::tensor::Tensor;
use serde_json::Value;

use crate::parity::load;
use crate::{devices, files};

/// What a folder's reference.json says, and its tensors.
pub(crate) struct Reference {
    atol: f64,
    rtol: f64,
    pub(crate) inputs: Named,
    pub(crate) outputs: Named,
    /// Of an output, the input that masks it and the value with which it counts.
    masks: BTreeMap<String, (String, f64)>,
    generated: Vec<u32>,
}

impl Reference {
    pub(crate) fn read(folder: &Path) -> Reference {
        let json = std::fs::read(folder.join("reference.json")).unwrap();
        let json: Value = serde_json::from_slice(&json).unwrap();
        let list = |key: &str| json[key].as_array().cloned().unwrap_or_default();
        let mut before: Vec<String> = Vec::new();
        before.extend(list("preprocessor_inputs").iter().map(text));
        let (mut inputs, mut outputs) = (Named::new(), Named::new());
        for (name, tensor) in files::reference(folder) {
            match name.split_once('.') {
                Some(("in", name)) if before.iter().all(|b| b != name) => {
                    inputs.insert(name.to_owned(), tensor);
                }
                // Belongs to the generated ids.
                Some(("out", name)) if name != "logits_full" => {
                    outputs.insert(name.to_owned(), tensor);
                }
                _ => {}
            }
        }
        let rules = json["compare"].as_object().cloned().unwrap_or_default();
        let masks = rules.into_iter().map(|(name, rule)| {
            let rule = text(&rule);
            let words: Vec<&str> = rule.split(' ').collect();
            let ["where", mask, "is", value] = words[..] else {
                panic!("{rule}");
            };
            let mask = mask.strip_prefix("in.").unwrap().to_owned();
            (name, (mask, value.parse().unwrap()))
        });
        Reference {
            atol: json["atol"].as_f64().unwrap(),
            rtol: json["rtol"].as_f64().unwrap(),
            inputs,
            outputs,
            masks: masks.collect(),
            generated: list("generated_ids")
                .iter()
                .map(|id| id.as_u64().unwrap() as u32)
                .collect(),
        }
    }

    pub(crate) fn hold(&self, what: &str, name: &str, got: &Tensor) {
        let expected = &self.outputs[name];
        assert_eq!(got.shape(), expected.shape(), "{what}: {name}");
        let mask = self.masks.get(name).map(|(mask, value)| {
            let flags = self.inputs[mask].to_f64_vec();
            let each = expected.elements() / flags.len();
            (flags, each, *value)
        });
        let pairs = got.to_f64_vec().into_iter().zip(expected.to_f64_vec());
        let mut compared = 0;
        for (i, (got, expected)) in pairs.enumerate() {
            let counts = mask
                .as_ref()
                .is_none_or(|(flags, each, value)| flags[i / each] == *value);
            if !counts {
                continue;
            }
            compared += 1;
            let error = (got - expected).abs();
            assert!(
                error <= self.atol + self.rtol * expected.abs(),
                "{what}: {name}[{i}]: {got}, expected {expected}"
            );
        }
        assert!(compared > 0, "{what}: {name}");
    }

    /// The encoder's inputs, one batch row of each.
    fn source(&self) -> Named {
        let inputs = self.inputs.iter();
        let inputs = inputs.filter(|(name, _)| *name != "decoder_input_ids");
        inputs
            .map(|(name, tensor)| (name.clone(), first_row(tensor)))
            .collect()
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

fn first_row(tensor: &Tensor) -> Tensor {
    let mut shape = tensor.shape().to_vec();
    let bytes = tensor.bytes().len() / shape[0];
    shape[0] = 1;
    Tensor::from_bytes(tensor.data_type(), &shape, &tensor.bytes()[..bytes]).unwrap()
}

pub(crate) fn folders() -> Vec<String> {
    let root = files::fixture("");
    let entries = std::fs::read_dir(root).unwrap().map(Result::unwrap);
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.collect();
    names.sort();
    names
}

#[test]
fn outputs_are_the_references() {
    let names = folders();
    assert!(names.len() >= 3, "{names:?}");
    for name in names {
        let reference = Reference::read(&files::fixture(&name));
        let outputs: Vec<String> = reference.outputs.keys().cloned().collect();
        for target in devices::all(Activations::Float) {
            let what = format!("{name} on {}", target.name);
            let mut model = load(target, &name);
            let forward = model.forward(&reference.inputs, &outputs);
            let got = pollster::block_on(forward).unwrap_or_else(|e| panic!("{what}: {e}"));
            for name in &outputs {
                reference.hold(&what, name, &got[name]);
            }
        }
    }
}

fn greedy(max_tokens: usize) -> GenerateOptions {
    GenerateOptions {
        max_tokens,
        sampling: SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        },
        ignore_eos: true,
        ..GenerateOptions::default()
    }
}

/// What is generated after a source, the device being lost before the tokens of these numbers.
fn after_source(model: &mut Model, reference: &Reference, lost: &[usize]) -> Vec<u32> {
    let (first, rest) = reference.generated.split_first().unwrap();
    let options = greedy(rest.len());
    let source = reference.source();
    let mut generation = model
        .generate_from(&source, vec![*first], &options)
        .unwrap();
    let mut tokens = 0;
    pollster::block_on(async {
        loop {
            match model.step(&mut generation).await.unwrap() {
                Event::Finished { .. } => break,
                Event::Token { .. } => tokens += 1,
                Event::Prefill { .. } => continue,
            }
            if lost.contains(&tokens) {
                assert!(model.lose_device());
            }
        }
    });
    generation.ids().to_vec()
}

#[test]
fn encoder_decoders_generate_the_references_ids() {
    for name in ["t5", "t5-v1_1", "whisper"] {
        let reference = Reference::read(&files::fixture(name));
        for target in devices::all(Activations::Float) {
            let what = format!("{name} on {}", target.name);
            let mut model = load(target, name);
            let expected = &reference.generated[1..];
            assert_eq!(
                after_source(&mut model, &reference, &[]),
                expected,
                "{what}"
            );
            // The same source anew, over states that hold something.
            assert_eq!(
                after_source(&mut model, &reference, &[]),
                expected,
                "{what}"
            );
        }
    }
}

#[test]
fn generations_over_two_sources_do_not_meet() {
    let reference = Reference::read(&files::fixture("t5"));
    let target = devices::all(Activations::Float).remove(0);
    let mut model = load(target, "t5");
    let ids: Vec<u32> = reference.source()["input_ids"]
        .to_f64_vec()
        .into_iter()
        .map(|id| id as u32)
        .collect();
    let options = greedy(reference.generated.len() - 1);
    let (one, other) = (ids.clone(), ids[..5].to_vec());
    let mut first = model.generate(one, &options).unwrap();
    let mut second = model.generate(other.clone(), &options).unwrap();
    pollster::block_on(async {
        // Token by token in turn: each time the source is read anew.
        let mut going = vec![&mut first, &mut second];
        while !going.is_empty() {
            let mut still = Vec::new();
            for generation in going {
                let event = loop {
                    match model.step(generation).await.unwrap() {
                        Event::Prefill { .. } => {}
                        event => break event,
                    }
                };
                if !matches!(event, Event::Finished { .. }) {
                    still.push(generation);
                }
            }
            going = still;
        }
        assert_eq!(first.ids(), &reference.generated[1..]);
        let mut alone = model.generate(other, &options).unwrap();
        while !matches!(
            model.step(&mut alone).await.unwrap(),
            Event::Finished { .. }
        ) {}
        assert_eq!(second.ids(), alone.ids());
    });
}

#[test]
#[cfg(feature = "gpu")]
fn a_lost_device_reads_the_source_again() {
    let reference = Reference::read(&files::fixture("t5"));
    for target in devices::gpu(fewbit_engine::backend::NumericPolicy::default()) {
        let name = target.name.clone();
        let mut model = load(target, "t5");
        let ids = after_source(&mut model, &reference, &[3, 9]);
        assert_eq!(ids, reference.generated[1..], "{name}");
        assert_eq!(model.session().recoveries(), 2, "{name}");
    }
}
