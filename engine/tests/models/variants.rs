//! The carried models in other forms of the same checkpoint: half types, shards, another naming, newer configs.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::rc::Rc;

use fewbit_engine::backend::Activations;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::Model;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::forward::Named;
use fewbit_engine::tensor::{DataType, Tensor};
use serde_json::{Map, Value, json};

use crate::devices::{self, Target};
use crate::files;
use crate::references::{Reference, folders};

/// A checkpoint that is changed before it is loaded.
#[derive(Clone)]
struct Variant {
    config: Value,
    tensors: BTreeMap<String, Tensor>,
}

impl Variant {
    fn of(name: &str) -> Variant {
        let folder = files::fixture(name);
        let config = std::fs::read(folder.join("config.json")).unwrap();
        Variant {
            config: serde_json::from_slice(&config).unwrap(),
            tensors: files::tensors(&folder.join("model.safetensors")),
        }
    }

    /// Its floats as `data_type`, then, if they shall be `restored`, as f32 again.
    fn rounded(&self, data_type: DataType, restored: bool) -> Variant {
        let convert = |tensor: &Tensor| {
            if tensor.data_type() != DataType::F32 {
                return tensor.clone();
            }
            let values = tensor.to_f64_vec().into_iter().map(|x| x as f32);
            let halves: Vec<u8> = match data_type {
                DataType::F16 => values
                    .flat_map(|x| half::f16::from_f32(x).to_le_bytes())
                    .collect(),
                _ => values
                    .flat_map(|x| half::bf16::from_f32(x).to_le_bytes())
                    .collect(),
            };
            let halves = Tensor::from_bytes(data_type, tensor.shape(), &halves).unwrap();
            if !restored {
                return halves;
            }
            let values: Vec<f32> = halves.to_f64_vec().iter().map(|&x| x as f32).collect();
            Tensor::from_f32(tensor.shape(), &values).unwrap()
        };
        let tensors = self.tensors.iter();
        Variant {
            config: self.config.clone(),
            tensors: tensors
                .map(|(name, tensor)| (name.clone(), convert(tensor)))
                .collect(),
        }
    }

    /// Its files, the tensors dealt out to so many.
    fn files(&self, shards: usize) -> ModelFiles {
        let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
        let mut push = |name: &str, bytes: Vec<u8>| {
            files.push(Rc::new(MemorySource::new(name, bytes)));
        };
        push("config.json", serde_json::to_vec(&self.config).unwrap());
        if shards == 1 {
            push("model.safetensors", safetensors(self.tensors.iter()));
            return ModelFiles::new(files);
        }
        let file = |number: usize| format!("model-{number}.safetensors");
        let map: Map<String, Value> = self
            .tensors
            .keys()
            .enumerate()
            .map(|(i, name)| (name.clone(), file(i % shards).into()))
            .collect();
        let index = serde_json::to_vec(&json!({ "weight_map": map })).unwrap();
        push("model.safetensors.index.json", index);
        for number in 0..shards {
            let dealt = self.tensors.iter().skip(number).step_by(shards);
            push(&file(number), safetensors(dealt));
        }
        ModelFiles::new(files)
    }

    fn load(&self, target: Target, shards: usize) -> Model {
        let mut go_on = |_| ControlFlow::Continue(());
        let files = self.files(shards);
        let loaded = Model::load(&files, target.device, Default::default(), &mut go_on);
        pollster::block_on(loaded).unwrap_or_else(|error| panic!("{}: {error}", target.name))
    }
}

fn safetensors<'a>(tensors: impl Iterator<Item = (&'a String, &'a Tensor)>) -> Vec<u8> {
    let (mut header, mut data) = (Map::new(), Vec::<u8>::new());
    for (name, tensor) in tensors {
        let begin = data.len();
        data.extend(tensor.bytes());
        let entry = json!({
            "dtype": tensor.data_type().name().to_uppercase(),
            "shape": tensor.shape(),
            "data_offsets": [begin, data.len()],
        });
        header.insert(name.clone(), entry);
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut file = (header.len() as u64).to_le_bytes().to_vec();
    file.extend(header);
    file.extend(data);
    file
}

fn forward(model: &mut Model, reference: &Reference) -> Named {
    let outputs: Vec<String> = reference.outputs.keys().cloned().collect();
    pollster::block_on(model.forward(&reference.inputs, &outputs)).unwrap()
}

/// The first back end, and the last, which is a GPU where there is one.
fn two_targets() -> Vec<Target> {
    let mut all = devices::all(Activations::Float);
    let last = all.pop().unwrap();
    all.truncate(1);
    all.push(last);
    all
}

