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

/// Whether the standard library's source is there, with the lock file that building it wants.
fn has_std_source(project: &Project) -> bool {
    process::output(rustc(project).args(["--print", "sysroot"])).is_some_and(|sysroot| {
        let lock = "lib/rustlib/src/rust/library/Cargo.lock";
        PathBuf::from(sysroot.trim()).join(lock).is_file()
    })
}

/// `rustup KIND add NAME`, where there is a rustup; what goes wrong is told, and whoever asked looks again.
fn rustup(project: &Project, progress: &Progress, kind: &str, name: &str) {
    if find_program("rustup").is_none() {
        return;
    }
    let step = progress.step(format!("rustup {kind} add {name}"));
    let mut command = Command::new("rustup");
    command
        .args([kind, "add", name])
        .current_dir(project.root());
    let log = format!("rustup-{kind}");
    let limit = Duration::from_secs(180);
    match process::run(project, &step, &log, &mut command, limit) {
        Ok(()) => step.done(),
        Err(error) => {
            drop(step);
            progress.say(format!("{error:#}"));
        }
    }
}

/// The standard library's source, which a module with threads is built along with. `rust-toolchain.toml` names it, but a rustup
/// that must not install by itself leaves it out.
pub(crate) fn std_source(project: &Project, progress: &Progress) -> Result<()> {
    if has_std_source(project) {
        return Ok(());
    }
    rustup(project, progress, "component", "rust-src");
    if has_std_source(project) {
        return Ok(());
    }
    bail!(
        "the standard library's source is missing, which the wasm module with threads is built along with. With rustup, type:\n\n    \
         rustup component add rust-src"
    );
}

/// `rust-toolchain.toml` makes rustup fetch the target by itself; this looks, mends, or says what to type.
pub(crate) fn wasm_target(project: &Project, progress: &Progress) -> Result<()> {
    if has_wasm_std(project) {
        return Ok(());
    }
    rustup(project, progress, "target", TARGET);
    if has_wasm_std(project) {
        return Ok(());
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
