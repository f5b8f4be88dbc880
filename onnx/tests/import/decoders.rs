//! Decoders whose cache goes in and out, made into decoders whose cache is in place: what ONNX Runtime goes on with
//! (`fixtures/decoders.py`).

use std::ops::ControlFlow;
use std::rc::Rc;

use fewbit_engine::backend::cpu::kernels::Kernels;
use fewbit_engine::backend::cpu::threads::Serial;
use fewbit_engine::backend::cpu::{CpuDevice, CpuOptions};
use fewbit_engine::backend::{Activations, NumericPolicy};
use fewbit_engine::graph::Graph;
use fewbit_engine::model::{CausalLm, ModelKind};
use fewbit_engine::session::{Session, WeightSource};
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::decoder::{Advance, Decoder};
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_onnx::proto::{GraphProto, ModelProto, NodeProto};
use fewbit_onnx::{
    DecoderOptions, ImportOptions, Imported, ImportedDecoder, import_decoder, interface, open,
};
use prost::Message;

use crate::cases::{Case, cases, difference};
use crate::files::{integers, node, tensor};

fn options() -> DecoderOptions {
    DecoderOptions {
        context_length: 64,
        eos_ids: Vec::new(),
    }
}

fn opened(decoder: ImportedDecoder) -> Decoder {
    let Imported { graph, source, .. } = decoder.imported;
    with_session(graph, source, decoder.model)
}

fn with_session(graph: Graph, source: WeightSource, model: CausalLm) -> Decoder {
    let device = CpuDevice::new(CpuOptions {
        policy: NumericPolicy {
            activations: Activations::Float,
            half: false,
        },
        kernels: Kernels::best(),
        parallel: Rc::new(Serial),
    });
    let mut go_on = |_| ControlFlow::Continue(());
    let session = Session::open(Box::new(device), graph, source, &mut go_on);
    Decoder::new(pollster::block_on(session).unwrap(), model)
}

fn all() -> Vec<Case> {
    cases(include_bytes!("../fixtures/decoders.pb"))
}

/// Goes on from the prompt as long as the case does; the logits after it and after each token.
fn logits(decoder: &mut Decoder, case: &Case) -> Vec<f32> {
    let tokens = case.tokens("tokens");
    let mut context: Vec<u32> = case.tokens("ids");
    let mut all = Vec::new();
    for token in tokens {
        loop {
            let advance = pollster::block_on(decoder.advance(&context)).unwrap();
            if let Advance::Logits(logits) = advance {
                all.extend(logits);
                break;
            }
        }
        context.push(token);
    }
    all
}

#[test]
fn decoders_go_on_as_in_onnx_runtime() {
    for case in all() {
        assert!(interface(&case.model, "model.onnx").unwrap().has_cache());
        let decoder = match import_decoder(&case.model, "model.onnx", &options()) {
            Ok(decoder) => decoder,
            Err(error) => panic!("{}: {error}", case.name),
        };
        assert_eq!((decoder.model.layers, decoder.model.vocabulary), (2, 40));
        assert_eq!(decoder.model.context_length, 64);
        let mut decoder = opened(decoder);
        let wanted = case.tensor("logits");
        let got = Tensor::from_f32(wanted.shape(), &logits(&mut decoder, &case)).unwrap();
        let apart = difference(&got, &wanted);
        let most = match case.name.contains("16-bit") {
            true => 1e-2,
            false => 2e-5,
        };
        assert!(apart < most, "{}: {apart:.2e}", case.name);
        // One plan for the prompt's chunks of each size, one for every step after it.
        assert!(decoder.session().compilations() <= 3, "{}", case.name);
    }
}

/// The case's model with its graph changed.
fn changed(case: &Case, change: impl FnOnce(&mut GraphProto)) -> Vec<u8> {
    let mut model = ModelProto::decode(&case.model[..]).unwrap();
    change(model.graph.as_mut().unwrap());
    model.encode_to_vec()
}

