//! `fewbit import`: results of older tools.

use std::io::{BufRead, BufReader, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use crate::results::import::import;
use crate::results::{Results, default_path};

/// Take results of older tools into the results: JSON with one result, a list, an object around a list, or one a line.
///
/// Fields may be nested and are known by the names that such tools use (model_name, hardware_type, batch_size,
/// average_latency_ms, throughput_items_per_second, memory_peak_mb, …). What was not measured on a target of ours stands under
/// `imported:NAME`. The same again adds nothing; a record that cannot be read is set aside with the reason (table set_aside).
#[derive(Args)]
pub(crate) struct Import {
    /// Files, or - for standard input.
    #[arg(required = true)]
    files: Vec<String>,
    /// One JSON object a file: records, new, set_aside.
    #[arg(long)]
    json: bool,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Import {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match self.db {
            Some(path) => path,
            None => default_path()?,
        };
        let results = Results::open(&path)?;
        let mut failed = false;
        for name in &self.files {
            let bar = std::io::stderr()
                .is_terminal()
                .then(indicatif::ProgressBar::new_spinner);
            let from: Box<dyn BufRead> = match name.as_str() {
                "-" => Box::new(BufReader::new(std::io::stdin())),
                file => {
                    let file = std::fs::File::open(file).with_context(|| file.to_owned())?;
                    Box::new(BufReader::with_capacity(1 << 20, file))
                }
            };
            let done = import(&results, name, from, &mut |records| {
                if let Some(bar) = &bar {
                    bar.set_message(format!("{name}: {records} records"));
                    bar.tick();
                }
            });
            if let Some(bar) = &bar {
                bar.finish_and_clear();
            }
            match done {
                Ok(done) if self.json => println!(
                    "{}",
                    json!({"file": name, "records": done.records, "new": done.new, "set_aside": done.set_aside})
                ),
                Ok(done) => println!(
                    "{name}: {} records, {} new, {} set aside",
                    done.records, done.new, done.set_aside
                ),
                Err(error) => {
                    failed = true;
                    eprintln!("fewbit: {name}: {error}");
                }
            }
        }
        Ok(ExitCode::from(u8::from(failed)))
    }
}
