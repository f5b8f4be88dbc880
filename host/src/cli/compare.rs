//! `fewbit compare`: two targets, commits, browser versions or formats, cell by cell.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;
use serde_json::json;

use crate::report::compare::{By, browsers_and_native, compare, kind, rows, sql};
use crate::report::table::plain;
use crate::results::{Results, default_path};

/// The ratio of A to B with its interval (95 %), cell by cell.
///
/// `paired` where both were measured in turn in one block (`fewbit matrix --interleave`), else `unpaired`, with what lies between
/// processes in the interval. Each side's attempts are those of its newest browser build and adapter; a software adapter and
/// hardware are never compared. `fewbit compare browsers native` compares each browser's wasm with native:cpu and its WebGPU
/// with native:wgpu.
#[derive(Args)]
pub(crate) struct Compare {
    /// A target, a commit, a browser version, a format; or `browsers`.
    a: String,
    /// Likewise; or `native`.
    b: String,
    /// What A and B are, where their names do not say.
    #[arg(long, value_enum)]
    by: Option<By>,
    /// Only this metric; without it prefill, decode, embeddings and real-time factor.
    #[arg(long)]
    metric: Option<String>,
    /// Only this model.
    #[arg(long)]
    model: Option<String>,
    /// One JSON array.
    #[arg(long)]
    json: bool,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

pub(super) const METRICS: [&str; 4] = [
    "prefill_tokens_per_second",
    "decode_tokens_per_second",
    "embed_ms",
    "real_time_factor",
];

impl Compare {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match &self.db {
            Some(path) => path.clone(),
            None => default_path()?,
        };
        let results = Results::open(&path)?;
        let metrics: Vec<&str> = match &self.metric {
            Some(metric) => vec![metric],
            None => METRICS.to_vec(),
        };
        let mut all = Vec::new();
        let mut seen = Vec::new();
        for metric in metrics {
            let answer = results.query(&sql(metric, self.model.as_deref()))?;
            if answer["truncated"] == true {
                bail!("there are more than 100,000 attempts with {metric}: choose a --model");
            }
            seen.push(rows(&answer));
        }
        let every = seen.concat();
        for rows in &seen {
            if self.a == "browsers" && self.b == "native" {
                all.extend(browsers_and_native(rows));
                continue;
            }
            let by = match self.by {
                Some(by) => by,
                None => kind(&every, &self.a, &self.b)?,
            };
            all.extend(compare(rows, by, &self.a, &self.b));
        }
        if self.json {
            println!("{}", json!(all));
            return Ok(ExitCode::SUCCESS);
        }
        if all.is_empty() {
            println!("no cell was timed on both");
        }
        for one in &all {
            let interval = match (one.low, one.high) {
                (Some(low), Some(high)) => format!(" [{low:.3}, {high:.3}]"),
                _ => String::new(),
            };
            let ratio = one.ratio.map_or("no ratio".into(), |r| format!("{r:.3}"));
            let note = one
                .note
                .as_ref()
                .map_or(String::new(), |n| format!("; {n}"));
            println!(
                "{ratio}{interval}  {}: {} / {}, {} ({}, {} and {} processes{note})",
                plain(&one.cell),
                one.a,
                one.b,
                one.metric,
                one.how,
                one.processes_a,
                one.processes_b
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}
