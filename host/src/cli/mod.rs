//! The command line, one file a command.
//!
//! Exit codes: 0 all went well; 1 it ran and something did not hold or failed; 2 the command line was wrong.

#[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
mod attempt;
#[cfg(feature = "native")]
mod backends;
#[cfg(feature = "runners")]
mod bench;
#[cfg(feature = "results")]
mod compare;
#[cfg(feature = "native")]
mod conformance;
#[cfg(feature = "native")]
mod convert;
#[cfg(feature = "webdriver")]
mod demo;
#[cfg(feature = "webdriver")]
mod doctor;
#[cfg(feature = "results")]
mod export;
#[cfg(feature = "results")]
mod import;
#[cfg(feature = "native")]
mod inspect;
#[cfg(feature = "runners")]
mod kept;
#[cfg(feature = "runners")]
mod launch;
#[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
mod matrix;
#[cfg(feature = "runners")]
mod measured;
mod models;
#[cfg(feature = "media")]
mod preprocess;
mod progress;
#[cfg(feature = "results")]
mod query;
#[cfg(feature = "results")]
mod report;
#[cfg(feature = "results")]
mod repro;
#[cfg(feature = "runners")]
mod run;
#[cfg(feature = "native")]
mod runner;
#[cfg(feature = "runners")]
mod score;
mod serve;
#[cfg(feature = "runners")]
mod transcribe;
#[cfg(feature = "runners")]
mod turn;
#[cfg(feature = "runners")]
mod verify;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

/// Transformer models at few bits per weight, in any browser and natively.
#[derive(Parser)]
#[command(name = "fewbit", version, about, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Models(models::Models),
    #[cfg(feature = "native")]
    Convert(convert::Convert),
    #[cfg(feature = "media")]
    Preprocess(preprocess::Preprocess),
    #[cfg(feature = "runners")]
    Run(Box<run::Run>),
    #[cfg(feature = "runners")]
    Verify(verify::Verify),
    #[cfg(feature = "runners")]
    Score(score::Score),
    #[cfg(feature = "runners")]
    Bench(bench::Bench),
    #[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
    Matrix(matrix::Matrix),
    /// Run one attempt of `matrix` that is told on standard input.
    #[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
    #[command(hide = true)]
    Attempt,
    #[cfg(feature = "native")]
    Backends(backends::Backends),
    #[cfg(feature = "native")]
    Conformance(conformance::Conformance),
    #[cfg(feature = "results")]
    Import(import::Import),
    #[cfg(feature = "results")]
    Query(query::Query),
    #[cfg(feature = "results")]
    Compare(compare::Compare),
    #[cfg(feature = "results")]
    Export(export::Export),
    #[cfg(feature = "results")]
    Report(report::Report),
    #[cfg(feature = "results")]
    Repro(repro::Repro),
    #[cfg(feature = "native")]
    #[command(name = "__runner", hide = true)]
    Runner(runner::RunnerArgs),
    /// Find out which browsers, drivers, adapters and features this machine has, by starting each.
    #[cfg(feature = "webdriver")]
    Doctor(doctor::DoctorArgs),
    /// Show the demo page in a headless browser: stream an answer, save a picture, tell the times.
    #[cfg(feature = "webdriver")]
    Demo(demo::DemoArgs),
}

/// Parses the command line and runs the command.
pub fn main() -> ExitCode {
    quiet_graphics();
    let result = match Cli::parse().command {
        Command::Serve(command) => on_runtime(command.run()),
        Command::Models(command) => command.run(),
        #[cfg(feature = "native")]
        Command::Convert(command) => command.run(),
        #[cfg(feature = "media")]
        Command::Preprocess(command) => command.run(),
        #[cfg(feature = "runners")]
        Command::Run(command) => on_runtime(command.run()),
        #[cfg(feature = "runners")]
        Command::Verify(command) => on_runtime(command.run()),
        #[cfg(feature = "runners")]
        Command::Score(command) => on_runtime(command.run()),
        #[cfg(feature = "runners")]
        Command::Bench(command) => on_runtime(command.run()),
        #[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
        Command::Matrix(command) => on_runtime(command.run()),
        #[cfg(all(feature = "native", feature = "webdriver", feature = "results"))]
        Command::Attempt => on_runtime(attempt::run()),
        #[cfg(feature = "native")]
        Command::Backends(command) => on_runtime(command.run()),
        #[cfg(feature = "native")]
        Command::Conformance(command) => on_runtime(command.run()),
        #[cfg(feature = "results")]
        Command::Import(command) => command.run(),
        #[cfg(feature = "results")]
        Command::Query(command) => command.run(),
        #[cfg(feature = "results")]
        Command::Compare(command) => command.run(),
        #[cfg(feature = "results")]
        Command::Export(command) => command.run(),
        #[cfg(feature = "results")]
        Command::Report(command) => command.run(),
        #[cfg(feature = "results")]
        Command::Repro(command) => command.run(),
        #[cfg(feature = "native")]
        Command::Runner(command) => on_runtime(command.run()),
        #[cfg(feature = "webdriver")]
        Command::Demo(command) => on_runtime(demo::run(command)),
        #[cfg(feature = "webdriver")]
        Command::Doctor(command) => on_runtime(async {
            let pages = serve::for_runs(None).await?;
            doctor::run(command, &format!("{}/runner", pages.url())).await
        }),
    };
    result.unwrap_or_else(|error| {
        eprintln!("fewbit: {error:#}");
        ExitCode::FAILURE
    })
}

/// Mesa complains on standard error, for each adapter it looks for, where this variable of desktop sessions is missing.
fn quiet_graphics() {
    #[cfg(target_os = "linux")]
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: the first thing the program does, before there is another thread.
        unsafe { std::env::set_var("XDG_RUNTIME_DIR", std::env::temp_dir()) };
    }
}

fn on_runtime(command: impl Future<Output = anyhow::Result<ExitCode>>) -> anyhow::Result<ExitCode> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("cannot start the async runtime")?;
    let result = runtime.block_on(command);
    // A download that a page began must not keep the command alive.
    runtime.shutdown_background();
    result
}
