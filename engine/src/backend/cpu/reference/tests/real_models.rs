//! Whole models through the reference, against what `transformers` computed: the carried ones and every
//! folder under `FEWBIT_TEST_MODELS` with config.json, model.safetensors, reference.safetensors and
//! reference.json of an architecture there is, as built, and again folded, fused and decomposed; and SmolLM2, where it lies there.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::*;
use crate::format::{Checkpoint, Parsed, gguf, pytorch, safetensors};
use crate::graph::decompose::decompose;
use crate::graph::pass::{fold_constants, fuse_elementwise};
use crate::graph::{Bindings, Graph, Source};
use crate::model::{
    self, BuildOptions, Config, EncoderDecoder, Feedforward, KNOWN, ModelKind, SourceKind,
};
use crate::source::MemorySource;

fn folders(folder: &Path, depth: usize, found: &mut Vec<PathBuf>) {
    if folder.join("reference.json").is_file() {
        found.push(folder.to_owned());
    }
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if depth > 0 && entry.path().is_dir() {
            folders(&entry.path(), depth - 1, found);
        }
    }
}

/// A file's bytes and header.
struct Opened {
    bytes: Vec<u8>,
    checkpoint: Checkpoint,
}

impl Opened {
    fn read(path: &Path) -> Opened {
        // Safetensors, or a PyTorch archive where there are none.
        if !path.is_file() {
            let path = path.with_file_name("pytorch_model.bin");
            let bytes = fs::read(path).unwrap();
            let source = MemorySource::new("pytorch_model.bin", bytes.clone());
            let checkpoint = pollster::block_on(pytorch::read_header(&source)).unwrap();
            return Opened { bytes, checkpoint };
        }
        let bytes = fs::read(path).unwrap();
        match safetensors::parse(&bytes, bytes.len() as u64, "model").unwrap() {
            Parsed::Done(checkpoint) => Opened { bytes, checkpoint },
            Parsed::NeedMore(_) => panic!("the whole file is there"),
        }
    }

    fn view(&self, name: &str) -> View<'_> {
        let entry = self.checkpoint.get(name).unwrap();
        View {
            element: entry.element,
            shape: &entry.shape,
            bytes: &self.bytes[entry.offset as usize..][..entry.bytes as usize],
        }
    }

    fn tensor(&self, name: &str) -> Tensor {
        let view = self.view(name);
        Tensor::from_bytes(view.element.plain().unwrap(), view.shape, view.bytes).unwrap()
    }

    fn integers(&self, name: &str) -> Tensor {
        run(Op::Cast { to: DataType::I32 }, &[&self.tensor(name)])
    }
}

#[test]
fn real_models_compute_what_transformers_does() {
    let carried = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
    let mut found = Vec::new();
    folders(&carried, 1, &mut found);
    assert!(found.len() >= KNOWN.len(), "{found:?}");
    if let Some(root) = std::env::var_os("FEWBIT_TEST_MODELS") {
        folders(Path::new(&root), 3, &mut found);
    }
    for folder in found {
        let config = Config::parse(&fs::read(folder.join("config.json")).unwrap()).unwrap();
        if KNOWN.contains(&config.str("model_type").unwrap()) {
            check(&folder, &config);
        }
    }
}

fn check(folder: &Path, config: &Config) {
    let weights = Opened::read(&folder.join("model.safetensors"));
    let reference = Opened::read(&folder.join("reference.safetensors"));
    let built = model::from_config(config, &weights.checkpoint, &BuildOptions::default()).unwrap();
    let mut states = Vec::new();
    let (given, bindings) = match &built.kind {
        ModelKind::Encoder(_) => encoder_inputs(&reference, &built.graph),
        ModelKind::CausalLm(_) => causal_inputs(&reference, "in.input_ids"),
        ModelKind::Feedforward(model) => feedforward_inputs(&reference, &built.graph, model),
        ModelKind::EncoderDecoder(model) => {
            let (mut given, mut bindings) = causal_inputs(&reference, "in.decoder_input_ids");
            let (source, sizes, mask) = source_inputs(&reference, model);
            let encoder = &model.encoder;
            let left = hold(folder, encoder, &sizes, &weights, &source, &[], &reference);
            states.extend(left);
            assert!(!states.is_empty());
            if let Some(mask) = mask {
                bindings.insert("source".into(), mask.shape()[1]);
                given.push(("encoder_attention_mask".into(), mask));
            }
            (given, bindings)
        }
    };
    let graph = &built.graph;
    hold(
        folder, graph, &bindings, &weights, &given, &states, &reference,
    );
}

