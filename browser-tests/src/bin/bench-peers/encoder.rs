//! An encoder out of a model's files, as both sides of the benchmark get it: the graph as an ONNX file, and its inputs.

use std::collections::BTreeMap;
use std::path::Path;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use fewbit_engine::graph::pass::prune;
use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::input::audio::AudioPreprocessor;
use fewbit_engine::model::{BuildOptions, ModelKind};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::{self, OpenModel};
use fewbit_engine::tensor::Tensor;
use fewbit_host::store::ModelFiles;
use serde_json::{Value, json};

/// Tokens of a text.
pub(crate) const TOKENS: usize = 128;

/// The files that [`prepare`] makes, as the page finds them.
pub(crate) struct Prepared {
    /// Input name → `{ type, shape, file }`.
    pub(crate) inputs: Value,
    /// The output that is compared.
    pub(crate) output: &'static str,
    /// What is encoded, in print.
    pub(crate) what: String,
}

pub(crate) const ONNX_FILE: &str = "encoder.onnx";

/// Writes the encoder of `model` as [`ONNX_FILE`] and each of its inputs as raw elements into `folder`.
pub(crate) async fn prepare(model: &ModelFiles, folder: &Path) -> Result<Prepared> {
    let open = open(model).await?;
    let (graph, inputs, output, what) = match &open.built.kind {
        ModelKind::EncoderDecoder(parts) => {
            let inputs = BTreeMap::from([("input_features", sound()?)]);
            let what = "a window of 30 s";
            (
                &parts.encoder,
                inputs,
                "encoder_last_hidden_state",
                what.to_owned(),
            )
        }
        ModelKind::Encoder(_) => {
            let what = format!("{TOKENS} tokens");
            (&open.built.graph, text()?, "last_hidden_state", what)
        }
        _ => bail!("{} is no encoder", model.name),
    };
    let graph = only(graph, output)?;
    let onnx = fewbit_onnx::export(&graph, &open.source).await?;
    std::fs::write(folder.join(ONNX_FILE), onnx).context(ONNX_FILE)?;
    let mut described = serde_json::Map::new();
    for (name, tensor) in &inputs {
        let file = format!("{name}.bin");
        std::fs::write(folder.join(&file), tensor.bytes()).context(file.clone())?;
        let data_type = tensor.data_type().name();
        let entry = json!({ "type": data_type, "shape": tensor.shape(), "file": file });
        described.insert((*name).to_owned(), entry);
    }
    Ok(Prepared {
        inputs: described.into(),
        output,
        what,
    })
}

async fn open(model: &ModelFiles) -> Result<OpenModel> {
    let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
    for file in &model.files {
        let path = model.folder.join(&file.name);
        let bytes = std::fs::read(&path).with_context(|| path.display().to_string())?;
        files.push(Rc::new(MemorySource::new(file.name.clone(), bytes)));
    }
    let files = checkpoint::ModelFiles::new(files);
    let open = checkpoint::open(&files, BuildOptions::default()).await;
    open.with_context(|| model.name.clone())
}

/// The graph for one row, with one of its outputs.
fn only(graph: &Graph, output: &str) -> Result<Graph> {
    let symbols = graph.symbols();
    let mut bindings = Bindings::from([("batch".to_owned(), 1), ("tokens".to_owned(), TOKENS)]);
    bindings.retain(|name, _| symbols.contains(name));
    let mut graph = graph.specialize(&bindings)?;
    graph.outputs.retain(|(name, _)| name == output);
    Ok(prune(&graph))
}

/// Whisper's features of half a minute of tones that rise and fall like a voice, with pauses.
fn sound() -> Result<Tensor> {
    let config = br#"{"feature_extractor_type": "WhisperFeatureExtractor"}"#;
    let preprocessor = AudioPreprocessor::from_json(config, None)?;
    let rate = preprocessor.rate() as f32;
    let samples: Vec<f32> = (0..30 * preprocessor.rate())
        .map(|at| at as f32 / rate)
        .map(|time| {
            let pitch = 140.0 + 40.0 * (2.1 * time).sin();
            let loudness = (4.3 * time).sin().max(0.0) * (0.7 * time).cos().abs();
            let voice =
                (1..12).map(|n| (std::f32::consts::TAU * pitch * n as f32 * time).sin() / n as f32);
            0.2 * loudness * voice.sum::<f32>()
        })
        .collect();
    let mut features = preprocessor.run(&[&samples], 0)?;
    features.retain(|(name, _)| *name == "input_features");
    let (_, features) = features.pop().context("no input_features")?;
    Ok(features)
}

/// Ids of a text that has no padding.
fn text() -> Result<BTreeMap<&'static str, Tensor>> {
    let row = |of: fn(usize) -> i32| {
        let ids: Vec<i32> = (0..TOKENS).map(of).collect();
        Tensor::from_i32(&[1, TOKENS], &ids)
    };
    Ok(BTreeMap::from([
        ("input_ids", row(|at| 1000 + (at as i32 * 7919) % 20_000)?),
        ("attention_mask", row(|_| 1)?),
        ("token_type_ids", row(|_| 0)?),
    ]))
}
