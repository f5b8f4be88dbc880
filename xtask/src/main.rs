//! `cargo xtask setup|build|demo|test|package|bench-peers`: what a fresh machine needs, and what is built from it.
//!
//! Each command first sets up what it needs itself, so that nobody has to know an order. What is up to
//! date is left alone: a second run does nothing twice.

mod build;
mod demo;
mod package;
mod peers;
mod process;
mod progress;
mod project;
mod setup;
mod stamp;
mod test;
mod weigh;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

use crate::progress::Progress;
use crate::project::Project;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    about = "Sets up, builds, shows and tests fewbit"
)]
struct Cli {
    #[command(subcommand)]
    command: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Install what the builds and the tests need: toolchain, browsers, drivers, npm packages, libraries.
    Setup,
    /// Build the npm package into dist/web and the command into target/release/fewbit.
    Build(build::Args),
    /// Show it: build the least, download the model, open the page.
    Demo(demo::Args),
    /// Run the tests: first what needs no browser, then the browsers.
    Test(test::Args),
    /// Make the npm package's tarball in dist/, and say what a page downloads of it.
    Package(package::Args),
    /// Measure fewbit against other packages, in turn in one browser.
    BenchPeers(peers::Args),
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let project = Project::locate()?;
    let progress = Progress::new();
    match &cli.command {
        Task::Setup => setup::everything(&project, &progress),
        Task::Build(args) => build::run(&project, &progress, args),
        Task::Demo(args) => demo::run(&project, &progress, args),
        Task::Test(args) => test::run(&project, &progress, args),
        Task::Package(args) => package::run(&project, &progress, args),
        Task::BenchPeers(args) => peers::run(&project, &progress, args),
    }
}
