//! Who holds the results file, and reaching it there.
//!
//! Beside `results.duckdb` lie `results.duckdb.lock`, held by the owning process as long as it lives, and, while that
//! process serves, `results.duckdb.owner`: its address and token as JSON, readable by the user alone.

use std::fs::{File, OpenOptions};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::migrate::beside;
use super::record::Record;
use super::registry::Entry;
use super::{Database, ResultsError};
use crate::serve::{Running, TOKEN_HEADER};

/// How long to wait for a short command that holds the file without serving.
const PATIENCE: Duration = Duration::from_secs(10);

/// The results, wherever they are.
pub enum Results {
    /// This process owns the file.
    Own(Arc<Database>),
    /// Another fewbit does.
    Other(Owner),
}

/// The address of the process that owns the file.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Owner {
    #[serde(skip)]
    path: PathBuf,
    pub pid: u32,
    pub url: String,
    token: String,
}

impl Results {
    /// Takes the file at `path`, or finds the process that has it.
    ///
    /// # Errors
    /// A stranger's lock, an owner that does not answer, a schema too new, a failed migration.
    pub fn open(path: &Path) -> Result<Results, ResultsError> {
        let io = |e: std::io::Error| ResultsError::Io {
            path: path.to_path_buf(),
            message: e.to_string(),
        };
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(io)?;
        }
        let start = Instant::now();
        loop {
            if let Some(lock) = try_lock(path)? {
                // What a process that was killed left behind.
                let _ = std::fs::remove_file(owner_file(path));
                return Ok(Results::Own(Arc::new(Database::open(path, lock)?)));
            }
            match read_owner(path) {
                Some(owner) => match owner.ping() {
                    Ok(()) => return Ok(Results::Other(owner)),
                    Err(message) if start.elapsed() > PATIENCE => {
                        return Err(ResultsError::Owner {
                            path: path.to_path_buf(),
                            url: owner.url,
                            message,
                        });
                    }
                    Err(_) => {}
                },
                None if start.elapsed() > PATIENCE => {
                    return Err(ResultsError::Busy(path.to_path_buf()));
                }
                None => {}
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    pub fn query(&self, sql: &str) -> Result<Value, ResultsError> {
        match self {
            Results::Own(database) => database.query(sql),
            Results::Other(owner) => owner.call("/api/query", &json!({ "sql": sql })),
        }
    }

    pub fn append(&self, record: &Record) -> Result<(), ResultsError> {
        match self {
            Results::Own(database) => database.append(record),
            Results::Other(owner) => {
                let rows =
                    serde_json::to_value(record).map_err(|e| ResultsError::Sql(e.to_string()))?;
                owner.call("/api/results", &rows).map(|_| ())
            }
        }
    }

    /// Adds to the registry.
    pub fn register(&self, entry: &Entry) -> Result<(), ResultsError> {
        match self {
            Results::Own(database) => database.register(entry),
            Results::Other(owner) => {
                let rows =
                    serde_json::to_value(entry).map_err(|e| ResultsError::Sql(e.to_string()))?;
                owner.call("/api/results", &rows).map(|_| ())
            }
        }
    }

    /// The database, for a server of this process, if it is the owner.
    pub fn own(&self) -> Option<Arc<Database>> {
        match self {
            Results::Own(database) => Some(database.clone()),
            Results::Other(_) => None,
        }
    }
}

/// While this value lives, other commands find the results through `running`.
pub struct Announcement(PathBuf);

impl Announcement {
    pub fn new(database: &Database, running: &Running) -> Result<Announcement, ResultsError> {
        let path = owner_file(database.path());
        let owner = Owner {
            path: PathBuf::new(),
            pid: std::process::id(),
            url: running.url(),
            token: running.token().to_string(),
        };
        let write = || -> std::io::Result<()> {
            let json = serde_json::to_vec(&owner).map_err(std::io::Error::other)?;
            let new = beside(&path, "new");
            let _ = std::fs::remove_file(&new);
            let mut options = OpenOptions::new();
            options.write(true).create_new(true);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            std::io::Write::write_all(&mut options.open(&new)?, &json)?;
            std::fs::rename(&new, &path)
        };
        write().map_err(|e| ResultsError::Io {
            path: path.clone(),
            message: e.to_string(),
        })?;
        Ok(Announcement(path))
    }
}

impl Drop for Announcement {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn owner_file(path: &Path) -> PathBuf {
    beside(path, "owner")
}

fn try_lock(path: &Path) -> Result<Option<File>, ResultsError> {
    let lock = beside(path, "lock");
    let io = |e: std::io::Error| ResultsError::Io {
        path: lock.clone(),
        message: e.to_string(),
    };
    let file = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(false)
        .open(&lock)
        .map_err(io)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(e)) => Err(io(e)),
    }
}

fn read_owner(path: &Path) -> Option<Owner> {
    let json = std::fs::read(owner_file(path)).ok()?;
    let mut owner: Owner = serde_json::from_slice(&json).ok()?;
    owner.path = path.to_path_buf();
    Some(owner)
}

impl Owner {
    fn agent(&self) -> ureq::Agent {
        ureq::Agent::config_builder()
            // Loopback never goes through the user's proxy.
            .proxy(None)
            .timeout_connect(Some(Duration::from_secs(2)))
            .timeout_global(Some(Duration::from_secs(60)))
            .http_status_as_error(false)
            .build()
            .new_agent()
    }

    fn ping(&self) -> Result<(), String> {
        self.post("/api/query", &json!({"sql": "SELECT 1"}))
            .map(|_| ())
    }

    fn call(&self, path: &str, body: &Value) -> Result<Value, ResultsError> {
        self.post(path, body).map_err(ResultsError::Sql)
    }

    fn post(&self, path: &str, body: &Value) -> Result<Value, String> {
        let url = format!("{}{path}", self.url);
        let mut response = self
            .agent()
            .post(&url)
            .header(TOKEN_HEADER, &self.token)
            .header("content-type", "application/json")
            .send(body.to_string())
            .map_err(|e| e.to_string())?;
        let status = response.status();
        let text = response
            .body_mut()
            .with_config()
            .limit(1 << 30)
            .read_to_string()
            .map_err(|e| e.to_string())?;
        let answer: Value = serde_json::from_str(&text).unwrap_or(Value::Null);
        if status.is_success() {
            return Ok(answer);
        }
        match answer["error"]["message"].as_str() {
            Some(message) => Err(message.to_string()),
            None => Err(format!("{url} answered {status}")),
        }
    }
}
