//! ONNX Runtime's library and ONNX's checker, with which the tests of exported models hold them: both from their PyPI
//! packages. Without them those tests say `skipped`, so that nothing here has to succeed.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};
use crate::stamp::{Inputs, Stamp};

/// The release that the tests are made with.
const RUNTIME: &str = "onnxruntime==1.32.0";
const CHECKER: &str = "onnx==1.23.2";

const LIMIT: Duration = Duration::from_secs(300);

/// A platform ONNX Runtime builds a wheel for.
struct Wheel {
    platform: &'static str,
    /// The library's name in the wheel begins so; the version follows on some platforms.
    library: &'static str,
    /// Of the wheel; where it is not known yet, pip's own check against the registry holds.
    sha256: Option<&'static str>,
}

fn wheel() -> Option<Wheel> {
    let (platform, library, sha256) = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => (
            "manylinux_2_28_x86_64",
            "libonnxruntime.so",
            Some(LINUX_X64),
        ),
        ("linux", "aarch64") => ("manylinux_2_28_aarch64", "libonnxruntime.so", None),
        ("macos", "aarch64") => ("macosx_14_0_arm64", "libonnxruntime.", None),
        ("windows", "x86_64") => ("win_amd64", "onnxruntime.dll", None),
        _ => return None,
    };
    Some(Wheel {
        platform,
        library,
        sha256,
    })
}

const LINUX_X64: &str = "99e1074c4b2197accd5073052a465361be17b89c093b8ffb6e6bd8f986c52df8";

/// Puts both in place, or says what is missing.
pub(crate) fn all(project: &Project, progress: &Progress) {
    for (what, result) in [
        ("ONNX Runtime", runtime(project, progress)),
        ("ONNX's checker", checker(project, progress)),
    ] {
        if let Err(error) = result {
            progress.say(format!(
                "{what} is not here, and the tests with it will say `skipped`: {error:#}"
            ));
        }
    }
}

/// Puts the library into `target/onnxruntime`.
fn runtime(project: &Project, progress: &Progress) -> Result<()> {
    let Some(wheel) = wheel() else {
        bail!(
            "there is no wheel for {} {}; set ORT_DYLIB_PATH to the library",
            env::consts::OS,
            env::consts::ARCH
        );
    };
    let inputs = Inputs::new().text(RUNTIME).text(wheel.platform);
    let stamp = Stamp::new(project, "onnxruntime", inputs);
    let folder = project.root().join("target/onnxruntime");
    let library = folder.join(format!(
        "{}onnxruntime{}",
        env::consts::DLL_PREFIX,
        env::consts::DLL_SUFFIX
    ));
    if stamp.holds(&library) {
        return Ok(());
    }
    let step = progress.step(format!("ONNX Runtime's library ({RUNTIME})"));
    let staging = project.own().join("onnxruntime");
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    }
    fs::create_dir_all(&staging).with_context(|| format!("create {}", staging.display()))?;
    let python = python()?;
    // The wheels of all Pythons hold the same library: one of them is named, so that its sum is known.
    let mut download = pip(&python, "download");
    download
        .args([
            "--python-version=3.12",
            "--implementation=cp",
            "--abi=cp312",
        ])
        .arg(format!("--platform={}", wheel.platform))
        .args(["--no-deps", "--dest"])
        .arg(&staging)
        .arg(RUNTIME);
    process::run(project, &step, "onnxruntime-download", &mut download, LIMIT)?;
    let archive = only(&staging, |name| name.ends_with(".whl"))?;
    if let Some(expected) = wheel.sha256 {
        let bytes = fs::read(&archive).with_context(|| format!("read {}", archive.display()))?;
        let found: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if found != expected {
            bail!("{RUNTIME}: sha256 {found}, expected {expected}");
        }
    }
    step.now("unpacking");
    let unpacked = staging.join("unpacked");
    let mut unpack = Command::new(&python);
    unpack
        .args(["-m", "zipfile", "-e"])
        .arg(&archive)
        .arg(&unpacked);
    process::run(project, &step, "onnxruntime-unpack", &mut unpack, LIMIT)?;
    let found = only(&unpacked.join("onnxruntime/capi"), |name| {
        name.starts_with(wheel.library)
    })?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::rename(&found, &library).with_context(|| format!("move to {}", library.display()))?;
    fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    stamp.set()?;
    step.done();
    Ok(())
}

/// Puts the package `onnx` and what it needs into `target/onnx-checker`, a folder for `PYTHONPATH`.
fn checker(project: &Project, progress: &Progress) -> Result<()> {
    let folder = project.root().join("target/onnx-checker");
    let stamp = Stamp::new(project, "onnx-checker", Inputs::new().text(CHECKER));
    if stamp.holds(&folder) {
        return Ok(());
    }
    let step = progress.step(format!("ONNX's checker ({CHECKER})"));
    if folder.exists() {
        fs::remove_dir_all(&folder).with_context(|| format!("remove {}", folder.display()))?;
    }
    let mut install = pip(&python()?, "install");
    install
        // A folder of ours is no environment of the system's, but older pips refuse it all the same.
        .env("PIP_BREAK_SYSTEM_PACKAGES", "1")
        .arg("--target")
        .arg(&folder)
        .arg(CHECKER);
    process::run(project, &step, "onnx-checker", &mut install, LIMIT)?;
    stamp.set()?;
    step.done();
    Ok(())
}

fn python() -> Result<PathBuf> {
    let names = ["python3", "python"].into_iter();
    names
        .filter_map(find_program)
        .next()
        .context("there is no Python 3 with pip")
}

fn pip(python: &Path, verb: &str) -> Command {
    let mut command = Command::new(python);
    command.args(["-m", "pip", verb, "--only-binary=:all:"]);
    command.args([
        "--disable-pip-version-check",
        "--no-input",
        "--progress-bar=off",
    ]);
    command
}

/// The one file of a folder whose name is `wanted`.
fn only(folder: &Path, wanted: impl Fn(&str) -> bool) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", folder.display()))?;
        if entry.file_name().to_str().is_some_and(&wanted) {
            return Ok(entry.path());
        }
    }
    bail!("{} has not what was looked for", folder.display())
}
