//! npm packages: the ones this program uses, and `npm ci` where a folder has a lock file.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};
use crate::stamp::{Inputs, Stamp};

/// How long a download of packages may take.
const LIMIT: Duration = Duration::from_secs(300);

/// What to type where Node is missing.
pub(crate) const INSTALL_NODE: &str = if cfg!(target_os = "macos") {
    "brew install node"
} else if cfg!(windows) {
    "winget install OpenJS.NodeJS.LTS"
} else {
    "sudo apt-get install --no-install-recommends nodejs npm"
};

/// Whether both `node` and `npm` can be called.
pub(crate) fn available() -> bool {
    find_program("node").is_some() && find_program("npm").is_some()
}

/// `npm`, in `dir`.
pub(crate) fn command(dir: &Path) -> Result<Command> {
    let npm = find_program("npm").with_context(|| {
        format!("npm is not installed; type:\n\n    {INSTALL_NODE}\n\nand try again")
    })?;
    let mut command = Command::new(npm);
    command.current_dir(dir);
    Ok(command)
}

/// `npm ci` in `dir` (relative to the root), unless its lock file is the one installed already.
///
/// Packages' own install scripts are not run: none of ours needs one.
pub(crate) fn ci(project: &Project, progress: &Progress, dir: &str) -> Result<()> {
    let folder = project.root().join(dir);
    let inputs = Inputs::new()
        .file(&folder.join("package.json"))?
        .file(&folder.join("package-lock.json"))?;
    let stamp = Stamp::new(project, &format!("npm-{}", dir.replace('/', "-")), inputs);
    if stamp.holds(&folder.join("node_modules")) {
        return Ok(());
    }
    let step = progress.step(format!("npm packages of {dir}"));
    process::run(
        project,
        &step,
        &format!("npm-{}", dir.replace('/', "-")),
        command(&folder)?.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]),
        LIMIT,
    )?;
    stamp.set()?;
    step.done();
    Ok(())
}

/// Binaryen's `wasm-opt`, a Node script; `None`, with a note, where there is no Node.
pub(crate) fn wasm_opt(project: &Project, progress: &Progress) -> Result<Option<PathBuf>> {
    if !available() {
        progress.say(format!(
            "- wasm-opt: left out, modules stay larger: there is no Node; type: {INSTALL_NODE}"
        ));
        return Ok(None);
    }
    ci(project, progress, "xtask/npm")?;
    let script = project
        .root()
        .join("xtask/npm/node_modules/binaryen/bin/wasm-opt");
    Ok(script.is_file().then_some(script))
}
