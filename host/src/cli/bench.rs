//! `fewbit bench`: how fast a model runs on each target, after it was held against its reference.

use std::process::ExitCode;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::kept::Kept;
use super::launch::{self, LoadArgs, Loaded, Status};
use super::{measured, verify};
use crate::job::{
    EmbedJob, GenerateJob, GenerateResult, LoadInfo, MemoryFacts, Outcome, Prompt, RunError,
    Sampling,
};
use crate::results::record::{Attempt, Measurement, now_us};
use crate::store::{ModelFiles, Store};
use crate::target::Target;
use crate::verify::{Findings, Reference};

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
}

/// Jane Austen, "Sense and Sensibility" (1811), the first sentences; frozen, as a changed text would change the numbers.
const TEXT: &str = "The family of Dashwood had long been settled in Sussex. Their estate was large, and their residence \
was at Norland Park, in the centre of their property, where, for many generations, they had lived in so respectable a \
manner as to engage the general good opinion of their surrounding acquaintance. The late owner of this estate was a \
single man, who lived to a very advanced age, and who for many years of his life, had a constant companion and \
housekeeper in his sister. But her death, which happened ten years before his own, produced a great alteration in his \
home; for to supply her loss, he invited and received into his house the family of his nephew Mr. Henry Dashwood, the \
legal inheritor of the Norland estate, and the person to whom he intended to bequeath it.";

