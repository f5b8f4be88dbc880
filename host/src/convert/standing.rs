//! Whether a conversion is to be done: what the registry knows of its result.

use std::path::{Path, PathBuf};

use crate::inspect::sums;
use crate::results::registry::Conversion;
use crate::store::ModelFile;

/// What a conversion would be now.
#[derive(Clone, Debug)]
pub struct Wanted<'a> {
    pub source: &'a str,
    pub source_sha256: &'a str,
    pub fewbit: &'a str,
    /// As JSON.
    pub options: &'a str,
}

/// Where a conversion stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Nothing is there.
    New,
    /// The result is there and is what it would be.
    Done,
    /// It was done, but not so, or the result is not what it was: why.
    Stale(Vec<String>),
    /// Something is there that no conversion is known to have made.
    Foreign,
}

/// Compares the last conversion that made `result` with the one that is wanted.
pub fn standing(known: Option<&Conversion>, wanted: &Wanted<'_>, result: &Path) -> Standing {
    let Some(known) = known else {
        return match result.exists() {
            true => Standing::Foreign,
            false => Standing::New,
        };
    };
    let mut reasons = Vec::new();
    if known.source != wanted.source {
        reasons.push(format!("it was made of {}", known.source));
    } else if known.source_sha256 != wanted.source_sha256 {
        reasons.push("the source has changed".to_owned());
    }
    if known.fewbit != wanted.fewbit {
        reasons.push(format!("it was made by fewbit {}", known.fewbit));
    }
    if known.options != wanted.options {
        reasons.push(format!("it was made with other options: {}", known.options));
    }
    match of_files(&known.result_files) {
        None => reasons.push("the result is gone".to_owned()),
        Some(sum) if sum != known.result_sha256 => {
            reasons.push("the result has changed".to_owned())
        }
        Some(_) => {}
    }
    match reasons.is_empty() {
        true => Standing::Done,
        false => Standing::Stale(reasons),
    }
}

/// The sum of a result's files as they are now, if all are there.
fn of_files(list: &str) -> Option<String> {
    let paths: Vec<PathBuf> = serde_json::from_str(list).ok()?;
    sum_of(&paths).map(|(sum, _)| sum).ok()
}

/// The one sum of files, by their paths, and how many bytes they have.
///
/// # Errors
/// A file that cannot be read.
pub fn sum_of(paths: &[PathBuf]) -> std::io::Result<(String, u64)> {
    let mut all = Vec::new();
    for path in paths {
        all.push(sums::sum(&ModelFile {
            name: path.to_string_lossy().into_owned(),
            path: path.clone(),
            bytes: 0,
            sha256: None,
        })?);
    }
    let bytes = all.iter().map(|sum| sum.bytes).sum();
    Ok((sums::of_all(&all), bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_changed_is_told() {
        let folder = tempfile::tempdir().unwrap();
        let result = folder.path().join("out.onnx");
        let wanted = Wanted {
            source: "/a",
            source_sha256: "1",
            fewbit: "2",
            options: "{}",
        };
        assert_eq!(standing(None, &wanted, &result), Standing::New);
        std::fs::write(&result, b"model").unwrap();
        assert_eq!(standing(None, &wanted, &result), Standing::Foreign);
        let (sum, bytes) = sum_of(std::slice::from_ref(&result)).unwrap();
        let known = Conversion {
            finished_us: 0,
            source: "/a".into(),
            source_sha256: "1".into(),
            fewbit: "2".into(),
            options: "{}".into(),
            result: result.display().to_string(),
            result_files: serde_json::to_string(&[&result]).unwrap(),
            result_sha256: sum,
            result_bytes: bytes,
            took_ms: 1.0,
            verification: "holds".into(),
        };
        assert_eq!(standing(Some(&known), &wanted, &result), Standing::Done);
        let stale = |known: &Conversion| match standing(Some(known), &wanted, &result) {
            Standing::Stale(reasons) => reasons.join("; "),
            other => panic!("{other:?}"),
        };
        let other = Conversion {
            source_sha256: "0".into(),
            fewbit: "1".into(),
            ..known.clone()
        };
        assert_eq!(
            stale(&other),
            "the source has changed; it was made by fewbit 1"
        );
        let other = Conversion {
            options: "{\"to\":0}".into(),
            ..known.clone()
        };
        assert!(stale(&other).contains("other options"));
        std::fs::write(&result, b"other").unwrap();
        assert_eq!(stale(&known), "the result has changed");
        std::fs::remove_file(&result).unwrap();
        assert_eq!(stale(&known), "the result is gone");
    }
}
