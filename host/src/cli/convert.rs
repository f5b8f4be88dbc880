//! `fewbit convert`: a checkpoint in another format.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use clap::Args;
use serde_json::json;

use super::launch;
use super::progress::LookProgress;
use crate::convert::{ConvertError, Format, Options, convert};
use crate::inspect::{inspect, sums};
use crate::store::{ModelFile, ModelFiles, Store};

/// Convert a model's files to ONNX or safetensors.
///
/// A conversion is remembered: done again with the same source, options and version it is not done twice, and where one of
/// them or the result has changed it is done anew. The result is there whole or not at all.
#[derive(Args)]
pub(crate) struct Convert {
    /// A name from `fewbit models list`, a folder, or a file: safetensors, GGUF, PyTorch's .bin, CTranslate2.
    model: String,
    /// OUT.onnx, OUT.safetensors, or a folder (with --to).
    out: PathBuf,
    /// The format, where the ending of OUT does not say it.
    #[arg(long, value_enum)]
    to: Option<Format>,
    /// ONNX: keep the weights in a file beside the model, as is done in any case beyond 2 GiB.
    #[arg(long)]
    external_data: bool,
    /// Tokens that the result may hold; without it, what the model's files say.
    #[arg(long, value_name = "TOKENS")]
    context: Option<usize>,
    /// Replace what is at OUT and was made by no conversion that is known.
    #[arg(long)]
    force: bool,
    /// Neither look into the registry nor add to it.
    #[arg(long)]
    no_registry: bool,
    /// One JSON object: outcome (`converted`, `done`), reasons, files, sha256, bytes, verification.
    #[arg(long)]
    json: bool,
}

/// Why a conversion is done again, and the files of the one before.
type Again = (Vec<String>, Vec<PathBuf>);

/// What was converted, for the registry.
struct Source {
    path: String,
    sha256: String,
}

