//! Files that are there whole or not at all: written under a hidden name beside their place, then renamed. What is not
//! committed is removed, also after an error.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use super::ConvertError;

/// A result under construction: a file with others beside it, or a folder.
pub(super) struct Staged {
    /// Where the result will be.
    place: PathBuf,
    /// Hidden and beside it; a folder in both cases.
    folder: PathBuf,
    /// The names of its files, relative to it.
    files: Vec<String>,
    /// Whether the result is a folder.
    is_folder: bool,
}

impl Staged {
    /// Makes room beside `place`.
    pub(super) fn new(place: &Path, is_folder: bool) -> Result<Staged, ConvertError> {
        let parent = parent(place);
        fs::create_dir_all(parent).map_err(ConvertError::write(parent))?;
        let folder = tempfile::Builder::new()
            .prefix(".fewbit-convert-")
            .tempdir_in(parent)
            .map_err(ConvertError::write(parent))?
            .keep();
        Ok(Staged {
            place: place.to_path_buf(),
            folder,
            files: Vec::new(),
            is_folder,
        })
    }

    /// Opens a file of the result; in the result of one file its name is the result's.
    pub(super) fn create(&mut self, name: &str) -> Result<Writing, ConvertError> {
        let path = self.folder.join(name);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(ConvertError::write(folder))?;
        }
        let file = File::create(&path).map_err(ConvertError::write(self.shown(name)))?;
        self.files.push(name.to_owned());
        Ok(Writing {
            shown: self.shown(name),
            file: BufWriter::with_capacity(1 << 20, file),
        })
    }

    /// Whether the result has a file of this name already.
    pub(super) fn has(&self, name: &str) -> bool {
        self.files.iter().any(|known| known == name)
    }

    /// Where a file will be.
    fn shown(&self, name: &str) -> PathBuf {
        match self.is_folder {
            true => self.place.join(name),
            false => parent(&self.place).join(name),
        }
    }

    /// Puts the result in its place: a folder that is not there yet at once, else file by file, each whole, and a model after
    /// what it names. Other files of a folder stay.
    pub(super) fn commit(self) -> Result<Vec<PathBuf>, ConvertError> {
        let places: Vec<PathBuf> = self.files.iter().map(|name| self.shown(name)).collect();
        if self.is_folder && !self.place.exists() {
            fs::rename(&self.folder, &self.place).map_err(ConvertError::write(&self.place))?;
            return Ok(places);
        }
        let mut pairs: Vec<(&String, &PathBuf)> = self.files.iter().zip(&places).collect();
        pairs.sort_by_key(|(name, _)| name.ends_with(".onnx"));
        for (name, place) in pairs {
            let folder = parent(place);
            fs::create_dir_all(folder).map_err(ConvertError::write(folder))?;
            fs::rename(self.folder.join(name), place).map_err(ConvertError::write(place))?;
        }
        Ok(places)
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        // Gone already where a folder was committed.
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The folder that a path is in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// A file of a result while it is written.
pub(super) struct Writing {
    shown: PathBuf,
    file: BufWriter<File>,
}

impl Writing {
    /// Makes sure that all of it is on the disk: a full one is noticed here at the latest.
    pub(super) fn finish(self) -> Result<(), ConvertError> {
        let Writing { shown, file } = self;
        let file = file.into_inner().map_err(io::IntoInnerError::into_error);
        file.and_then(|file| file.sync_all())
            .map_err(ConvertError::write(shown))
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        written.map_err(|error| named(&self.shown, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        flushed.map_err(|error| named(&self.shown, error))
    }
}

/// An error that says which file.
fn named(path: &Path, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}