/// A checkpoint in halves, in shards, computes what one computes that has the rounded numbers in f32.
#[test]
fn halves_and_shards_are_their_numbers() {
    for name in folders() {
        if !files::fixture(&name).join("model.safetensors").is_file() {
            continue;
        }
        let reference = Reference::read(&files::fixture(&name));
        let whole = Variant::of(&name);
        for data_type in [DataType::F16, DataType::Bf16] {
            let mut results = Vec::new();
            for target in two_targets() {
                let what = format!("{name} in {} on {}", data_type.name(), target.name);
                let halves = whole.rounded(data_type, false);
                results.push((what, forward(&mut halves.load(target, 2), &reference)));
            }
            let expected = whole.rounded(data_type, true);
            let target = two_targets().remove(0);
            let expected = forward(&mut expected.load(target, 1), &reference);
            for (what, got) in results {
                for (name, expected) in &expected {
                    let pairs = got[name]
                        .to_f64_vec()
                        .into_iter()
                        .zip(expected.to_f64_vec());
                    for (i, (got, expected)) in pairs.enumerate() {
                        let error = (got - expected).abs();
                        assert!(
                            error <= 1e-3 + 1e-3 * expected.abs(),
                            "{what}: {name}[{i}]: {got}, expected {expected}"
                        );
                    }
                }
            }
        }
    }
}

/// `timm` calls the layers of DETR's backbone otherwise than `transformers` does.
fn timm_name(name: &str) -> String {
    const BACKBONE: &str = "model.backbone.conv_encoder.model.";
    let Some(inner) = name.strip_prefix(BACKBONE) else {
        return name.to_owned();
    };
    let parts: Vec<&str> = inner.split('.').collect();
    let number = |at: usize| parts[at].parse::<usize>().unwrap();
    let renamed = match parts[..] {
        ["embedder", "embedder", "convolution", part] => format!("conv1.{part}"),
        ["embedder", "embedder", "normalization", part] => format!("bn1.{part}"),
        [.., "shortcut", what, part] => format!(
            "layer{}.{}.downsample.{}.{part}",
            number(2) + 1,
            parts[4],
            usize::from(what == "normalization"),
        ),
        [.., what, part] => format!(
            "layer{}.{}.{}{}.{part}",
            number(2) + 1,
            parts[4],
            if what == "convolution" { "conv" } else { "bn" },
            number(6) + 1,
        ),
        _ => panic!("{name}"),
    };
    format!("{BACKBONE}{renamed}")
}

#[test]
fn detr_takes_the_names_of_timm() {
    let reference = Reference::read(&files::fixture("detr"));
    let mut variant = Variant::of("detr");
    variant.tensors = variant
        .tensors
        .into_iter()
        .map(|(name, tensor)| (timm_name(&name), tensor))
        .collect();
    variant.config["use_timm_backbone"] = true.into();
    let first = "model.backbone.conv_encoder.model.layer1.0.conv1.weight";
    assert!(variant.tensors.contains_key(first));
    for target in two_targets() {
        let what = format!("detr of timm on {}", target.name);
        let got = forward(&mut variant.load(target, 1), &reference);
        for (name, tensor) in &got {
            reference.hold(&what, name, tensor);
        }
    }
}

/// Configs since transformers 4.31 name the id that ends a text; before, the largest id did.
#[test]
fn clip_finds_the_end_of_a_text_by_its_id() {
    let mut reference = Reference::read(&files::fixture("clip"));
    let mut variant = Variant::of("clip");
    let last = variant.config["text_config"]["vocab_size"]
        .as_u64()
        .unwrap()
        - 1;
    variant.config["text_config"]["eos_token_id"] = last.into();
    // What follows the first such id changes nothing, be it the same id again.
    let ids = reference.inputs["input_ids"].clone();
    let width = ids.shape()[1];
    let longer: Vec<i64> = ids
        .to_f64_vec()
        .chunks(width)
        .flat_map(|row| {
            let row = row.iter().map(|&id| id as i64);
            row.chain([last as i64, 0]).collect::<Vec<_>>()
        })
        .collect();
    let bytes: Vec<u8> = longer.iter().flat_map(|id| id.to_le_bytes()).collect();
    let shape = [ids.shape()[0], width + 2];
    let ids = Tensor::from_bytes(DataType::I64, &shape, &bytes).unwrap();
    reference.inputs.insert("input_ids".into(), ids);
    for target in two_targets() {
        let what = format!("clip on {}", target.name);
        let got = forward(&mut variant.load(target, 1), &reference);
        for (name, tensor) in &got {
            reference.hold(&what, name, tensor);
        }
    }
}

/// The first BERTs came from TensorFlow, with its names of a norm's vectors.
#[test]
fn bert_takes_the_first_names_of_its_norms() {
    let reference = Reference::read(&files::fixture("bert"));
    let mut variant = Variant::of("bert");
    let renamed = |name: String| {
        let name = name.replace("LayerNorm.weight", "LayerNorm.gamma");
        name.replace("LayerNorm.bias", "LayerNorm.beta")
    };
    variant.tensors = variant
        .tensors
        .into_iter()
        .map(|(name, tensor)| (renamed(name), tensor))
        .collect();
    let gammas = variant.tensors.keys().filter(|k| k.ends_with(".gamma"));
    assert!(gammas.count() > 3);
    for target in two_targets() {
        let what = format!("bert on {}", target.name);
        let got = forward(&mut variant.load(target, 1), &reference);
        for (name, tensor) in &got {
            reference.hold(&what, name, tensor);
        }
    }
}
