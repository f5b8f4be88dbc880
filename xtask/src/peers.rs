//! `cargo xtask bench-peers`: fewbit and the packages people use instead, in turn in one browser.

use std::ffi::OsString;

use anyhow::{Result, bail};

use crate::build::{cargo, wasm, web};
use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::{browsers, duckdb, npm, shell};

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Given to the benchmark, such as `--only embed --rounds 2`; `-- --help` shows all that it knows.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    benchmark: Vec<OsString>,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    if !project
        .root()
        .join("browser-tests/package-lock.json")
        .is_file()
    {
        bail!("browser-tests has no package-lock.json: there are no peers to measure");
    }
    browsers::chromium(project, progress)?;
    shell::install(project, progress);
    duckdb::library(project, progress)?;
    npm::ci(project, progress, "browser-tests")?;
    let mut variants = wasm::single_threaded();
    variants.push(wasm::WEBNN);
    wasm::build(project, progress, &variants)?;
    web::build(project, progress)?;
    // The profile of the tests: what is measured runs in the browser.
    let mut bench = cargo::command(project);
    bench
        .args(["run", "-p", "fewbit-browser-tests"])
        .args(["--bin", "bench-peers", "--"])
        .args(&args.benchmark);
    process::run_in_front(&mut bench)
}
