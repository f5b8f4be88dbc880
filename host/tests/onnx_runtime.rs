//! ONNX Runtime's providers as targets of the command: each model in a process of its own, which the command starts.
#![cfg(feature = "native")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// The command, with the libraries in `folder`.
fn fewbit(arguments: &[&str], folder: &Path) -> Output {
    let home = tempfile::tempdir().unwrap();
    Command::new(env!("CARGO_BIN_EXE_fewbit"))
        .args(arguments)
        .env("FEWBIT_ORT_DIR", folder)
        .env("FEWBIT_HOME", home.path())
        .output()
        .unwrap()
}

/// The one JSON object that the command prints.
fn answer(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(text.trim()).unwrap_or_else(|error| {
        let said = String::from_utf8_lossy(&output.stderr);
        panic!("{error}: {text}{said}")
    })
}

fn verify(folder: &Path, target: &str, libraries: &Path) -> Value {
    let folder = folder.to_string_lossy();
    let arguments = [
        "verify",
        &folder,
        "--target",
        target,
        "--json",
        "--no-results",
    ];
    answer(&fewbit(&arguments, libraries))
}

/// The folder of a library that setup or `fewbit backends install` has put there; says so where it is not.
fn libraries(what: &str, name: &str) -> Option<PathBuf> {
    let own = std::env::var_os("FEWBIT_TEST_BACKENDS").map(PathBuf::from);
    let folder = match (name, own) {
        ("cpu", _) => project("target/onnxruntime"),
        (name, Some(own)) => own.join(name),
        (name, None) => project("target/backends").join(name),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    println!("{what}: skipped: {} is not there", folder.display());
    None
}

/// The references of the engine's tests, and those beside the project where they are.
fn references() -> Vec<PathBuf> {
    let mut all = Vec::new();
    for folder in [
        project("engine/tests/fixtures/reference"),
        project("../shared/reference"),
    ] {
        let Ok(entries) = std::fs::read_dir(folder) else {
            continue;
        };
        let folders = entries.flatten().map(|entry| entry.path());
        all.extend(folders.filter(|folder| folder.join("reference.json").is_file()));
    }
    all.sort();
    all
}

fn every_reference_holds(what: &str, target: &str, name: &str) {
    let Some(libraries) = libraries(what, name) else {
        return;
    };
    let references = references();
    assert!(references.len() >= 10, "{references:?}");
    let mut failed = Vec::new();
    for folder in &references {
        let cell = verify(folder, target, &libraries);
        let shown = folder.display();
        println!(
            "{shown} on {target}: {} {}",
            cell["outcome"], cell["reason"]
        );
        if cell["outcome"] != "pass" {
            failed.push(format!("{shown}: {cell}"));
        }
    }
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

#[test]
fn onnx_runtime_on_the_cpu_holds_every_reference() {
    let what = "onnx_runtime_on_the_cpu_holds_every_reference";
    every_reference_holds(what, "native:ort-cpu", "cpu");
}

#[test]
fn openvino_holds_every_reference() {
    every_reference_holds(
        "openvino_holds_every_reference",
        "native:ort-openvino",
        "openvino",
    );
}
