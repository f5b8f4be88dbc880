//! `fewbit verify`: a target's numbers against a reference.

use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::launch::{self, LoadArgs};
use super::measured;
use crate::job::{LoadInfo, Outcome, RunError};
use crate::results::record::{Attempt, TensorRow};
use crate::store::{ModelFiles, Store};
use crate::target::Target;
use crate::verify::folder::FolderReference;
use crate::verify::known::KnownReference;
use crate::verify::{Findings, Reference};

/// Compare what a target computes with a reference, and exit with 0 only if all of it holds.
///
/// DIR has reference.json and reference.safetensors beside the model's files: in.* are fed and each out.* compared within
/// atol + rtol·|expected|, then generated_ids. A model of the manifest is held against what is known of it.
#[derive(Args)]
pub(crate) struct Verify {
    /// A folder with a reference, or a name from `fewbit models list`.
    #[arg(value_name = "DIR|MODEL")]
    model: String,
    /// Where to run (see `fewbit run --help`); may be given several times.
    #[arg(long, required = true)]
    target: Vec<Target>,
    /// One JSON object a target.
    #[arg(long)]
    json: bool,
    /// Keep no rows in the results.
    #[arg(long)]
    no_results: bool,
    #[command(flatten)]
    load: LoadArgs,
}

impl Verify {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::open()?;
        let reference = reference(&store, &self.model)?.with_context(|| {
            format!(
                "{}: no reference.json there, and none is built in",
                self.model
            )
        })?;
        let files = launch::resolve(&store, &self.model)?;
        let pages = launch::pages_for(&self.target, &store).await?;
        let mut all_hold = true;
        let mut cells = Vec::new();
        let run = measured::run("verify");
        for &target in &self.target {
            let started = crate::results::record::now_us();
            let (info, result) = self.one(target, pages.as_ref(), &files, &reference).await;
            all_hold &= result.as_ref().is_ok_and(Findings::hold);
            let cell = cell(target, &files, started, info, &result);
            if self.json {
                println!("{}", as_json(&cell));
            } else {
                print(&cell);
            }
            cells.push(cell);
        }
        if !self.no_results {
            measured::keep(run, cells).await;
        }
        Ok(ExitCode::from(u8::from(!all_hold)))
    }

    async fn one(
        &self,
        target: Target,
        pages: Option<&crate::serve::Running>,
        files: &ModelFiles,
        reference: &Reference,
    ) -> (Option<LoadInfo>, Result<Findings, RunError>) {
        match launch::load(target, pages, files, &self.load).await {
            Ok(mut loaded) => {
                let activations = loaded.info.activations.clone();
                let result = reference
                    .check(&mut *loaded.runner, activations.as_deref())
                    .await;
                // Ends a browser; the findings are there already.
                let _ = loaded.runner.dispose().await;
                (Some(loaded.info), result)
            }
            Err(error) => (None, Err(error)),
        }
    }
}

/// The reference that belongs to MODEL, if there is one.
pub(crate) fn reference(store: &Store, model: &str) -> anyhow::Result<Option<Reference>> {
    if let Some(entry) = store.manifest().find(model) {
        let known = KnownReference::of(&entry.name).context("a built-in reference")?;
        return Ok(known.map(Reference::Known));
    }
    let folder = Path::new(model);
    if !FolderReference::is_in(folder) {
        return Ok(None);
    }
    let reference = FolderReference::read(folder)?;
    Ok(Some(Reference::Folder(Box::new(reference))))
}

fn cell(
    target: Target,
    files: &ModelFiles,
    started_us: i64,
    info: Option<LoadInfo>,
    result: &Result<Findings, RunError>,
) -> Attempt {
    let (outcome, reason) = match result {
        Ok(findings) if findings.hold() => (Outcome::Pass, None),
        Ok(_) => (Outcome::Mismatch, None),
        Err(error) => (error.outcome, Some(format!("{}: {error}", error.code))),
    };
    let findings = result.as_ref().ok();
    Attempt {
        started_us,
        finished_us: Some(crate::results::record::now_us()),
        outcome,
        reason,
        info,
        parity_max_abs: findings.and_then(Findings::max_abs),
        parity_max_rel: findings.and_then(Findings::max_rel),
        tensors: findings.map_or_else(Vec::new, |f| f.rows.clone()),
        ..Attempt::begin(&target.to_string(), &files.name, "verify")
    }
}

fn as_json(cell: &Attempt) -> serde_json::Value {
    json!({
        "target": cell.target,
        "model": cell.model,
        "outcome": cell.outcome,
        "reason": cell.reason,
        "max_abs": cell.parity_max_abs,
        "max_rel": cell.parity_max_rel,
        "tensors": cell.tensors,
        "info": cell.info,
    })
}

fn print(cell: &Attempt) {
    let on = cell
        .info
        .as_ref()
        .map(|info| {
            let browser = info
                .browser
                .as_ref()
                .map(|b| format!("{} {}", b.name, b.version));
            let adapter = info.adapter.as_ref().map(|a| a.name.clone());
            let parts: Vec<String> = [browser, adapter].into_iter().flatten().collect();
            parts.join(", ")
        })
        .filter(|on| !on.is_empty())
        .map_or_else(String::new, |on| format!(" ({on})"));
    println!("{} on {}{on}", cell.model, cell.target);
    for row in &cell.tensors {
        println!("{}", line(row));
    }
    match &cell.reason {
        Some(reason) => println!("  {}: {reason}", cell.outcome.name()),
        None => println!("  {}", cell.outcome.name()),
    }
}

/// One tensor with its largest errors.
fn line(row: &TensorRow) -> String {
    let number = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.3e}"));
    let note = row
        .note
        .as_ref()
        .map_or(String::new(), |n| format!("  {n}"));
    format!(
        "  {} {:28} {:>8} compared  max abs {:>9}  max rel {:>9}{note}",
        if row.holds { "ok  " } else { "FAIL" },
        row.tensor,
        row.compared,
        number(row.max_abs),
        number(row.max_rel),
    )
}