/// The same GPT-2 as llama.cpp's converter writes it: other names, and matrices with the outputs first.
#[test]
fn gpt2_out_of_a_gguf_is_the_same() {
    use crate::format::gguf::write::{Writer, string};

    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference/gpt2");
    let original = Opened::read(&folder.join("model.safetensors"));
    let reference = Opened::read(&folder.join("reference.safetensors"));
    let mut file = Writer::new();
    file.pair("general.architecture", 8, &string("gpt2"));
    for (key, size) in [
        ("embedding_length", 48u32),
        ("feed_forward_length", 192),
        ("block_count", 3),
        ("attention.head_count", 4),
        ("context_length", 96),
    ] {
        file.pair(&format!("gpt2.{key}"), 4, &size.to_le_bytes());
    }
    let epsilon = 1e-5f32.to_le_bytes();
    file.pair("gpt2.attention.layer_norm_epsilon", 6, &epsilon);
    for name in original.checkpoint.tensors.keys() {
        let mut tensor = original.tensor(name);
        let inner = name.strip_prefix("transformer.").unwrap();
        let renamed = [
            ("wte", "token_embd"),
            ("wpe", "position_embd"),
            ("ln_f", "output_norm"),
            ("attn.c_attn", "attn_qkv"),
            ("attn.c_proj", "attn_output"),
            ("mlp.c_fc", "ffn_up"),
            ("mlp.c_proj", "ffn_down"),
            ("ln_1", "attn_norm"),
            ("ln_2", "ffn_norm"),
            ("h.", "blk."),
        ];
        let turned = inner.starts_with("h.") && tensor.shape().len() == 2;
        let inner = renamed
            .iter()
            .fold(inner.to_owned(), |name, (from, to)| name.replace(from, to));
        if turned {
            let permutation = vec![1, 0];
            tensor = run(Op::Transpose { permutation }, &[&tensor]);
        }
        let ne: Vec<u64> = tensor.shape().iter().rev().map(|&n| n as u64).collect();
        file.tensor(&inner, &ne, 0, tensor.bytes());
    }
    let bytes = file.file();
    let parsed = gguf::parse(&bytes, bytes.len() as u64, "gpt2.gguf").unwrap();
    let Parsed::Done(header) = parsed else {
        panic!("the whole file is there");
    };
    let checkpoint = header.checkpoint;
    let options = BuildOptions::default();
    let built = model::from_gguf(&checkpoint.metadata, &checkpoint, &options).unwrap();
    let weights = Opened { bytes, checkpoint };
    let (given, sizes) = causal_inputs(&reference, "in.input_ids");
    hold(
        &folder,
        &built.graph,
        &sizes,
        &weights,
        &given,
        &[],
        &reference,
    );
}

/// What an encoder takes, its symbols, and the mask that its decoder then needs.
fn source_inputs(
    reference: &Opened,
    model: &EncoderDecoder,
) -> (Vec<(String, Tensor)>, Bindings, Option<Tensor>) {
    let mut sizes = Bindings::new();
    if let SourceKind::Features { .. } = model.source {
        let features = reference.tensor("in.input_features");
        sizes.insert("batch".into(), features.shape()[0]);
        return (vec![("input_features".into(), features)], sizes, None);
    }
    let ids = reference.integers("in.input_ids");
    let mask = reference.integers("in.attention_mask");
    // The states have more room than the source takes.
    let [batch, tokens] = [ids.shape()[0], ids.shape()[1]];
    let room = tokens + 2;
    let mut wide = vec![0; batch * room];
    for (row, mask) in mask.as_i32().unwrap().chunks(tokens).enumerate() {
        wide[row * room..][..tokens].copy_from_slice(mask);
    }
    for (name, size) in [("batch", batch), ("tokens", tokens), ("source", room)] {
        sizes.insert(name.into(), size);
    }
    let given = vec![("input_ids".into(), ids), ("attention_mask".into(), mask)];
    (given, sizes, Some(i(&[batch, room], &wide)))
}

