//! `cargo xtask setup`: what the machine lacks.

pub(crate) mod browsers;
pub(crate) mod duckdb;
pub(crate) mod models;
pub(crate) mod npm;
pub(crate) mod onnx;
pub(crate) mod rust;
pub(crate) mod shell;
pub(crate) mod system;

use anyhow::Result;

use crate::progress::Progress;
use crate::project::Project;

/// Everything that any other command would set up for itself.
pub(crate) fn everything(project: &Project, progress: &Progress) -> Result<()> {
    rust::wasm_target(project, progress)?;
    rust::std_source(project, progress)?;
    rust::cxx(project, progress)?;
    npm::node(project, progress)?;
    duckdb::library(project, progress)?;
    for folder in npm::FOLDERS {
        npm::ci(project, progress, folder)?;
    }
    models::package_clients(project, progress)?;
    onnx::all(project, progress);
    browsers::all(project, progress)?;
    progress.say("Set up. `cargo xtask demo` shows it, `cargo xtask test` tests it.");
    Ok(())
}
