//! Numbered migrations. Each rebuilds the file: the new schema in a new file, rows copied from the old one (attached
//! read-only as `old`), then one rename. DuckDB cannot change the type of indexed columns or drop parents of foreign
//! keys, and so no migration has to try.

use std::path::{Path, PathBuf};

use duckdb::Connection;

use super::ResultsError;

pub(super) struct Migration {
    /// The whole schema, tables and views.
    pub(super) schema: &'static str,
    /// Copies the rows of the version before from `old.*`; empty in the first.
    pub(super) copy: &'static str,
}

/// The first has version 1.
pub(super) const MIGRATIONS: &[Migration] = &[
    Migration {
        schema: include_str!("migrations/0001.sql"),
        copy: "",
    },
    Migration {
        schema: include_str!("migrations/0002.sql"),
        copy: "INSERT INTO runs SELECT * FROM old.runs;
               INSERT INTO cells SELECT *, NULL FROM old.cells;
               INSERT INTO measurements SELECT * FROM old.measurements;
               INSERT INTO tensors SELECT * FROM old.tensors;",
    },
    Migration {
        schema: include_str!("migrations/0003.sql"),
        copy: "INSERT INTO runs SELECT * FROM old.runs;
               INSERT INTO cells SELECT * FROM old.cells;
               INSERT INTO measurements SELECT * FROM old.measurements;
               INSERT INTO tensors SELECT * FROM old.tensors;",
    },
];

/// Brings the file at `path` to the last of `migrations`, or makes it. The caller holds the lock.
pub(super) fn migrate(path: &Path, migrations: &[Migration]) -> Result<(), ResultsError> {
    let known = migrations.len() as i64;
    let mut version = if path.exists() { version_of(path)? } else { 0 };
    if version > known {
        return Err(ResultsError::Newer {
            path: path.to_path_buf(),
            found: version,
            known,
        });
    }
    while version < known {
        let to = version + 1;
        let migration = &migrations[version as usize];
        rebuild(path, version, to, migration).map_err(|message| ResultsError::Migration {
            path: path.to_path_buf(),
            to,
            message,
        })?;
        version = to;
    }
    Ok(())
}

fn version_of(path: &Path) -> Result<i64, ResultsError> {
    let connection = Connection::open(path).map_err(|e| open_error(path, &e))?;
    connection
        .query_row("SELECT max(version) FROM fewbit_schema", [], |row| {
            row.get(0)
        })
        .map_err(|e| ResultsError::Io {
            path: path.to_path_buf(),
            message: format!("no results of fewbit in this file: {e}"),
        })
}

/// DuckDB's words for a lock are told apart from the rest, as the user can do something about it.
pub(super) fn open_error(path: &Path, error: &duckdb::Error) -> ResultsError {
    let message = error.to_string();
    let path = path.to_path_buf();
    if message.contains("lock") || message.contains("used by another process") {
        // The first line names the process.
        let message = message.lines().next().unwrap_or_default().to_string();
        ResultsError::Stranger { path, message }
    } else {
        ResultsError::Io { path, message }
    }
}

fn rebuild(path: &Path, from: i64, to: i64, migration: &Migration) -> Result<(), String> {
    let new = beside(path, "migrating");
    remove(&new)?;
    let result = fill(path, &new, from, to, migration);
    if result.is_err() {
        // The error is what matters; the next try removes it again.
        let _ = remove(&new);
        return result;
    }
    std::fs::rename(&new, path).map_err(|e| e.to_string())
}

fn fill(path: &Path, new: &Path, from: i64, to: i64, migration: &Migration) -> Result<(), String> {
    let words = |e: duckdb::Error| e.to_string();
    let connection = Connection::open(new).map_err(words)?;
    if from > 0 {
        let old = path.display().to_string().replace('\'', "''");
        connection
            .execute_batch(&format!("ATTACH '{old}' AS old (READ_ONLY)"))
            .map_err(words)?;
    }
    connection.execute_batch("BEGIN").map_err(words)?;
    connection.execute_batch(migration.schema).map_err(words)?;
    connection.execute_batch(migration.copy).map_err(words)?;
    connection
        .execute_batch(&format!(
            "CREATE TABLE fewbit_schema (version INTEGER NOT NULL);
             INSERT INTO fewbit_schema VALUES ({to});
             COMMIT;"
        ))
        .map_err(words)?;
    if from > 0 {
        connection.execute_batch("DETACH old").map_err(words)?;
    }
    connection.execute_batch("CHECKPOINT").map_err(words)?;
    connection.close().map_err(|(_, e)| e.to_string())
}

/// Removes an unfinished file and its log.
fn remove(path: &Path) -> Result<(), String> {
    for path in [path.to_path_buf(), beside(path, "wal")] {
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(format!("{}: {e}", path.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

/// `PATH.EXTENSION`.
pub(super) fn beside(path: &Path, extension: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(extension);
    PathBuf::from(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Migration = Migration {
        schema: "CREATE TABLE t (a INTEGER PRIMARY KEY);",
        copy: "",
    };
    /// Changes the type of an indexed column, which ALTER refuses.
    const SECOND: Migration = Migration {
        schema: "CREATE TABLE t (a BIGINT PRIMARY KEY, b VARCHAR);",
        copy: "INSERT INTO t SELECT a, 'n' || a FROM old.t;",
    };
    const BROKEN: Migration = Migration {
        schema: "CREATE TABLE t (a BIGINT);",
        copy: "INSERT INTO t SELECT missing FROM old.t;",
    };

    #[test]
    fn rebuilds_keep_rows_and_failures_change_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("it's.duckdb");
        migrate(&path, &[FIRST]).unwrap();
        let sql = |sql: &str| Connection::open(&path).unwrap().execute_batch(sql);
        sql("INSERT INTO t VALUES (1), (2)").unwrap();

        let error = migrate(&path, &[FIRST, BROKEN]).unwrap_err();
        assert!(
            matches!(error, ResultsError::Migration { to: 2, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("missing"), "{error}");
        assert_eq!(version_of(&path).unwrap(), 1);
        let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().flatten().collect();
        assert_eq!(left.len(), 1);

        migrate(&path, &[FIRST, SECOND]).unwrap();
        migrate(&path, &[FIRST, SECOND]).unwrap();
        let names: String = Connection::open(&path)
            .unwrap()
            .query_row("SELECT string_agg(b, ',' ORDER BY a) FROM t", [], |r| {
                r.get(0)
            })
            .unwrap();
        assert_eq!(names, "n1,n2");

        let newer = migrate(&path, &[FIRST]).unwrap_err();
        assert!(matches!(
            newer,
            ResultsError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ));
    }

    #[test]
    fn another_file_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("other.duckdb");
        Connection::open(&path)
            .unwrap()
            .execute_batch("CREATE TABLE mine (a INTEGER)")
            .unwrap();
        assert!(matches!(
            migrate(&path, &[FIRST]),
            Err(ResultsError::Io { .. })
        ));
        std::fs::write(&path, b"no database at all").unwrap();
        assert!(matches!(
            migrate(&path, &[FIRST]),
            Err(ResultsError::Io { .. })
        ));
    }
}
