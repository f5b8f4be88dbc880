//! Model files on this machine: what the manifest names, where they lie, and how they get there.

mod archive;
mod download;
mod error;
mod files;
mod folder;
mod library;
mod manifest;
mod package;
mod pull;

use std::path::{Path, PathBuf};

pub use download::Timeouts;
pub use error::StoreError;
pub use files::{ModelFile, ModelFiles};
#[cfg(feature = "native")]
pub(crate) use folder::backends;
pub use folder::home;
pub use library::LibraryEntry;
pub use manifest::{FileEntry, Manifest, ModelEntry, Source};
pub use pull::{OnPull, PullEvent};

/// The folder of models and the manifest of what may be in it.
#[derive(Clone, Debug)]
pub struct Store {
    home: PathBuf,
    manifest: Manifest,
    hugging_face: String,
    timeouts: Timeouts,
}

/// Whether a model of the manifest is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Presence {
    /// All files, in their full sizes.
    Whole,
    /// Some files.
    Part,
    Missing,
}

impl Store {
    /// The user's store with the built-in manifest; `HF_ENDPOINT` names a mirror of Hugging Face.
    pub fn open() -> Result<Store, StoreError> {
        let mut store = Store::at(home()?, Manifest::built_in()?);
        if let Ok(endpoint) = std::env::var("HF_ENDPOINT")
            && !endpoint.is_empty()
        {
            store.hugging_face = endpoint;
        }
        Ok(store)
    }

    /// A store in another place.
    pub fn at(home: PathBuf, manifest: Manifest) -> Store {
        Store {
            home,
            manifest,
            hugging_face: "https://huggingface.co".into(),
            timeouts: Timeouts::default(),
        }
    }

    pub fn with_hugging_face(mut self, endpoint: impl Into<String>) -> Store {
        self.hugging_face = endpoint.into();
        self
    }

    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Store {
        self.timeouts = timeouts;
        self
    }

    pub fn home(&self) -> &Path {
        &self.home
    }

    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The manifest's entry.
    ///
    /// # Errors
    /// [`StoreError::UnknownModel`], which lists the names there are.
    pub fn entry(&self, name: &str) -> Result<&ModelEntry, StoreError> {
        self.manifest
            .find(name)
            .ok_or_else(|| StoreError::UnknownModel {
                name: name.into(),
                known: self.manifest.names(),
            })
    }

    /// The folder a model's files are in, whether they are there or not.
    pub fn folder_of(&self, model: &ModelEntry) -> PathBuf {
        folder::of_model(&self.home, &model.name)
    }

    /// Web addresses that have the file (packages have none), in the order of the sources.
    pub fn urls_of(&self, model: &ModelEntry, file: &FileEntry) -> Vec<String> {
        let bases = model
            .sources
            .iter()
            .filter_map(|s| s.base(&self.hugging_face));
        bases.map(|base| format!("{base}{}", file.name)).collect()
    }

    fn path_of(&self, model: &ModelEntry, file: &FileEntry) -> PathBuf {
        self.folder_of(model).join(&file.name)
    }

    /// By sizes only; a pull checks the sums.
    pub fn presence(&self, model: &ModelEntry) -> Presence {
        let here = model
            .files
            .iter()
            .filter(|file| {
                std::fs::metadata(self.path_of(model, file))
                    .is_ok_and(|m| m.is_file() && m.len() == file.bytes)
            })
            .count();
        match here {
            0 => Presence::Missing,
            n if n == model.files.len() => Presence::Whole,
            _ => Presence::Part,
        }
    }

    /// Removes a model's files and what is left of unfinished pulls of it; gives the bytes freed.
    pub fn remove(&self, model: &ModelEntry) -> Result<u64, StoreError> {
        let mut freed = 0;
        for file in &model.files {
            let part = folder::partial(&self.home).join(format!("{}.part", file.sha256));
            for path in [self.path_of(model, file), part] {
                let Ok(metadata) = std::fs::metadata(&path) else {
                    continue;
                };
                std::fs::remove_file(&path).map_err(|e| StoreError::io(&path, &e))?;
                freed += metadata.len();
            }
        }
        let folder = self.folder_of(model);
        if folder.exists() {
            std::fs::remove_dir_all(&folder).map_err(|e| StoreError::io(&folder, &e))?;
        }
        Ok(freed)
    }

    /// The files of MODEL: a name of the manifest (pulled if it is not here), a folder, or a file.
    pub fn resolve(&self, model: &str, on: OnPull) -> Result<ModelFiles, StoreError> {
        if let Some(entry) = self.manifest.find(model) {
            if self.presence(entry) != Presence::Whole {
                self.pull(entry, on)?;
            }
            return Ok(self.files_of(entry));
        }
        let path = Path::new(model);
        if path.is_dir() {
            files::in_folder(path)
        } else if path.is_file() {
            files::single(path)
        } else {
            Err(StoreError::UnknownModel {
                name: model.into(),
                known: self.manifest.names(),
            })
        }
    }

    /// The files of an entry, as they are once it is pulled.
    pub fn files_of(&self, model: &ModelEntry) -> ModelFiles {
        ModelFiles {
            name: model.name.clone(),
            in_store: true,
            folder: self.folder_of(model),
            files: model
                .files
                .iter()
                .map(|file| ModelFile {
                    name: file.name.clone(),
                    path: self.path_of(model, file),
                    bytes: file.bytes,
                    sha256: Some(file.sha256.clone()),
                })
                .collect(),
        }
    }
}
