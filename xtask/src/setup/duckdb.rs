//! DuckDB's library, from DuckDB's own npm package: compiling it takes over half an hour.
//!
//! `.cargo/config.toml` points the `duckdb` crate at `target/duckdb`; a `DUCKDB_LIB_DIR` of the user's
//! own wins and is left alone.

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::process;
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::npm;
use crate::stamp::{Inputs, Stamp};

/// The release the `duckdb` crate of `Cargo.toml` is made for.
const VERSION: &str = "1.5.6-r.1";

/// A platform DuckDB builds its npm package for.
struct Package {
    /// The package, less `@duckdb/node-bindings-`.
    platform: &'static str,
    library: &'static str,
    /// Of the package's archive; where it is not known yet, npm's own check against the registry holds.
    sha256: Option<&'static str>,
}

fn package() -> Option<Package> {
    let (platform, library, sha256) = match (env::consts::OS, env::consts::ARCH) {
        ("linux", "x86_64") => ("linux-x64", "libduckdb.so", Some(LINUX_X64_SHA256)),
        ("linux", "aarch64") => ("linux-arm64", "libduckdb.so", None),
        ("macos", "x86_64") => ("darwin-x64", "libduckdb.dylib", None),
        ("macos", "aarch64") => ("darwin-arm64", "libduckdb.dylib", None),
        _ => return None,
    };
    Some(Package {
        platform,
        library,
        sha256,
    })
}

const LINUX_X64_SHA256: &str = "1b9f82478539bb9a1d1df44bd103121a12ae52142c07158dc52b97d2ec1d69ff";

/// Puts the library into `target/duckdb`.
pub(crate) fn library(project: &Project, progress: &Progress) -> Result<()> {
    let folder = project.duckdb();
    if let Some(own) = env::var_os("DUCKDB_LIB_DIR").map(PathBuf::from)
        && project.root().join(&own) != folder
    {
        return Ok(());
    }
    let Some(package) = package() else {
        bail!(
            "DuckDB's npm package has no library to link against on {} {}. Unpack libduckdb 1.5.6 of \
             https://github.com/duckdb/duckdb/releases/tag/v1.5.6 into a folder and set DUCKDB_LIB_DIR \
             and DUCKDB_INCLUDE_DIR to it",
            env::consts::OS,
            env::consts::ARCH
        );
    };
    let name = format!("@duckdb/node-bindings-{}@{VERSION}", package.platform);
    let stamp = Stamp::new(project, "duckdb", Inputs::new().text(&name));
    let library = folder.join(package.library);
    if stamp.holds(&library) {
        return Ok(());
    }

    let step = progress.step(format!("DuckDB's library ({name})"));
    let staging = project.own().join("duckdb");
    if staging.exists() {
        fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    }
    fs::create_dir_all(&staging).with_context(|| format!("create {}", staging.display()))?;
    process::run(
        project,
        &step,
        "duckdb-pack",
        npm::command(&staging)?.args(["pack", "--ignore-scripts", &name]),
        Duration::from_secs(300),
    )?;
    let archive = npm::only_archive(&staging)?;
    if let Some(expected) = package.sha256 {
        let bytes = fs::read(&archive).with_context(|| format!("read {}", archive.display()))?;
        let found: String = Sha256::digest(&bytes)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        if found != expected {
            bail!("{name}: sha256 {found}, expected {expected}");
        }
    }
    step.now("unpacking");
    let member = format!("package/{}", package.library);
    process::run(
        project,
        &step,
        "duckdb-unpack",
        Command::new("tar")
            .arg("-xzf")
            .arg(&archive)
            .arg("-C")
            .arg(&staging)
            .arg(&member),
        Duration::from_secs(120),
    )?;
    fs::create_dir_all(&folder).with_context(|| format!("create {}", folder.display()))?;
    fs::rename(staging.join(member), &library)
        .with_context(|| format!("move to {}", library.display()))?;
    fs::remove_dir_all(&staging).with_context(|| format!("remove {}", staging.display()))?;
    stamp.set()?;
    step.done();
    Ok(())
}
