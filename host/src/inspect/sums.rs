//! SHA-256 sums of model files, and of several as one.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use crate::store::{ModelFile, ModelFiles};

const CHUNK: usize = 1 << 20;

/// A file as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sum {
    /// As the model calls it.
    pub name: String,
    pub path: PathBuf,
    pub bytes: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub modified_us: i64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// What decides what a model computes: its weights and what describes them. Pictures, texts and the like beside them do not.
pub fn counts(name: &str) -> bool {
    is_weights(name)
        || [".json", ".jinja", ".model"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Whether a file's name is that of a file of weights.
pub fn is_weights(name: &str) -> bool {
    let endings = [
        ".gguf",
        ".safetensors",
        ".bin",
        ".pt",
        ".pth",
        ".onnx",
        ".data",
        ".onnx_data",
    ];
    endings.iter().any(|end| name.ends_with(end))
}

/// The size and time of a file's last change, without reading it.
pub fn state(path: &Path) -> io::Result<(u64, i64)> {
    let metadata = std::fs::metadata(path)?;
    let modified = metadata
        .modified()?
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    let modified = i64::try_from(modified.as_micros()).unwrap_or(i64::MAX);
    Ok((metadata.len(), modified))
}

/// Reads a file for its sum.
pub fn sum(file: &ModelFile) -> io::Result<Sum> {
    let (bytes, modified_us) = state(&file.path)?;
    let mut hash = Sha256::new();
    let mut from = File::open(&file.path)?;
    let mut buffer = vec![0; CHUNK];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            read => hash.update(&buffer[..read]),
        }
    }
    Ok(Sum {
        name: file.name.clone(),
        path: file.path.clone(),
        bytes,
        modified_us,
        sha256: hex(hash),
    })
}

/// The sums of a model's files that count.
pub fn sums(files: &ModelFiles) -> io::Result<Vec<Sum>> {
    let counted = files.files.iter().filter(|file| counts(&file.name));
    counted
        .map(|file| {
            sum(file).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", file.path.display())))
        })
        .collect()
}

/// One sum for several files: the file's own if it is one, else that of the lines `SUM  NAME` in the order of the names.
pub fn of_all(sums: &[Sum]) -> String {
    if let [only] = sums {
        return only.sha256.clone();
    }
    let mut lines: Vec<String> = sums
        .iter()
        .map(|sum| format!("{}  {}\n", sum.sha256, sum.name))
        .collect();
    lines.sort_by(|a, b| a[64..].cmp(&b[64..]));
    let mut hash = Sha256::new();
    for line in lines {
        hash.update(line);
    }
    hex(hash)
}

/// Of a text.
pub fn of_text(text: &str) -> String {
    hex(Sha256::new_with_prefix(text))
}

fn hex(hash: Sha256) -> String {
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_sum_does_not_depend_on_the_order() {
        let sum = |name: &str, byte: char| Sum {
            name: name.into(),
            path: name.into(),
            bytes: 1,
            modified_us: 0,
            sha256: byte.to_string().repeat(64),
        };
        let (a, b) = (sum("a.json", 'f'), sum("b.bin", '0'));
        assert_eq!(of_all(std::slice::from_ref(&a)), "f".repeat(64));
        let both = of_all(&[a.clone(), b.clone()]);
        assert_eq!(of_all(&[b.clone(), a.clone()]), both);
        let renamed = Sum {
            name: "c.bin".into(),
            ..b
        };
        assert_ne!(of_all(&[a, renamed]), both);
    }
}
