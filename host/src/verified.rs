//! Nothing is measured that was never looked at: which files of a model are verified, by the registry or by the manifest.

use std::path::Path;

use crate::store::ModelFiles;

/// A model that may not be measured, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{file} {why}: look at the model first with\n\n    fewbit models verify {model}\n")]
pub struct Unverified {
    pub file: String,
    pub why: String,
    /// As a shell takes it.
    pub model: String,
}

impl Unverified {
    fn new(path: &Path, why: impl Into<String>, model: &str) -> Unverified {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:".contains(c);
        Unverified {
            file: path.display().to_string(),
            why: why.into(),
            model: match !model.is_empty() && model.chars().all(plain) {
                true => model.to_owned(),
                false => format!("'{}'", model.replace('\'', "'\\''")),
            },
        }
    }
}

/// Holds every file of a model that counts against the registry. A file that is as large and as old as when it was
/// verified is not read again; one that is not is, and counts if its sum is the verified one's or the manifest's.
///
/// # Errors
/// [`Unverified`] with the first file that was never verified, has changed since, or did not hold; a registry or a file
/// that cannot be read.
#[cfg(all(feature = "results", feature = "native"))]
pub fn require(
    files: &ModelFiles,
    results: &crate::results::Results,
    model: &str,
) -> anyhow::Result<()> {
    use crate::inspect::sums;
    use crate::results::record::now_us;
    use crate::results::registry::{Entry, Verification};

    let mut learnt = Vec::new();
    for file in files.files.iter().filter(|file| sums::counts(&file.name)) {
        let known = results.verification(&file.path)?;
        let (bytes, modified_us) = sums::state(&file.path)?;
        if let Some(known) = &known
            && (known.bytes, known.modified_us) == (bytes, modified_us)
        {
            match known.holds {
                true => continue,
                false => {
                    let why = format!("did not hold when it was verified ({})", known.findings);
                    return Err(Unverified::new(&file.path, why, model).into());
                }
            }
        }
        let sum = sums::sum(file)?;
        let by_manifest = file.sha256.as_ref() == Some(&sum.sha256);
        let by_registry = known
            .as_ref()
            .is_some_and(|known| known.holds && known.sha256 == sum.sha256);
        if !by_manifest && !by_registry {
            let why = match known {
                None => "was never verified",
                Some(_) => "has changed since it was verified",
            };
            return Err(Unverified::new(&file.path, why, model).into());
        }
        learnt.push(Verification {
            verified_us: now_us(),
            path: sum.path.to_string_lossy().into_owned(),
            bytes: sum.bytes,
            modified_us: sum.modified_us,
            sha256: sum.sha256,
            fewbit: env!("CARGO_PKG_VERSION").into(),
            holds: true,
            findings: "holds".into(),
        });
    }
    if !learnt.is_empty() {
        results.register(&Entry::Verifications(learnt))?;
    }
    Ok(())
}

/// The same in a build that keeps no registry: only the manifest's own files are verified, and by their sums.
#[cfg(not(all(feature = "results", feature = "native")))]
pub fn require(files: &ModelFiles, model: &str) -> anyhow::Result<()> {
    match files.files.iter().find(|file| file.sha256.is_none()) {
        None => Ok(()),
        Some(file) => {
            let why = "cannot be known to be verified, as this build keeps no registry";
            Err(Unverified::new(&file.path, why, model).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_can_be_pasted() {
        let command =
            |model: &str| Unverified::new(Path::new("f"), "was never verified", model).to_string();
        assert!(command("dir/model-1.gguf").contains("fewbit models verify dir/model-1.gguf\n"));
        assert!(command("it's $HOME").contains(r"fewbit models verify 'it'\''s $HOME'"));
    }
}