impl Convert {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let (to, is_folder) = Options::format(&self.out, self.to)?;
        let options = Options {
            to,
            external_data: self.external_data,
            context: self.context,
        };
        let store = Store::open()?;
        let files = launch::resolve(&store, &self.model)?;
        let progress = LookProgress::new();
        progress.on("reading sums", 0, 0);
        let source = Source {
            path: source_path(&files),
            sha256: sums::of_all(&sums::sums(&files)?),
        };
        let out = absolute(&self.out)?;
        let (reasons, old) = match self.standing(&source, &options, &out)? {
            Some(found) => found,
            None => {
                drop(progress);
                self.say_done(&out);
                return Ok(ExitCode::SUCCESS);
            }
        };
        for reason in &reasons {
            eprintln!("{}: converted anew: {reason}", self.out.display());
        }
        let began = Instant::now();
        let paths = convert(&files, &out, is_folder, &options, &|done, of| {
            progress.on("converting", done, of);
        })?;
        // What the conversion before left and this one has not.
        for path in old.iter().filter(|path| !paths.contains(path)) {
            let _ = std::fs::remove_file(path);
        }
        let result = result_files(&out, &paths)?;
        let (report, summed) =
            inspect(&result, None, &|what, done, of| progress.on(what, done, of))?;
        drop(progress);
        let findings = report.findings();
        let (sha256, bytes) = self.register(&source, &options, &out, &paths, began, &findings)?;
        if !self.no_registry {
            super::inspect::remember(&report, &summed)?;
        }
        if self.json {
            let line = json!({
                "outcome": "converted",
                "reasons": reasons,
                "files": paths,
                "sha256": sha256,
                "bytes": bytes,
                "verification": findings,
            });
            println!("{line}");
        } else {
            for path in &paths {
                println!("{}", path.display());
            }
            if !report.holds {
                eprintln!("fewbit: the result does not hold: {findings}");
            }
        }
        Ok(ExitCode::from(u8::from(!report.holds)))
    }

    fn say_done(&self, out: &Path) {
        match self.json {
            true => println!("{}", json!({"outcome": "done", "files": [out]})),
            false => println!(
                "{} is done already, of this source by this version with these options",
                out.display()
            ),
        }
    }

    /// Why the conversion is done again, empty where it is new, and the files of the one before; `None` where there is nothing
    /// to do.
    #[cfg(feature = "results")]
    fn standing(
        &self,
        source: &Source,
        options: &Options,
        out: &Path,
    ) -> anyhow::Result<Option<Again>> {
        use crate::convert::standing::{Standing, Wanted, standing};
        let known = match self.no_registry {
            true => None,
            false => open_registry()?.conversion(out)?,
        };
        let wanted = Wanted {
            source: &source.path,
            source_sha256: &source.sha256,
            fewbit: env!("CARGO_PKG_VERSION"),
            options: &serde_json::to_string(options)?,
        };
        let old = known
            .as_ref()
            .map(|known| serde_json::from_str(&known.result_files));
        let old: Vec<PathBuf> = old.transpose()?.unwrap_or_default();
        match standing(known.as_ref(), &wanted, out) {
            Standing::New => Ok(Some((Vec::new(), old))),
            Standing::Done if self.force => Ok(Some((vec!["--force".to_owned()], old))),
            Standing::Done => Ok(None),
            Standing::Stale(reasons) => Ok(Some((reasons, old))),
            Standing::Foreign if self.force => Ok(Some((Vec::new(), old))),
            Standing::Foreign => Err(ConvertError::Exists(self.out.clone()).into()),
        }
    }

    #[cfg(not(feature = "results"))]
    fn standing(&self, _: &Source, _: &Options, out: &Path) -> anyhow::Result<Option<Again>> {
        match out.exists() && !self.force {
            true => Err(ConvertError::Exists(self.out.clone()).into()),
            false => Ok(Some((Vec::new(), Vec::new()))),
        }
    }

    /// Adds the conversion to the registry; gives the result's sum and bytes.
    #[cfg(feature = "results")]
    fn register(
        &self,
        source: &Source,
        options: &Options,
        out: &Path,
        paths: &[PathBuf],
        began: Instant,
        findings: &str,
    ) -> anyhow::Result<(String, u64)> {
        use crate::results::record::now_us;
        use crate::results::registry::{Conversion, Entry};
        let took_ms = began.elapsed().as_secs_f64() * 1e3;
        let (result_sha256, result_bytes) = crate::convert::standing::sum_of(paths)?;
        let sum = (result_sha256.clone(), result_bytes);
        if self.no_registry {
            return Ok(sum);
        }
        open_registry()?.register(&Entry::Conversion(Conversion {
            finished_us: now_us(),
            source: source.path.clone(),
            source_sha256: source.sha256.clone(),
            fewbit: env!("CARGO_PKG_VERSION").into(),
            options: serde_json::to_string(options)?,
            result: out.to_string_lossy().into_owned(),
            result_files: serde_json::to_string(paths)?,
            result_sha256,
            result_bytes,
            took_ms,
            verification: findings.to_owned(),
        }))?;
        Ok(sum)
    }

    #[cfg(not(feature = "results"))]
    fn register(
        &self,
        _: &Source,
        _: &Options,
        _: &Path,
        paths: &[PathBuf],
        _: Instant,
        _: &str,
    ) -> anyhow::Result<(String, u64)> {
        let files = result_files(Path::new("."), paths)?;
        let summed = sums::sums(&files)?;
        Ok((
            sums::of_all(&summed),
            summed.iter().map(|sum| sum.bytes).sum(),
        ))
    }
}

#[cfg(feature = "results")]
fn open_registry() -> anyhow::Result<crate::results::Results> {
    use anyhow::Context;
    let path = crate::results::default_path()?;
    crate::results::Results::open(&path)
        .context("the registry of conversions (--no-registry goes without it)")
}

/// A path that is the same from every folder: of what is there, links followed.
fn absolute(path: &Path) -> std::io::Result<PathBuf> {
    if let Ok(path) = path.canonicalize() {
        return Ok(path);
    }
    let path = std::path::absolute(path)?;
    match (
        path.parent().and_then(|parent| parent.canonicalize().ok()),
        path.file_name(),
    ) {
        (Some(parent), Some(name)) => Ok(parent.join(name)),
        _ => Ok(path),
    }
}

/// How the registry calls a source: the only file, or the folder.
fn source_path(files: &ModelFiles) -> String {
    let path = match &files.files[..] {
        [only] => &only.path,
        _ => &files.folder,
    };
    path.to_string_lossy().into_owned()
}

/// The result as a model to look at.
fn result_files(out: &Path, paths: &[PathBuf]) -> std::io::Result<ModelFiles> {
    let folder = if out.is_dir() {
        out
    } else {
        out.parent().unwrap_or(out)
    };
    let mut files = Vec::new();
    for path in paths {
        let name = path.strip_prefix(folder).unwrap_or(path);
        files.push(ModelFile {
            name: name.to_string_lossy().replace('\\', "/"),
            path: path.clone(),
            bytes: std::fs::metadata(path)?.len(),
            sha256: None,
        });
    }
    Ok(ModelFiles {
        name: out
            .file_name()
            .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        in_store: false,
        folder: folder.to_path_buf(),
        files,
    })
}
