//! `cargo xtask demo`: the shortest way from a fresh clone to a page that answers.
//!
//! Three things go on at once, as each leaves a core idle at times: the server and then the model it
//! downloads; one wasm variant; the page's JavaScript. The module of codecs is built while the page is open.

use std::path::PathBuf;
use std::process::Command;
use std::thread::{self, ScopedJoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, bail};
use clap::ValueEnum;

use crate::build::{cargo, wasm, web};
use crate::process;
use crate::progress::Progress;
use crate::project::{Project, executable};
use crate::setup::{browsers, models, npm};

/// The model that answers.
const MODEL: &str = "smollm2-135m-instruct";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Drive a headless Chromium instead of opening the page: stream tokens, save a screenshot, say the times.
    #[arg(long)]
    headless: bool,
    /// With `--headless`: where the page computes (default: what the page chooses).
    #[arg(long, value_enum, requires = "headless")]
    backend: Option<Backend>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Backend {
    Webgpu,
    Wasm,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    let started = Instant::now();
    npm::node(project, progress)?;
    if args.headless {
        browsers::chromium(project, progress)?;
    }
    let command = prepare(project, progress, args.headless)?;
    progress.say(format!(
        "ready after {:.1} s",
        started.elapsed().as_secs_f32()
    ));

    let mut serve = Command::new(command);
    serve.current_dir(project.root());
    if args.headless {
        serve.args(["demo", "--headless"]);
        match args.backend {
            Some(Backend::Webgpu) => serve.args(["--backend", "webgpu"]),
            Some(Backend::Wasm) => serve.args(["--backend", "wasm"]),
            None => &mut serve,
        };
        serve
            .arg("--screenshot")
            .arg(project.root().join("dist/demo.png"));
        return process::run_in_front(&mut serve);
    }
    serve.args(["serve", "--open"]);
    thread::scope(|scope| {
        // The pages of pictures and sound need one, ONNX files the other; the one that opens does not wait for them.
        scope.spawn(|| {
            if let Err(error) = wasm::build(project, progress, &wasm::MODULES) {
                progress.say(format!("no pictures, sound or ONNX files: {error:#}"));
            }
        });
        process::run_in_front(&mut serve)
    })
}

/// Builds and downloads what the page needs; returns the command that serves it.
fn prepare(project: &Project, progress: &Progress, headless: bool) -> Result<PathBuf> {
    // Safari has no relaxed SIMD, and is what a Mac opens by default.
    let variant = if cfg!(target_os = "macos") {
        "simd"
    } else {
        "relaxed"
    };
    let variants = wasm::choose(&[variant.to_owned()])?;
    thread::scope(|scope| {
        let server = scope.spawn(|| {
            let command = build_server(project, progress, headless)?;
            models::pull(project, progress, &command, MODEL)?;
            Ok(command)
        });
        let module = scope.spawn(|| wasm::build(project, progress, &variants));
        let page = scope.spawn(|| web::build(project, progress));
        let (server, module, page) = (joined(server), joined(module), joined(page));
        module?;
        page?;
        server
    })
}

fn joined<T>(handle: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    handle
        .join()
        .unwrap_or_else(|_| Err(anyhow!("a step of the demo panicked")))
}

/// The command without DuckDB and native targets, which a page does not need.
fn build_server(project: &Project, progress: &Progress, headless: bool) -> Result<PathBuf> {
    let step = progress.step("the server");
    let mut build = cargo::command(project);
    build.args(["build", "--profile", "demo", "-p", "fewbit-host"]);
    build.arg("--no-default-features");
    if headless {
        build.args(["--features", "webdriver"]);
    }
    process::run(
        project,
        &step,
        "demo-host",
        &mut build,
        Duration::from_secs(15 * 60),
    )?;
    let command = project.target().join("demo").join(executable("fewbit"));
    if !command.is_file() {
        bail!("cargo ended well but left no {}", project.shown(&command));
    }
    step.done();
    Ok(command)
}
