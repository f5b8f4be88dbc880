//! npm packages: the ones this program uses, and `npm ci` where a folder has a lock file.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};
use crate::setup::system::{self, Need};
use crate::stamp::{Inputs, Stamp};

/// How long a download of packages may take.
const LIMIT: Duration = Duration::from_secs(300);

/// The folders with a lock file of their own.
pub(crate) const FOLDERS: &[&str] = &["web", "browser-tests"];

const NODE: Need = Need {
    what: "Node.js",
    purpose: "compiles the TypeScript and runs its tests",
    programs: &["node"],
    files: &[],
    debian: &["nodejs", "npm"],
    macos: "brew install node",
    windows: "winget install OpenJS.NodeJS.LTS",
};

/// Node and npm, or what to type for them.
pub(crate) fn node(project: &Project, progress: &Progress) -> Result<()> {
    if available() {
        return Ok(());
    }
    system::install(project, progress, &[&NODE])?;
    if !available() {
        bail!("there is no Node.js with npm");
    }
    Ok(())
}

/// The tests' runner and the compiler want this one or a newer.
const OLDEST_NODE: u32 = 20;

fn check_version() -> Result<()> {
    let version = process::output(Command::new("node").arg("--version")).unwrap_or_default();
    let major = version
        .trim_start_matches('v')
        .split('.')
        .next()
        .and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= OLDEST_NODE => Ok(()),
        _ => bail!(
            "Node.js {OLDEST_NODE} or newer is needed and `node --version` says `{version}`; \
             https://nodejs.org/en/download has it for every system"
        ),
    }
}

/// Whether both `node` and `npm` can be called.
fn available() -> bool {
    find_program("node").is_some() && find_program("npm").is_some()
}

/// `npm`, in `dir`.
pub(crate) fn command(dir: &Path) -> Result<Command> {
    let npm = find_program("npm").context("npm is not installed; `cargo xtask setup` says how")?;
    let mut command = Command::new(npm);
    command.current_dir(dir);
    Ok(command)
}

/// `npm ci` in `dir` (relative to the root), unless its lock file is the one installed already.
///
/// Packages' own install scripts are not run: none of ours needs one.
pub(crate) fn ci(project: &Project, progress: &Progress, dir: &str) -> Result<()> {
    let folder = project.root().join(dir);
    if !folder.join("package-lock.json").is_file() {
        return Ok(());
    }
    node(project, progress)?;
    let inputs = Inputs::new()
        .file(&folder.join("package.json"))?
        .file(&folder.join("package-lock.json"))?;
    let stamp = Stamp::new(project, &format!("npm-{}", dir.replace('/', "-")), inputs);
    if stamp.holds(&folder.join("node_modules")) {
        return Ok(());
    }
    check_version()?;
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

/// The one `.tgz` that `npm pack` left.
pub(crate) fn only_archive(folder: &Path) -> Result<PathBuf> {
    let entries = fs::read_dir(folder).with_context(|| format!("list {}", folder.display()))?;
    for entry in entries {
        let path = entry
            .with_context(|| format!("list {}", folder.display()))?
            .path();
        if path.extension().is_some_and(|extension| extension == "tgz") {
            return Ok(path);
        }
    }
    bail!("npm pack left no archive in {}", folder.display())
}
