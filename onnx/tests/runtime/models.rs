//! Each fixture as files, and what they compute.

use std::path::{Path, PathBuf};

use fewbit_engine::graph::{Graph, Source};
use fewbit_engine::model::ModelKind;
use fewbit_engine::task::checkpoint::OpenModel;
use fewbit_engine::tensor::{DataType, Tensor};

use serde_json::Value;

use crate::files::{export, models, opened, real_gguf};
use crate::reference::{Named, Reference};
use crate::{checker, reimport, run};

/// Computes a file's outputs for inputs by name.
type Computes<'a> = &'a dyn Fn(&Path, &Named) -> Named;

/// A model's files: the encoder's, if it has one, and its own.
struct Exported {
    encoder: Option<PathBuf>,
    model: PathBuf,
}

impl Exported {
    fn new(model: &OpenModel, folder: &Path, beside: bool) -> Exported {
        let encoder = match &model.built.kind {
            ModelKind::EncoderDecoder(parts) => {
                let path = folder.join("encoder_model.onnx");
                export(&parts.encoder, &model.source, &path, beside);
                Some(path)
            }
            _ => None,
        };
        let path = folder.join("model.onnx");
        export(&model.built.graph, &model.source, &path, beside);
        Exported {
            encoder,
            model: path,
        }
    }

    fn paths(&self) -> Vec<PathBuf> {
        self.encoder.iter().chain([&self.model]).cloned().collect()
    }
}

/// Every input of `graph` that is among the reference's, integers as i64, and what a user need not give.
fn given(graph: &Graph, model: &OpenModel, reference: &Reference) -> Named {
    let mut given = Named::new();
    let ids = reference.inputs.get("input_ids");
    let defaults: Vec<(&str, i32)> = match &model.built.kind {
        ModelKind::Feedforward(model) => {
            let defaults = model.defaults.iter();
            defaults
                .map(|(name, fill)| (name.as_ref(), *fill))
                .collect()
        }
        _ => vec![("attention_mask", 1), ("token_type_ids", 0)],
    };
    for &id in &graph.inputs {
        let Source::Input(name) = &graph.value(id).source else {
            continue;
        };
        let default = defaults.iter().find(|(known, _)| known == name);
        let tensor = match (reference.inputs.get(name), default, ids) {
            (Some(tensor), ..) => as_wanted(tensor),
            (None, Some((_, fill)), Some(ids)) => {
                Tensor::from_i64(ids.shape(), &vec![i64::from(*fill); ids.elements()]).unwrap()
            }
            (None, None, Some(ids)) if name == "rows" => all_rows(ids.elements()),
            _ => continue,
        };
        given.insert(name.clone(), tensor);
    }
    given
}

fn as_wanted(tensor: &Tensor) -> Tensor {
    if tensor.data_type() == DataType::F32 {
        return tensor.clone();
    }
    Tensor::from_i64(tensor.shape(), &whole(tensor)).unwrap()
}

fn whole(tensor: &Tensor) -> Vec<i64> {
    let values = tensor.to_f64_vec();
    values.iter().map(|&value| value as i64).collect()
}

fn all_rows(count: usize) -> Tensor {
    let rows: Vec<i64> = (0..count as i64).collect();
    Tensor::from_i64(&[count], &rows).unwrap()
}

/// Holds the outputs that the files compute against the reference's.
fn hold(
    what: &str,
    model: &OpenModel,
    exported: &Exported,
    reference: &Reference,
    computes: Computes<'_>,
) {
    let graph = &model.built.graph;
    match &model.built.kind {
        ModelKind::CausalLm(_) => {
            let logits = decoded(
                graph,
                &reference.inputs["input_ids"],
                &Named::new(),
                exported,
                computes,
            );
            reference.hold(what, "logits", &logits);
        }
        ModelKind::EncoderDecoder(parts) => {
            let encoder = exported.encoder.as_ref().unwrap();
            let inputs = given(&parts.encoder, model, reference);
            let encoded = computes(encoder, &inputs);
            let name = "encoder_last_hidden_state";
            reference.hold(what, name, &encoded[name]);
            let mut source = Named::new();
            for (name, tensor) in encoded {
                if let Some(name) = name.strip_prefix("present.") {
                    source.insert(format!("past_key_values.{name}"), tensor);
                }
            }
            if let Some(mask) = inputs.get("attention_mask") {
                source.insert("encoder_attention_mask".to_owned(), mask.clone());
            }
            let ids = &reference.inputs["decoder_input_ids"];
            let logits = decoded(graph, ids, &source, exported, computes);
            reference.hold(what, "logits", &logits);
        }
        ModelKind::Encoder(_) | ModelKind::Feedforward(_) => {
            let outputs = computes(&exported.model, &given(graph, model, reference));
            for name in reference.outputs.keys() {
                reference.hold(what, name, &outputs[name]);
            }
        }
    }
}

