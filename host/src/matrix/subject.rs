//! A model of the matrix: its files, what it is measured by, and what its graphs need.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::model::BuildOptions;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::checkpoint;
use fewbit_native_backends::FileSource;

use super::cell::Task;
use super::sources::Operators;
use crate::inspect::operators_of;
use crate::pattern::matches;
use crate::store::{ModelFiles, Store, StoreError};
use crate::verify::folder::FolderReference;

/// A model as the command line named it.
#[derive(Clone, Debug)]
pub struct Subject {
    /// As it stands in cells.
    pub name: String,
    /// What the store resolves: a name of the manifest or a path.
    pub model: String,
    pub task: Task,
}

/// What a cell of the model hangs on.
#[derive(Clone, Debug, Default)]
pub struct Built {
    pub architecture: Option<String>,
    /// Unknown for what is not built by the engine's builders, such as an ONNX file.
    pub operators: Option<Operators>,
}

/// The models that `patterns` name: names, aliases and patterns of the manifest, folders with a model, and folders whose
/// subfolders are such (`reference/*`).
///
/// # Errors
/// A pattern that names nothing.
pub fn subjects(store: &Store, patterns: &[String]) -> Result<Vec<Subject>, StoreError> {
    let mut found: Vec<Subject> = Vec::new();
    for pattern in patterns {
        let before = found.len();
        let entries = store.manifest().models.iter();
        for entry in entries
            .filter(|e| matches(pattern, &e.name) || e.aliases.iter().any(|alias| alias == pattern))
        {
            found.push(Subject {
                name: entry.name.clone(),
                model: entry.name.clone(),
                task: Task::of_manifest(&entry.task),
            });
        }
        for folder in folders(pattern) {
            let name = folder.canonicalize().unwrap_or(folder.clone());
            let name = name.file_name().unwrap_or(folder.as_os_str());
            found.push(Subject {
                name: name.to_string_lossy().into_owned(),
                model: folder.to_string_lossy().into_owned(),
                task: match FolderReference::is_in(&folder) {
                    true => Task::Verify,
                    false => Task::Generate,
                },
            });
        }
        if found.len() == before {
            // The store's words for a name that nobody knows.
            store.entry(pattern)?;
        }
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|subject| seen.insert(subject.model.clone()));
    Ok(found)
}

/// The model folders (or files) that a path with a `*` for its last part, or without, names.
fn folders(pattern: &str) -> Vec<PathBuf> {
    let path = Path::new(pattern);
    let is_model = |path: &Path| path.is_file() || path.join("config.json").is_file();
    if let (Some(parent), Some(last)) = (path.parent(), path.file_name().and_then(|n| n.to_str()))
        && last.contains('*')
        && pattern.contains('/')
    {
        let entries = std::fs::read_dir(parent).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries
            .filter(|entry| matches(last, &entry.file_name().to_string_lossy()))
            .map(|entry| entry.path())
            .filter(|path| path.is_dir() && is_model(path))
            .collect();
        found.sort();
        return found;
    }
    let is_path = pattern.contains(['/', '\\']) || pattern.starts_with('.') || path.is_dir();
    match is_path && is_model(path) {
        true => vec![path.to_path_buf()],
        false => Vec::new(),
    }
}

/// Builds the model's graphs, without reading weights. What cannot be built here is left to the targets to refuse.
pub fn build(files: &ModelFiles) -> Built {
    let mut sources: Vec<Rc<dyn ByteSource>> = Vec::new();
    for file in &files.files {
        match FileSource::open(&file.name, &file.path) {
            Ok(source) => sources.push(Rc::new(source)),
            Err(_) => return Built::default(),
        }
    }
    let model = checkpoint::ModelFiles::new(sources);
    match pollster::block_on(checkpoint::open(&model, BuildOptions::default())) {
        Ok(open) => Built {
            architecture: Some(open.built.architecture.to_owned()),
            operators: operators_of(&open.built).map(|(cpu, gpu)| Operators { cpu, gpu }),
        },
        Err(_) => Built::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::Manifest;

    #[test]
    fn models_are_named_by_patterns_and_folders() {
        let home = tempfile::tempdir().unwrap();
        let store = Store::at(home.path().join("store"), Manifest::built_in().unwrap());
        let named = |patterns: &[&str]| -> Result<Vec<(String, Task)>, StoreError> {
            let patterns: Vec<String> = patterns.iter().map(|p| (*p).to_owned()).collect();
            let found = subjects(&store, &patterns)?;
            Ok(found.into_iter().map(|s| (s.name, s.task)).collect())
        };
        let minilm = ("all-minilm-l6-v2".to_owned(), Task::Embed);
        assert_eq!(named(&["minilm"]).unwrap(), std::slice::from_ref(&minilm));
        assert_eq!(named(&["minilm", "all-minilm-l6-v2"]).unwrap().len(), 1);
        assert!(named(&["all-minilm*"]).unwrap().contains(&minilm));
        let error = named(&["no-such-model"]).unwrap_err().to_string();
        assert!(error.contains("no-such-model"), "{error}");

        let folder = home.path().join("reference");
        for name in ["b", "a"] {
            std::fs::create_dir_all(folder.join(name)).unwrap();
            std::fs::write(folder.join(name).join("config.json"), "{}").unwrap();
            std::fs::write(folder.join(name).join("reference.json"), "{}").unwrap();
            std::fs::write(folder.join(name).join("reference.safetensors"), "").unwrap();
        }
        std::fs::create_dir_all(folder.join("no-model")).unwrap();
        let all = named(&[&format!("{}/*", folder.display())]).unwrap();
        assert_eq!(
            all,
            [
                ("a".to_owned(), Task::Verify),
                ("b".to_owned(), Task::Verify)
            ]
        );
    }
}
