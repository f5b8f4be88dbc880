//! Results: what `bench` and `verify` measured, kept in one DuckDB file.
//!
//! One process owns the file ([`Results::open`] finds out which); others reach it through that process. The tables are
//! in `migrations/`, the rows in [`record`].

#[cfg_attr(not(feature = "results"), allow(dead_code))]
mod absent;
pub mod record;

#[cfg(feature = "results")]
mod database;
#[cfg(feature = "results")]
pub mod export;
#[cfg(feature = "results")]
pub mod import;
#[cfg(feature = "results")]
mod migrate;
#[cfg(feature = "results")]
mod owner;
#[cfg(feature = "results")]
pub mod registry;
#[cfg(feature = "results")]
mod rows;
#[cfg(feature = "results")]
mod sandbox;

#[cfg(feature = "results")]
pub use database::Database;
#[cfg(feature = "results")]
pub use owner::{Announcement, Owner, Results};

use std::path::PathBuf;

/// Why results cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ResultsError {
    #[error("{path}: {message}")]
    Io { path: PathBuf, message: String },
    #[error("{path} is held by another program, not by fewbit ({message}); close that program")]
    Stranger { path: PathBuf, message: String },
    #[error("{path} is in use by another fewbit that does not answer at {url}: {message}")]
    Owner {
        path: PathBuf,
        url: String,
        message: String,
    },
    #[error("{0} is in use by another fewbit command; try again when it is done")]
    Busy(PathBuf),
    #[error("{path} has schema {found}, made by a newer fewbit; this one knows up to {known}")]
    Newer {
        path: PathBuf,
        found: i64,
        known: i64,
    },
    #[error("{path}: migration to schema {to} failed, the file is as it was: {message}")]
    Migration {
        path: PathBuf,
        to: i64,
        message: String,
    },
    #[error("only one SELECT (or DESCRIBE, SUMMARIZE, SHOW TABLES) can be run here: {0}")]
    NotReadOnly(String),
    #[error("stopped after {0} s; make the query smaller")]
    TooLong(u64),
    #[error("{0}")]
    Sql(String),
}

/// `FEWBIT_DB`, else `results.duckdb` in the store's folder.
pub fn default_path() -> Result<PathBuf, crate::store::StoreError> {
    match std::env::var_os("FEWBIT_DB").filter(|v| !v.is_empty()) {
        Some(path) => Ok(PathBuf::from(path)),
        None => Ok(crate::store::home()?.join("results.duckdb")),
    }
}

/// The rows of an answer, each by its columns' names.
pub fn objects(answer: &serde_json::Value) -> Vec<serde_json::Value> {
    let list = |value: &serde_json::Value| value.as_array().cloned().unwrap_or_default();
    let names: Vec<String> = list(&answer["columns"])
        .iter()
        .map(|column| column["name"].as_str().unwrap_or_default().to_owned())
        .collect();
    list(&answer["rows"])
        .iter()
        .map(|row| serde_json::Value::Object(names.iter().cloned().zip(list(row)).collect()))
        .collect()
}
