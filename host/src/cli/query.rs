//! `fewbit query`: SQL over the results, and ready reports.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;

use crate::report::table::Rows;
use crate::report::{Filter, Format, Question};
use crate::results::{Results, default_path};

/// Run one SELECT over the results, or a ready report. `DESCRIBE results` shows the columns of what most questions are about;
/// docs/results.md has all tables.
///
/// The statement can read nothing but the results and write nothing. When another fewbit holds the file, it answers.
#[derive(Args)]
pub(crate) struct Query {
    /// For example: "SELECT target, decode_tokens_per_second FROM results ORDER BY started DESC LIMIT 10"
    #[arg(required_unless_present = "report", conflicts_with = "report")]
    sql: Option<String>,
    /// A ready report instead.
    #[arg(long, value_enum)]
    report: Option<Question>,
    #[command(flatten, next_help_heading = "With --report")]
    filter: Filter,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// The same as --format json.
    #[arg(long, conflicts_with_all = ["csv", "format"])]
    json: bool,
    /// The same as --format csv.
    #[arg(long, conflicts_with = "format")]
    csv: bool,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Query {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match self.db {
            Some(path) => path,
            None => default_path()?,
        };
        let results = Results::open(&path)?;
        let sql = match (self.report, self.sql) {
            (Some(question), _) => {
                self.filter.check(|sql| results.query(sql))??;
                question.sql(&self.filter)?
            }
            (None, sql) => sql.unwrap_or_default(),
        };
        let answer = results.query(&sql)?;
        let format = match (self.json, self.csv) {
            (true, _) => Format::Json,
            (_, true) => Format::Csv,
            _ => self.format,
        };
        let written = Rows::of(&answer).write(format);
        std::io::stdout().lock().write_all(written.as_bytes())?;
        if answer["truncated"] == true {
            let rows = answer["rows"].as_array().map_or(0, Vec::len);
            eprintln!("fewbit: only the first {rows} rows; add a LIMIT or a WHERE");
        }
        Ok(ExitCode::SUCCESS)
    }
}
