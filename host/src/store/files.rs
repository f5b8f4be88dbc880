//! A model's files on disk, wherever they came from.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::StoreError;
use super::manifest::is_plain_name;
use crate::job::JobFile;

/// A model as a runner gets it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelFiles {
    /// The manifest's name, or the last part of the path given.
    pub name: String,
    /// Whether the files are the store's, so that a page finds them under `/models/NAME/`.
    pub in_store: bool,
    /// The folder that file names are relative to.
    pub folder: PathBuf,
    pub files: Vec<ModelFile>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// A model's folder and its direct subfolders (such as `1_Pooling/`); hidden files are left out.
pub(crate) fn in_folder(folder: &Path) -> Result<ModelFiles, StoreError> {
    let folder = folder
        .canonicalize()
        .map_err(|e| StoreError::io(folder, &e))?;
    let mut files = Vec::new();
    for (name, path) in plain_entries(&folder)? {
        if path.is_dir() {
            for (inner, path) in plain_entries(&path)? {
                push(&mut files, format!("{name}/{inner}"), path);
            }
        } else {
            push(&mut files, name, path);
        }
    }
    // A `.bin` is CTranslate2's or PyTorch's.
    let is_weights = |name: &str| {
        let endings = [".gguf", ".safetensors", ".bin", ".pt", ".pth", ".onnx"];
        endings.iter().any(|ending| name.ends_with(ending))
    };
    if !files.iter().any(|file| is_weights(&file.name)) {
        return Err(StoreError::NoModelFiles(folder));
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(ModelFiles {
        name: last_part(&folder),
        in_store: false,
        folder,
        files,
    })
}

/// What may stand beside an ONNX file, or in the folder above a folder `onnx`, to say what the model is.
const BESIDE_ONNX: [&str; 13] = [
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "chat_template.jinja",
    "vocab.json",
    "preprocessor_config.json",
    "processor_config.json",
    "modules.json",
    "sentence_bert_config.json",
    "1_Pooling/config.json",
    "README.md",
];

/// An ONNX file with its data and what says what it is; other models may lie beside it.
fn onnx(path: &Path) -> ModelFiles {
    let beside = path.parent().map(Path::to_path_buf).unwrap_or_default();
    let (folder, prefix) = match (beside.file_name(), beside.parent()) {
        (Some(name), Some(above)) if name == "onnx" => (above.to_path_buf(), "onnx/"),
        _ => (beside.clone(), ""),
    };
    let mut files = Vec::new();
    let name = last_part(path);
    push(&mut files, format!("{prefix}{name}"), path.to_path_buf());
    for (other, path) in plain_entries(&beside).unwrap_or_default() {
        if other != name && other.starts_with(&name) {
            push(&mut files, format!("{prefix}{other}"), path);
        }
    }
    for name in BESIDE_ONNX {
        push(&mut files, name.to_owned(), folder.join(name));
    }
    ModelFiles {
        name,
        in_store: false,
        folder,
        files,
    }
}

/// A single model file: a GGUF by itself, a safetensors or PyTorch file with the config and tokenizer beside it, likewise an
/// ONNX file, with the data that is called like it.
pub(crate) fn single(path: &Path) -> Result<ModelFiles, StoreError> {
    let path = path.canonicalize().map_err(|e| StoreError::io(path, &e))?;
    if let (Some("safetensors" | "bin" | "pt" | "pth"), Some(folder)) =
        (path.extension().and_then(|e| e.to_str()), path.parent())
    {
        return in_folder(folder);
    }
    if path.extension().is_some_and(|ending| ending == "onnx") {
        return Ok(onnx(&path));
    }
    let mut files = Vec::new();
    push(&mut files, last_part(&path), path.clone());
    Ok(ModelFiles {
        name: last_part(&path),
        in_store: false,
        folder: path.parent().map(Path::to_path_buf).unwrap_or_default(),
        files,
    })
}

fn plain_entries(folder: &Path) -> Result<Vec<(String, PathBuf)>, StoreError> {
    let entries = std::fs::read_dir(folder).map_err(|e| StoreError::io(folder, &e))?;
    Ok(entries
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            is_plain_name(&name).then(|| (name, entry.path()))
        })
        .collect())
}

fn push(files: &mut Vec<ModelFile>, name: String, path: PathBuf) {
    let Ok(metadata) = std::fs::metadata(&path) else {
        return;
    };
    if metadata.is_file() {
        files.push(ModelFile {
            name,
            path,
            bytes: metadata.len(),
            sha256: None,
        });
    }
}

fn last_part(path: &Path) -> String {
    path.file_name()
        .map_or_else(|| "model".into(), |n| n.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(files: &ModelFiles) -> Vec<&str> {
        files.files.iter().map(|file| file.name.as_str()).collect()
    }

    #[test]
    fn an_onnx_file_brings_its_data_and_what_says_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir(path("onnx")).unwrap();
        let lying = [
            "config.json",
            "tokenizer.json",
            "notes.txt",
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "onnx/model_q4.onnx",
        ];
        for name in lying {
            std::fs::write(path(name), name).unwrap();
        }
        let one = single(&path("onnx/model.onnx")).unwrap();
        let wanted = [
            "onnx/model.onnx",
            "onnx/model.onnx_data",
            "config.json",
            "tokenizer.json",
        ];
        assert_eq!(names(&one), wanted);
        assert_eq!(one.folder, folder.path().canonicalize().unwrap());
        let all = in_folder(folder.path()).unwrap();
        assert_eq!(names(&all).len(), lying.len());
        std::fs::copy(path("onnx/model.onnx"), path("alone.onnx")).unwrap();
        let alone = single(&path("alone.onnx")).unwrap();
        assert_eq!(
            names(&alone),
            ["alone.onnx", "config.json", "tokenizer.json"]
        );
    }
}
