//! Cases as JSON: a file an operator, `{ tests: [{ name, graph: { inputs, operators, expectedOutputs }, tolerance }] }`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::tolerance::Tolerance;

/// More bytes than a file of cases may have.
const MOST_BYTES: u64 = 64 << 20;

/// Why cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    #[error("{}: {error}", .path.display())]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{} has more than {MOST_BYTES} bytes", .0.display())]
    TooLarge(PathBuf),
    #[error("{}: {error}", .path.display())]
    Json {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error("{}: there is no file of cases (*.json) in it", .0.display())]
    Nothing(PathBuf),
}

/// The cases of a file.
#[derive(Clone, Debug)]
pub struct Family {
    pub name: String,
    pub cases: Vec<Case>,
}

/// One case.
#[derive(Clone, Debug, Deserialize)]
pub struct Case {
    pub name: String,
    pub(super) graph: CaseGraph,
    pub(super) tolerance: Tolerance,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct CaseGraph {
    pub(super) inputs: BTreeMap<String, Data>,
    pub(super) operators: Vec<Operator>,
    pub(super) expected_outputs: BTreeMap<String, Data>,
}

/// A tensor; one number fills it.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Data {
    pub(super) data: Value,
    pub(super) descriptor: DataDescriptor,
    #[serde(default)]
    pub(super) constant: bool,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct DataDescriptor {
    pub(super) shape: Vec<usize>,
    pub(super) data_type: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Operator {
    pub(super) name: String,
    /// Each an object of one member, the parameter's name and the argument.
    pub(super) arguments: Vec<BTreeMap<String, Value>>,
    pub(super) outputs: Names,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    pub(super) fn all(&self) -> &[String] {
        match self {
            Names::One(name) => std::slice::from_ref(name),
            Names::Many(names) => names,
        }
    }
}

impl Case {
    /// The names of its operators, each once.
    pub fn operators(&self) -> Vec<String> {
        let mut names: Vec<String> = self
            .graph
            .operators
            .iter()
            .map(|o| o.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// Reads all files of cases of a folder, by name, or one file.
///
/// # Errors
/// What cannot be read, is no such file, or a folder without one.
pub fn read(path: &Path) -> Result<Vec<Family>, ReadError> {
    let io = |error| ReadError::Io {
        path: path.to_path_buf(),
        error,
    };
    let mut files = Vec::new();
    if std::fs::metadata(path).map_err(io)?.is_dir() {
        for entry in std::fs::read_dir(path).map_err(io)? {
            files.push(entry.map_err(io)?.path());
        }
        files.retain(|file| file.extension().is_some_and(|ending| ending == "json"));
        files.sort_unstable();
    } else {
        files.push(path.to_path_buf());
    }
    match files.is_empty() {
        true => Err(ReadError::Nothing(path.to_path_buf())),
        false => files.iter().map(|file| read_file(file)).collect(),
    }
}

fn read_file(path: &Path) -> Result<Family, ReadError> {
    #[derive(Deserialize)]
    struct File {
        tests: Vec<Case>,
    }
    let io = |error| ReadError::Io {
        path: path.to_path_buf(),
        error,
    };
    if std::fs::metadata(path).map_err(io)?.len() > MOST_BYTES {
        return Err(ReadError::TooLarge(path.to_path_buf()));
    }
    let bytes = std::fs::read(path).map_err(io)?;
    let file: File = serde_json::from_slice(&bytes).map_err(|error| ReadError::Json {
        path: path.to_path_buf(),
        error,
    })?;
    let stem = path.file_stem().unwrap_or_default();
    Ok(Family {
        name: stem.to_string_lossy().into_owned(),
        cases: file.tests,
    })
}
