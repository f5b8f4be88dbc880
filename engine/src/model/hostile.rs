//! Configs and metadata that lie: every key with every extreme value ends in a graph or a typed error.

use std::path::Path;

use serde_json::{Value, json};

use super::*;
use crate::format::gguf::write::{Writer, array, string};
use crate::format::{Checkpoint, Parsed, TensorEntry, gguf, safetensors};
use crate::graph::Bindings;
use crate::graph::decompose::decompose;
use crate::graph::pass::fold_constants;
use crate::tensor::{BlockFormat, DataType, ElementType};

/// What a builder makes of a lie is good for the steps that follow, or is an error there.
fn go_on(built: Result<BuiltModel, ModelError>) {
    let Ok(built) = built else { return };
    if let ModelKind::EncoderDecoder(model) = &built.kind {
        specialize_and_on(&model.encoder);
    }
    specialize_and_on(&built.graph);
}

fn specialize_and_on(graph: &Graph) {
    let sizes = [
        ("batch", 1),
        ("tokens", 2),
        ("rows", 2),
        ("positions", 2),
        ("capacity", 4),
        ("source", 3),
        ("samples", 5000),
        ("sounds", 1),
        ("frames", 40),
        ("texts", 2),
        ("images", 2),
        ("height", 70),
        ("width", 33),
    ];
    let symbols = graph.symbols();
    let bindings: Bindings = sizes
        .into_iter()
        .filter(|(name, _)| symbols.contains(*name))
        .map(|(name, size)| (name.to_owned(), size))
        .collect();
    if let Ok(graph) = graph.specialize(&bindings) {
        let _ = fold_constants(&graph);
        let _ = decompose(&graph, |_, _| false);
    }
}

fn extremes() -> Vec<Value> {
    vec![
        json!(null),
        json!(0),
        json!(1),
        json!(3),
        json!(-1),
        json!(0.5),
        json!(1e300),
        json!(1u64 << 31),
        json!(1u64 << 32),
        json!(u64::MAX),
        json!("yarn"),
        json!("x".repeat(100_000)),
        json!([]),
        json!([u64::MAX, -1]),
        json!({}),
        json!({"rope_type": "llama3", "factor": 0, "low_freq_factor": 1, "high_freq_factor": 1,
            "original_max_position_embeddings": -1}),
        json!([16, 16]),
        json!([1, 2, 3, 4]),
        json!({"rope_type": "linear", "factor": 0.0, "rope_theta": 0}),
        json!(true),
    ]
}

#[test]
fn every_config_key_may_lie() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
    for architecture in KNOWN {
        let folder = fixtures.join(architecture);
        let file = std::fs::read(folder.join("model.safetensors")).unwrap();
        let Parsed::Done(checkpoint) =
            safetensors::parse(&file, file.len() as u64, "model.safetensors").unwrap()
        else {
            panic!("the whole file is there");
        };
        let config = std::fs::read(folder.join("config.json")).unwrap();
        let Value::Object(true_config) = serde_json::from_slice(&config).unwrap() else {
            panic!("an object");
        };
        let build = |config: &serde_json::Map<String, Value>| {
            let json = serde_json::to_vec(config).unwrap();
            from_config(
                &Config::parse(&json).unwrap(),
                &checkpoint,
                &BuildOptions::default(),
            )
        };
        build(&true_config).unwrap();
        let mut keys: Vec<&str> = true_config.keys().map(String::as_str).collect();
        keys.extend([
            "head_dim",
            "rope_scaling",
            "rope_parameters",
            "sliding_window",
        ]);
        for key in keys {
            let mut config = true_config.clone();
            for lie in extremes() {
                config.insert(key.to_owned(), lie);
                let built = build(&config);
                if let Err(error) = &built {
                    assert!(error.to_string().len() < 1000, "{key}");
                }
                go_on(built);
            }
            config.remove(key);
            go_on(build(&config));
        }
        for (object, inner) in objects(&true_config) {
            let mut config = true_config.clone();
            for key in inner.keys() {
                let mut changed = inner.clone();
                for lie in extremes() {
                    changed.insert(key.clone(), lie);
                    config.insert(object.clone(), Value::Object(changed.clone()));
                    go_on(build(&config));
                }
                changed.remove(key);
                config.insert(object.clone(), Value::Object(changed));
                go_on(build(&config));
            }
        }
    }
}

/// A carried checkpoint's header and config.
fn carried(architecture: &str) -> (Checkpoint, Config) {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
    let folder = fixtures.join(architecture);
    let file = std::fs::read(folder.join("model.safetensors")).unwrap();
    let parsed = safetensors::parse(&file, file.len() as u64, "model.safetensors").unwrap();
    let Parsed::Done(checkpoint) = parsed else {
        panic!("the whole file is there");
    };
    let config = std::fs::read(folder.join("config.json")).unwrap();
    (checkpoint, Config::parse(&config).unwrap())
}

