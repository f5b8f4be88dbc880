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
    Migration {
        schema: include_str!("migrations/0004.sql"),
        copy: include_str!("migrations/0004_copy.sql"),
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

    /// Rows as every version had them.
    const OLD_ROWS: &str = "
        INSERT INTO runs BY NAME SELECT 'r' AS run, now() AS started, 'bench' AS command, ['a'] AS arguments, '0.1' AS fewbit,
          'host' AS machine, 'linux' AS os, 2 AS cores;
        INSERT INTO cells BY NAME SELECT 'c1' AS cell, 'r' AS run, now() AS started, 'chrome:webgpu' AS target,
          'pass' AS outcome, 'm' AS model, 'generate' AS task, 'llama' AS architecture, 5.0 AS bits_per_weight,
          'chrome' AS browser_name, '156.0' AS browser_version, 'd' AS driver, 'ua' AS user_agent, 'SwiftShader' AS adapter,
          true AS adapter_software, 123 AS memory_gpu, ['f'] AS features;
        INSERT INTO cells BY NAME SELECT 'c2' AS cell, 'r' AS run, now() AS started, 'native:cpu' AS target,
          'error' AS outcome, 'm' AS model, 'generate' AS task, 'it failed' AS reason;
        INSERT INTO measurements VALUES ('c1', 'load_ms', 'ms', 1, 2.0, 2.0, 2.0, 2.0, [2.0]),
          ('c1', 'decode_tokens_per_second', 'tokens/s', 3, 2.0, 2.8, 2.98, 2.0, [1.0, 2.0, 3.0]);
        INSERT INTO tensors VALUES ('c1', 'out.logits', 10, 1e-5, 1e-4, 1e-3, 1e-3, true, NULL);";

    #[test]
    fn rows_of_every_version_arrive() {
        for version in 1..=3 {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("results.duckdb");
            migrate(&path, &MIGRATIONS[..version]).unwrap();
            let connection = Connection::open(&path).unwrap();
            connection.execute_batch(OLD_ROWS).unwrap();
            drop(connection);
            migrate(&path, MIGRATIONS).unwrap();
            let connection = Connection::open(&path).unwrap();
            let one = |sql: &str| -> String {
                connection
                    .query_row(&format!("SELECT ({sql})::VARCHAR"), [], |r| r.get(0))
                    .unwrap()
            };
            assert_eq!(one("SELECT count(*) FROM attempts"), "2", "{version}");
            let pass = "FROM results WHERE outcome = 'pass'";
            assert_eq!(
                one(&format!("SELECT decode_tokens_per_second {pass}")),
                "2.0"
            );
            assert_eq!(
                one(&format!("SELECT browser_version || adapter {pass}")),
                "156.0SwiftShader"
            );
            assert_eq!(one(&format!("SELECT memory_gpu {pass}")), "123");
            assert_eq!(one("SELECT count(p99) FROM measurements"), "0");
            assert_eq!(
                one("SELECT holds FROM parity JOIN attempts USING (attempt)"),
                "true"
            );
            assert_eq!(
                one("SELECT reason FROM cells WHERE target = 'native:cpu'"),
                "it failed"
            );
            assert_eq!(
                one("SELECT machine FROM cells WHERE cell = 'm/stored/generate/b1@chrome:webgpu'"),
                "host"
            );
        }
    }

    /// A browser that was there before the migration is the same one when it measures again.
    #[test]
    fn ids_are_made_alike() {
        use crate::job::{AdapterInfo, BrowserFacts, LoadInfo, ModelFacts};
        use crate::results::record::{Attempt, Record, Run};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("results.duckdb");
        migrate(&path, &MIGRATIONS[..3]).unwrap();
        let connection = Connection::open(&path).unwrap();
        connection.execute_batch(OLD_ROWS).unwrap();
        drop(connection);
        migrate(&path, MIGRATIONS).unwrap();
        let mut connection = Connection::open(&path).unwrap();
        let run = Run {
            run: "new".into(),
            machine: Some("host".into()),
            os: Some("linux".into()),
            cores: Some(2),
            ..Run::default()
        };
        let info = LoadInfo {
            browser: Some(BrowserFacts {
                name: "chrome".into(),
                version: "156.0".into(),
                driver: Some("d".into()),
                user_agent: Some("ua".into()),
            }),
            adapter: Some(AdapterInfo {
                name: "SwiftShader".into(),
                software: Some(true),
                ..AdapterInfo::default()
            }),
            model: Some(ModelFacts {
                architecture: "llama".into(),
                bits_per_weight: Some(5.0),
                ..ModelFacts::default()
            }),
            ..LoadInfo::default()
        };
        let record = Record {
            attempts: vec![Attempt {
                info: Some(info),
                ..Attempt::begin("chrome:webgpu", "m", "generate")
            }],
            ..Record::new(&run)
        };
        crate::results::rows::write(&mut connection, &record).unwrap();
        for (table, rows) in [
            ("platforms", 1),
            ("browsers", 1),
            ("adapters", 1),
            ("models", 2),
        ] {
            let sql = format!("SELECT count(*) FROM {table}");
            let count: i64 = connection.query_row(&sql, [], |r| r.get(0)).unwrap();
            assert_eq!(count, rows, "{table}");
        }
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