/// Holds a graph's outputs against the reference, as it was built and as passes change it. Gives the states
/// that it leaves.
fn hold(
    folder: &Path,
    graph: &Graph,
    bindings: &Bindings,
    weights: &Opened,
    given: &[(String, Tensor)],
    states: &[(String, Tensor)],
    reference: &Opened,
) -> BTreeMap<String, Tensor> {
    let graph = graph.specialize(bindings).unwrap();
    let folded = fold_constants(&graph).unwrap();
    let fused = fuse_elementwise(&folded).unwrap();
    let parts = decompose(&graph, |_, _| false).unwrap();
    let mut left = BTreeMap::new();
    for (kind, graph) in [
        ("decomposed", &parts),
        ("built", &graph),
        ("folded and fused", &fused),
    ] {
        let evaluated = evaluated(graph, weights, given, states);
        left = evaluated.states;
        let mut outputs = evaluated.outputs;
        // A graph may give more than the reference has.
        outputs.retain(|name, _| reference.checkpoint.contains(&format!("out.{name}")));
        assert!(!outputs.is_empty(), "{}", folder.display());
        for (name, got) in outputs {
            let expected = reference.tensor(&format!("out.{name}"));
            let error = worst(&got, &expected, reference);
            println!(
                "{} {kind} {name}: largest error {error:e}",
                folder.display()
            );
            // The references' own tolerance is 2e-4; arithmetic in f64 has no business being near it.
            assert!(
                error < 5e-5,
                "{}: {kind}: {name}: {error}",
                folder.display()
            );
        }
    }
    left
}

type Inputs = (Vec<(String, Tensor)>, Bindings);

fn encoder_inputs(reference: &Opened, graph: &Graph) -> Inputs {
    let names = ["input_ids", "attention_mask", "token_type_ids"];
    let given = names.map(|name| {
        let there = format!("in.{name}");
        // Models without kinds of tokens are given none.
        let tensor = match reference.checkpoint.contains(&there) {
            true => reference.integers(&there),
            false => {
                let ids = reference.integers("in.input_ids");
                i(ids.shape(), &vec![0; ids.elements()])
            }
        };
        (name.to_owned(), tensor)
    });
    let [batch, tokens] = [0, 1].map(|axis| given[0].1.shape()[axis]);
    // A head for masked tokens is asked for every position.
    let all = batch * tokens;
    let rows: Vec<i32> = (0..all as i32).collect();
    let mut given = given.to_vec();
    given.push(("rows".to_owned(), i(&[all], &rows)));
    let sizes = [
        ("batch", batch),
        ("tokens", tokens),
        ("rows", all),
        ("positions", all),
    ];
    let symbols = graph.symbols();
    let known = sizes
        .into_iter()
        .filter(|(name, _)| symbols.contains(*name));
    let bindings = known.map(|(name, size)| (name.to_owned(), size)).collect();
    (given, bindings)
}

fn causal_inputs(reference: &Opened, ids: &str) -> Inputs {
    let ids = reference.integers(ids);
    let [batch, tokens] = [ids.shape()[0], ids.shape()[1]];
    let rows: Vec<i32> = (0..(batch * tokens) as i32).collect();
    let bindings = [
        ("batch", batch),
        ("tokens", tokens),
        ("rows", rows.len()),
        ("positions", rows.len()),
        ("capacity", tokens + 3),
    ];
    let given = vec![
        ("input_ids".to_owned(), ids),
        ("position".to_owned(), i(&[batch], &vec![0; batch])),
        ("rows".to_owned(), i(&[rows.len()], &rows)),
    ];
    (given, bindings.map(|(name, n)| (name.to_owned(), n)).into())
}

/// Inputs by their names in the graph; those that have a default may be missing.
fn feedforward_inputs(reference: &Opened, graph: &Graph, model: &Feedforward) -> Inputs {
    let inputs = || {
        graph
            .inputs
            .iter()
            .map(|&id| match &graph.value(id).source {
                Source::Input(name) => (name, graph.value(id)),
                other => panic!("{other:?}"),
            })
    };
    let (mut given, mut bindings) = (Vec::new(), Bindings::new());
    for (name, value) in inputs() {
        let name_there = format!("in.{name}");
        if !reference.checkpoint.contains(&name_there) {
            continue;
        }
        let tensor = match value.element == ElementType::F32 {
            true => reference.tensor(&name_there),
            false => reference.integers(&name_there),
        };
        for (dim, &size) in value.shape.iter().zip(tensor.shape()) {
            if let Some(symbol) = dim.as_symbol() {
                bindings.insert(symbol.to_owned(), size);
            }
        }
        given.push((name.clone(), tensor));
    }
    for (name, value) in inputs() {
        if given.iter().any(|(known, _)| known == name) {
            continue;
        }
        let default = model.defaults.iter().find(|(known, _)| known == name);
        let (_, fill) = default.unwrap_or_else(|| panic!("no in.{name}"));
        let shape = value.shape.iter().map(|dim| dim.bind(&bindings).unwrap());
        let shape: Vec<usize> = shape.map(|dim| dim.fixed().unwrap()).collect();
        let tensor = i(&shape, &vec![*fill; shape.iter().product()]);
        given.push((name.clone(), tensor));
    }
    (given, bindings)
}

