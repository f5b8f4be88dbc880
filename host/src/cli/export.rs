//! `fewbit export`: rows of the results as a file.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::results::export::{Kind, export};
use crate::results::{Results, default_path};

/// Write rows of the results to a file, for other tools: all of it or nothing.
#[derive(Args)]
pub(crate) struct Export {
    /// The file; what is there is replaced.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Without it, what the file's name ends in.
    #[arg(long, value_enum)]
    format: Option<Kind>,
    /// A table or view.
    #[arg(long, default_value = "results", conflicts_with = "sql")]
    table: String,
    /// One SELECT instead.
    #[arg(long)]
    sql: Option<String>,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Export {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match self.db {
            Some(path) => path,
            None => default_path()?,
        };
        let end = self.output.extension().and_then(|e| e.to_str());
        let format = match (self.format, end) {
            (Some(format), _) => format,
            (None, Some("parquet")) => Kind::Parquet,
            (None, Some("csv")) => Kind::Csv,
            (None, Some("json")) => Kind::Json,
            _ => bail!("which format? end the name in .parquet, .csv or .json, or say --format"),
        };
        let sql = match &self.sql {
            Some(sql) => sql.clone(),
            None => format!("FROM \"{}\"", self.table.replace('"', "\"\"")),
        };
        let rows = export(&Results::open(&path)?, &sql, &self.output, format)?;
        println!("{}: {rows} rows", self.output.display());
        Ok(ExitCode::SUCCESS)
    }
}
