//! The command `fewbit`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use crate::build::cargo;
use crate::process;
use crate::progress::Progress;
use crate::project::{Project, executable};
use crate::setup::duckdb;

/// `target/release/fewbit`, with everything in it.
pub(crate) fn command(project: &Project, progress: &Progress) -> Result<PathBuf> {
    duckdb::library(project, progress)?;
    let step = progress.step("the command fewbit");
    process::run(
        project,
        &step,
        "host",
        cargo::command(project).args(["build", "--release", "-p", "fewbit-host"]),
        Duration::from_secs(45 * 60),
    )?;
    let command = project.target().join("release").join(executable("fewbit"));
    step.done_with(&project.shown(&command).to_string());
    Ok(command)
}
