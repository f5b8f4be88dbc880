//! `cargo xtask package`: the npm package as a tarball, and what a page downloads of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{wasm, web};
use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::npm;

/// What a page may download before the model, with brotli: JavaScript and one wasm variant.
const CORE_LIMIT: u64 = 1_000_000;
/// What it may download more when a task first takes a picture or a sound, with brotli.
const MEDIA_LIMIT: u64 = 500_000;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Weigh the packages people use instead, too (downloads them from npm).
    #[arg(long)]
    peers: bool,
}

struct Size {
    path: String,
    raw: u64,
    gzip: u64,
    brotli: u64,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    let variants = wasm::choose(&[])?;
    let modules: Vec<_> = variants.iter().copied().chain([wasm::MEDIA]).collect();
    wasm::build(project, progress, &modules, wasm::Optimize::Yes)?;
    web::build(project, progress)?;
    let dist = project.dist_web();
    let tarball = pack(project, progress)?;

    let step = progress.step("weigh the files");
    let mut files = Vec::new();
    collect(&dist, &mut files)?;
    let sizes = weigh(&dist, &files)?;
    step.done();
    println!("{:>9} {:>9} {:>9}  file", "raw", "gzip", "brotli");
    for size in &sizes {
        print_size(size, &size.path);
    }
    for variant in &variants {
        let core = core_of(&sizes, variant.name);
        print_size(&core, &core.path);
        if core.brotli > CORE_LIMIT {
            bail!(
                "a page downloads {} bytes with brotli before the model; the limit is {CORE_LIMIT}",
                core.brotli
            );
        }
    }
    let media = wasm_of(&sizes, wasm::MEDIA.name);
    print_size(&media, &media.path);
    if media.brotli > MEDIA_LIMIT {
        bail!(
            "the module of codecs has {} bytes with brotli; the limit is {MEDIA_LIMIT}",
            media.brotli
        );
    }
    if args.peers {
        weigh_peers(project, progress)?;
    }
    println!("{}", project.shown(&tarball));
    Ok(())
}

/// All JavaScript, and the one wasm variant a page takes.
fn core_of(sizes: &[Size], variant: &str) -> Size {
    let folder = format!("wasm/{variant}/");
    sum(&format!("core download ({variant})"), sizes, |path| {
        !path.starts_with("wasm/") || path.starts_with(&folder)
    })
}

/// One wasm module with its JavaScript.
fn wasm_of(sizes: &[Size], variant: &str) -> Size {
    let folder = format!("wasm/{variant}/");
    sum(&format!("module {variant}"), sizes, |path| {
        path.starts_with(&folder)
    })
}

fn sum(name: &str, sizes: &[Size], belongs: impl Fn(&str) -> bool) -> Size {
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

fn print_size(size: &Size, name: &str) {
    println!(
        "{:>9} {:>9} {:>9}  {name}",
        size.raw, size.gzip, size.brotli
    );
}

/// `npm pack` of `dist/web` into `dist`.
fn pack(project: &Project, progress: &Progress) -> Result<PathBuf> {
    let step = progress.step("npm pack");
    let dist = project.root().join("dist");
    process::run(
        project,
        &step,
        "npm-pack",
        npm::command(&project.dist_web())?
            .args(["pack", "--ignore-scripts", "--pack-destination"])
            .arg(&dist),
        Duration::from_secs(120),
    )?;
    let description = fs::read_to_string(project.dist_web().join("package.json"))
        .context("read dist/web/package.json")?;
    let description: Value =
        serde_json::from_str(&description).context("read dist/web/package.json")?;
    let field = |name: &str| description[name].as_str().unwrap_or_default().to_owned();
    let tarball = dist.join(format!("{}-{}.tgz", field("name"), field("version")));
    if !tarball.is_file() {
        bail!("npm pack left no {}", project.shown(&tarball));
    }
    step.done();
    Ok(tarball)
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

fn weigh(root: &Path, files: &[PathBuf]) -> Result<Vec<Size>> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("npm/sizes.mjs");
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

/// What a page downloads of other packages before a model, by the files listed in `npm/peers.json`.
fn weigh_peers(project: &Project, progress: &Progress) -> Result<()> {
    let list = project.root().join("xtask/npm/peers.json");
    let list = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let list: Vec<Value> = serde_json::from_str(&list).context("read xtask/npm/peers.json")?;
    let mut folders = BTreeMap::new();
    for peer in &list {
        let mut files = Vec::new();
        for file in peer["files"].as_array().into_iter().flatten() {
            let package = file["package"].as_str().context("a peer's package")?;
            if !folders.contains_key(package) {
                folders.insert(package.to_owned(), unpack(project, progress, package)?);
            }
            files.push(folders[package].join(file["path"].as_str().context("a peer's path")?));
        }
        let sizes = weigh(project.root(), &files)?;
        let sum = |of: fn(&Size) -> u64| sizes.iter().map(of).sum::<u64>();
        println!(
            "{:>9} {:>9} {:>9}  {}",
            sum(|size| size.raw),
            sum(|size| size.gzip),
            sum(|size| size.brotli),
            peer["name"].as_str().unwrap_or_default()
        );
    }
    Ok(())
}

/// An npm package's files, without running anything of it.
fn unpack(project: &Project, progress: &Progress, package: &str) -> Result<PathBuf> {
    let name: String = package
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let folder = project.own().join("peers").join(name);
    let unpacked = folder.join("package");
    if unpacked.is_dir() {
        return Ok(unpacked);
    }
    let step = progress.step(format!("download {package}"));
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    process::run(
        project,
        &step,
        "peer-pack",
        npm::command(&folder)?.args(["pack", "--ignore-scripts", package]),
        Duration::from_secs(300),
    )?;
    let archive = npm::only_archive(&folder)?;
    process::run(
        project,
        &step,
        "peer-unpack",
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(&folder),
        Duration::from_secs(120),
    )?;
    step.done();
    Ok(unpacked)
}
