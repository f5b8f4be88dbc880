//! The wasm variants: compile, bind, optimize, into `dist/web/wasm/VARIANT/`.
//!
//! Relaxed SIMD and threads cannot be probed inside one module, so there is a module for each set of
//! features and the page chooses by validating a few bytes of wasm.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::build::cargo;
use crate::process;
use crate::progress::Progress;
use crate::project::{Project, executable};
use crate::setup::rust;
use crate::stamp::{Inputs, Stamp};

/// A wasm module: a crate, and one set of wasm features.
pub(crate) struct Variant {
    pub(crate) name: &'static str,
    /// The crate, with `_` for `-` as its file has.
    package: &'static str,
    /// The name of the files a page loads: `NAME.js` and `NAME_bg.wasm`.
    out_name: &'static str,
    target_features: &'static str,
    /// The crate's cargo features instead of the default ones.
    features: Option<&'static str>,
    /// Shared memory and atomics: the standard library has to be compiled along.
    threads: bool,
}

const RUNTIME: (&str, &str) = ("fewbit_runtime_wasm", "fewbit_runtime");

/// The codecs and preprocessing of pictures and sound, which a page loads when a task needs them. It runs once an
/// input: one variant does, with what all browsers have.
pub(crate) const MEDIA: &Variant = &Variant {
    name: "media",
    package: "fewbit_media_wasm",
    out_name: "fewbit_media",
    target_features: "+simd128",
    features: None,
    threads: false,
};

/// The importer of ONNX files, which a page loads when a model comes as one.
pub(crate) const ONNX: &Variant = &Variant {
    name: "onnx",
    package: "fewbit_onnx_wasm",
    out_name: "fewbit_onnx",
    target_features: "+simd128",
    features: None,
    threads: false,
};

/// The runtime for a browser's WebNN, which has no GPU code. It is loaded instead of the other variants.
pub(crate) const WEBNN: &Variant = &Variant {
    name: "webnn",
    package: RUNTIME.0,
    out_name: RUNTIME.1,
    target_features: "+simd128",
    features: Some("webnn"),
    threads: false,
};

/// WebNN's graph builder for pages in browsers that have none.
pub(crate) const WEBNN_BUILDER: &Variant = &Variant {
    name: "webnn-builder",
    package: "fewbit_webnn_wasm",
    out_name: "fewbit_webnn",
    target_features: "+simd128",
    features: None,
    threads: false,
};

/// The modules beside the usual runtime, each loaded when it is first needed.
pub(crate) const MODULES: [&Variant; 4] = [MEDIA, ONNX, WEBNN, WEBNN_BUILDER];

/// Every variant of the runtime, the most widely supported first.
pub(crate) const VARIANTS: &[Variant] = &[
    Variant {
        name: "simd",
        package: RUNTIME.0,
        out_name: RUNTIME.1,
        target_features: "+simd128",
        features: None,
        threads: false,
    },
    Variant {
        name: "relaxed",
        package: RUNTIME.0,
        out_name: RUNTIME.1,
        target_features: "+simd128,+relaxed-simd",
        features: None,
        threads: false,
    },
    Variant {
        name: "threads",
        package: RUNTIME.0,
        out_name: RUNTIME.1,
        target_features: "+simd128,+relaxed-simd,+atomics,+bulk-memory",
        features: None,
        threads: true,
    },
];

/// What the linker must be told for a module whose memory several workers share; wasm-bindgen wants the
/// symbols of thread-local storage.
const SHARED_MEMORY: &[&str] = &[
    "-Clink-arg=--shared-memory",
    "-Clink-arg=--import-memory",
    "-Clink-arg=--max-memory=4294967296",
    "-Clink-arg=--export=__wasm_init_tls",
    "-Clink-arg=--export=__tls_size",
    "-Clink-arg=--export=__tls_align",
    "-Clink-arg=--export=__tls_base",
];

