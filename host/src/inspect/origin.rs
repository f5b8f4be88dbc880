//! Licence and provenance, as the manifest or the files say them.

use std::path::Path;

use fewbit_engine::format::Metadata;
use serde::Serialize;

use crate::store::{ModelEntry, ModelFiles, Source};

/// Something that is said of a model, and where.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Said {
    /// `licence`, or what it tells of where the model is from.
    pub what: String,
    pub text: String,
    /// The file (and the key in it), or `manifest`.
    pub by: String,
}

/// Files longer than this are no README and no configuration.
const MOST_TEXT: u64 = 1 << 20;
/// So much of what a file says is repeated.
const MOST_SAID: usize = 200;

/// Everything that is said.
pub(super) fn said(
    files: &ModelFiles,
    entry: Option<&ModelEntry>,
    gguf: Option<&Metadata>,
) -> Vec<Said> {
    let mut said = Vec::new();
    let mut say = |what: &str, text: &str, by: String| {
        let text: String = text
            .chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        let text: String = text.trim().chars().take(MOST_SAID).collect();
        if !text.is_empty() {
            said.push(Said {
                what: what.to_owned(),
                text,
                by,
            });
        }
    };
    if let Some(entry) = entry {
        say("licence", &entry.licence, "manifest".into());
        say("home", &entry.home, "manifest".into());
        for source in &entry.sources {
            say("source", &shown(source), "manifest".into());
        }
    }
    if let Some(metadata) = gguf {
        for (key, what) in [
            ("general.license", "licence"),
            ("general.license.name", "licence"),
            ("general.license.link", "licence"),
            ("general.name", "name"),
            ("general.author", "author"),
            ("general.organization", "organization"),
            ("general.source.url", "source"),
            ("general.source.huggingface.repository", "source"),
            ("general.base_model.0.repo_url", "base model"),
            ("general.quantized_by", "quantized by"),
        ] {
            if let Ok(text) = metadata.str(key) {
                say(what, text, format!("GGUF {key}"));
            }
        }
    }
    for file in &files.files {
        let plain = file.name.to_ascii_lowercase();
        if plain.starts_with("licen") || plain.starts_with("copying") {
            let text = small(&file.path).unwrap_or_default();
            let first = text.lines().map(str::trim).find(|line| !line.is_empty());
            say("licence", first.unwrap_or_default(), file.name.clone());
        }
        if plain == "readme.md" {
            let text = small(&file.path).unwrap_or_default();
            for (key, value) in front_matter(&text) {
                match key {
                    "license" | "license_name" | "license_link" => {
                        say("licence", value, file.name.clone())
                    }
                    "base_model" | "base_model_relation" => {
                        say("base model", value, file.name.clone())
                    }
                    _ => {}
                }
            }
        }
        if plain == "config.json"
            && let Some(text) = small(&file.path)
            && let Ok(json) = serde_json::from_str::<serde_json::Value>(&text)
        {
            for (key, what) in [
                ("_name_or_path", "name"),
                ("transformers_version", "made by transformers"),
            ] {
                if let Some(text) = json[key].as_str() {
                    say(what, text, format!("config.json {key}"));
                }
            }
        }
    }
    said
}

fn shown(source: &Source) -> String {
    match source {
        Source::Huggingface {
            repository,
            revision,
            ..
        } => format!("Hugging Face {repository} at {revision}"),
        Source::Http { base, .. } => base.clone(),
        Source::Pip {
            package, version, ..
        } => format!("PyPI {package} {version}"),
        Source::Npm {
            package, version, ..
        } => format!("npm {package} {version}"),
    }
}

fn small(path: &Path) -> Option<String> {
    let fits = std::fs::metadata(path).is_ok_and(|metadata| metadata.len() <= MOST_TEXT);
    let bytes = fits.then(|| std::fs::read(path).ok())??;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The `key: value` lines between a README's first `---` and the next.
fn front_matter(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut lines = text.lines();
    let begins = lines.next().is_some_and(|line| line.trim() == "---");
    lines
        .take_while(move |line| begins && line.trim() != "---")
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim(), value.trim().trim_matches(['"', '\''])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_is_what_stands_between_the_lines() {
        let text = "---\nlicense: \"mit\"\ntags:\n- x\n---\nlicense: apache\n";
        let found: Vec<_> = front_matter(text).collect();
        assert_eq!(found, [("license", "mit"), ("tags", "")]);
        assert_eq!(front_matter("license: mit").count(), 0);
    }
}
