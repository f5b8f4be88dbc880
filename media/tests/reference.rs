//! Held against what `transformers` makes of real photographs and a chirp. The files are not carried: `FEWBIT_TEST_MODELS`
//! names a folder with `reference/preprocess`, `reference/whisper` and `reference/wav2vec2` under it.

use std::path::{Path, PathBuf};

use fewbit_engine::format::{Parsed, safetensors};
use fewbit_engine::input::audio::AudioPreprocessor;
use fewbit_engine::input::image::ImagePreprocessor;
use fewbit_engine::tensor::decode;
use fewbit_media::decode_image;

fn reference(part: &str) -> Option<PathBuf> {
    let Some(root) = std::env::var_os("FEWBIT_TEST_MODELS") else {
        println!("skipped: FEWBIT_TEST_MODELS names no folder of references");
        return None;
    };
    let folder = Path::new(&root).join("reference").join(part);
    if !folder.is_dir() {
        println!("skipped: there is no {}", folder.display());
        return None;
    }
    Some(folder)
}

/// A tensor of a safetensors file as floats, and its shape.
fn tensor(path: &Path, name: &str) -> (Vec<f32>, Vec<usize>) {
    let bytes = std::fs::read(path).expect("a file");
    let parsed = safetensors::parse(&bytes, bytes.len() as u64, "reference").expect("safetensors");
    let Parsed::Done(checkpoint) = parsed else {
        panic!("{} is cut", path.display());
    };
    let entry = &checkpoint.tensors[name];
    let mut values = vec![0.0; entry.shape.iter().product::<usize>()];
    let data = &bytes[entry.offset as usize..(entry.offset + entry.bytes) as usize];
    decode(entry.element, data, &mut values).expect("floats");
    (values, entry.shape.clone())
}

/// The mean and the largest difference.
fn differences(got: &[f32], want: &[f32]) -> (f64, f64) {
    assert_eq!(got.len(), want.len());
    let errors = got.iter().zip(want).map(|(a, b)| f64::from((a - b).abs()));
    let most = errors.clone().fold(0.0, f64::max);
    (errors.sum::<f64>() / got.len() as f64, most)
}

#[test]
fn photographs_become_the_same_pixels() {
    let Some(folder) = reference("preprocess") else {
        return;
    };
    for model in ["vit", "clip", "detr"] {
        let config = std::fs::read(folder.join(model).join("preprocessor_config.json"));
        let preprocessor =
            ImagePreprocessor::from_json(&config.expect("a config"), None).expect("a config");
        for photograph in ["astronaut.png", "coffee.png"] {
            let file = std::fs::read(folder.join(photograph)).expect("a photograph");
            let batch = preprocessor
                .run(&[decode_image(&file).expect("a PNG")])
                .expect("a batch");
            let name = format!("{photograph}.pixel_values");
            let (want, shape) = tensor(&folder.join(model).join("expected.safetensors"), &name);
            assert_eq!(batch.pixel_values.shape()[1..], shape);
            let (mean, most) = differences(batch.pixel_values.as_f32().expect("f32"), &want);
            println!("{model} {photograph}: {mean:.5} on average, {most:.5} at most");
            assert!(
                mean <= 0.02 && most <= 0.1,
                "{model} {photograph}: {mean}, {most}"
            );
            assert_eq!(batch.pixel_mask.is_some(), model == "detr");
        }
    }
}

/// The features of `waveform` in one file against the tensor in another.
fn sound(name: &str, config: &[u8], waveform: (&Path, &str), want: (&Path, &str)) -> (f64, f64) {
    let preprocessor = AudioPreprocessor::from_json(config, Some(name)).expect("a config");
    let (samples, _) = tensor(waveform.0, waveform.1);
    let named = preprocessor.run(&[&samples], 0).expect("features");
    let (want, shape) = tensor(want.0, want.1);
    let got = &named[0].1;
    assert!(
        got.shape().ends_with(&shape),
        "{:?} for {shape:?}",
        got.shape()
    );
    let (mean, most) = differences(got.as_f32().expect("f32"), &want);
    println!("{name}: {mean:.7} on average, {most:.7} at most");
    (mean, most)
}

#[test]
fn a_chirp_has_the_features_of_clap() {
    let Some(folder) = reference("preprocess/clap") else {
        return;
    };
    let config = std::fs::read(folder.join("preprocessor_config.json")).expect("a config");
    let file = folder.join("expected.safetensors");
    let (mean, most) = sound(
        "clap",
        &config,
        (&file, "waveform"),
        (&file, "input_features"),
    );
    assert!(mean <= 1e-3 && most <= 0.05, "{mean}, {most}");
}

#[test]
fn a_chirp_has_the_features_of_whisper() {
    let Some(folder) = reference("whisper") else {
        return;
    };
    let config = std::fs::read(folder.join("preprocessor_config.json")).expect("a config");
    let file = folder.join("reference.safetensors");
    let (_, most) = sound(
        "whisper",
        &config,
        (&file, "in.waveform"),
        (&file, "in.input_features"),
    );
    assert!(most <= 1e-4, "{most}");
}

#[test]
fn a_chirp_is_normalized_as_for_wav2vec2() {
    let Some(folder) = reference("wav2vec2") else {
        return;
    };
    let file = folder.join("reference.safetensors");
    let (_, most) = sound(
        "wav2vec2",
        b"{}",
        (&file, "in.waveform"),
        (&file, "in.input_values"),
    );
    assert!(most <= 1e-4, "{most}");
}
