//! A model's files on disk, wherever they came from.

use std::path::PathBuf;

use crate::job::JobFile;

/// A model as a runner gets it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFiles {
    /// The manifest's name, or the last part of the path given.
    pub name: String,
    /// Whether the files are the store's, so that a page finds them under `/models/NAME/`.
    pub in_store: bool,
    /// The folder that file names are relative to.
    pub folder: PathBuf,
    pub files: Vec<ModelFile>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelFile {
    /// Relative to the folder, with `/` between parts.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    pub sha256: Option<String>,
}

impl ModelFiles {
    /// The files as a job for a page names them.
    pub fn job_files(&self) -> Vec<JobFile> {
        self.files
            .iter()
            .map(|file| JobFile {
                name: file.name.clone(),
                bytes: file.bytes,
                sha256: file.sha256.clone(),
            })
            .collect()
    }
}