#[test]
fn what_is_no_decoder_with_a_cache_is_told() {
    let all = all();
    let merged = all
        .iter()
        .find(|case| case.name.starts_with("merged"))
        .unwrap();
    let told = |bytes: &[u8]| {
        let error = import_decoder(bytes, "model.onnx", &options()).unwrap_err();
        assert!(error.is_unsupported(), "{error}");
        error.to_string()
    };
    let past = |name: &Option<String>| name.as_deref().is_some_and(|n| n.starts_with("past"));
    let without = changed(&all[0], |graph| graph.input.retain(|i| !past(&i.name)));
    assert!(told(&without).contains("no input past_key_values"));
    let encoder = changed(&all[0], |graph| {
        for name in graph
            .input
            .iter_mut()
            .filter_map(|input| input.name.as_mut())
        {
            *name = name.replace(".key", ".encoder.key");
        }
    });
    assert!(told(&encoder).contains("an encoder"));
    let more = changed(&all[0], |graph| {
        let mut input = graph.input[0].clone();
        input.name = Some("pixel_values".to_owned());
        graph.input.push(input);
    });
    assert!(told(&more).contains("pixel_values"));
    let silent = changed(&all[0], |graph| graph.output.truncate(1));
    assert!(told(&silent).contains("present"));
    let branchless = changed(merged, |graph| graph.node[0].attribute.clear());
    assert!(told(&branchless).contains("branch"));
    let fewer = changed(merged, |graph| {
        graph.node[0].output.pop();
    });
    assert!(told(&fewer).contains("outputs"));
}

/// Rows of a batch stand at positions of their own.
#[test]
fn rows_of_a_batch_go_on_by_themselves() {
    let case = &all()[0];
    let decoder = || opened(import_decoder(&case.model, "model.onnx", &options()).unwrap());
    let contexts: [&[u32]; 2] = [&[3, 17, 5, 29, 11], &[7, 1]];
    let mut both = decoder();
    let mut together = [None, None];
    while together.iter().any(Option::is_none) {
        let contexts: Vec<Option<&[u32]>> = (0..2)
            .map(|row| together[row].is_none().then_some(contexts[row]))
            .collect();
        let advances = pollster::block_on(both.advance_batch(&contexts)).unwrap();
        for (row, advance) in advances.into_iter().enumerate() {
            if let Some(Advance::Logits(logits)) = advance {
                together[row] = Some(logits);
            }
        }
    }
    for (context, together) in contexts.iter().zip(together) {
        let mut alone = decoder();
        let logits = loop {
            if let Advance::Logits(logits) = pollster::block_on(alone.advance(context)).unwrap() {
                break logits;
            }
        };
        let shape = [logits.len()];
        let tensor = |values: &[f32]| Tensor::from_f32(&shape, values).unwrap();
        let apart = difference(&tensor(&together.unwrap()), &tensor(&logits));
        assert!(apart < 1e-5, "{context:?}: {apart:.2e}");
    }
}

/// A repository's folder, as Hugging Face lays it out.
#[test]
fn a_folder_with_such_a_decoder_is_a_causal_model() {
    let case = &all()[0];
    let config =
        br#"{"model_type": "llama", "max_position_embeddings": 48, "eos_token_id": [2, 7]}"#;
    let file = |name: &str, bytes: &[u8]| -> Rc<dyn ByteSource> {
        Rc::new(MemorySource::new(name, bytes.to_vec()))
    };
    let files = vec![
        file("config.json", config),
        file("onnx/model_q4.onnx", &case.model),
    ];
    let (files, nothing) = (ModelFiles::new(files), ImportOptions::default());
    let opened = pollster::block_on(open(&files, &nothing)).unwrap();
    assert_eq!(opened.built.architecture, "llama");
    let ModelKind::CausalLm(model) = opened.built.kind else {
        panic!("{:?}", opened.built.kind);
    };
    assert_eq!(
        (model.context_length, &model.eos_ids[..]),
        (48, &[2, 7][..])
    );
    let mut decoder = with_session(opened.built.graph, opened.source, model);
    let wanted = case.tensor("logits");
    let got = Tensor::from_f32(wanted.shape(), &logits(&mut decoder, case)).unwrap();
    assert!(difference(&got, &wanted) < 2e-5);
}

