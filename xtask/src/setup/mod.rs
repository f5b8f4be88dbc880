//! `cargo xtask setup`: what the machine lacks.

pub(crate) mod duckdb;
pub(crate) mod npm;

use anyhow::Result;

use crate::progress::Progress;
use crate::project::Project;

pub(crate) fn everything(project: &Project, progress: &Progress) -> Result<()> {
    duckdb::library(project, progress)?;
    npm::wasm_opt(project, progress)?;
    Ok(())
}