/// Every tensor missing, of another shape, rank or type, and one too many: what is wrong is named.
#[test]
fn every_tensor_may_lie() {
    for architecture in KNOWN {
        let (checkpoint, config) = carried(architecture);
        let build = |checkpoint: &Checkpoint| {
            let built = from_config(&config, checkpoint, &BuildOptions::default());
            if let Err(error) = &built {
                assert!(error.to_string().len() < 1000, "{architecture}");
            }
            built
        };
        let nodes = build(&checkpoint).unwrap().graph.nodes.len();
        let mut more = checkpoint.clone();
        let mut extra = checkpoint.tensors.values().next().unwrap().clone();
        extra.name = "of.another.model".into();
        more.tensors.insert(extra.name.clone(), extra);
        assert_eq!(build(&more).unwrap().graph.nodes.len(), nodes);
        let mut named = 0;
        for (name, entry) in &checkpoint.tensors {
            let mut without = checkpoint.clone();
            without.tensors.remove(name);
            match build(&without) {
                Err(ModelError::MissingTensor { name: missing, .. }) => {
                    named += usize::from(missing == *name);
                }
                // Biases, a head of its own and poolers may be missing.
                other => go_on(other),
            }
            let lie = |change: &dyn Fn(&mut TensorEntry)| {
                let mut lying = checkpoint.clone();
                let mut changed = entry.clone();
                change(&mut changed);
                lying.tensors.insert(name.clone(), changed);
                match build(&lying) {
                    Err(ModelError::TensorShape { name: wrong, .. }) => {
                        assert_eq!(wrong, *name, "{architecture}");
                    }
                    // A size that only the checkpoint knows, or a tensor that is not asked for.
                    other => go_on(other),
                }
            };
            lie(&|entry| entry.shape.push(1));
            lie(&|entry| entry.shape.iter_mut().for_each(|size| *size += 1));
            lie(&|entry| entry.shape.iter_mut().for_each(|size| *size = 0));
            lie(&|entry| entry.shape.iter_mut().for_each(|size| *size = 1 << 31));
            lie(&|entry| entry.shape.reverse());
            lie(&|entry| entry.shape.clear());
            lie(&|entry| entry.element = ElementType::Plain(DataType::I32));
            lie(&|entry| entry.element = ElementType::Plain(DataType::F64));
            lie(&|entry| entry.element = ElementType::Block(BlockFormat::Q4_0));
        }
        // Most of a model's tensors must be there.
        assert!(
            2 * named > checkpoint.tensors.len(),
            "{architecture}: {named}"
        );
    }
}

/// Sizes of the config that are one off contradict the weights, and are told by a tensor or a field.
#[test]
fn a_config_of_another_size_is_refused() {
    for (architecture, keys) in [
        (
            "bert",
            &["hidden_size", "vocab_size", "intermediate_size"][..],
        ),
        ("clip", &["projection_dim"]),
        ("clap", &["projection_dim"]),
        (
            "deit",
            &["hidden_size", "intermediate_size", "num_hidden_layers"],
        ),
        (
            "detr",
            &[
                "d_model",
                "num_queries",
                "encoder_ffn_dim",
                "decoder_layers",
            ],
        ),
        ("distilbert", &["dim", "hidden_dim", "n_layers"]),
        (
            "gpt2",
            &[
                "n_embd",
                "n_layer",
                "n_positions",
                "n_inner",
                "vocab_size",
                "n_head",
            ],
        ),
        ("llama", &["hidden_size", "intermediate_size", "vocab_size"]),
        ("qwen2", &["hidden_size", "num_hidden_layers", "vocab_size"]),
        (
            "roberta",
            &["hidden_size", "intermediate_size", "vocab_size"],
        ),
        ("t5", &["d_model", "d_ff", "num_layers", "vocab_size"]),
        (
            "vit",
            &["hidden_size", "intermediate_size", "num_hidden_layers"],
        ),
        (
            "wav2vec2",
            &["hidden_size", "intermediate_size", "vocab_size"],
        ),
        (
            "whisper",
            &["d_model", "encoder_layers", "vocab_size", "num_mel_bins"],
        ),
    ] {
        let (checkpoint, _) = carried(architecture);
        let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/reference");
        let json = std::fs::read(fixtures.join(architecture).join("config.json")).unwrap();
        let config: Value = serde_json::from_slice(&json).unwrap();
        for key in keys {
            let mut changed = config.clone();
            changed[*key] = (config[*key].as_u64().unwrap_or(190) + 1).into();
            let changed = Config::parse(&serde_json::to_vec(&changed).unwrap()).unwrap();
            let built = from_config(&changed, &checkpoint, &BuildOptions::default());
            match built {
                Err(ModelError::MissingTensor { .. } | ModelError::TensorShape { .. }) => {}
                Err(ModelError::Config(error)) => {
                    assert!(!error.to_string().is_empty());
                }
                Err(other) => panic!("{architecture} {key}: {other}"),
                Ok(_) => panic!("{architecture} {key} is believed"),
            }
        }
    }
}

/// The configs within a config.
fn objects(
    config: &serde_json::Map<String, Value>,
) -> Vec<(String, serde_json::Map<String, Value>)> {
    let objects = config.iter().filter_map(|(key, value)| {
        let object = value.as_object().filter(|_| key.ends_with("_config"));
        object.map(|object| (key.clone(), object.clone()))
    });
    objects.collect()
}

