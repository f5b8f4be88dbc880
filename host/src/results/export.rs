//! Writing rows to a file: CSV, JSON or Parquet.
//!
//! The rows come through the same door as any query's, one after another; nothing that a user wrote ever runs where files can
//! be reached. CSV and Parquet are made of their lines by a DuckDB of our own, in memory.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use duckdb::Connection;

use super::{Results, ResultsError, objects};

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Kind {
    Parquet,
    Csv,
    /// A list with an object a row.
    Json,
}

#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    #[error(transparent)]
    Results(#[from] ResultsError),
    #[error("{path}: {message}; nothing was written under that name")]
    Write { path: PathBuf, message: String },
    #[error("another fewbit holds the results and gives 100,000 rows at most: end it first")]
    TooMany,
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
    let io = |e: std::io::Error| failed(e.to_string());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty());
    let folder = folder.unwrap_or(Path::new("."));
    let file = readable().suffix(".json").tempfile_in(folder).map_err(io)?;
    let mut count = 0;
    let mut broken = None;
    let mut to = BufWriter::new(file);
    let mut line = |row: &str| {
        let before = match (kind, count) {
            (Kind::Json, 0) => "[",
            (Kind::Json, _) => ",\n",
            (_, 0) => "",
            _ => "\n",
        };
        count += 1;
        let written = to
            .write_all(before.as_bytes())
            .and_then(|()| to.write_all(row.as_bytes()));
        written.inspect_err(|e| broken = Some(e.to_string()))
    };
    let columns = match results.own() {
        Some(database) => database.lines(sql, &mut line),
        None => {
            let answer = results.query(sql)?;
            if answer["truncated"] == true {
                return Err(ExportError::TooMany);
            }
            for row in objects(&answer) {
                line(&row.to_string()).map_err(io)?;
            }
            let columns = answer["columns"].as_array().cloned().unwrap_or_default();
            let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
            let names = columns.iter().map(|c| (text(&c["name"]), text(&c["type"])));
            Ok(names.collect())
        }
    };
    if let Some(message) = broken {
        return Err(failed(message));
    }
    let columns = columns?;
    if kind == Kind::Json {
        let end: &[u8] = if count == 0 { b"[]\n" } else { b"]\n" };
        to.write_all(end).map_err(io)?;
    }
    let file = to.into_inner().map_err(|e| failed(e.to_string()))?;
    file.as_file().sync_all().map_err(io)?;
    let done = match kind {
        Kind::Json => file,
        Kind::Csv | Kind::Parquet => {
            let other = readable().tempfile_in(folder).map_err(io)?;
            let options = match kind {
                Kind::Csv => "FORMAT csv, HEADER true",
                _ => "FORMAT parquet",
            };
            copy(file.path(), other.path(), &columns, options)
                .map_err(|e| failed(e.to_string()))?;
            other
        }
    };
    done.persist(path).map_err(|e| failed(e.to_string()))?;
    Ok(count)
}

/// Temporary files that whoever may read files here may read once they have their name.
pub fn readable() -> tempfile::Builder<'static, 'static> {
    #[allow(unused_mut, reason = "other systems have no modes")]
    let mut builder = tempfile::Builder::new();
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
    builder
}

/// The columns keep their types; what JSON has no type for comes as text and is cast.
fn copy(
    lines: &Path,
    to: &Path,
    columns: &[(String, String)],
    options: &str,
) -> duckdb::Result<()> {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let types: Vec<String> = columns
        .iter()
        .map(|(column, kind)| format!("{}: {}", literal(column), literal(kind)))
        .collect();
    let connection = Connection::open_in_memory()?;
    connection.execute_batch(&format!(
        "SET TimeZone = 'UTC';
         COPY (FROM read_json({}, format = 'newline_delimited', columns = {{{}}})) TO {} ({options})",
        literal(&lines.display().to_string()),
        types.join(", "),
        literal(&to.display().to_string()),
    ))
}
