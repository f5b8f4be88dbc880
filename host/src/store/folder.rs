//! The store's folder: where it is on each platform and what lies in it.
//!
//! ```text
//! HOME/models/NAME/FILE    complete, checked files
//! HOME/partial/…           downloads under way, by sha256, kept for resuming
//! HOME/backends/NAME/…     libraries of native back ends
//! HOME/results.duckdb      results
//! ```

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::StoreError;

/// `FEWBIT_HOME`, else the platform's folder for application data:
/// `$XDG_DATA_HOME/fewbit` or `~/.local/share/fewbit`; on macOS `~/Library/Application Support/fewbit`; on Windows `%LOCALAPPDATA%\fewbit`.
pub fn home() -> Result<PathBuf, StoreError> {
    home_from(|name| std::env::var_os(name)).ok_or(StoreError::NoHome)
}

fn home_from(var: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    let folder = |name: &str| var(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(home) = folder("FEWBIT_HOME") {
        return Some(home);
    }
    if cfg!(windows) {
        return folder("LOCALAPPDATA").map(|f| f.join("fewbit"));
    }
    if cfg!(target_os = "macos") {
        return folder("HOME").map(|f| f.join("Library/Application Support/fewbit"));
    }
    folder("XDG_DATA_HOME")
        // The specification says to ignore relative paths.
        .filter(|f| f.is_absolute())
        .or_else(|| folder("HOME").map(|f| f.join(".local/share")))
        .map(|f| f.join("fewbit"))
}

/// The folder of a model's files.
pub(crate) fn of_model(home: &Path, name: &str) -> PathBuf {
    home.join("models").join(name)
}

/// Where downloads are kept until they are whole.
pub(crate) fn partial(home: &Path) -> PathBuf {
    home.join("partial")
}

/// Where the libraries of native back ends are, a folder each.
pub(crate) fn backends(home: &Path) -> PathBuf {
    home.join("backends")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(all(unix, not(target_os = "macos")))]
    #[test]
    fn platform_rules() {
        let with = |set: &[(&str, &str)]| {
            home_from(|name| {
                set.iter()
                    .find(|(n, _)| *n == name)
                    .map(|(_, v)| OsString::from(v))
            })
        };
        assert_eq!(with(&[]), None);
        assert_eq!(
            with(&[("HOME", "/h")]),
            Some("/h/.local/share/fewbit".into())
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_DATA_HOME", "/d")]),
            Some("/d/fewbit".into())
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("XDG_DATA_HOME", "d")]),
            Some("/h/.local/share/fewbit".into())
        );
        assert_eq!(
            with(&[("HOME", "/h"), ("FEWBIT_HOME", "/f")]),
            Some("/f".into())
        );
    }
}