/// A LLaMA (or, by the prefix, another) of one layer whose numbers are all right.
fn sizes() -> Vec<(&'static str, u32)> {
    vec![
        ("embedding_length", 8),
        ("block_count", 1),
        ("context_length", 16),
        ("feed_forward_length", 12),
        ("attention.head_count", 2),
        ("attention.head_count_kv", 1),
        ("attention.key_length", 4),
        ("rope.dimension_count", 4),
    ]
}

/// Builds it from a GGUF file in which `key`, if it is one of the keys, has another value.
fn build_gguf(
    architecture: &str,
    key: &str,
    lie: &(u32, Vec<u8>),
) -> Result<BuiltModel, ModelError> {
    let mut w = Writer::new();
    let mut pair = |name: &str, number: u32, value: &[u8]| {
        let full = match name.starts_with("general.") {
            true => name.to_owned(),
            false => format!("{architecture}.{name}"),
        };
        match name == key {
            true => w.pair(&full, lie.0, &lie.1),
            false => w.pair(&full, number, value),
        }
    };
    pair("general.architecture", 8, &string(architecture));
    for (name, size) in sizes() {
        pair(name, 4, &size.to_le_bytes());
    }
    for name in [
        "attention.layer_norm_rms_epsilon",
        "attention.layer_norm_epsilon",
    ] {
        pair(name, 6, &1e-5f32.to_le_bytes());
    }
    pair("rope.freq_base", 6, &10000f32.to_le_bytes());
    pair("rope.scaling.type", 8, &string("linear"));
    pair("rope.scaling.factor", 6, &2f32.to_le_bytes());
    let mut tensor = |name: &str, ne: &[u64]| {
        let bytes = 4 * ne.iter().product::<u64>() as usize;
        w.tensor(name, ne, 0, &vec![0; bytes]);
    };
    tensor("token_embd.weight", &[8, 10]);
    tensor("output_norm.weight", &[8]);
    // GPT-2's own.
    for (name, ne) in [
        ("position_embd.weight", &[8, 16][..]),
        ("output_norm.bias", &[8]),
        ("blk.0.attn_norm.bias", &[8]),
        ("blk.0.attn_qkv.weight", &[8, 24]),
        ("blk.0.attn_qkv.bias", &[24]),
        ("blk.0.ffn_norm.bias", &[8]),
    ] {
        tensor(name, ne);
    }
    for (name, ne) in [
        ("attn_norm.weight", &[8][..]),
        ("attn_q.weight", &[8, 8]),
        ("attn_k.weight", &[8, 4]),
        ("attn_v.weight", &[8, 4]),
        ("attn_q.bias", &[8]),
        ("attn_k.bias", &[4]),
        ("attn_v.bias", &[4]),
        ("attn_output.weight", &[8, 8]),
        ("ffn_norm.weight", &[8]),
        ("ffn_gate.weight", &[8, 12]),
        ("ffn_up.weight", &[8, 12]),
        ("ffn_down.weight", &[12, 8]),
    ] {
        tensor(&format!("blk.0.{name}"), ne);
    }
    let file = w.file();
    let Parsed::Done(gguf) = gguf::parse(&file, file.len() as u64, "t.gguf").unwrap() else {
        panic!("the whole file is there");
    };
    from_gguf(gguf.metadata(), &gguf.checkpoint, &BuildOptions::default())
}

#[test]
fn every_gguf_key_may_lie() {
    let mut lies: Vec<(u32, Vec<u8>)> = [0u32, 1, 3, 5, 4096, 8192, 1 << 31, u32::MAX]
        .map(|n| (4, n.to_le_bytes().to_vec()))
        .to_vec();
    lies.push((5, (-1i32).to_le_bytes().to_vec()));
    lies.push((10, u64::MAX.to_le_bytes().to_vec()));
    lies.extend([f32::NAN, f32::INFINITY, 0.0, -1.0].map(|x| (6, x.to_le_bytes().to_vec())));
    lies.push((8, string("nothing known")));
    lies.push((9, array(4, 1, &7u32.to_le_bytes())));
    for architecture in ["llama", "qwen2", "gpt2"] {
        build_gguf(architecture, "", &lies[0]).unwrap();
        let mut keys: Vec<&str> = sizes().into_iter().map(|(name, _)| name).collect();
        keys.extend([
            "general.architecture",
            "attention.layer_norm_rms_epsilon",
            "attention.layer_norm_epsilon",
            "rope.freq_base",
            "rope.scaling.type",
            "rope.scaling.factor",
        ]);
        for key in keys {
            for lie in &lies {
                go_on(build_gguf(architecture, key, lie));
            }
        }
    }
    let huge = (4, (1u32 << 31).to_le_bytes().to_vec());
    let error = build_gguf("llama", "attention.key_length", &huge).unwrap_err();
    let told = error.to_string();
    assert!(
        told.contains("attention.key_length") && told.contains("4096"),
        "{told}"
    );
}
