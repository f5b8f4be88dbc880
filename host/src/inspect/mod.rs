//! What a model's files are and whether they hold: `fewbit models verify`.
//!
//! Files are read as untrusted: headers by the engine's readers, weights chunk by chunk. Nothing is run.

mod browsers;
pub mod coverage;
mod needs;
mod numbers;
mod onnx;
mod origin;
pub mod sums;
mod webnn;

use std::collections::BTreeSet;
use std::rc::Rc;

use fewbit_engine::format::{gguf, pytorch, safetensors};
use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::model::{BuildOptions, BuiltModel, ModelError, ModelKind};
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::checkpoint::{self, CheckpointError, OpenModel};
use fewbit_native_backends::FileSource;
use serde::Serialize;

pub use coverage::{Claim, Coverage};
pub use needs::Needs;
pub use origin::Said;
pub use sums::Sum;

use crate::store::{ModelEntry, ModelFiles};

/// Why a model could not be looked at; what is wrong with its files is in the report.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    #[error("{0}")]
    Read(#[from] std::io::Error),
    #[error("{0}: none of its files is a model's (*.gguf, *.safetensors, *.bin, *.pt, *.onnx)")]
    NoFiles(String),
}

/// What was found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub model: String,
    pub files: Vec<FileReport>,
    pub format: Option<String>,
    pub architecture: Option<String>,
    pub checks: Vec<Check>,
    pub targets: Vec<Coverage>,
    pub memory: Option<Needs>,
    /// Licence and provenance.
    pub said: Vec<Said>,
    /// Whether no check fails.
    pub holds: bool,
}

#[derive(Clone, Debug, Serialize)]
pub struct FileReport {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
    /// What the manifest says the sum is, if it has the file.
    pub expected: Option<String>,
}

/// One thing that was looked at.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// `format`, `integrity`, `shapes`, `numbers`, `operators`.
    pub name: &'static str,
    pub outcome: Verdict,
    pub detail: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Holds,
    Fails,
    /// There is nothing to hold it against; the detail says what is lacking.
    Unknown,
}

impl Report {
    /// `holds`, or what does not.
    pub fn findings(&self) -> String {
        let failed = self
            .checks
            .iter()
            .filter(|check| check.outcome == Verdict::Fails);
        let failed: Vec<String> = failed
            .map(|check| format!("{}: {}", check.name, check.detail))
            .collect();
        match failed.is_empty() {
            true => "holds".into(),
            false => failed.join("; "),
        }
    }

    fn check(&mut self, name: &'static str, outcome: Verdict, detail: impl Into<String>) {
        self.checks.push(Check {
            name,
            outcome,
            detail: detail.into(),
        });
    }
}

/// Told what is being done, and how far it is in bytes.
pub type OnLook<'a> = &'a dyn Fn(&str, u64, u64);

/// Looks at a model: a manifest's (`entry`), a folder's or a file's. Gives the sums of its files too.
///
/// # Errors
/// Only what keeps the files from being read at all.
pub fn inspect(
    files: &ModelFiles,
    entry: Option<&ModelEntry>,
    on: OnLook<'_>,
) -> Result<(Report, Vec<Sum>), InspectError> {
    if !files.files.iter().any(|file| sums::is_weights(&file.name)) {
        return Err(InspectError::NoFiles(files.name.clone()));
    }
    on("reading sums", 0, 0);
    let summed = sums::sums(files)?;
    let mut report = Report {
        model: files.name.clone(),
        files: Vec::new(),
        format: None,
        architecture: None,
        checks: Vec::new(),
        targets: Vec::new(),
        memory: None,
        said: Vec::new(),
        holds: false,
    };
    let has_onnx = summed.iter().any(|sum| sum.name.ends_with(".onnx"));
    let has_checkpoint = summed.iter().any(|sum| is_checkpoint(&sum.name));
    match has_onnx && !has_checkpoint {
        true => onnx::look(&mut report, files, on)?,
        false => look(&mut report, files, on)?,
    }
    integrity(&mut report, files, entry, &summed);
    let gguf = gguf_metadata(files)?;
    report.said = origin::said(files, entry, gguf.as_ref());
    report.said.extend(onnx::producers(&summed)?);
    report.holds = report
        .checks
        .iter()
        .all(|check| check.outcome != Verdict::Fails);
    Ok((report, summed))
}

