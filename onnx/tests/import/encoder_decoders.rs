//! Encoder-decoders whose decoders take a cache and give it back, made into ones whose cache is in place: what ONNX Runtime
//! goes on with (`fixtures/encoder_decoders.py`), and what our own models do that were exported.

use std::ops::ControlFlow;
use std::path::Path;
use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Activations, NumericPolicy};
use fewbit_engine::model::{BuildOptions, ModelKind, SourceKind};
use fewbit_engine::session::Session;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::{self, ModelFiles, OpenModel};
use fewbit_engine::task::decoder::{Advance, Decoder};
use fewbit_engine::task::source::Source;
use fewbit_engine::tensor::Tensor;
use fewbit_onnx::proto::{GraphProto, ModelProto};
use fewbit_onnx::{ImportOptions, open};
use prost::Message;

use crate::cases::{Case, cases, difference};

fn file(name: &str, bytes: &[u8]) -> Rc<dyn ByteSource> {
    Rc::new(MemorySource::new(name, bytes.to_vec()))
}

/// The decoder and how many layers it has a cache of. Activations would be of 8 bits, if files did not say otherwise.
fn decoder(model: OpenModel) -> (Decoder, usize) {
    let device = CpuDevice::new(CpuOptions {
        policy: NumericPolicy {
            activations: Activations::Int8,
            half: false,
        },
        kernels: Kernels::best(),
        parallel: Rc::new(Serial),
    });
    let ModelKind::EncoderDecoder(kind) = model.built.kind else {
        panic!("{:?}", model.built.kind);
    };
    let mut go_on = |_| ControlFlow::Continue(());
    let parts = vec![model.built.graph, kind.encoder];
    let session = Session::open_parts(Box::new(device), parts, model.source, &mut go_on);
    let session = pollster::block_on(session).unwrap();
    let layers = kind.decoder.layers;
    (Decoder::reading(session, kind.decoder, kind.source), layers)
}

fn logits_after(decoder: &mut Decoder, context: &[u32]) -> Vec<f32> {
    loop {
        if let Advance::Logits(logits) = pollster::block_on(decoder.advance(context)).unwrap() {
            return logits;
        }
    }
}

fn source_of(case: &Case) -> Rc<Source> {
    let source = case.tensor("source");
    Rc::new(match source.shape().len() {
        2 => Source::tokens(&case.tokens("source")),
        _ => Source::Features(source),
    })
}

/// The files of a case, and a configuration that says what no file does.
fn files(case: &Case) -> ModelFiles {
    let config = br#"{"num_mel_bins": 6, "max_source_positions": 12, "eos_token_id": 1, "decoder_start_token_id": 0}"#;
    let mut files = vec![file("config.json", config)];
    files.extend(case.files.iter().map(|f| file(&f.name, &f.bytes)));
    ModelFiles::new(files)
}

fn all() -> Vec<Case> {
    cases(include_bytes!("../fixtures/encoder_decoders.pb"))
}

#[test]
fn encoder_decoders_go_on_as_in_onnx_runtime() {
    let all = all();
    assert_eq!(all.len(), 5);
    for case in all {
        let opened = pollster::block_on(open(&files(&case), &ImportOptions::default()));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => panic!("{}: {error}", case.name),
        };
        let (mut decoder, layers) = decoder(opened);
        assert_eq!(layers, 2, "{}", case.name);
        decoder.set_source(&source_of(&case));
        let wanted = case.tensor("logits");
        let (mut context, mut got) = (case.tokens("ids"), Vec::new());
        for token in case.tokens("tokens") {
            got.extend(logits_after(&mut decoder, &context));
            context.push(token);
        }
        let got = Tensor::from_f32(wanted.shape(), &got).unwrap();
        let apart = difference(&got, &wanted);
        assert!(apart < 2e-5, "{}: {apart:.2e}", case.name);
        // One plan for the source, one for the first tokens, one for every step after them.
        assert!(decoder.session().compilations() <= 3, "{}", case.name);
    }
}

/// A folder of `engine/tests/fixtures/reference`.
fn reference(name: &str) -> ModelFiles {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/reference");
    let entries = std::fs::read_dir(folder.join(name)).unwrap();
    let files = entries.map(|entry| {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        file(name, &std::fs::read(&path).unwrap())
    });
    ModelFiles::new(files.collect())
}

