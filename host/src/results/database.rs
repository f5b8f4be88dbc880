//! The results file, opened by the process that owns it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use duckdb::{Connection, ToSql, params};
use serde_json::Value;

use super::absent::absent;
use super::record::{Cell, Measurement, Record, Run};
use super::registry::{Conversion, Entry, Verification};
use super::{ResultsError, migrate, sandbox};

/// A query may take this long.
const TIME_LIMIT: Duration = Duration::from_secs(20);

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

    /// Writes a record's rows, all or none.
    pub fn append(&self, record: &Record) -> Result<(), ResultsError> {
        let mut connection = self
            .connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let write = |connection: &mut Connection| -> duckdb::Result<()> {
            let transaction = connection.transaction()?;
            insert_run(&transaction, &record.run)?;
            for cell in &record.cells {
                insert_cell(&transaction, &record.run, cell)?;
            }
            transaction.commit()
        };
        write(&mut connection).map_err(|e| ResultsError::Sql(e.to_string()))
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

/// A list as DuckDB takes it through a parameter: JSON text, cast in the statement.
fn list<T: serde::Serialize>(items: &[T]) -> String {
    serde_json::to_string(items).unwrap_or_else(|_| "[]".into())
}

fn reasons(cell: &Cell) -> String {
    serde_json::to_string(&absent(cell)).unwrap_or_else(|_| "{}".into())
}

fn insert_run(connection: &Connection, run: &Run) -> duckdb::Result<()> {
    connection.execute(
        "INSERT INTO runs
         SELECT ?1, make_timestamptz(?2), ?3, CAST(CAST(?4 AS JSON) AS VARCHAR[]), ?5, ?6, ?7, ?8, ?9, ?10, ?11
         WHERE NOT EXISTS (SELECT 1 FROM runs WHERE run = ?1)",
        params![
            run.run,
            run.started_us,
            run.command,
            list(&run.arguments),
            run.fewbit,
            run.commit_id,
            run.machine,
            run.os,
            run.cpu,
            run.cores,
            run.memory,
        ],
    )?;
    Ok(())
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

fn insert_cell(connection: &Connection, run: &Run, cell: &Cell) -> duckdb::Result<()> {
    let info = cell.info.clone().unwrap_or_default();
    let model = info.model.unwrap_or_default();
    let browser = info.browser;
    let adapter = info.adapter;
    let integer = |n: Option<u64>| n.and_then(|n| i64::try_from(n).ok());
    let size = |n: Option<usize>| n.and_then(|n| i64::try_from(n).ok());
    let given = |text: String| (!text.is_empty()).then_some(text);
    let values: Vec<(&str, Box<dyn ToSql>)> = vec![
        ("cell", Box::new(cell.cell.clone())),
        ("run", Box::new(run.run.clone())),
        ("started", Box::new(cell.started_us)),
        ("target", Box::new(cell.target.clone())),
        ("outcome", Box::new(cell.outcome.name())),
        ("stability", Box::new(cell.stability.clone())),
        ("validity", Box::new(cell.validity.clone())),
        ("reason", Box::new(cell.reason.clone())),
        ("model", Box::new(cell.model.clone())),
        ("architecture", Box::new(given(model.architecture))),
        ("block_format", Box::new(model.block_format)),
        ("bits_per_weight", Box::new(model.bits_per_weight)),
        ("parameters", Box::new(integer(model.parameters))),
        ("task", Box::new(cell.task.clone())),
        (
            "browser_name",
            Box::new(browser.as_ref().map(|b| b.name.clone())),
        ),
        (
            "browser_version",
            Box::new(browser.as_ref().map(|b| b.version.clone())),
        ),
        (
            "driver",
            Box::new(browser.as_ref().and_then(|b| b.driver.clone())),
        ),
        ("user_agent", Box::new(browser.and_then(|b| b.user_agent))),
        (
            "adapter",
            Box::new(adapter.as_ref().map(|a| a.name.clone())),
        ),
        (
            "adapter_vendor",
            Box::new(adapter.as_ref().and_then(|a| a.vendor.clone())),
        ),
        (
            "adapter_driver",
            Box::new(adapter.as_ref().and_then(|a| a.driver.clone())),
        ),
        (
            "adapter_software",
            Box::new(adapter.as_ref().and_then(|a| a.software)),
        ),
        (
            "adapter_fingerprint",
            Box::new(adapter.and_then(|a| a.fingerprint)),
        ),
        ("features", Box::new(list(&info.features))),
        ("flags", Box::new(list(&info.flags))),
        ("backend", Box::new(given(info.backend))),
        ("variant", Box::new(info.variant)),
        ("threads_asked", Box::new(size(info.threads_asked))),
        ("threads", Box::new(size(info.threads))),
        ("activations", Box::new(info.activations)),
        ("memory_wasm", Box::new(integer(info.memory.wasm))),
        ("memory_gpu", Box::new(integer(info.memory.gpu))),
        (
            "memory_peak_resident",
            Box::new(integer(info.memory.peak_resident)),
        ),
        ("parity_max_abs", Box::new(cell.parity_max_abs)),
        ("parity_max_rel", Box::new(cell.parity_max_rel)),
        ("absent", Box::new(reasons(cell))),
    ];
    let names: Vec<&str> = values.iter().map(|(name, _)| *name).collect();
    let marks: Vec<&str> = names
        .iter()
        .map(|name| match *name {
            "started" => "make_timestamptz(?)",
            "features" | "flags" => "CAST(CAST(? AS JSON) AS VARCHAR[])",
            "absent" => "CAST(CAST(? AS JSON) AS MAP(VARCHAR, VARCHAR))",
            _ => "?",
        })
        .collect();
    let sql = format!(
        "INSERT INTO cells ({}) SELECT {}",
        names.join(", "),
        marks.join(", ")
    );
    let parameters: Vec<&dyn ToSql> = values.iter().map(|(_, value)| &**value).collect();
    connection.execute(&sql, parameters.as_slice())?;
    for measurement in &cell.measurements {
        insert_measurement(connection, &cell.cell, measurement)?;
    }
    for tensor in &cell.tensors {
        connection.execute(
            "INSERT INTO tensors VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            params![
                cell.cell,
                tensor.tensor,
                integer(Some(tensor.compared)),
                tensor.max_abs,
                tensor.max_rel,
                tensor.atol,
                tensor.rtol,
                tensor.holds,
                tensor.note,
            ],
        )?;
    }
    Ok(())
}

fn insert_measurement(
    connection: &Connection,
    cell: &str,
    measurement: &Measurement,
) -> duckdb::Result<()> {
    let (Some(p50), Some(p90), Some(p99), Some(mean)) = (
        measurement.quantile(0.5),
        measurement.quantile(0.9),
        measurement.quantile(0.99),
        measurement.mean(),
    ) else {
        return Ok(());
    };
    connection.execute(
        "INSERT INTO measurements SELECT ?, ?, ?, ?, ?, ?, ?, ?, CAST(CAST(? AS JSON) AS DOUBLE[])",
        params![
            cell,
            measurement.metric,
            measurement.unit,
            measurement.samples.len() as i64,
            p50,
            p90,
            p99,
            mean,
            list(&measurement.samples),
        ],
    )?;
    Ok(())
}
