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

/// The folder of a library; says so where it is not there.
fn libraries(what: &str, name: &str) -> Option<PathBuf> {
    let (folder, by) = match name {
        "cpu" => (
            project("target/onnxruntime"),
            "cargo xtask setup".to_owned(),
        ),
        _ => (
            project("target/backends").join(name),
            format!("FEWBIT_HOME=target fewbit backends install {name}"),
        ),
    };
    if folder.is_dir() {
        return Some(folder);
    }
    println!("{what}: skipped: no library; `{by}` puts it there");
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

/// What `fewbit backends list` says of a target.
fn listed(target: &str, libraries: &Path) -> Value {
    let list = answer(&fewbit(&["backends", "list", "--json"], libraries));
    let backends = list["backends"].as_array().unwrap();
    assert_eq!(backends.len(), 8);
    let mut found = backends.iter().filter(|row| row["target"] == target);
    found.next().unwrap().clone()
}

#[test]
fn what_is_not_here_is_unavailable_and_says_what_to_type() {
    let empty = tempfile::tempdir().unwrap();
    let row = listed("native:ort-cpu", empty.path());
    assert_eq!(row["outcome"], "unavailable");
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.contains("fewbit backends install cpu"), "{reason}");

    let bert = project("engine/tests/fixtures/reference/bert");
    let cell = verify(&bert, "native:ort-migraphx", empty.path());
    assert_eq!(cell["outcome"], "unavailable", "{cell}");
    let reason = cell["reason"].as_str().unwrap();
    assert!(
        reason.contains("fewbit backends install migraphx"),
        "{reason}"
    );
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io::{BufRead, BufReader, Write};
    use std::process::Stdio;

    use super::*;

    #[test]
    fn what_is_no_library_is_unavailable_in_the_loader_s_words() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("libonnxruntime.so"), "text").unwrap();
        let row = listed("native:ort-cpu", folder.path());
        assert_eq!(row["outcome"], "unavailable");
        let reason = row["reason"].as_str().unwrap();
        assert!(reason.contains("libonnxruntime.so"), "{reason}");
        assert!(
            reason.contains("file too short") || reason.contains("invalid ELF"),
            "{reason}"
        );
    }

    /// A library that ends the process that loads it.
    #[test]
    fn a_library_that_crashes_is_unavailable_and_the_host_lives_on() {
        let folder = tempfile::tempdir().unwrap();
        let source = folder.path().join("crash.c");
        let code = "__attribute__((constructor)) static void f(void) { *(volatile int *)0 = 1; }\n";
        std::fs::write(&source, code).unwrap();
        let built = Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .arg(folder.path().join("libonnxruntime.so"))
            .arg(&source)
            .status();
        if !built.is_ok_and(|status| status.success()) {
            println!("a_library_that_crashes: skipped: no C compiler `cc`");
            return;
        }
        let row = listed("native:ort-cpu", folder.path());
        assert_eq!(row["outcome"], "unavailable");
        let reason = row["reason"].as_str().unwrap();
        assert!(reason.contains("SIGSEGV"), "{reason}");
        let bert = project("engine/tests/fixtures/reference/bert");
        let cell = verify(&bert, "native:ort-openvino", folder.path());
        assert_eq!(cell["outcome"], "unavailable", "{cell}");
        assert!(
            cell["reason"].as_str().unwrap().contains("SIGSEGV"),
            "{cell}"
        );
    }

    /// A provider that the library has not is not silently the CPU.
    #[test]
    fn a_provider_that_the_library_has_not_is_unavailable() {
        let what = "a_provider_that_the_library_has_not_is_unavailable";
        let Some(libraries) = libraries(what, "cpu") else {
            return;
        };
        for target in [
            "native:ort-openvino",
            "native:ort-cuda",
            "native:ort-tensorrt",
        ] {
            let row = listed(target, &libraries);
            assert_eq!(row["outcome"], "unavailable", "{row}");
            assert!(!row["reason"].as_str().unwrap().is_empty());
        }
        let row = listed("native:ort-cpu", &libraries);
        assert_eq!(row["outcome"], "pass", "{row}");
        assert!(row["version"].as_str().unwrap().starts_with("1."), "{row}");
    }

    #[test]
    fn a_child_ends_with_its_host() {
        let what = "a_child_ends_with_its_host";
        let Some(libraries) = libraries(what, "cpu") else {
            return;
        };
        let mut child = Command::new(env!("CARGO_BIN_EXE_fewbit"))
            .args(["__runner", "--provider", "ort-cpu", "--runtime"])
            .arg(libraries.join("libonnxruntime.so"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut ask = |line: &str| -> Value {
            writeln!(stdin, "{line}").unwrap();
            serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap()
        };
        let answer = ask("\"probe\"");
        assert!(answer["done"]["version"].is_string(), "{answer}");
        // What is no request is answered too.
        let answer = ask("{");
        assert_eq!(answer["failed"]["code"], "json", "{answer}");
        let answer = ask(r#"{"job":{"kind":"score","ids":[1,2]}}"#);
        assert_eq!(answer["failed"]["code"], "not_loaded", "{answer}");
        drop(stdin);
        assert!(child.wait().unwrap().success());
    }
}
