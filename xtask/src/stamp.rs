//! Stamps: the hash of what a result was made from, kept to see whether it must be made again.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use crate::project::Project;

/// Collects everything a result depends on.
pub(crate) struct Inputs(Sha256);

impl Inputs {
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    pub(crate) fn text(mut self, text: &str) -> Self {
        self.0.update(text.len().to_le_bytes());
        self.0.update(text.as_bytes());
        self
    }

    /// A file's name and content, or that it is missing.
    pub(crate) fn file(mut self, path: &Path) -> Result<Self> {
        self = self.text(&path.file_name().unwrap_or_default().to_string_lossy());
        match fs::read(path) {
            Ok(bytes) => {
                self.0.update(bytes.len().to_le_bytes());
                self.0.update(&bytes);
                Ok(self)
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.text("missing")),
            Err(error) => Err(error).with_context(|| format!("read {}", path.display())),
        }
    }

    /// Every file under `dir`, in order of their names; `node_modules` is left out.
    pub(crate) fn tree(mut self, dir: &Path) -> Result<Self> {
        let entries = match fs::read_dir(dir) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                return Ok(self.text("missing"));
            }
            Err(error) => return Err(error).with_context(|| format!("list {}", dir.display())),
        };
        let mut paths: Vec<PathBuf> = entries
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<Result<_, _>>()
            .with_context(|| format!("list {}", dir.display()))?;
        paths.sort();
        for path in paths {
            if path.is_dir() {
                if path.file_name().is_some_and(|name| name != "node_modules") {
                    self = self
                        .text(&path.file_name().unwrap_or_default().to_string_lossy())
                        .tree(&path)?;
                }
            } else {
                self = self.file(&path)?;
            }
        }
        Ok(self)
    }

    fn digest(self) -> String {
        self.0
            .finalize()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

/// One result's stamp.
pub(crate) struct Stamp {
    path: PathBuf,
    digest: String,
}

impl Stamp {
    pub(crate) fn new(project: &Project, name: &str, inputs: Inputs) -> Self {
        Self {
            path: project.own().join("stamps").join(name),
            digest: inputs.digest(),
        }
    }

    /// Whether `result` is there and was made from the same inputs.
    pub(crate) fn holds(&self, result: &Path) -> bool {
        result.exists() && fs::read_to_string(&self.path).is_ok_and(|text| text == self.digest)
    }

    /// Records that the result is made.
    pub(crate) fn set(&self) -> Result<()> {
        if let Some(dir) = self.path.parent() {
            fs::create_dir_all(dir).with_context(|| format!("create {}", dir.display()))?;
        }
        fs::write(&self.path, &self.digest)
            .with_context(|| format!("write {}", self.path.display()))
    }
}