/// What `fewbit convert --to onnx` writes of it, and its configuration.
fn exported(files: &ModelFiles, model: &OpenModel) -> ModelFiles {
    let ModelKind::EncoderDecoder(kind) = &model.built.kind else {
        panic!("{:?}", model.built.kind);
    };
    let mut made = vec![files.find("config.json").unwrap().clone()];
    for (name, graph) in [
        ("onnx/encoder_model.onnx", &kind.encoder),
        ("onnx/decoder_with_past_model.onnx", &model.built.graph),
    ] {
        let mut out = Vec::new();
        let prepared = fewbit_onnx::prepare(graph).unwrap();
        let mut go_on = |_| ControlFlow::Continue(());
        let written = prepared.write(&model.source, &mut out, None, &mut go_on);
        pollster::block_on(written).unwrap();
        made.push(file(name, &out));
    }
    ModelFiles::new(made)
}

/// Twelve tokens, each the best after those before it, and all logits.
fn greedy(model: OpenModel) -> (Vec<u32>, Vec<f32>) {
    let kind = match &model.built.kind {
        ModelKind::EncoderDecoder(kind) => kind.source,
        other => panic!("{other:?}"),
    };
    let source = match kind {
        SourceKind::Tokens { .. } => Source::tokens(&[17, 4, 200, 31, 8, 1]),
        SourceKind::Features { channels, frames } => {
            let values: Vec<f32> = (0..channels * frames)
                .map(|n| (n as f32 * 0.37).sin())
                .collect();
            Source::Features(Tensor::from_f32(&[1, channels, frames], &values).unwrap())
        }
    };
    let (mut decoder, _) = decoder(model);
    decoder.set_source(&Rc::new(source));
    // Four at once, as one run takes them, and then one at a time.
    let (mut context, mut all) = (vec![0, 7, 3, 11], Vec::new());
    for _ in 0..12 {
        let logits = logits_after(&mut decoder, &context);
        let best = (0..logits.len()).max_by(|&a, &b| logits[a].total_cmp(&logits[b]));
        context.push(best.unwrap() as u32);
        all.extend(logits);
    }
    (context, all)
}

#[test]
fn our_own_exports_open_and_go_on_alike() {
    for name in ["t5", "t5-v1_1", "whisper"] {
        let files = reference(name);
        let open_own = || {
            let opened = checkpoint::open(&files, BuildOptions::default());
            pollster::block_on(opened).unwrap()
        };
        let model = open_own();
        let again = exported(&files, &model);
        let again = pollster::block_on(open(&again, &ImportOptions::default()));
        let again = again.unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(again.built.architecture, model.built.architecture);
        let (ids, logits) = greedy(open_own());
        let (same, close) = greedy(again);
        assert_eq!(ids, same, "{name}");
        let tensor = |values: &[f32]| Tensor::from_f32(&[values.len()], values).unwrap();
        let apart = difference(&tensor(&close), &tensor(&logits));
        assert!(apart < 2e-5, "{name}: {apart:.2e}");
    }
}

/// The case's files with the graph of one of them changed.
fn changed(case: &Case, name: &str, change: impl FnOnce(&mut GraphProto)) -> ModelFiles {
    let mut case = case.clone();
    let file = case.files.iter_mut().find(|f| f.name.contains(name));
    let file = file.unwrap();
    let mut model = ModelProto::decode(&file.bytes[..]).unwrap();
    change(model.graph.as_mut().unwrap());
    file.bytes = model.encode_to_vec();
    files(&case)
}

#[test]
fn what_does_not_go_in_place_is_told() {
    let all = all();
    let split = all.iter().find(|c| c.name == "T5, two files").unwrap();
    let told = |files: &ModelFiles| {
        let opened = pollster::block_on(open(files, &ImportOptions::default()));
        opened.err().map(|e| e.to_string()).unwrap()
    };
    let mut without = split.clone();
    without.files.retain(|f| !f.name.contains("decoder_model"));
    assert!(told(&files(&without)).contains("makes nothing of a source"));
    let more = changed(split, "decoder_with_past", |graph| {
        graph.input[0].name = Some("pixel_values".to_owned());
        for node in &mut graph.node {
            for name in &mut node.input {
                if name == "encoder_attention_mask" {
                    *name = "pixel_values".to_owned();
                }
            }
        }
    });
    assert!(told(&more).contains("pixel_values"));
    // What is no attention any more would see what is behind the tokens.
    let other = changed(split, "decoder_with_past", |graph| {
        let mut nodes = graph.node.iter_mut();
        let softmax = nodes.find(|node| node.op_type.as_deref() == Some("Softmax"));
        softmax.unwrap().op_type = Some("LogSoftmax".to_owned());
    });
    assert!(told(&other).contains("over all tokens of the cache"));
}
