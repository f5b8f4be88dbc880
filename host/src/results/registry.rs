//! The conversion registry: which files were made from which, and which were verified.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Results, ResultsError};

/// A row of the registry, as it travels to the process that owns the results.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Entry {
    Conversion(Conversion),
    Verifications(Vec<Verification>),
}

/// A conversion that was done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conversion {
    /// Microseconds since 1970-01-01 UTC.
    pub finished_us: i64,
    pub source: String,
    /// Of all files that the conversion read ([`crate::inspect::Sums`]).
    pub source_sha256: String,
    /// The version of the command that did it.
    pub fewbit: String,
    /// As JSON.
    pub options: String,
    pub result: String,
    /// The paths of its files, as JSON.
    pub result_files: String,
    pub result_sha256: String,
    pub result_bytes: u64,
    pub took_ms: f64,
    /// `holds`, or what does not.
    pub verification: String,
}

/// A file that was verified, as it was then.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verification {
    /// Microseconds since 1970-01-01 UTC.
    pub verified_us: i64,
    /// Absolute.
    pub path: String,
    pub bytes: u64,
    /// Microseconds since 1970-01-01 UTC.
    pub modified_us: i64,
    pub sha256: String,
    pub fewbit: String,
    pub holds: bool,
    /// `holds`, or what does not.
    pub findings: String,
}

impl Results {
    /// The last conversion that made the file or folder `result` (an absolute path).
    pub fn conversion(&self, result: &Path) -> Result<Option<Conversion>, ResultsError> {
        let sql = format!(
            "SELECT epoch_us(finished) AS finished_us, source, source_sha256, fewbit, options, result, \
             result_files, result_sha256, result_bytes, took_ms, verification FROM conversions \
             WHERE result = {} ORDER BY finished DESC LIMIT 1",
            literal(&result.to_string_lossy())
        );
        first(&self.query(&sql)?)
    }

    /// The last verification of the file `path` (absolute).
    pub fn verification(&self, path: &Path) -> Result<Option<Verification>, ResultsError> {
        let sql = format!(
            "SELECT epoch_us(verified) AS verified_us, path, bytes, modified_us, sha256, fewbit, holds, findings \
             FROM verifications WHERE path = {} ORDER BY verified DESC LIMIT 1",
            literal(&path.to_string_lossy())
        );
        first(&self.query(&sql)?)
    }
}

/// Text as SQL writes it. A statement over the results cannot do anything but read them, whatever a path is called.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The first row of an answer.
fn first<T: for<'a> Deserialize<'a>>(answer: &Value) -> Result<Option<T>, ResultsError> {
    let (Some(columns), Some(rows)) = (answer["columns"].as_array(), answer["rows"].as_array())
    else {
        return Ok(None);
    };
    let Some(row) = rows.first().and_then(Value::as_array) else {
        return Ok(None);
    };
    let names = columns
        .iter()
        .map(|column| column["name"].as_str().unwrap_or_default());
    let object = names.map(str::to_owned).zip(row.iter().cloned()).collect();
    serde_json::from_value(Value::Object(object))
        .map(Some)
        .map_err(|e| ResultsError::Sql(e.to_string()))
}
