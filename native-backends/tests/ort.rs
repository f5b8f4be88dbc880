//! ONNX Runtime on the CPU as a back end, in both of its ways: one session for all sizes, and one for each.
#![cfg(feature = "ort")]

use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::backend::suite::{Outcome, cases};
use fewbit_engine::backend::{Activations, Device, NumericPolicy};
use fewbit_engine::model::BuildOptions;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::Model;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::generate::{Event, GenerateOptions};
use fewbit_engine::task::sampling::SamplingParams;
use fewbit_native_backends::ort::{Found, Library, OrtDevice, Provider};
use fewbit_native_backends::{FileSource, NativeTarget};

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A device in both ways; says so where ONNX Runtime is not here.
fn devices(what: &str) -> Option<[OrtDevice; 2]> {
    let name = format!(
        "{}onnxruntime{}",
        std::env::consts::DLL_PREFIX,
        std::env::consts::DLL_SUFFIX
    );
    let runtime = project("target/onnxruntime").join(name);
    if !runtime.is_file() {
        println!(
            "{what}: skipped: no ONNX Runtime; `cargo xtask setup` puts it in target/onnxruntime"
        );
        return None;
    }
    let found = Found {
        runtime,
        plug_in: None,
    };
    Library::load(&found).unwrap();
    let device = || OrtDevice::new(Provider::Cpu, Some(2));
    Some([device(), device().with_sizes()])
}

/// Where ONNX Runtime does otherwise: an index outside of an axis is an error and not clamped (WebNN clamps it), and the
/// largest of a NaN and a number is the number.
const OTHERWISE: [&str; 6] = [
    "gather 0, also from the end and beyond",
    "gather 1, also from the end and beyond",
    "gather 2, also from the end and beyond",
    "max_pool2d of infinities and nan",
    "scatter_nd of single elements",
    "scatter_nd Max onto NaN",
];

#[test]
fn operators_agree_with_the_reference() {
    let Some(devices) = devices("operators_agree_with_the_reference") else {
        return;
    };
    for device in devices {
        let mut backend = pollster::block_on(device.open()).unwrap();
        let mut passed = 0;
        let (mut unsupported, mut wrong) = (Vec::new(), Vec::new());
        for case in cases() {
            match pollster::block_on(case.check(backend.as_mut())) {
                Outcome::Pass { .. } => passed += 1,
                Outcome::Unsupported(why) => unsupported.push(format!("{}: {why}", case.name)),
                _ if OTHERWISE.contains(&case.name.as_str()) => {}
                other => wrong.push(format!("{}: {other:?}", case.name)),
            }
        }
        println!("{passed} passed; unsupported:\n{}", unsupported.join("\n"));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert!(passed > 500, "{passed}");
    }
}

fn model(name: &str, device: Box<dyn Device>) -> Model {
    let folder = project("engine/tests/fixtures/reference").join(name);
    let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let source = FileSource::open(name, &entry.path()).unwrap();
        files.push(Rc::new(source));
    }
    let files = ModelFiles::new(files);
    let mut go_on = |_| std::ops::ControlFlow::Continue(());
    let load = Model::load(&files, device, BuildOptions::default(), &mut go_on);
    pollster::block_on(load).unwrap()
}

/// Greedily, after each of the prompts; the second begins as the first does.
fn continued(model: &mut Model, prompts: &[Vec<u32>]) -> Vec<Vec<u32>> {
    let options = GenerateOptions {
        max_tokens: 12,
        ignore_eos: true,
        sampling: SamplingParams {
            temperature: 0.0,
            ..SamplingParams::default()
        },
        ..GenerateOptions::default()
    };
    let mut all = Vec::new();
    for prompt in prompts {
        let mut generation = model.generate(prompt.clone(), &options).unwrap();
        loop {
            let event = pollster::block_on(model.step(&mut generation)).unwrap();
            if matches!(event, Event::Finished { .. }) {
                break;
            }
        }
        all.push(generation.ids().to_vec());
    }
    all
}

#[test]
fn decoders_go_on_as_the_engine_s_own_do() {
    let what = "decoders_go_on_as_the_engine_s_own_do";
    let Some(_) = devices(what) else {
        return;
    };
    // Prompts of several chunks, one that shares a beginning, one that is shorter than what is in the state.
    let long: Vec<u32> = (0..37).map(|i| 3 + (i * 7) % 90).collect();
    let mut other = long[..20].to_vec();
    other.extend([5, 6, 7]);
    let prompts = [long.clone(), other, long[..3].to_vec()];
    for name in ["llama", "qwen2", "gpt2"] {
        let policy = NumericPolicy {
            activations: Activations::Float,
            half: false,
        };
        let cpu = NativeTarget::Cpu.device(policy, Some(1)).unwrap();
        let expected = continued(&mut model(name, cpu), &prompts);
        for device in devices(what).into_iter().flatten() {
            let mut model = model(name, Box::new(device));
            assert_eq!(model.backend().name, "ort");
            assert_eq!(continued(&mut model, &prompts), expected, "{name}");
        }
    }
}
