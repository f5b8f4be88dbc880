//! What can go wrong between a model's name and its files, each by its name.

use std::io;
use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("no model `{name}`: neither a name of the manifest ({known}) nor a file or folder")]
    UnknownModel { name: String, known: String },
    #[error("no back end `{name}`: {known}")]
    UnknownLibrary { name: String, known: String },
    #[error(
        "no package is known that has {name} for {system}; with a library of your own, name its folder in FEWBIT_ORT_DIR"
    )]
    NoLibrary { name: String, system: String },
    #[error("the model manifest is wrong: {0}")]
    Manifest(String),
    #[error("{0}: no model files (*.gguf, *.safetensors, *.bin, *.pt, *.onnx) in this folder")]
    NoModelFiles(PathBuf),
    #[error("no folder to keep models in: neither FEWBIT_HOME nor a home folder is set")]
    NoHome,
    #[error("{url}: {message}")]
    Network { url: String, message: String },
    #[error("{url}: the server answered {status}")]
    Status { url: String, status: u16 },
    #[error(
        "{url}: the connection ended after {got} of {expected} bytes; what arrived is kept, pull again to resume"
    )]
    Incomplete {
        url: String,
        got: u64,
        expected: u64,
    },
    #[error(
        "{url}: nothing arrived for {seconds} s after {got} of {expected} bytes; what arrived is kept, pull again to resume"
    )]
    Stalled {
        url: String,
        seconds: u64,
        got: u64,
        expected: u64,
    },
    #[error("{what}: {got} bytes where the manifest says {expected}")]
    Size {
        what: String,
        expected: u64,
        got: u64,
    },
    #[error("{what}: sha256 is {got}, the manifest says {expected}")]
    Sha256 {
        what: String,
        expected: String,
        got: String,
    },
    #[error("{program}: {message}")]
    Client { program: String, message: String },
    #[error("{archive}: {message}")]
    Archive { archive: PathBuf, message: String },
    #[error(
        "{path}: the disk is full ({needed} bytes still to write); free some space, or set FEWBIT_HOME to another disk"
    )]
    DiskFull { path: PathBuf, needed: u64 },
    #[error(
        "{path}: the disk quota is used up ({needed} bytes still to write); free some space, or set FEWBIT_HOME to another disk"
    )]
    Quota { path: PathBuf, needed: u64 },
    #[error("{path}: {message}")]
    Io { path: PathBuf, message: String },
    #[error("no source had `{model}`:{}", list(.failures))]
    NoSource {
        model: String,
        /// Source and what it said, in the order tried.
        failures: Vec<(String, String)>,
    },
    #[error("stopped")]
    Stopped,
}

impl StoreError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> StoreError {
        StoreError::writing(path, error, 0)
    }

    /// An I/O error while `needed` bytes were still to be written to `path`.
    pub(crate) fn writing(path: &Path, error: &io::Error, needed: u64) -> StoreError {
        let path = path.to_path_buf();
        match error.kind() {
            io::ErrorKind::StorageFull => StoreError::DiskFull { path, needed },
            io::ErrorKind::QuotaExceeded => StoreError::Quota { path, needed },
            _ => StoreError::Io {
                path,
                message: error.to_string(),
            },
        }
    }

    /// A short stable name for programs.
    pub fn code(&self) -> &'static str {
        match self {
            StoreError::UnknownModel { .. } => "unknown_model",
            StoreError::UnknownLibrary { .. } => "unknown_backend",
            StoreError::NoLibrary { .. } => "no_package",
            StoreError::Manifest(_) => "manifest",
            StoreError::NoModelFiles(_) => "no_model_files",
            StoreError::NoHome => "no_home",
            StoreError::Network { .. } | StoreError::Status { .. } => "network",
            StoreError::Incomplete { .. } | StoreError::Stalled { .. } => "incomplete",
            StoreError::Size { .. } => "size",
            StoreError::Sha256 { .. } => "sha256",
            StoreError::Client { .. } => "package_client",
            StoreError::Archive { .. } => "archive",
            StoreError::DiskFull { .. } => "disk_full",
            StoreError::Quota { .. } => "quota",
            StoreError::Io { .. } => "io",
            StoreError::NoSource { .. } => "no_source",
            StoreError::Stopped => "stopped",
        }
    }

    /// Whether another source cannot help, as this machine or the user is the reason.
    pub(crate) fn is_local(&self) -> bool {
        matches!(
            self,
            StoreError::DiskFull { .. }
                | StoreError::Quota { .. }
                | StoreError::Io { .. }
                | StoreError::Stopped
        )
    }
}

fn list(failures: &[(String, String)]) -> String {
    failures
        .iter()
        .map(|(source, why)| format!("\n  {source}: {why}"))
        .collect()
}
