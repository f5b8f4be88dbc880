//! A user's SQL: one reading statement, without files, network, extensions or settings, within memory and time.
//!
//! The database is opened with external access, extension loading and spilling off and its configuration locked, so
//! that even a statement that slipped through could touch nothing but the results. On top of it only what DuckDB's own
//! parser takes for a single SELECT runs, in a transaction that is read-only.

use std::sync::mpsc;
use std::time::Duration;

use duckdb::types::Value as Cell;
use duckdb::{Config, Connection};
use serde_json::{Value, json};

use super::ResultsError;

/// Rows given back at most; more are cut off, and `truncated` says so.
pub(super) const MAX_ROWS: usize = 100_000;

/// The configuration of every connection that results are used through.
pub(super) fn config() -> duckdb::Result<Config> {
    Config::default()
        // First: it cannot be changed any more once external access is off.
        .with("temp_directory", "")?
        .enable_external_access(false)?
        .enable_autoload_extension(false)?
        .with("autoinstall_known_extensions", "false")?
        .with("allow_community_extensions", "false")?
        .with("memory_limit", "512MB")?
        // At each checkpoint all keys are written anew: at the default of 16 MB that is most of an import's time.
        .with("checkpoint_threshold", "64MB")?
        .with("lock_configuration", "true")
}

/// Runs `sql` and gives `{"columns": [{"name", "type"}], "rows": [[…]], "truncated"}`.
pub(super) fn query(
    connection: &Connection,
    sql: &str,
    limit: Duration,
) -> Result<Value, ResultsError> {
    let sql = single_select(connection, sql)?;
    within(connection, limit, || select(connection, &sql))
}

/// Runs `sql` and gives each row as a line of JSON, as it comes, however many there are; gives back names and types.
pub(super) fn lines(
    connection: &Connection,
    sql: &str,
    limit: Duration,
    on: &mut dyn FnMut(&str) -> std::io::Result<()>,
) -> Result<Vec<(String, String)>, ResultsError> {
    use duckdb::arrow::array::{Array, StringArray};
    let sql = single_select(connection, sql)?;
    within(connection, limit, || {
        let columns = describe(connection, &sql)?;
        // A stream that breaks off does not say so.
        let count: u64 = connection
            .query_row(&format!("SELECT count(*) FROM ({sql})"), [], |row| {
                row.get(0)
            })
            .map_err(words)?;
        let mut given = 0;
        let mut statement = connection
            .prepare(&format!(
                "SELECT CAST(to_json(t) AS VARCHAR) FROM ({sql}) t"
            ))
            .map_err(words)?;
        for batch in statement.stream_arrow([]).map_err(words)? {
            let lines = batch.column(0).as_any().downcast_ref::<StringArray>();
            let lines = lines.ok_or_else(|| ResultsError::Sql("rows are no text".into()))?;
            for line in lines.iter().flatten() {
                given += 1;
                on(line).map_err(|e| ResultsError::Sql(e.to_string()))?;
            }
        }
        match given == count {
            true => Ok(columns),
            false => Err(ResultsError::Sql(format!("{given} of {count} rows came"))),
        }
    })
}

/// Does something in a transaction that is read-only, within a time.
fn within<T>(
    connection: &Connection,
    limit: Duration,
    work: impl FnOnce() -> Result<T, ResultsError>,
) -> Result<T, ResultsError> {
    connection
        .execute_batch("BEGIN TRANSACTION READ ONLY")
        .map_err(words)?;
    let (done, waiting) = mpsc::channel::<()>();
    let interrupt = connection.interrupt_handle();
    let watch = std::thread::spawn(move || {
        let late = waiting.recv_timeout(limit) == Err(mpsc::RecvTimeoutError::Timeout);
        // Again and again: an interrupt between two statements is lost.
        while late
            && waiting
                .recv_timeout(Duration::from_millis(20))
                .is_err_and(is_timeout)
        {
            interrupt.interrupt();
        }
        late
    });
    let result = work();
    drop(done);
    let late = watch.join().unwrap_or(false);
    let ended = connection.execute_batch("ROLLBACK");
    match result {
        Err(_) if late => Err(ResultsError::TooLong(limit.as_secs())),
        Err(error) => Err(error),
        Ok(rows) => ended.map(|()| rows).map_err(words),
    }
}

fn is_timeout(error: mpsc::RecvTimeoutError) -> bool {
    error == mpsc::RecvTimeoutError::Timeout
}

fn words(error: duckdb::Error) -> ResultsError {
    ResultsError::Sql(error.to_string())
}

