//! ONNX's own checker, which is Python.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Checks a file with all that the checker can look at, shapes included; fails with what it says.
const SCRIPT: &str =
    "import sys, onnx; [onnx.checker.check_model(path, full_check=True) for path in sys.argv[1:]]";

/// Python with the package `onnx`: the one that setup put beside the builds, or the system's own.
fn python() -> Option<Command> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/onnx-checker");
    let with = |folder: Option<&Path>| {
        let mut command = Command::new("python3");
        command.envs(folder.map(|folder| ("PYTHONPATH", folder)));
        command
    };
    [Some(own.as_path()), None].into_iter().find_map(|folder| {
        let has = with(folder).args(["-c", "import onnx"]).output();
        has.is_ok_and(|output| output.status.success())
            .then(|| with(folder))
    })
}

/// Has the checker look at all files; says so where there is none.
pub(crate) fn check(what: &str, files: &[PathBuf]) {
    let Some(mut python) = python() else {
        println!("{what}: skipped: no Python with the package onnx; `cargo xtask setup` gets it");
        return;
    };
    let output = python.arg("-c").arg(SCRIPT).args(files).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{what}: {said}");
}