/// The logits after all tokens of `ids [batch, tokens]`, `[batch, tokens, vocabulary]`, in two runs, the second with the cache
/// of the first.
fn decoded(
    graph: &Graph,
    ids: &Tensor,
    source: &Named,
    exported: &Exported,
    computes: Computes<'_>,
) -> Tensor {
    let (batch, tokens) = (ids.shape()[0], ids.shape()[1]);
    let ids = whole(ids);
    let mut cache = Named::new();
    for (_, name, value) in graph.states() {
        let (kind, layer) = name.split_once('.').unwrap();
        let own = if source.is_empty() { "" } else { "decoder." };
        let part = match kind {
            "k" => "key",
            "v" => "value",
            _ => continue,
        };
        let sizes = |axis: usize| value.shape[axis].fixed().unwrap();
        let empty = Tensor::from_f32(&[batch, sizes(1), 0, sizes(3)], &[]).unwrap();
        cache.insert(format!("past_key_values.{layer}.{own}{part}"), empty);
    }
    let first = tokens / 2;
    let mut logits: Vec<Vec<f32>> = vec![Vec::new(); batch];
    let mut vocabulary = 0;
    for range in [0..first, first..tokens] {
        let part: Vec<i64> = ids
            .chunks(tokens)
            .flat_map(|row| row[range.clone()].to_vec())
            .collect();
        let mut inputs = source.clone();
        inputs.extend(cache.clone());
        inputs.insert(
            "input_ids".to_owned(),
            Tensor::from_i64(&[batch, range.len()], &part).unwrap(),
        );
        inputs.insert("rows".to_owned(), all_rows(part.len()));
        let outputs = computes(&exported.model, &inputs);
        for (name, tensor) in &outputs {
            if let Some(name) = name.strip_prefix("present.") {
                assert_eq!(tensor.shape()[2], range.end, "{name}");
                cache.insert(format!("past_key_values.{name}"), tensor.clone());
            }
        }
        vocabulary = outputs["logits"].shape()[1];
        let rows = outputs["logits"]
            .as_f32()
            .unwrap()
            .chunks(range.len() * vocabulary);
        for (row, values) in rows.enumerate() {
            logits[row].extend_from_slice(values);
        }
    }
    Tensor::from_f32(&[batch, tokens, vocabulary], &logits.concat()).unwrap()
}

#[test]
fn onnx_runtime_computes_the_references() {
    let Some(environment) = run::environment("onnx_runtime_computes_the_references") else {
        return;
    };
    let names = models();
    assert!(names.len() >= 10, "{names:?}");
    for name in names {
        let folder = tempfile::tempdir().unwrap();
        let model = opened(&name);
        // Every other one with the weights beside it.
        let beside = name.len() % 2 == 0;
        let exported = Exported::new(&model, folder.path(), beside);
        let reference = Reference::read(&name);
        let computes = |file: &Path, given: &Named| run::run(environment, file, given);
        hold(&name, &model, &exported, &reference, &computes);
        println!("{name}: ONNX Runtime is within the tolerance");
    }
}

/// SmolLM2 out of its GGUF file, its Q4_1 and Q8_0 blocks in f32: ONNX Runtime continues as the reference does, wherever that
/// is no matter of rounding.
#[test]
fn smollm2_goes_on_as_the_reference_does() {
    let what = "smollm2_goes_on_as_the_reference_does";
    let Some(model) = real_gguf("smollm2-135m-instruct") else {
        println!("{what}: skipped: FEWBIT_TEST_MODELS names no folder with smollm2-135m-instruct");
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let exported = Exported::new(&model, folder.path(), false);
    checker::check(what, &exported.paths());
    let Some(environment) = run::environment(what) else {
        return;
    };
    let path =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../host/references/smollm2-135m-instruct.json");
    let prompts: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    let list = |value: &Value| -> Vec<f64> {
        let list = value.as_array().unwrap();
        list.iter().map(|value| value.as_f64().unwrap()).collect()
    };
    let prompt = &prompts["continuations"][0];
    let (before, after) = (list(&prompt["prompt_ids"]), list(&prompt["generated_ids"]));
    let margins = list(&prompt["margins"]);
    let ids: Vec<i32> = before.iter().chain(&after).map(|&id| id as i32).collect();
    let ids = Tensor::from_i32(&[1, ids.len()], &ids).unwrap();
    let computes = |file: &Path, given: &Named| run::run(environment, file, given);
    let none = Named::new();
    let logits = decoded(&model.built.graph, &ids, &none, &exported, &computes);
    let vocabulary = logits.shape()[2];
    let rows: Vec<&[f32]> = logits.as_f32().unwrap().chunks(vocabulary).collect();
    let mut compared = 0;
    for (at, (&expected, &margin)) in after.iter().zip(&margins).enumerate() {
        let row = rows[before.len() - 1 + at];
        let best = (0..vocabulary).max_by(|&a, &b| row[a].total_cmp(&row[b]));
        if margin > 0.05 {
            assert_eq!(best, Some(expected as usize), "token {at}");
            compared += 1;
        }
    }
    assert!(compared > 20, "{compared}");
}

#[test]
fn onnxs_checker_passes_every_file() {
    for name in models() {
        let folder = tempfile::tempdir().unwrap();
        let exported = Exported::new(&opened(&name), folder.path(), name.len() % 2 == 0);
        checker::check(&name, &exported.paths());
    }
}

#[test]
fn importing_an_export_gives_the_references() {
    for name in models() {
        let folder = tempfile::tempdir().unwrap();
        let model = opened(&name);
        let exported = Exported::new(&model, folder.path(), false);
        let reference = Reference::read(&name);
        hold(&name, &model, &exported, &reference, &reimport::run);
    }
}