/// The statement, fit to stand in a subquery, if DuckDB's parser finds it to be exactly one SELECT.
fn single_select(connection: &Connection, sql: &str) -> Result<String, ResultsError> {
    let plain = sql.trim().trim_end_matches(';').trim_end();
    let first = plain.split_whitespace().next().unwrap_or_default();
    let sql = if plain.eq_ignore_ascii_case("show tables") {
        // As a subquery it would not survive being written again.
        "SELECT table_name AS name FROM information_schema.tables ORDER BY name".to_string()
    } else if ["describe", "summarize"]
        .iter()
        .any(|word| first.eq_ignore_ascii_case(word))
    {
        format!("SELECT * FROM ({plain}\n)")
    } else {
        plain.to_string()
    };
    let tree: String = connection
        .query_row(
            "SELECT json_serialize_sql(CAST(? AS VARCHAR))",
            [&sql],
            |row| row.get(0),
        )
        .map_err(words)?;
    let parsed: Value =
        serde_json::from_str(&tree).map_err(|e| ResultsError::NotReadOnly(e.to_string()))?;
    if parsed["error"] != false {
        let message = parsed["error_message"].as_str().unwrap_or("not a SELECT");
        return Err(ResultsError::NotReadOnly(message.to_string()));
    }
    match parsed["statements"].as_array().map(Vec::len) {
        // Without a semicolon the text itself can stand in a subquery; the line break ends a comment.
        Some(1) if !sql.contains(';') => Ok(format!("{sql}\n")),
        Some(1) => connection
            .query_row(
                "SELECT json_deserialize_sql(CAST(? AS JSON))",
                [&tree],
                |row| row.get(0),
            )
            .map_err(words),
        n => Err(ResultsError::NotReadOnly(format!(
            "{} statements",
            n.unwrap_or(0)
        ))),
    }
}

fn select(connection: &Connection, sql: &str) -> Result<Value, ResultsError> {
    let columns = describe(connection, sql)?;
    let list: Vec<String> = columns
        .iter()
        .map(|(name, kind)| as_plain(name, kind))
        .collect();
    let sql = format!(
        "SELECT {} FROM (SELECT * FROM ({sql}) LIMIT {})",
        list.join(", "),
        MAX_ROWS + 1
    );
    let mut statement = connection.prepare(&sql).map_err(words)?;
    let mut found = statement.query([]).map_err(words)?;
    let mut rows = Vec::new();
    let mut truncated = false;
    while let Some(row) = found.next().map_err(words)? {
        if rows.len() == MAX_ROWS {
            truncated = true;
            break;
        }
        let cells: Result<Vec<Value>, ResultsError> = columns
            .iter()
            .enumerate()
            .map(|(i, (_, kind))| Ok(to_json(row.get(i).map_err(words)?, kind)))
            .collect();
        rows.push(Value::Array(cells?));
    }
    let columns: Vec<Value> = columns
        .iter()
        .map(|(name, kind)| json!({"name": name, "type": kind}))
        .collect();
    Ok(json!({"columns": columns, "rows": rows, "truncated": truncated}))
}

/// Names and types of the result, without running it.
fn describe(connection: &Connection, sql: &str) -> Result<Vec<(String, String)>, ResultsError> {
    let mut statement = connection
        .prepare(&format!("DESCRIBE SELECT * FROM ({sql})"))
        .map_err(words)?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
        .map_err(words)?;
    rows.collect::<duckdb::Result<_>>().map_err(words)
}

/// The column as numbers, truth values or text, which is all that JSON has.
fn as_plain(name: &str, kind: &str) -> String {
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    match kind {
        "BOOLEAN" | "TINYINT" | "SMALLINT" | "INTEGER" | "BIGINT" | "UTINYINT" | "USMALLINT"
        | "UINTEGER" | "UBIGINT" | "HUGEINT" | "FLOAT" | "DOUBLE" | "VARCHAR" => quoted,
        kind if kind.starts_with("DECIMAL") => format!("CAST({quoted} AS DOUBLE)"),
        kind if is_nested(kind) => format!("CAST(to_json({quoted}) AS VARCHAR)"),
        _ => format!("CAST({quoted} AS VARCHAR)"),
    }
}

fn is_nested(kind: &str) -> bool {
    kind.ends_with(']') || kind.starts_with("STRUCT") || kind.starts_with("MAP")
}

fn to_json(cell: Cell, kind: &str) -> Value {
    match cell {
        Cell::Null => Value::Null,
        Cell::Boolean(x) => json!(x),
        Cell::TinyInt(x) => json!(x),
        Cell::SmallInt(x) => json!(x),
        Cell::Int(x) => json!(x),
        Cell::BigInt(x) => json!(x),
        Cell::UTinyInt(x) => json!(x),
        Cell::USmallInt(x) => json!(x),
        Cell::UInt(x) => json!(x),
        Cell::UBigInt(x) => json!(x),
        Cell::HugeInt(x) => i64::try_from(x).map_or_else(|_| json!(x.to_string()), |x| json!(x)),
        Cell::Float(x) => number(f64::from(x)),
        Cell::Double(x) => number(x),
        // What is no JSON after all (a NaN in a list) stays text.
        Cell::Text(x) if is_nested(kind) => serde_json::from_str(&x).unwrap_or(json!(x)),
        Cell::Text(x) => json!(x),
        other => json!(format!("{other:?}")),
    }
}

/// JSON has no NaN and no infinities: they become text.
fn number(x: f64) -> Value {
    serde_json::Number::from_f64(x).map_or_else(|| json!(x.to_string()), Value::Number)
}