/// LLVM's loop strength reduction rewrites the addresses of a loop so that they no longer provably stay inside 32 bits;
/// the constant parts then cannot go into the load instructions and each load of an inner loop takes an addition of
/// its own. Without the pass the f32 product runs at 61 GFLOP/s instead of 41 in Chromium, and modules are smaller.
const KEEP_ADDRESSES: &str = "-Cllvm-args=-disable-lsr";

impl Variant {
    /// Build scripts look at `RUSTC_BOOTSTRAP` and would undo one another's work in one folder.
    fn target(&self, project: &Project) -> PathBuf {
        if self.threads {
            project.target().join("wasm-threads")
        } else {
            project.target().to_path_buf()
        }
    }

    /// Cargo's arguments and rustc's flags that make the variant.
    fn apply(&self, command: &mut Command) {
        let mut flags = format!("-Ctarget-feature={} {KEEP_ADDRESSES}", self.target_features);
        if self.threads {
            for flag in SHARED_MEMORY {
                flags.push(' ');
                flags.push_str(flag);
            }
            // `-Z` is refused by a stable toolchain without this.
            command
                .env("RUSTC_BOOTSTRAP", "1")
                .arg("-Zbuild-std=std,panic_abort");
        }
        // A user's own flags for native code have no meaning here, and would hide ours.
        command
            .env_remove("CARGO_ENCODED_RUSTFLAGS")
            .env("RUSTFLAGS", flags);
    }
}

/// The variants called `names`, or all of the runtime where none is named.
pub(crate) fn choose(names: &[String]) -> Result<Vec<&'static Variant>> {
    if names.is_empty() {
        return Ok(VARIANTS.iter().collect());
    }
    names
        .iter()
        .map(|name| {
            let all = || VARIANTS.iter().chain(MODULES);
            all()
                .find(|variant| variant.name == *name)
                .with_context(|| {
                    let known: Vec<_> = all().map(|variant| variant.name).collect();
                    format!("no wasm variant `{name}`: there are {}", known.join(", "))
                })
        })
        .collect()
}

/// The variants with one thread, which is what the comparison with other packages uses.
pub(crate) fn single_threaded() -> Vec<&'static Variant> {
    VARIANTS.iter().filter(|variant| !variant.threads).collect()
}

pub(crate) fn build(project: &Project, progress: &Progress, variants: &[&Variant]) -> Result<()> {
    rust::wasm_target(project, progress)?;
    if variants.iter().any(|variant| variant.threads) {
        rust::std_source(project, progress)?;
    }
    let bindgen = build_bindgen(project, progress)?;
    for variant in variants {
        let module = compile(project, progress, variant)?;
        bind(project, progress, variant, &module, &bindgen)?;
    }
    sources(project)
}

/// Folders whose files decide what a browser computes.
const SOURCES: [&str; 7] = [
    "kernels/src",
    "engine/src",
    "shaders",
    "runtime-wasm/src",
    "wasm-boundary/src",
    "media/src",
    "web/src",
];

/// Keeps the sums of what the modules were built from beside them, in `dist/sources.json`, for `fewbit matrix`: path in the
/// project to the first 16 digits of its SHA-256. Tests and what they read are left out.
fn sources(project: &Project) -> Result<()> {
    let mut sums = BTreeMap::new();
    for folder in SOURCES {
        collect(project.root(), &project.root().join(folder), &mut sums)?;
    }
    let path = project.dist_web().with_file_name("sources.json");
    let json = serde_json::to_vec_pretty(&sums).context("sums as JSON")?;
    fs::write(&path, json).with_context(|| format!("write {}", path.display()))
}

