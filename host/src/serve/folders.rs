//! Where the pages and the built npm package are.
//!
//! In order: `FEWBIT_WWW` and `FEWBIT_WEB`; `www/` and `web/` beside the executable (as the released archive has them);
//! `../share/fewbit/{www,web}` from there (as a distribution installs them); `www/` and `dist/web/` of the project's
//! folder that the executable or the current directory is in.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Has `index.html`.
    pub www: PathBuf,
    /// The built package; may not be there yet.
    pub web: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    #[error("no pages found: set FEWBIT_WWW to the folder `www`, or keep it beside the executable")]
    NoPages,
}

impl Folders {
    pub fn find() -> Result<Folders, FolderError> {
        let executable = std::env::current_exe().and_then(|p| p.canonicalize()).ok();
        Folders::find_from(
            |name| std::env::var_os(name),
            executable.as_deref().and_then(Path::parent),
            std::env::current_dir().ok().as_deref(),
        )
        .ok_or(FolderError::NoPages)
    }

    /// Why pages cannot import the package: its JavaScript, or every wasm module, is not there.
    pub fn package_missing(&self) -> Option<String> {
        let script = self.web.join("index.js");
        let modules = self.web.join("wasm");
        let any_module = std::fs::read_dir(&modules).is_ok_and(|mut variants| {
            variants.any(|variant| {
                variant.is_ok_and(|v| v.path().join("fewbit_runtime_bg.wasm").is_file())
            })
        });
        let missing = match (script.is_file(), any_module) {
            (false, _) => script,
            (true, false) => modules,
            (true, true) => return None,
        };
        Some(format!(
            "the npm package is not built: {} is not there; run `cargo xtask build`",
            missing.display()
        ))
    }

    fn find_from(
        var: impl Fn(&str) -> Option<OsString>,
        beside: Option<&Path>,
        current: Option<&Path>,
    ) -> Option<Folders> {
        let set = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
        let mut found = Folders::guess(beside, current);
        if let Some(www) = set("FEWBIT_WWW") {
            let web = found.map_or_else(|| www.join("../dist/web"), |f| f.web);
            found = Some(Folders { www, web });
        }
        if let (Some(found), Some(web)) = (&mut found, set("FEWBIT_WEB")) {
            found.web = web;
        }
        found
    }

    fn guess(beside: Option<&Path>, current: Option<&Path>) -> Option<Folders> {
        let is_www = |folder: &Path| folder.join("index.html").is_file();
        if let Some(beside) = beside {
            for root in [beside.to_path_buf(), beside.join("../share/fewbit")] {
                if is_www(&root.join("www")) {
                    return Some(Folders {
                        www: root.join("www"),
                        web: root.join("web"),
                    });
                }
            }
        }
        [beside, current]
            .into_iter()
            .flatten()
            .flat_map(Path::ancestors)
            .find(|root| is_www(&root.join("www")) && root.join("Cargo.toml").is_file())
            .map(|root| Folders {
                www: root.join("www"),
                web: root.join("dist/web"),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: PathBuf) {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, "x").unwrap();
    }

    #[test]
    fn a_package_is_its_script_and_a_module() {
        let dir = tempfile::tempdir().unwrap();
        let folders = Folders {
            www: dir.path().join("www"),
            web: dir.path().join("dist/web"),
        };
        let missing = || folders.package_missing().unwrap_or_default();
        assert!(
            missing().contains("cargo xtask build") && missing().contains("index.js"),
            "{}",
            missing()
        );
        file(folders.web.join("index.js"));
        std::fs::create_dir_all(folders.web.join("wasm/simd")).unwrap();
        assert!(missing().contains("wasm"), "{}", missing());
        file(folders.web.join("wasm/simd/fewbit_runtime_bg.wasm"));
        assert_eq!(folders.package_missing(), None);
    }

    #[test]
    fn nearest_first() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        let release = root.join("target/release");
        std::fs::create_dir_all(&release).unwrap();
        let find = |set: Option<(&str, &str)>| {
            let var = |name: &str| match set {
                Some((n, v)) if n == name => Some(OsString::from(v)),
                _ => None,
            };
            Folders::find_from(var, Some(&release), None)
        };
        assert_eq!(find(None), None);

        file(root.join("www/index.html"));
        assert_eq!(find(None), None);
        file(root.join("Cargo.toml"));
        let project = Folders {
            www: root.join("www"),
            web: root.join("dist/web"),
        };
        assert_eq!(find(None), Some(project.clone()));
        let set = find(Some(("FEWBIT_WWW", "/pages"))).unwrap();
        assert_eq!((set.www, set.web), ("/pages".into(), project.web));
        let set = find(Some(("FEWBIT_WEB", "/pack"))).unwrap();
        assert_eq!((set.www, set.web), (project.www, "/pack".into()));

        file(release.join("www/index.html"));
        assert_eq!(find(None).unwrap().web, release.join("web"));
    }
}
