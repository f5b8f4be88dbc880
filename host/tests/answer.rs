//! Questions about files on a native target: decoded, preprocessed and answered.
#![cfg(all(feature = "native", feature = "media"))]

use std::path::{Path, PathBuf};

use fewbit_host::job::{AnswerJob, EmbedJob, InputFile, RunError};
use fewbit_host::native::NativeRunner;
use fewbit_host::runner::Runner;
use fewbit_host::store::{Manifest, Store};
use fewbit_native_backends::NativeTarget;
use serde_json::json;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// A carried model on the CPU, with a preprocessor that it is carried without.
async fn load(
    name: &str,
    preprocessor: Option<serde_json::Value>,
) -> (NativeRunner, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    for file in ["config.json", "model.safetensors"] {
        let from = project("engine/tests/fixtures/reference").join(name);
        std::fs::copy(from.join(file), folder.path().join(file)).unwrap();
    }
    if let Some(json) = preprocessor {
        let path = folder.path().join("preprocessor_config.json");
        std::fs::write(path, json.to_string()).unwrap();
    }
    let store = Store::at(folder.path().join("none"), Manifest::built_in().unwrap());
    let path = folder.path().to_string_lossy();
    let files = store.resolve(&path, &|_| Ok(())).unwrap();
    let mut runner = NativeRunner::new(NativeTarget::Cpu);
    let options = Default::default();
    runner.load(&files, &options, &|_| {}).await.unwrap();
    (runner, folder)
}

fn picture() -> InputFile {
    let data = std::fs::read(project("media/tests/fixtures/rgb.png")).unwrap();
    InputFile {
        name: "rgb.png".into(),
        data,
    }
}

async fn ask(runner: &mut NativeRunner, job: AnswerJob) -> Result<serde_json::Value, RunError> {
    let result = runner.answer(&job).await?;
    assert_eq!(result.answers.len(), job.files.len().max(job.texts.len()));
    Ok(result.answers.into_iter().next().unwrap_or_default())
}

#[tokio::test]
async fn a_picture_is_classified_as_its_model_s_files_say() {
    let preprocessor = json!({"image_processor_type": "ViTImageProcessor", "size": 64});
    let (mut runner, _folder) = load("vit", Some(preprocessor)).await;
    let job = AnswerJob {
        task: "classify".into(),
        files: vec![picture()],
        top_k: Some(10),
        ..AnswerJob::default()
    };
    let answer = ask(&mut runner, job.clone()).await.unwrap();
    let scores: Vec<f64> = (0..10)
        .map(|at| answer[at]["score"].as_f64().unwrap())
        .collect();
    assert!(scores.is_sorted_by(|a, b| a >= b), "{answer}");
    assert!((scores.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{answer}");
    assert!(answer[0]["label"].as_str().unwrap().starts_with("LABEL_"));

    let broken = InputFile {
        name: "broken.png".into(),
        data: b"\x89PNG\r\n\x1a\n".to_vec(),
    };
    let job = AnswerJob {
        files: vec![broken],
        ..job
    };
    let error = ask(&mut runner, job).await.unwrap_err();
    assert!(error.message.contains("broken.png"), "{error}");
}

#[tokio::test]
async fn boxes_are_in_the_file_s_own_pixels() {
    let preprocessor = json!({
        "image_processor_type": "DetrImageProcessor", "size": {"shortest_edge": 64, "longest_edge": 128},
    });
    let (mut runner, _folder) = load("detr", Some(preprocessor)).await;
    let job = AnswerJob {
        task: "detect".into(),
        files: vec![picture()],
        threshold: Some(0.0),
        ..AnswerJob::default()
    };
    let answer = ask(&mut runner, job).await.unwrap();
    let decoded = fewbit_media::decode_image(&picture().data).unwrap();
    let found = answer.as_array().unwrap();
    assert_eq!(found.len(), 12, "a box for each query of the model");
    for one in found {
        let width = one["box"]["xmax"].as_f64().unwrap() - one["box"]["xmin"].as_f64().unwrap();
        let height = one["box"]["ymax"].as_f64().unwrap() - one["box"]["ymin"].as_f64().unwrap();
        // Widths and heights are sigmoids: parts of the picture.
        assert!((0.0..=decoded.width() as f64).contains(&width), "{one}");
        assert!((0.0..=decoded.height() as f64).contains(&height), "{one}");
    }
}

#[tokio::test]
async fn what_is_missing_is_named() {
    let (mut runner, _folder) = load("vit", None).await;
    let job = AnswerJob {
        task: "classify".into(),
        files: vec![picture()],
        ..AnswerJob::default()
    };
    let error = ask(&mut runner, job.clone()).await.unwrap_err();
    assert!(
        error.message.contains("preprocessor_config.json"),
        "{error}"
    );
    let texts = AnswerJob {
        files: Vec::new(),
        texts: vec!["a text".into()],
        ..job
    };
    let error = ask(&mut runner, texts).await.unwrap_err();
    assert!(error.message.contains("tokenizer"), "{error}");
    let job = EmbedJob {
        files: vec![picture()],
        ..EmbedJob::default()
    };
    assert!(runner.embed(&job).await.is_err());
}
