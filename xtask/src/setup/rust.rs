//! What the Rust toolchain must have beyond cargo itself: the wasm target, and the standard library's source.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};
use crate::setup::system::{self, Need};

/// Cargo needs a C compiler to link anything, so there is one; some parts are C++.
const CXX: Need = Need {
    what: "a C++ compiler",
    purpose: "the fuzz targets",
    programs: &["c++", "g++", "clang++"],
    files: &[],
    debian: &["g++"],
    macos: "xcode-select --install",
    windows: "",
};

/// A C++ compiler, or what to type for it.
pub(crate) fn cxx(project: &Project, progress: &Progress) -> Result<()> {
    system::install(project, progress, &[&CXX]).map(drop)
}

const TARGET: &str = "wasm32-unknown-unknown";

fn rustc(project: &Project) -> Command {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    command.current_dir(project.root());
    command
}

/// Whether the toolchain can compile for wasm32 with its own standard library.
fn has_wasm_std(project: &Project) -> bool {
    process::output(rustc(project).args(["--print", "target-libdir", "--target", TARGET]))
        .is_some_and(|dir| PathBuf::from(dir).is_dir())
}

/// `rust-toolchain.toml` makes rustup fetch the target by itself; this looks, mends, or says what to type.
pub(crate) fn wasm_target(project: &Project, progress: &Progress) -> Result<()> {
    if has_wasm_std(project) {
        return Ok(());
    }
    if find_program("rustup").is_some() {
        let step = progress.step(format!("rustup target add {TARGET}"));
        let mut command = Command::new("rustup");
        command
            .args(["target", "add", TARGET])
            .current_dir(project.root());
        match process::run(
            project,
            &step,
            "rustup-target",
            &mut command,
            Duration::from_secs(180),
        ) {
            Ok(()) => step.done(),
            Err(error) => {
                drop(step);
                progress.say(format!("{error:#}"));
            }
        }
        if has_wasm_std(project) {
            return Ok(());
        }
    }
    bail!(
        "this toolchain cannot compile for {TARGET}. With rustup (https://rustup.rs), type:\n\n    \
         rustup target add {TARGET}\n\nWhere rustup cannot download, Debian has a toolchain with its source:\n\n    \
         sudo apt-get install --no-install-recommends rustc-web cargo-web rust-web-src lld-19\n    \
         RUSTC_BOOTSTRAP=1 RUSTC=/usr/bin/rustc CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=wasm-ld-19 \
         RUSTFLAGS=-Ctarget-feature=+simd128 /usr/bin/cargo build --profile wasm -p fewbit-runtime-wasm \
         --target {TARGET} -Zbuild-std=std,panic_abort"
    );
}
