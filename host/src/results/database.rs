//! The results file, opened by the process that owns it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use duckdb::{Connection, params};
use serde_json::Value;

use super::record::Record;
use super::registry::{Conversion, Entry, Verification};
use super::{ResultsError, migrate, rows, sandbox};

/// A query may take this long.
const TIME_LIMIT: Duration = Duration::from_secs(20);

/// And all of its rows, for a file, this long.
const LINES_LIMIT: Duration = Duration::from_secs(1800);

/// The open file; while this value lives, no other process can open it.
pub struct Database {
    path: PathBuf,
    connection: Mutex<Connection>,
    /// Released by the system when the process ends, however it ends.
    _lock: File,
}

impl Database {
    /// Opens or makes the file, brings its schema up to date and closes everything but its own tables to SQL.
    pub(super) fn open(path: &Path, lock: File) -> Result<Database, ResultsError> {
        migrate::migrate(path, migrate::MIGRATIONS)?;
        let connection = sandbox::config()
            .and_then(|config| Connection::open_with_flags(path, config))
            .map_err(|e| migrate::open_error(path, &e))?;
        Ok(Database {
            path: path.to_path_buf(),
            connection: Mutex::new(connection),
            _lock: lock,
        })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Runs one reading statement (see `sandbox`).
    ///
    /// # Errors
    /// Not a single SELECT, an error of DuckDB's, or out of time or memory.
    pub fn query(&self, sql: &str) -> Result<Value, ResultsError> {
        self.query_within(sql, TIME_LIMIT)
    }

    pub(super) fn query_within(&self, sql: &str, limit: Duration) -> Result<Value, ResultsError> {
        // A connection of its own: a long query does not keep rows from being written.
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_clone()
            .map_err(|e| ResultsError::Sql(e.to_string()))?;
        sandbox::query(&connection, sql, limit)
    }

    /// Runs one reading statement and hands on each of its rows as a line of JSON. Gives back names and types of the columns.
    ///
    /// # Errors
    /// As [`Database::query`], and what `on` says.
    pub fn lines(
        &self,
        sql: &str,
        on: &mut dyn FnMut(&str) -> std::io::Result<()>,
    ) -> Result<Vec<(String, String)>, ResultsError> {
        let connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .try_clone()
            .map_err(|e| ResultsError::Sql(e.to_string()))?;
        sandbox::lines(&connection, sql, LINES_LIMIT, on)
    }

    /// Writes a record's rows, all or none; when this returns they are on disk. Attempts that are there already, and batches
    /// that came before, are left as they are.
    pub fn append(&self, record: &Record) -> Result<(), ResultsError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        rows::write(&mut connection, record).map_err(|e| ResultsError::Sql(e.to_string()))
    }

    /// Writes an entry of the registry, all of it or nothing.
    pub fn register(&self, entry: &Entry) -> Result<(), ResultsError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let write = |connection: &mut Connection| -> duckdb::Result<()> {
            let transaction = connection.transaction()?;
            match entry {
                Entry::Conversion(conversion) => insert_conversion(&transaction, conversion)?,
                Entry::Verifications(verifications) => {
                    for verification in verifications {
                        insert_verification(&transaction, verification)?;
                    }
                }
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|e| ResultsError::Sql(e.to_string()))
    }
}

impl crate::serve::Queries for Database {
    fn query(&self, sql: &str) -> Result<Value, String> {
        Database::query(self, sql).map_err(|e| e.to_string())
    }

    fn append(&self, rows: &Value) -> Result<(), String> {
        let words = |e: ResultsError| e.to_string();
        // A record has a run; an entry of the registry is named by what it is.
        if rows.get("run").is_some() {
            let record: Record = serde_json::from_value(rows.clone()).map_err(|e| e.to_string())?;
            return Database::append(self, &record).map_err(words);
        }
        let entry: Entry = serde_json::from_value(rows.clone()).map_err(|e| e.to_string())?;
        self.register(&entry).map_err(words)
    }
}

fn insert_conversion(connection: &Connection, row: &Conversion) -> duckdb::Result<()> {
    connection.execute(
        "INSERT INTO conversions SELECT make_timestamptz(?), ?, ?, ?, ?, ?, ?, ?, ?, ?, ?",
        params![
            row.finished_us,
            row.source,
            row.source_sha256,
            row.fewbit,
            row.options,
            row.result,
            row.result_files,
            row.result_sha256,
            i64::try_from(row.result_bytes).unwrap_or(i64::MAX),
            row.took_ms,
            row.verification,
        ],
    )?;
    Ok(())
}

fn insert_verification(connection: &Connection, row: &Verification) -> duckdb::Result<()> {
    connection.execute(
        "INSERT INTO verifications SELECT make_timestamptz(?), ?, ?, ?, ?, ?, ?, ?",
        params![
            row.verified_us,
            row.path,
            i64::try_from(row.bytes).unwrap_or(i64::MAX),
            row.modified_us,
            row.sha256,
            row.fewbit,
            row.holds,
            row.findings,
        ],
    )?;
    Ok(())
}