fn is_checkpoint(name: &str) -> bool {
    [".gguf", ".safetensors", ".bin", ".pt", ".pth"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Sums against the manifest's.
fn integrity(report: &mut Report, files: &ModelFiles, entry: Option<&ModelEntry>, summed: &[Sum]) {
    let expected = |name: &str| {
        let known = files.files.iter().find(|file| file.name == name);
        let in_entry = entry.and_then(|entry| entry.files.iter().find(|file| file.name == name));
        known
            .and_then(|file| file.sha256.clone())
            .or_else(|| in_entry.map(|file| file.sha256.clone()))
    };
    let (mut compared, mut wrong) = (0, Vec::new());
    for sum in summed {
        let expected = expected(&sum.name);
        if let Some(expected) = &expected {
            compared += 1;
            if *expected != sum.sha256 {
                wrong.push(format!(
                    "{}: sha256 {}, {expected} is known",
                    sum.name, sum.sha256
                ));
            }
        }
        report.files.push(FileReport {
            name: sum.name.clone(),
            bytes: sum.bytes,
            sha256: sum.sha256.clone(),
            expected,
        });
    }
    match (wrong.is_empty(), compared) {
        (false, _) => report.check("integrity", Verdict::Fails, wrong.join("; ")),
        (true, 0) => report.check(
            "integrity",
            Verdict::Unknown,
            "no sha256 is known for these files",
        ),
        (true, compared) => {
            let detail = format!("{compared} of {} sums are the manifest's", summed.len());
            report.check("integrity", Verdict::Holds, detail);
        }
    }
}

fn source_of(files: &ModelFiles) -> Result<Vec<Rc<dyn ByteSource>>, InspectError> {
    let mut sources: Vec<Rc<dyn ByteSource>> = Vec::new();
    for file in &files.files {
        sources.push(Rc::new(FileSource::open(&file.name, &file.path)?));
    }
    Ok(sources)
}

fn gguf_metadata(
    files: &ModelFiles,
) -> Result<Option<fewbit_engine::format::Metadata>, InspectError> {
    let Some(file) = files.files.iter().find(|file| file.name.ends_with(".gguf")) else {
        return Ok(None);
    };
    let source = FileSource::open(&file.name, &file.path)?;
    // A header that cannot be read is a finding of the format's check.
    let header = pollster::block_on(gguf::read_header(&source)).ok();
    Ok(header.map(|header| header.checkpoint.metadata))
}

/// A checkpoint and what describes it.
fn look(report: &mut Report, files: &ModelFiles, on: OnLook<'_>) -> Result<(), InspectError> {
    let sources = source_of(files)?;
    let model_files = checkpoint::ModelFiles::new(sources.clone());
    let opened = checkpoint::open(&model_files, BuildOptions::default());
    match pollster::block_on(opened) {
        Ok(open) => {
            report.format = Some(format_of(&open.source));
            report.architecture = Some(open.built.architecture.to_owned());
            let (tensors, bytes) = (
                open.source.checkpoint.tensors.len(),
                open.source.checkpoint.total_bytes(),
            );
            report.check(
                "format",
                Verdict::Holds,
                format!("{tensors} tensors, {bytes} bytes"),
            );
            shapes(report, &open);
            let parts = parts(&open.built);
            let used: BTreeSet<&str> = parts
                .iter()
                .flat_map(|(graph, _)| graph.weights().map(|(_, name, _)| name))
                .collect();
            let used = |name: &str| used.contains(name);
            finite(report, std::slice::from_ref(&open.source), &used, on);
            operators(report, &open);
        }
        Err(error) => unopened(report, error, &sources, on),
    }
    Ok(())
}

/// A checkpoint that no model could be made of: what can be said of it all the same.
fn unopened(
    report: &mut Report,
    error: CheckpointError,
    sources: &[Rc<dyn ByteSource>],
    on: OnLook<'_>,
) {
    let said = error.to_string();
    let shapes = match error {
        CheckpointError::Format(_) | CheckpointError::Source(_) | CheckpointError::NoWeights(_) => {
            report.check("format", Verdict::Fails, said);
            return;
        }
        CheckpointError::NoConfig(_) | CheckpointError::Handover(_) => Verdict::Unknown,
        CheckpointError::Model(ModelError::UnknownArchitecture(_)) => Verdict::Unknown,
        CheckpointError::Model(_) | CheckpointError::Config(_) => Verdict::Fails,
    };
    let mut checkpoints = Vec::new();
    for source in sources.iter().filter(|source| is_checkpoint(source.name())) {
        let read = async {
            let name = source.name();
            if name.ends_with(".gguf") {
                return gguf::read_header(source.as_ref())
                    .await
                    .map(|header| header.checkpoint);
            }
            match name.ends_with(".safetensors") {
                true => safetensors::read_header(source.as_ref()).await,
                false => pytorch::read_header(source.as_ref()).await,
            }
        };
        match pollster::block_on(read) {
            Ok(checkpoint) => checkpoints.push(WeightSource {
                checkpoint,
                files: vec![source.clone()],
            }),
            Err(error) => report.check("format", Verdict::Fails, error.to_string()),
        }
    }
    if let Some(first) = checkpoints.first() {
        report.format = Some(format_of(first));
        let tensors: usize = checkpoints
            .iter()
            .map(|source| source.checkpoint.tensors.len())
            .sum();
        report.check("format", Verdict::Holds, format!("{tensors} tensors"));
    }
    report.check("shapes", shapes, said);
    finite(report, &checkpoints, &|_| true, on);
    report.check("operators", Verdict::Unknown, "no graph could be made");
}

fn format_of(source: &WeightSource) -> String {
    let name = source.files.first().map_or("", |file| file.name());
    let format = match name.rsplit_once('.').map_or("", |(_, end)| end) {
        "gguf" => "GGUF",
        "safetensors" => "safetensors",
        "bin" if source.checkpoint.metadata.contains("ctranslate2.spec") || name == "model.bin" => {
            "CTranslate2"
        }
        _ => "PyTorch",
    };
    format.to_owned()
}

/// A model's graphs, each with usual sizes.
fn parts(built: &BuiltModel) -> Vec<(&Graph, Bindings)> {
    let mut graphs = vec![&built.graph];
    if let ModelKind::EncoderDecoder(parts) = &built.kind {
        graphs.push(&parts.encoder);
    }
    let with_sizes = graphs.into_iter();
    with_sizes
        .map(|graph| (graph, coverage::usual_sizes(graph, Some(&built.kind))))
        .collect()
}

/// The names of the operators that a model's graphs have on the CPU and on this machine's GPU; without one, those that any
/// GPU may be given: of the graphs as they are and decomposed.
pub fn operators_of(built: &BuiltModel) -> Option<(BTreeSet<String>, BTreeSet<String>)> {
    let (mut cpu, mut gpu) = (BTreeSet::new(), BTreeSet::new());
    for (graph, sizes) in parts(built) {
        let [on_cpu, on_gpu] = coverage::operators(graph, &sizes).ok()?;
        cpu.extend(on_cpu);
        gpu.extend(on_gpu);
    }
    Some((cpu, gpu))
}

/// Building the graph held every tensor that it uses against the config.
fn shapes(report: &mut Report, open: &OpenModel) {
    let parts = parts(&open.built);
    let used: BTreeSet<&str> = parts
        .iter()
        .flat_map(|(graph, _)| graph.weights().map(|(_, name, _)| name))
        .collect();
    let tensors = open.source.checkpoint.tensors.keys();
    let unused: Vec<&str> = tensors
        .map(String::as_str)
        .filter(|name| !used.contains(name))
        .collect();
    let mut detail = format!("{} tensors are as the configuration says", used.len());
    if !unused.is_empty() {
        let some: Vec<&str> = unused.iter().copied().take(5).collect();
        detail += &format!("; {} are not used: {}", unused.len(), some.join(", "));
        if unused.len() > some.len() {
            detail += ", …";
        }
    }
    report.check("shapes", Verdict::Holds, detail);
}

/// Looks for NaN and infinities in every tensor; what the graph does not use is told and does no harm.
fn finite(
    report: &mut Report,
    sources: &[WeightSource],
    used: &dyn Fn(&str) -> bool,
    on: OnLook<'_>,
) {
    let total: u64 = sources
        .iter()
        .map(|source| source.checkpoint.total_bytes())
        .sum();
    let (mut done, mut tensors) = (0, 0);
    let (mut wrong, mut harmless) = (Vec::new(), Vec::new());
    for source in sources {
        let mut entries: Vec<_> = source.checkpoint.tensors.values().collect();
        entries.sort_by_key(|entry| (entry.file, entry.offset));
        for entry in entries {
            on("looking for NaN and infinities", done, total);
            match pollster::block_on(numbers::look(source, entry)) {
                Ok(found) if found.is_none() => {}
                Ok(found) => {
                    let told = format!(
                        "{}: {} NaN, {} infinite",
                        entry.name, found.nan, found.infinite
                    );
                    if used(&entry.name) {
                        wrong.push(told)
                    } else {
                        harmless.push(told)
                    }
                }
                Err(error) => wrong.push(error),
            }
            done += entry.bytes;
            tensors += 1;
        }
    }
    let few = |told: &[String]| told.iter().take(10).cloned().collect::<Vec<_>>().join("; ");
    match (wrong.is_empty(), harmless.is_empty()) {
        (false, _) => report.check("numbers", Verdict::Fails, few(&wrong)),
        (true, false) => {
            let detail = format!(
                "{tensors} tensors; in ones that are not used: {}",
                few(&harmless)
            );
            report.check("numbers", Verdict::Holds, detail);
        }
        (true, true) => {
            report.check(
                "numbers",
                Verdict::Holds,
                format!("{tensors} tensors are finite"),
            );
        }
    }
}

fn operators(report: &mut Report, open: &OpenModel) {
    let parts = parts(&open.built);
    match needs::needs(&parts, &open.source) {
        Ok(needs) => report.memory = Some(needs),
        Err(error) => report.check("memory", Verdict::Unknown, error.to_string()),
    }
    covered(report, &parts);
}

/// The targets' answers; the check fails where the reference back end, native:cpu, has not all of the operators.
fn covered(report: &mut Report, parts: &[(&Graph, Bindings)]) {
    report.targets = coverage::coverage(parts, report.memory.as_ref());
    let lacking: Vec<&Coverage> = report
        .targets
        .iter()
        .filter(|coverage| coverage.outcome != Claim::Supported)
        .collect();
    let on_cpu = report
        .targets
        .first()
        .is_some_and(|cpu| cpu.outcome == Claim::Supported);
    let detail = match lacking.is_empty() {
        true => "every target has them".to_owned(),
        false => {
            let names: Vec<&str> = lacking
                .iter()
                .map(|coverage| coverage.target.as_str())
                .collect();
            format!("not on {}", names.join(", "))
        }
    };
    let outcome = if on_cpu {
        Verdict::Holds
    } else {
        Verdict::Fails
    };
    report.check("operators", outcome, detail);
}
