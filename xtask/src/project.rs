//! Where things lie in the project.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

pub(crate) struct Project {
    root: PathBuf,
    target: PathBuf,
}

impl Project {
    pub(crate) fn locate() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask stands in the project's root")?
            .to_path_buf();
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        Ok(Self { root, target })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Cargo's target folder, wherever the user keeps it.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// The built npm package: what the host serves and `npm pack` packs.
    pub(crate) fn dist_web(&self) -> PathBuf {
        self.root.join("dist/web")
    }

    /// Where `.cargo/config.toml` says DuckDB's library is.
    pub(crate) fn duckdb(&self) -> PathBuf {
        self.root.join("target/duckdb")
    }

    /// Stamps and logs of this program.
    pub(crate) fn own(&self) -> PathBuf {
        self.target.join("xtask-state")
    }

    /// `path` as a person in the project's root would type it.
    pub(crate) fn shown<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// The name a program has as a file on this system.
pub(crate) fn executable(name: &str) -> String {
    format!("{name}{}", env::consts::EXE_SUFFIX)
}

/// Looks a program up in `PATH`, and in the folder cargo installs to.
pub(crate) fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let cargo_home = env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".cargo")));
    let names = if cfg!(windows) {
        vec![format!("{name}.exe"), format!("{name}.cmd")]
    } else {
        vec![name.to_owned()]
    };
    env::split_paths(&path)
        .chain(cargo_home.map(|home| home.join("bin")))
        .flat_map(|dir| names.iter().map(move |name| dir.join(name)))
        .find(|candidate| candidate.is_file())
}
