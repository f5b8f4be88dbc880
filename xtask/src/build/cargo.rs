//! Calls of cargo, all of the same kind.

use std::env;
use std::process::Command;

use crate::project::Project;

/// `cargo ARGS…` in the project's root, with the toolchain that runs this program.
pub(crate) fn command(project: &Project) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(project.root());
    command
}
