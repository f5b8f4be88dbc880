//! `fewbit bench`: how fast a model runs on each target, after it was held against its reference.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::kept::Kept;
use super::launch::{self, LoadArgs, Status};
use super::verify;
use crate::cli::measured;
use crate::job::Outcome;
use crate::measure::{Length, Protocol, Work, measure};
use crate::results::record::{Attempt, now_us};
use crate::store::{ModelFiles, Store};
use crate::target::Target;
use crate::verify::Reference;

/// Measure a model on targets: load, compile, prefill, decode, time to first token.
///
/// A target first has to pass the model's reference; one that does not gets no times. Every repeat has another beginning,
/// so that no cached prefix helps. Rows go to the results (`fewbit query "FROM results"`). The model's files must have been
/// verified (`fewbit models verify`) and not have changed since; a manifest's are by their sums.
#[derive(Args)]
pub(crate) struct Bench {
    /// A name from `fewbit models list`, a folder or a file.
    model: String,
    /// Where to run (see `fewbit run --help`); may be given several times.
    #[arg(long, required = true)]
    target: Vec<Target>,
    /// What to measure; without it, what the manifest says the model is for, else generate.
    #[arg(long, value_enum)]
    task: Option<Task>,
    /// Measured repeats.
    #[arg(long, default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    repeats: u32,
    /// Repeats before those, which do not count.
    #[arg(long, default_value_t = 1)]
    warm_up: u32,
    /// Words of the prompt, or of the text to embed (about 1.3 tokens each).
    #[arg(long, default_value_t = 96)]
    words: usize,
    /// Tokens to decode in each repeat.
    #[arg(long, default_value_t = 32)]
    max_tokens: usize,
    /// One JSON object a target.
    #[arg(long)]
    json: bool,
    /// Keep no rows in the results.
    #[arg(long)]
    no_results: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    Generate,
    Embed,
    Transcribe,
}

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::open()?;
        let reference = verify::reference(&store, &self.model)?;
        let files = launch::resolve(&store, &self.model)?;
        let task = self
            .task
            .unwrap_or_else(|| match store.manifest().find(&self.model) {
                Some(entry) if entry.task == "embed" => Task::Embed,
                Some(entry) if entry.task == "transcribe" => Task::Transcribe,
                _ => Task::Generate,
            });
        let results = Kept::open(self.no_results).await?;
        results.require_verified(&files, &self.model).await?;
        let pages = launch::pages_for(&self.target, &store).await?;
        let run = measured::run("bench");
        let mut all_pass = true;
        for &target in &self.target {
            let cell = self
                .cell(target, task, pages.as_ref(), &files, reference.as_ref())
                .await;
            all_pass &= cell.outcome == Outcome::Pass;
            if self.json {
                println!("{}", as_json(&cell));
            } else {
                print(&cell);
            }
            results.append(&run, cell).await;
        }
        Ok(ExitCode::from(u8::from(!all_pass)))
    }

    async fn cell(
        &self,
        target: Target,
        task: Task,
        pages: Option<&crate::serve::Running>,
        files: &ModelFiles,
        reference: Option<&Reference>,
    ) -> Attempt {
        let task_name = match task {
            Task::Generate => "generate",
            Task::Embed => "embed",
            Task::Transcribe => "transcribe",
        };
        let mut cell = Attempt::begin(&target.to_string(), &files.name, task_name);
        let work = match task {
            Task::Generate => Work::Generate {
                prompt: Length::Words(self.words),
                decode: self.max_tokens,
                batch: 1,
            },
            Task::Embed => Work::Embed {
                text: Length::Words(self.words),
                batch: 1,
            },
            Task::Transcribe => Work::Transcribe,
        };
        let protocol = Protocol {
            warm_up: self.warm_up,
            repeats: self.repeats,
            seconds: None,
        };
        let result = match launch::load(target, pages, files, &self.load).await {
            Ok(mut loaded) => {
                cell.info = Some(loaded.info.clone());
                let status = Status::new(target);
                let result = measure(
                    &mut *loaded.runner,
                    Some(&work),
                    &protocol,
                    reference,
                    &mut cell,
                    &|stage| status.on(&crate::runner::Progress::Stage(stage)),
                )
                .await;
                status.clear();
                // Ends a browser; what was measured is there already.
                let _ = loaded.runner.dispose().await;
                result
            }
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            cell.outcome = error.outcome;
            cell.reason = Some(format!("{}: {error}", error.code));
            cell.measurements.clear();
        }
        cell.finished_us = Some(now_us());
        cell
    }
}

fn as_json(cell: &Attempt) -> serde_json::Value {
    let metrics: serde_json::Map<String, serde_json::Value> = cell
        .measurements
        .iter()
        .map(|m| {
            let value = json!({
                "unit": m.unit,
                "repeats": m.samples.len(),
                "p50": m.quantile(0.5),
                "p90": m.quantile(0.9),
                "p99": m.p99(),
                "mean": m.mean(),
                "samples": m.samples,
            });
            (m.metric.clone(), value)
        })
        .collect();
    json!({
        "target": cell.target,
        "model": cell.model,
        "task": cell.task,
        "outcome": cell.outcome,
        "validity": cell.validity,
        "reason": cell.reason,
        "parity_max_abs": cell.parity_max_abs,
        "parity_max_rel": cell.parity_max_rel,
        "metrics": metrics,
        "info": cell.info,
    })
}

fn print(cell: &Attempt) {
    let adapter = cell.info.as_ref().and_then(|info| info.adapter.as_ref());
    let adapter = adapter.map_or_else(String::new, |a| format!(" ({})", a.name));
    let outcome = cell.outcome.name();
    println!(
        "{} {} on {}{adapter}: {outcome}",
        cell.model, cell.task, cell.target
    );
    if let Some(reason) = &cell.reason {
        println!("  {reason}");
    }
    if cell.validity.as_deref() == Some("disturbed") {
        println!("  disturbed: other work kept the CPU busy");
    }
    for m in &cell.measurements {
        let number = |x: Option<f64>| x.map_or("–".into(), |x| format!("{x:.2}"));
        println!(
            "  {:28} p50 {:>10}  p90 {:>10}  p99 {:>10}  {} ({} repeats)",
            m.metric,
            number(m.quantile(0.5)),
            number(m.quantile(0.9)),
            number(m.p99()),
            m.unit,
            m.samples.len(),
        );
    }
}
