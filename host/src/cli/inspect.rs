//! `fewbit models verify`: what a model's files are, and whether they hold.

use std::io::Write;
use std::process::ExitCode;

use clap::Args;

use super::launch;
use super::progress::LookProgress;
use crate::inspect::{Claim, Report, Sum, Verdict, inspect};
use crate::store::{ModelFile, ModelFiles, Store};

#[derive(Args)]
pub(crate) struct Inspect {
    /// A name from `fewbit models list`, a folder or a file.
    model: String,
    /// One JSON object: model, files, format, architecture, checks, targets, memory, said, holds.
    #[arg(long)]
    json: bool,
    /// Do not remember the outcome in the registry, where `fewbit bench` looks for it.
    #[arg(long)]
    no_registry: bool,
}

impl Inspect {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::open()?;
        let files = resolve(&store, &self.model)?;
        let entry = store.manifest().find(&self.model);
        let progress = LookProgress::new();
        let (report, sums) = inspect(&files, entry, &|what, done, of| progress.on(what, done, of))?;
        drop(progress);
        let mut out = std::io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&report)?)?,
            false => print(&mut out, &report)?,
        }
        if !self.no_registry {
            remember(&report, &sums)?;
        }
        Ok(ExitCode::from(u8::from(!report.holds)))
    }
}

/// As a command that runs models finds the files; besides, a folder of ONNX files.
fn resolve(store: &Store, model: &str) -> anyhow::Result<ModelFiles> {
    let error = match launch::resolve(store, model) {
        Ok(mut files) => {
            with_external_data(&mut files);
            return Ok(files);
        }
        Err(error) => error,
    };
    let folder = std::path::Path::new(model);
    let mut files = Vec::new();
    for (folder, prefix) in [(folder.to_path_buf(), ""), (folder.join("onnx"), "onnx/")] {
        let Ok(entries) = std::fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            if let Ok(metadata) = entry.metadata()
                && metadata.is_file()
            {
                files.push(ModelFile {
                    name: format!("{prefix}{name}"),
                    path: entry.path().canonicalize()?,
                    bytes: metadata.len(),
                    sha256: None,
                });
            }
        }
    }
    if !files.iter().any(|file| file.name.ends_with(".onnx")) {
        return Err(error);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    let folder = folder.canonicalize()?;
    Ok(ModelFiles {
        name: folder.file_name().map_or_else(
            || model.to_owned(),
            |name| name.to_string_lossy().into_owned(),
        ),
        in_store: false,
        folder,
        files,
    })
}

/// A single ONNX file's weights may lie beside it.
fn with_external_data(files: &mut ModelFiles) {
    let [only] = &files.files[..] else { return };
    let path = only.path.with_file_name(format!("{}.data", only.name));
    if only.name.ends_with(".onnx")
        && let Ok(metadata) = std::fs::metadata(&path)
    {
        let name = format!("{}.data", only.name);
        files.files.push(ModelFile {
            name,
            path,
            bytes: metadata.len(),
            sha256: None,
        });
    }
}

/// Adds the files to the registry as they are now.
#[cfg(feature = "results")]
pub(super) fn remember(report: &Report, sums: &[Sum]) -> anyhow::Result<()> {
    use crate::results::record::now_us;
    use crate::results::registry::{Entry, Verification};
    let rows = sums.iter().map(|sum| Verification {
        verified_us: now_us(),
        path: sum.path.to_string_lossy().into_owned(),
        bytes: sum.bytes,
        modified_us: sum.modified_us,
        sha256: sum.sha256.clone(),
        fewbit: env!("CARGO_PKG_VERSION").into(),
        holds: report.holds,
        findings: report.findings(),
    });
    let results = crate::results::Results::open(&crate::results::default_path()?)?;
    Ok(results.register(&Entry::Verifications(rows.collect()))?)
}

#[cfg(not(feature = "results"))]
pub(super) fn remember(_: &Report, _: &[Sum]) -> anyhow::Result<()> {
    Ok(())
}

fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let format = report.format.as_deref().unwrap_or("unknown format");
    let architecture = report
        .architecture
        .as_deref()
        .unwrap_or("unknown architecture");
    writeln!(out, "{}: {format}, {architecture}", plain(&report.model))?;
    for file in &report.files {
        let bytes = indicatif::HumanBytes(file.bytes);
        writeln!(out, "  {}  {bytes:>10}  {}", file.sha256, plain(&file.name))?;
    }
    for check in &report.checks {
        let outcome = match check.outcome {
            Verdict::Holds => "holds",
            Verdict::Fails => "FAILS",
            Verdict::Unknown => "unknown",
        };
        writeln!(
            out,
            "  {:10} {outcome:8} {}",
            check.name,
            plain(&check.detail)
        )?;
    }
    for coverage in &report.targets {
        let outcome = match coverage.outcome {
            Claim::Supported => "supported",
            Claim::Unsupported => "unsupported",
            Claim::Unavailable => "unavailable",
        };
        let mut why = coverage.missing.join(", ");
        if let Some(reason) = &coverage.reason {
            why = reason.clone();
        }
        writeln!(out, "  {:16} {outcome:12} {}", coverage.target, plain(&why))?;
    }
    if let Some(memory) = &report.memory {
        let shown = |bytes| indicatif::HumanBytes(bytes).to_string();
        let sizes: Vec<String> = memory
            .sizes
            .iter()
            .map(|(name, size)| format!("{name} {size}"))
            .collect();
        writeln!(
            out,
            "  memory           {}: weights {}, caches {}, activations {} ({})",
            shown(memory.total),
            shown(memory.weights),
            shown(memory.states),
            shown(memory.activations),
            sizes.join(", "),
        )?;
    }
    for said in &report.said {
        writeln!(
            out,
            "  {:16} {} ({})",
            said.what,
            plain(&said.text),
            plain(&said.by)
        )?;
    }
    if !report.said.iter().any(|said| said.what == "licence") {
        writeln!(out, "  licence          none is said")?;
    }
    writeln!(
        out,
        "  {}",
        if report.holds {
            "holds"
        } else {
            "does not hold"
        }
    )
}

/// Names and texts come out of files: no control characters for the terminal.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
