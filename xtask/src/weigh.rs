//! What a page downloads of the package, and what it may.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::wasm::{self, Variant};
use crate::process;
use crate::progress::Progress;
use crate::project::Project;

/// What a page may download before the model, with brotli: JavaScript and one wasm variant.
const CORE_LIMIT: u64 = 1_000_000;
/// What it may download more when a task first takes a picture or a sound, with brotli.
const MEDIA_LIMIT: u64 = 500_000;
/// What it may download more when a model comes as an ONNX file, with brotli.
const ONNX_LIMIT: u64 = 400_000;
/// What `fewbit/webnn` may download before its worker, with brotli.
const WEBNN_LIMIT: u64 = 250_000;

/// Bytes of a file, or of several together.
pub(crate) struct Size {
    path: String,
    raw: u64,
    gzip: u64,
    brotli: u64,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size {
            path,
            raw,
            gzip,
            brotli,
        } = self;
        write!(f, "{raw:>9} {gzip:>9} {brotli:>9}  {path}")
    }
}

/// What each file of `dist/web` weighs.
pub(crate) fn files_of(project: &Project, progress: &Progress) -> Result<Vec<Size>> {
    let step = progress.step("weigh the files");
    let dist = project.dist_web();
    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    let sizes = weigh(&dist, &files)?;
    step.done();
    Ok(sizes)
}

/// What a page downloads with each of the `modules`, or an error that names the one over its limit.
pub(crate) fn within_limits(sizes: &[Size], modules: &[&Variant]) -> Result<Vec<Size>> {
    let mut sums = Vec::new();
    for module in modules {
        let (sum, limit) = match module.name {
            name if name == wasm::MEDIA.name => (wasm_of(sizes, name), MEDIA_LIMIT),
            name if name == wasm::ONNX.name => (wasm_of(sizes, name), ONNX_LIMIT),
            name if name == wasm::WEBNN_BUILDER.name => (webnn_of(sizes), WEBNN_LIMIT),
            name => (core_of(sizes, name), CORE_LIMIT),
        };
        if sum.brotli > limit {
            bail!(
                "{}: {} bytes with brotli; the limit is {limit}",
                sum.path,
                sum.brotli
            );
        }
        sums.push(sum);
    }
    Ok(sums)
}

/// All JavaScript but that of another entry point, and the one wasm variant a page takes.
fn core_of(sizes: &[Size], variant: &str) -> Size {
    let folder = format!("wasm/{variant}/");
    sum(&format!("core download ({variant})"), sizes, |path| {
        !path.starts_with("wasm/") && !is_webnn(path) || path.starts_with(&folder)
    })
}

/// What the entry point `fewbit/webnn` adds.
fn webnn_of(sizes: &[Size]) -> Size {
    let folder = format!("wasm/{}/", wasm::WEBNN_BUILDER.name);
    sum("fewbit/webnn", sizes, |path| {
        is_webnn(path) || path.starts_with(&folder)
    })
}

fn is_webnn(path: &str) -> bool {
    path == "webnn.js" || path.starts_with("webnn/")
}

/// One wasm module with its JavaScript.
fn wasm_of(sizes: &[Size], variant: &str) -> Size {
    let folder = format!("wasm/{variant}/");
    sum(&format!("module {variant}"), sizes, |path| {
        path.starts_with(&folder)
    })
}

pub(crate) fn sum(name: &str, sizes: &[Size], belongs: impl Fn(&str) -> bool) -> Size {
    let mut sum = Size {
        path: name.to_owned(),
        raw: 0,
        gzip: 0,
        brotli: 0,
    };
    for size in sizes {
        let code = size.path.ends_with(".js") || size.path.ends_with(".wasm");
        if code && belongs(&size.path) {
            sum.raw += size.raw;
            sum.gzip += size.gzip;
            sum.brotli += size.brotli;
        }
    }
    sum
}

/// The files under `dir` that a page can load.
fn collect(dir: &Path, into: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("list {}", dir.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", dir.display()))?
            .path();
        let name = path.to_string_lossy();
        if path.is_dir() {
            collect(&path, into)?;
        } else if [".js", ".wasm", ".json"]
            .iter()
            .any(|end| name.ends_with(end))
        {
            into.push(path);
        }
    }
    into.sort();
    Ok(())
}

/// What each file weighs, named by its path under `root`.
pub(crate) fn weigh(root: &Path, files: &[PathBuf]) -> Result<Vec<Size>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/weigh/sizes.mjs");
    let output = process::output(Command::new("node").arg(script).args(files))
        .context("node could not weigh the files")?;
    output
        .lines()
        .map(|line| {
            let size: Value = serde_json::from_str(line).context("a line of sizes.mjs")?;
            let number = |name: &str| size[name].as_u64().context("a number of sizes.mjs");
            let path = Path::new(size["path"].as_str().unwrap_or_default());
            let path = path.strip_prefix(root).unwrap_or(path);
            Ok(Size {
                path: path.to_string_lossy().replace('\\', "/"),
                raw: number("raw")?,
                gzip: number("gzip")?,
                brotli: number("brotli")?,
            })
        })
        .collect()
}
