//! Cases in ONNX's layout: `NAME/model.onnx`, `NAME/test_data_set_N/{input,output}_M.pb`, and where there is one
//! `NAME/tolerance.txt`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

/// More bytes than a case's file may have.
const MOST_BYTES: u64 = 256 << 20;

/// Why cases cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum CaseError {
    #[error("{}: {error}", .path.display())]
    Io {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{}: {message}", .archive.display())]
    Archive { archive: PathBuf, message: String },
    #[error("{file} has more than {MOST_BYTES} bytes")]
    TooLarge { file: String },
    #[error("{}: there is no model.onnx in it", .0.display())]
    Nothing(PathBuf),
}

/// One case, read.
#[derive(Clone, Debug, Default)]
pub struct Case {
    pub name: String,
    /// By their paths in the case.
    pub files: BTreeMap<String, Vec<u8>>,
}

/// Where the cases are, by name.
pub struct Cases {
    place: Place,
    /// The files of each case: path in the case, and path in the place.
    index: BTreeMap<String, Vec<(String, String)>>,
}

enum Place {
    Folder(PathBuf),
    Archive(PathBuf, Box<zip::ZipArchive<BufReader<File>>>),
}

impl Cases {
    /// Finds the cases of a folder, of a zip file, or the one case that a folder is.
    ///
    /// # Errors
    /// What cannot be read, or has no case.
    pub fn open(path: &Path) -> Result<Cases, CaseError> {
        let io = |error| CaseError::Io {
            path: path.to_path_buf(),
            error,
        };
        let mut files = Vec::new();
        let place = if std::fs::metadata(path).map_err(io)?.is_dir() {
            walk(path, "", 3, &mut files)?;
            Place::Folder(path.to_path_buf())
        } else {
            let file = BufReader::new(File::open(path).map_err(io)?);
            let archive = zip::ZipArchive::new(file).map_err(|e| CaseError::Archive {
                archive: path.to_path_buf(),
                message: e.to_string(),
            })?;
            for name in archive.file_names() {
                let name = name.map_err(|e| CaseError::Archive {
                    archive: path.to_path_buf(),
                    message: e.to_string(),
                })?;
                files.push(name.into_owned());
            }
            Place::Archive(path.to_path_buf(), Box::new(archive))
        };
        files.sort_unstable();
        let mut index = BTreeMap::new();
        for model in &files {
            let Some(folder) = model.strip_suffix("model.onnx") else {
                continue;
            };
            if !folder.is_empty() && !folder.ends_with('/') {
                continue;
            }
            let own = files.iter().filter_map(|file| {
                let inside = file.strip_prefix(folder)?;
                let known = inside == "model.onnx"
                    || inside == "tolerance.txt"
                    || (inside.starts_with("test_data_set_") && inside.ends_with(".pb"));
                known.then(|| (inside.to_owned(), file.clone()))
            });
            let name = match folder.trim_end_matches('/').rsplit('/').next() {
                Some(name) if !name.is_empty() => name.to_owned(),
                _ => path
                    .file_name()
                    .unwrap_or_default()
                    .to_string_lossy()
                    .into_owned(),
            };
            // Cases of one name in several folders go by their paths.
            let name = match index.contains_key(&name) {
                true => folder.trim_end_matches('/').to_owned(),
                false => name,
            };
            index.insert(name, own.collect());
        }
        if index.is_empty() {
            return Err(CaseError::Nothing(path.to_path_buf()));
        }
        Ok(Cases { place, index })
    }

    /// The cases' names, sorted.
    pub fn names(&self) -> Vec<String> {
        self.index.keys().cloned().collect()
    }

    /// Reads the files of a case.
    ///
    /// # Errors
    /// What cannot be read or is too large; a name that is not among [`Cases::names`] has no files.
    pub fn read(&mut self, name: &str) -> Result<Case, CaseError> {
        let mut case = Case {
            name: name.to_owned(),
            ..Case::default()
        };
        for (inside, path) in self.index.get(name).into_iter().flatten() {
            let bytes = match &mut self.place {
                Place::Folder(folder) => {
                    let path = folder.join(path);
                    let file = File::open(&path).map_err(|error| CaseError::Io {
                        path: path.clone(),
                        error,
                    })?;
                    limited(file, &path.display().to_string())
                }
                Place::Archive(archive, zip) => {
                    let entry = zip.by_name(path).map_err(|e| CaseError::Archive {
                        archive: archive.clone(),
                        message: format!("{path}: {e}"),
                    })?;
                    limited(entry, path)
                }
            };
            case.files.insert(inside.clone(), bytes?);
        }
        Ok(case)
    }
}

fn limited(from: impl Read, name: &str) -> Result<Vec<u8>, CaseError> {
    let mut bytes = Vec::new();
    let read = from.take(MOST_BYTES + 1).read_to_end(&mut bytes);
    read.map_err(|error| CaseError::Io {
        path: PathBuf::from(name),
        error,
    })?;
    if bytes.len() as u64 > MOST_BYTES {
        return Err(CaseError::TooLarge {
            file: name.to_owned(),
        });
    }
    Ok(bytes)
}

/// The files under a folder, by their paths in it.
fn walk(
    folder: &Path,
    prefix: &str,
    depth: usize,
    files: &mut Vec<String>,
) -> Result<(), CaseError> {
    let io = |error| CaseError::Io {
        path: folder.to_path_buf(),
        error,
    };
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let entry = entry.map_err(io)?;
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        let kind = entry.file_type().map_err(io)?;
        if kind.is_dir() && depth > 0 {
            walk(&entry.path(), &format!("{name}/"), depth - 1, files)?;
        } else if kind.is_file() {
            files.push(name);
        }
    }
    Ok(())
}