/// Puts a table in the place of a mask by the order of the tokens that is computed: `sees` tells of a token which keys it does.
fn with_table(graph: &mut GraphProto, flags: bool, sees: impl Fn(usize, usize) -> bool) {
    const SIDE: usize = 80;
    let is = |kind: &str| {
        let kind = kind.to_owned();
        move |node: &NodeProto| node.op_type.as_ref() == Some(&kind)
    };
    let places = graph.node.iter().find(|n| is("Range")(n)).unwrap().clone();
    let (before, total) = (places.input[0].clone(), places.input[1].clone());
    let at = graph.node.iter().position(is("Where")).unwrap();
    let order = graph.node[at].clone();
    let [_, least, nothing] = &order.input[..] else {
        panic!("{order:?}");
    };
    let all = (0..SIDE * SIDE).map(|at| sees(at / SIDE, at % SIDE));
    let shape = [1, 1, SIDE, SIDE];
    let table = match flags {
        true => Tensor::from_bytes(
            DataType::Bool,
            &shape,
            &all.map(u8::from).collect::<Vec<_>>(),
        ),
        false => {
            let numbers = all.map(|sees| if sees { 0.0 } else { f32::MIN });
            Tensor::from_f32(&shape, &numbers.collect::<Vec<_>>())
        }
    };
    let numbers = [("t0", 0), ("t2", 2), ("t3", 3)];
    let numbers = numbers.map(|(name, number)| tensor(name, &integers(&[number])));
    graph.initializer.extend(numbers);
    graph.initializer.push(tensor("table", &table.unwrap()));
    let cut = if flags { "cut" } else { &order.output[0] };
    let mut nodes = vec![
        node("Unsqueeze", &[&before, "t0"], &["first"], vec![]),
        node("Unsqueeze", &[&total, "t0"], &["end"], vec![]),
        node("Slice", &["table", "first", "end", "t2"], &["rows"], vec![]),
        node("Slice", &["rows", "t0", "end", "t3"], &[cut], vec![]),
    ];
    if flags {
        let output = [&order.output[0][..]];
        nodes.push(node("Where", &["cut", nothing, least], &output, vec![]));
    }
    graph.node.splice(at..=at, nodes);
}

/// As GPT-2 and its kin were exported before masks were computed: a table of which token sees which, cut to the tokens there
/// are; flags of which a number below all is made, or that number itself.
#[test]
fn masks_that_are_cut_out_of_a_table() {
    let all = all();
    let case = all.iter().find(|case| case.name == "spelled out").unwrap();
    for flags in [true, false] {
        let model = changed(case, |graph| {
            with_table(graph, flags, |row, key| key <= row)
        });
        let decoder = import_decoder(&model, "model.onnx", &options()).unwrap();
        let mut decoder = opened(decoder);
        let wanted = case.tensor("logits");
        let got = Tensor::from_f32(wanted.shape(), &logits(&mut decoder, case)).unwrap();
        let apart = difference(&got, &wanted);
        assert!(apart < 2e-5, "{flags}: {apart:.2e}");
        // What is hidden between the tokens is no order of them.
        let gaps = |row, key| key <= row && (key % 3 != 1 || key == row);
        let model = changed(case, |graph| with_table(graph, flags, gaps));
        let error = import_decoder(&model, "model.onnx", &options()).unwrap_err();
        assert!(error.to_string().contains("a mask"), "{error}");
        // A window is one, and the same as where it is computed.
        let name = "spelled out, a window of 4 tokens";
        let windowed = all.iter().find(|known| known.name == name).unwrap();
        let window = |row, key| key <= row && key + 4 > row;
        let model = changed(case, |graph| with_table(graph, flags, window));
        let decoder = import_decoder(&model, "model.onnx", &options()).unwrap();
        let wanted = windowed.tensor("logits");
        let got = logits(&mut opened(decoder), windowed);
        let got = Tensor::from_f32(wanted.shape(), &got).unwrap();
        let apart = difference(&got, &wanted);
        assert!(apart < 2e-5, "{flags}: {apart:.2e}");
    }
}