impl Bench {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let store = Store::open()?;
        let reference = verify::reference(&store, &self.model)?;
        let files = launch::resolve(&store, &self.model)?;
        let task = self
            .task
            .unwrap_or_else(|| match store.manifest().find(&self.model) {
                Some(entry) if entry.task == "embed" => Task::Embed,
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
        };
        let mut cell = Attempt::begin(&target.to_string(), &files.name, task_name);
        cell.validity = validity();
        let result = match launch::load(target, pages, files, &self.load).await {
            Ok(mut loaded) => {
                cell.info = Some(loaded.info.clone());
                let result = self
                    .measure(target, task, &mut loaded, reference, &mut cell)
                    .await;
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

    async fn measure(
        &self,
        target: Target,
        task: Task,
        loaded: &mut Loaded<'_>,
        reference: Option<&Reference>,
        cell: &mut Attempt,
    ) -> Result<(), RunError> {
        let status = Status::new(target);
        cell.measurements = load_times(&loaded.info);
        // The very first run, before the gate has warmed anything.
        let mut memory = MemoryFacts::default();
        let first = std::time::Instant::now();
        self.repeat(task, loaded, 0, &mut Samples::default(), &mut memory)
            .await?;
        let first_ms = first.elapsed().as_secs_f64() * 1e3;
        cell.measurements
            .push(Measurement::of_process("first_run_ms", "ms", first_ms));

        status.on(&crate::runner::Progress::Stage("checking parity".into()));
        if !gate(loaded, reference, cell).await? {
            status.clear();
            cell.measurements.clear();
            return Ok(());
        }
        for i in 0..self.warm_up {
            self.repeat(task, loaded, 1 + i, &mut Samples::default(), &mut memory)
                .await?;
        }
        let mut samples = Samples::default();
        for i in 0..self.repeats {
            let stage = format!("repeat {} of {}", i + 1, self.repeats);
            status.on(&crate::runner::Progress::Stage(stage));
            self.repeat(
                task,
                loaded,
                1 + self.warm_up + i,
                &mut samples,
                &mut memory,
            )
            .await?;
        }
        status.clear();
        cell.measurements.extend(samples.into_measurements());
        if let Some(info) = &mut cell.info {
            // What the runs say is later, and so more, than what the load said.
            let load = std::mem::take(&mut info.memory);
            info.memory = MemoryFacts {
                wasm: memory.wasm.or(load.wasm),
                gpu: memory.gpu.or(load.gpu),
                peak_resident: memory.peak_resident.max(load.peak_resident),
            };
        }
        Ok(())
    }

    async fn repeat(
        &self,
        task: Task,
        loaded: &mut Loaded<'_>,
        number: u32,
        samples: &mut Samples,
        memory: &mut MemoryFacts,
    ) -> Result<(), RunError> {
        let text = text(number, self.words);
        match task {
            Task::Generate => {
                let job = GenerateJob {
                    prompt: Prompt::Text(text),
                    source: Default::default(),
                    max_tokens: self.max_tokens,
                    sampling: Sampling::greedy(),
                    stop: vec![],
                    ignore_eos: true,
                    instruct: None,
                };
                let result = loaded.runner.generate(&job, &|_| {}).await?;
                samples.take(&result);
                *memory = result.memory;
            }
            Task::Embed => {
                let began = std::time::Instant::now();
                let result = loaded
                    .runner
                    .embed(&EmbedJob {
                        texts: vec![text],
                        ..EmbedJob::default()
                    })
                    .await?;
                let outside = began.elapsed().as_secs_f64() * 1e3;
                samples.embed_ms.push(result.elapsed_ms.unwrap_or(outside));
                if let Some(one) = result.embeddings.first() {
                    samples.tokens.push(one.input_ids.len() as f64);
                }
                *memory = result.memory;
            }
        }
        Ok(())
    }
}

/// Holds the loaded model against its reference. `false`: no times are kept.
async fn gate(
    loaded: &mut Loaded<'_>,
    reference: Option<&Reference>,
    cell: &mut Attempt,
) -> Result<bool, RunError> {
    let Some(reference) = reference else {
        cell.outcome = Outcome::Pass;
        cell.reason = Some("no reference for this model: parity was not checked".into());
        return Ok(true);
    };
    let activations = loaded.info.activations.clone();
    let findings = reference
        .check(&mut *loaded.runner, activations.as_deref())
        .await?;
    cell.parity_max_abs = findings.max_abs();
    cell.parity_max_rel = findings.max_rel();
    let holds = findings.hold();
    cell.outcome = if holds {
        Outcome::Pass
    } else {
        Outcome::Mismatch
    };
    cell.reason = failed(&findings);
    cell.tensors = findings.rows;
    Ok(holds)
}

fn failed(findings: &Findings) -> Option<String> {
    let row = findings.rows.iter().find(|row| !row.holds)?;
    let note = row.note.as_deref().unwrap_or("out of tolerance");
    Some(format!("{}: {note}", row.tensor))
}

fn load_times(info: &LoadInfo) -> Vec<Measurement> {
    [("load_ms", info.load_ms), ("compile_ms", info.compile_ms)]
        .into_iter()
        .filter_map(|(name, ms)| Some(Measurement::of_process(name, "ms", ms?)))
        .collect()
}

/// Repeats differ from their first token on.
fn text(number: u32, words: usize) -> String {
    let words: Vec<&str> = TEXT.split(' ').cycle().take(words).collect();
    format!("{number}. {}", words.join(" "))
}

#[derive(Default)]
struct Samples {
    prefill: Vec<f64>,
    decode: Vec<f64>,
    first: Vec<f64>,
    embed_ms: Vec<f64>,
    tokens: Vec<f64>,
}

impl Samples {
    fn take(&mut self, result: &GenerateResult) {
        self.prefill.extend(result.prefill_tokens_per_second);
        self.decode.extend(result.decode_tokens_per_second);
        self.first.extend(result.time_to_first_token_ms);
        self.tokens.push(result.prompt_ids.len() as f64);
    }

    fn into_measurements(self) -> impl Iterator<Item = Measurement> {
        [
            ("prefill_tokens_per_second", "tokens/s", self.prefill),
            ("decode_tokens_per_second", "tokens/s", self.decode),
            ("time_to_first_token_ms", "ms", self.first),
            ("embed_ms", "ms", self.embed_ms),
            ("input_tokens", "tokens", self.tokens),
        ]
        .into_iter()
        .filter(|(_, _, samples)| !samples.is_empty())
        .map(|(metric, unit, samples)| Measurement::new(metric, unit, samples))
    }
}

/// `disturbed` when others already made tasks wait for a CPU more than a tenth of the last ten seconds (Linux's pressure
/// stall information); `None` where the system does not tell.
fn validity() -> Option<String> {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = pressure.lines().find(|line| line.starts_with("some"))?;
    let average: f64 = some
        .split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()?;
    Some(if average > 10.0 { "disturbed" } else { "valid" }.into())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_share_no_prefix() {
        let (a, b) = (text(1, 12), text(2, 12));
        assert_ne!(a.split(' ').next(), b.split(' ').next());
        assert_eq!(a.split(' ').count(), 13);
        assert_eq!(text(1, 400).split(' ').count(), 401);
    }
}
