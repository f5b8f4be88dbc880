//! Writing rows to a file: CSV, JSON or Parquet.
//!
//! The rows come through the same door as any query's, a page at a time, wherever the results are; nothing that a user wrote
//! ever runs where files can be reached. Parquet is made of them by a DuckDB of our own, in memory.

use std::io::Write;
use std::path::{Path, PathBuf};

use duckdb::Connection;
use serde_json::Value;

use super::{Results, ResultsError};
use crate::report::table::{Format, Rows};

/// Rows of one page.
const PAGE: usize = 50_000;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Parquet,
    Csv,
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("{path}: {message}; there is no file of that name that was not there before")]
    Write { path: PathBuf, message: String },
}

/// Writes the rows of one SELECT to `path`, all of them or no file. Gives back how many there were.
///
/// # Errors
/// A statement that is not one SELECT, a place that cannot be written to, a full disk.
pub fn export(results: &Results, sql: &str, path: &Path, kind: Kind) -> Result<u64, ExportError> {
    let failed = |message: String| ExportError::Write {
        path: path.to_path_buf(),
        message,
    };
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let temporary = |suffix: &str| {
        let file = tempfile::Builder::new().suffix(suffix).tempfile_in(folder);
        file.map_err(|e| failed(e.to_string()))
    };
    let mut file = temporary(match kind {
        Kind::Csv => ".csv",
        Kind::Json | Kind::Parquet => ".json",
    })?;
    let mut count = 0;
    let mut columns = Value::Null;
    let plain = sql.trim().trim_end_matches(';');
    loop {
        let page = format!("SELECT * FROM ({plain}\n) ORDER BY ALL LIMIT {PAGE} OFFSET {count}");
        let answer = results.query(&page)?;
        let rows = answer["rows"].as_array().map_or(0, Vec::len);
        let text = text(&answer, kind, count == 0);
        file.write_all(text.as_bytes())
            .map_err(|e| failed(e.to_string()))?;
        count += rows as u64;
        columns = if columns.is_null() {
            answer["columns"].clone()
        } else {
            columns
        };
        if rows < PAGE {
            break;
        }
    }
    if kind == Kind::Json {
        file.write_all(b"]\n").map_err(|e| failed(e.to_string()))?;
    }
    file.as_file()
        .sync_all()
        .map_err(|e| failed(e.to_string()))?;
    let done = match kind {
        Kind::Parquet => {
            let parquet = temporary(".parquet")?;
            to_parquet(file.path(), parquet.path(), &columns).map_err(|e| failed(e.to_string()))?;
            parquet
        }
        Kind::Csv | Kind::Json => file,
    };
    done.persist(path).map_err(|e| failed(e.to_string()))?;
    Ok(count)
}

/// A page as text; the first begins the file.
fn text(answer: &Value, kind: Kind, first: bool) -> String {
    let rows = Rows::of(answer);
    match kind {
        Kind::Csv => {
            let all = rows.write(Format::Csv);
            match (first, all.split_once('\n')) {
                (false, Some((_, rest))) => rest.to_owned(),
                _ => all,
            }
        }
        Kind::Json => {
            let lines: Vec<String> = rows.objects().iter().map(Value::to_string).collect();
            let begin = if first {
                "["
            } else if lines.is_empty() {
                ""
            } else {
                ",\n"
            };
            format!("{begin}{}", lines.join(",\n"))
        }
        Kind::Parquet => rows
            .objects()
            .iter()
            .map(|row| format!("{row}\n"))
            .collect(),
    }
}

/// The columns keep their types; what JSON has no type for comes as text and is cast.
fn to_parquet(lines: &Path, parquet: &Path, columns: &Value) -> duckdb::Result<()> {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let name = |text: &str| format!("\"{}\"", text.replace('"', "\"\""));
    let all = columns.as_array().cloned().unwrap_or_default();
    let each = all.iter().map(|column| {
        let text = |what: &str| column[what].as_str().unwrap_or_default().to_owned();
        (text("name"), text("type"))
    });
    let each: Vec<(String, String)> = each.collect();
    let types: Vec<String> = each
        .iter()
        .map(|(column, kind)| format!("{}: {}", literal(column), literal(kind)))
        .collect();
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(&format!(
        "SET TimeZone = 'UTC';
         COPY (SELECT {} FROM read_json({}, format = 'newline_delimited', columns = {{{}}}))
         TO {} (FORMAT parquet)",
        each.iter()
            .map(|(column, _)| name(column))
            .collect::<Vec<String>>()
            .join(", "),
        literal(&lines.display().to_string()),
        types.join(", "),
        literal(&parquet.display().to_string()),
    ))
}