fn collect(root: &Path, folder: &Path, sums: &mut BTreeMap<String, String>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        if path.is_dir() {
            if !["tests", "fixtures", "suite", "target", "benches"].contains(&name.as_ref()) {
                collect(root, &path, sums)?;
            }
        } else if [".rs", ".wgsl", ".ts"]
            .iter()
            .any(|end| name.ends_with(end))
            && name != "tests.rs"
        {
            let bytes = fs::read(&path).with_context(|| format!("read {}", path.display()))?;
            let sum = Sha256::digest(&bytes);
            let sum = sum.iter().take(8).map(|byte| format!("{byte:02x}"));
            let inside = path.strip_prefix(root).unwrap_or(&path);
            sums.insert(inside.to_string_lossy().replace('\\', "/"), sum.collect());
        }
    }
    Ok(())
}

/// The module cargo makes of the crate, before its bindings.
fn compile(project: &Project, progress: &Progress, variant: &Variant) -> Result<PathBuf> {
    let step = progress.step(format!("wasm {}: compile", variant.name));
    let mut command = cargo::command(project);
    command
        .args(["build", "--profile", "wasm"])
        .args(["-p", &variant.package.replace('_', "-")])
        .args(["--target", "wasm32-unknown-unknown"]);
    let target = variant.target(project);
    command.arg("--target-dir").arg(&target);
    if let Some(features) = variant.features {
        command.args(["--no-default-features", "--features", features]);
    }
    variant.apply(&mut command);
    process::run(
        project,
        &step,
        &format!("wasm-{}", variant.name),
        &mut command,
        Duration::from_secs(30 * 60),
    )?;
    let module = target
        .join("wasm32-unknown-unknown/wasm")
        .join(format!("{}.wasm", variant.package));
    if !module.is_file() {
        bail!("cargo ended well but left no {}", project.shown(&module));
    }
    step.done();
    Ok(module)
}

/// Bindings, only where the module differs from the last time. There is no `wasm-opt` after them: it made modules
/// larger with brotli, and no faster.
fn bind(
    project: &Project,
    progress: &Progress,
    variant: &Variant,
    module: &Path,
    bindgen: &Path,
) -> Result<()> {
    let out = project.dist_web().join("wasm").join(variant.name);
    let wasm = out.join(format!("{}_bg.wasm", variant.out_name));
    let inputs = Inputs::new().file(module)?.file(bindgen)?;
    let stamp = Stamp::new(project, &format!("wasm-{}", variant.name), inputs);
    if stamp.holds(&wasm) {
        return Ok(());
    }

    let step = progress.step(format!("wasm {}: bindings", variant.name));
    let staging = project.own().join("bindgen").join(variant.name);
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    }
    process::run(
        project,
        &step,
        &format!("bindgen-{}", variant.name),
        Command::new(bindgen)
            .arg(module)
            .arg(&staging)
            .arg(variant.out_name),
        Duration::from_secs(600),
    )?;
    if out.exists() {
        fs::remove_dir_all(&out).with_context(|| format!("remove {}", out.display()))?;
    }
    copy_tree(&staging, &out)?;
    stamp.set()?;
    let bytes = fs::metadata(&wasm)
        .with_context(|| format!("look at {}", wasm.display()))?
        .len();
    step.done_with(&format!("{} kB", bytes / 1000));
    Ok(())
}

/// Builds wasm-bindgen's command and says where it is.
pub(crate) fn build_bindgen(project: &Project, progress: &Progress) -> Result<PathBuf> {
    let step = progress.step("wasm-bindgen of the locked version");
    process::run(
        project,
        &step,
        "xtask-bindgen",
        cargo::command(project).args(["build", "--profile", "xtask", "-p", "xtask-bindgen"]),
        Duration::from_secs(15 * 60),
    )?;
    step.done();
    Ok(project
        .target()
        .join("xtask")
        .join(executable("xtask-bindgen")))
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("create {}", to.display()))?;
    let entries = fs::read_dir(from).with_context(|| format!("list {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("list {}", from.display()))?;
        let (source, destination) = (entry.path(), to.join(entry.file_name()));
        if source.is_dir() {
            copy_tree(&source, &destination)?;
        } else {
            fs::copy(&source, &destination)
                .with_context(|| format!("copy to {}", destination.display()))?;
        }
    }
    Ok(())
}