fn evaluated(
    graph: &Graph,
    weights: &Opened,
    inputs: &[(String, Tensor)],
    states: &[(String, Tensor)],
) -> Evaluated {
    let zeros: Vec<(String, Tensor)> = graph
        .states()
        .map(|(_, name, value)| {
            let shape = value.fixed_shape().unwrap();
            let zeros = Tensor::zeros(value.element.plain().unwrap(), &shape).unwrap();
            (name.to_owned(), zeros)
        })
        .collect();
    let mut given: BTreeMap<String, View<'_>> = BTreeMap::new();
    // The graph may group a weight's elements in another shape than the file.
    let weights: Vec<(&str, View<'_>, Vec<usize>)> = graph
        .weights()
        .map(|(_, name, value)| (name, weights.view(name), value.fixed_shape().unwrap()))
        .collect();
    for (name, view, shape) in &weights {
        assert_eq!(
            view.shape.iter().product::<usize>(),
            shape.iter().product::<usize>()
        );
        given.insert((*name).to_owned(), View { shape, ..*view });
    }
    given.extend(inputs.iter().map(|(name, t)| (name.clone(), t.into())));
    given.extend(zeros.iter().map(|(name, t)| (name.clone(), t.into())));
    given.extend(states.iter().map(|(name, t)| (name.clone(), t.into())));
    evaluate_graph(graph, &given).unwrap()
}

/// The largest |got − expected| / (1 + |expected|); of an output a position, only where the mask lets through.
fn worst(got: &Tensor, expected: &Tensor, reference: &Opened) -> f64 {
    assert_eq!(got.shape().iter().product::<usize>(), expected.elements());
    let mask = match reference.checkpoint.contains("in.attention_mask") {
        true => reference.tensor("in.attention_mask"),
        false => i(&[], &[1]),
    };
    // The pooled output has no positions.
    let mask = match expected.shape().starts_with(mask.shape()) {
        true => mask.to_f64_vec(),
        false => vec![1.0],
    };
    let run = expected.elements() / mask.len();
    let pairs = got.to_f64_vec().into_iter().zip(expected.to_f64_vec());
    pairs
        .enumerate()
        .filter(|(n, _)| mask[n / run] != 0.0)
        .map(|(_, (got, expected))| (got - expected).abs() / (1.0 + expected.abs()))
        .fold(0.0, |most, error| {
            if error > most || error.is_nan() {
                error
            } else {
                most
            }
        })
}

/// SmolLM2-135M-Instruct in q4_1, if it is in the folder: computed in floating point, it goes on with
/// token 7042 (" Paris") after "The capital of France is".
#[test]
fn smollm2_names_the_capital() {
    let Some(root) = std::env::var_os("FEWBIT_TEST_MODELS") else {
        println!("skipped: FEWBIT_TEST_MODELS names no folder of models");
        return;
    };
    let Some(file) = find(Path::new(&root), "SmolLM2-135M-Instruct.Q4_1.gguf", 3) else {
        println!("skipped: no SmolLM2-135M-Instruct.Q4_1.gguf under {root:?}");
        return;
    };
    let bytes = fs::read(&file).unwrap();
    let Parsed::Done(gguf) = gguf::parse(&bytes, bytes.len() as u64, "smollm2").unwrap() else {
        panic!("the whole file is there");
    };
    let checkpoint = gguf.checkpoint;
    let built =
        model::from_gguf(&checkpoint.metadata, &checkpoint, &BuildOptions::default()).unwrap();
    let weights = Opened { bytes, checkpoint };
    let prompt = [504, 3575, 282, 4649, 314];
    let bindings = [
        ("batch", 1),
        ("tokens", 5),
        ("rows", 1),
        ("positions", 5),
        ("capacity", 8),
    ];
    let bindings = bindings.map(|(name, size)| (name.to_owned(), size)).into();
    let graph = built.graph.specialize(&bindings).unwrap();
    let inputs = [
        ("input_ids", i(&[1, 5], &prompt)),
        ("position", i(&[1], &[0])),
        ("rows", i(&[1], &[4])),
    ]
    .map(|(name, tensor)| (name.to_owned(), tensor));
    let logits = evaluated(&graph, &weights, &inputs, &[]).outputs["logits"].to_f64_vec();
    let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
    assert_eq!(best, Some(7042));
}

fn find(folder: &Path, name: &str, depth: usize) -> Option<PathBuf> {
    let here = folder.join(name);
    if here.is_file() {
        return Some(here);
    }
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let mut folders = entries
        .map(|entry| entry.path())
        .filter(|path| path.is_dir());
    (depth > 0).then(|| folders.find_map(|path| find(&path, name, depth - 1)))?
}
