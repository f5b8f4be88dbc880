//! `cargo xtask package`: the npm package as a tarball, and what a page downloads of it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::build::{wasm, web};
use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::npm;
use crate::weigh;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Weigh the packages people use instead, too (downloads them from npm).
    #[arg(long)]
    peers: bool,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    let variants = wasm::choose(&[])?;
    let modules: Vec<_> = variants.iter().copied().chain(wasm::MODULES).collect();
    wasm::build(project, progress, &modules)?;
    web::build(project, progress)?;
    let tarball = pack(project, progress)?;

    let sizes = weigh::files_of(project, progress)?;
    println!("{:>9} {:>9} {:>9}  file", "raw", "gzip", "brotli");
    for size in &sizes {
        println!("{size}");
    }
    for sum in weigh::within_limits(&sizes, &modules)? {
        println!("{sum}");
    }
    if args.peers {
        weigh_peers(project, progress)?;
    }
    println!("{}", project.shown(&tarball));
    Ok(())
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

/// What a page downloads of other packages before a model, by the files listed in `src/weigh/peers.json`.
fn weigh_peers(project: &Project, progress: &Progress) -> Result<()> {
    let list = project.root().join("xtask/src/weigh/peers.json");
    let list = fs::read_to_string(&list).with_context(|| format!("read {}", list.display()))?;
    let list: Vec<Value> =
        serde_json::from_str(&list).context("read xtask/src/weigh/peers.json")?;
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
        let sizes = weigh::weigh(project.root(), &files)?;
        let name = peer["name"].as_str().unwrap_or_default();
        println!("{}", weigh::sum(name, &sizes, |_| true));
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
