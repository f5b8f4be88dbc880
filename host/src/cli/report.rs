//! `fewbit report`: one self-contained page of the results.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;

use super::compare::METRICS;
use crate::report::compare;
use crate::report::page::{CELLS, EVIDENCE, Facts, RUNS, TIMES, page};
use crate::results::{Results, default_path, objects};

/// Write a page of the results: outcomes of all cells, times by model and target, and where each number is from. It is one
/// file that asks nothing of a network.
#[derive(Args)]
pub(crate) struct Report {
    /// The page; what is there is replaced.
    #[arg(short, long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Report {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match self.db {
            Some(path) => path,
            None => default_path()?,
        };
        let results = Results::open(&path)?;
        let mut cut = None;
        let mut rows = |sql: &str| {
            let answer = results.query(sql)?;
            if answer["truncated"] == true {
                cut = Some("Only the first 100,000 rows of each part are here.".to_owned());
            }
            anyhow::Ok(objects(&answer))
        };
        let now = results.query("SELECT strftime(now(), '%Y-%m-%d %H:%M')")?;
        let mut facts = Facts {
            cells: rows(CELLS)?,
            times: rows(TIMES)?,
            runs: rows(RUNS)?,
            evidence: rows(EVIDENCE)?,
            versus: Vec::new(),
            cut: None,
            made: now["rows"][0][0].as_str().unwrap_or_default().to_owned(),
        };
        for metric in METRICS {
            let answer = results.query(&compare::sql(metric, None))?;
            let compared = compare::browsers_and_native(&compare::rows(&answer));
            for one in compared {
                facts.versus.push(serde_json::to_value(one)?);
            }
        }
        facts.cut = cut;
        let html = page(&facts)?;
        write(&self.output, html.as_bytes())
            .with_context(|| format!("{}", self.output.display()))?;
        println!("{}: {} cells", self.output.display(), facts.cells.len());
        Ok(ExitCode::SUCCESS)
    }
}

/// All of a file or nothing of it under its name.
pub(super) fn write(path: &std::path::Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(std::path::Path::new("."));
    let mut file = crate::results::export::readable().tempfile_in(folder)?;
    std::io::Write::write_all(&mut file, bytes)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
