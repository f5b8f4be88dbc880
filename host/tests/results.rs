//! Results in DuckDB: rows in and out, what a user's SQL may not do, and who owns the file.
#![cfg(feature = "results")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use fewbit_host::job::{LoadInfo, Outcome};
use fewbit_host::report::{Filter, Question};
use fewbit_host::results::export::{Kind, export};
use fewbit_host::results::import::import;
use fewbit_host::results::record::{
    Attempt, Measurement, Record, Run, TensorRow, now_us, unique, unique_uuid,
};
use fewbit_host::results::{Announcement, Database, Results, ResultsError};
use fewbit_host::serve::{Config, start};
use fewbit_host::store::{Manifest, Store};
use serde_json::{Value, json};

fn record() -> Record {
    let info: LoadInfo = serde_json::from_value(json!({
        "backend": "webgpu",
        "adapter": {"name": "llvmpipe", "software": true},
        "features": ["shader-f16", "it's \"quoted\""],
        "browser": {"name": "firefox", "version": "153.0"},
        "model": {"architecture": "llama", "block_format": "q4_1", "bits_per_weight": 5.0},
        "threads": 2,
    }))
    .unwrap();
    let run = Run {
        run: unique(),
        started_us: now_us(),
        command: "bench".into(),
        arguments: vec!["--target".into(), "firefox:webgpu".into()],
        fewbit: "0.1.0".into(),
        ..Run::default()
    };
    Record {
        attempts: vec![Attempt {
            outcome: Outcome::Pass,
            validity: Some("valid".into()),
            info: Some(info),
            parity_max_abs: Some(1e-5),
            measurements: vec![Measurement::new(
                "decode_tokens_per_second",
                "tokens/s",
                vec![3.0, 1.0, 2.0],
            )],
            tensors: vec![TensorRow {
                tensor: "out.logits".into(),
                compared: 4883,
                max_abs: Some(1e-5),
                max_rel: None,
                atol: Some(2e-4),
                rtol: Some(1e-3),
                holds: true,
                note: None,
            }],
            ..Attempt::begin("firefox:webgpu", "smollm2", "generate")
        }],
        ..Record::new(&run)
    }
}

fn own(path: &Path) -> Arc<Database> {
    Results::open(path).unwrap().own().unwrap()
}

fn one(database: &Database, sql: &str) -> Value {
    database.query(sql).unwrap()["rows"][0][0].clone()
}

#[test]
fn rows_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("deep/results.duckdb");
    {
        let database = own(&path);
        let mut record = record();
        database.append(&record).unwrap();
        // The same run with another cell is one run.
        record.attempts[0].attempt = unique_uuid();
        // The same batch again changes nothing, whatever it holds.
        database.append(&record).unwrap();
        assert_eq!(one(&database, "SELECT count(*) FROM attempts"), 1);
        record.batch = unique();
        database.append(&record).unwrap();
        // An attempt that is there already is not there twice.
        record.batch = unique();
        database.append(&record).unwrap();
        assert_eq!(one(&database, "SELECT count(*) FROM runs"), 1);
        assert_eq!(one(&database, "SELECT count(*) FROM attempts"), 2);
        assert_eq!(one(&database, "SELECT count(*) FROM browsers"), 1);
        assert_eq!(one(&database, "SELECT attempts FROM cells"), 2);
        assert_eq!(one(&database, "SELECT stability FROM cells"), "stable");
    }
    let database = own(&path);
    let answer = database
        .query("SELECT target, decode_tokens_per_second, adapter_software, started, reason FROM results LIMIT 1")
        .unwrap();
    let row = &answer["rows"][0];
    assert_eq!(row[0], "firefox:webgpu");
    assert_eq!(
        (&row[1], &row[2], &row[4]),
        (&json!(2.0), &json!(true), &Value::Null)
    );
    assert!(row[3].as_str().unwrap().starts_with("20"));
    assert_eq!(
        answer["columns"][1],
        json!({"name": "decode_tokens_per_second", "type": "DOUBLE"})
    );
    assert_eq!(
        one(&database, "SELECT features FROM attempts"),
        json!(["shader-f16", "it's \"quoted\""])
    );
    assert_eq!(
        one(&database, "SELECT samples FROM measurements"),
        json!([3.0, 1.0, 2.0])
    );
    assert_eq!(
        one(&database, "SELECT arguments[2] FROM runs"),
        "firefox:webgpu"
    );
    assert_eq!(one(&database, "SELECT 'nan'::DOUBLE"), "NaN");
    assert_eq!(one(&database, "SELECT sum(compared) FROM parity"), 9766);
    assert_eq!(
        one(&database, "WITH a AS (VALUES (1.5)) FROM a -- a comment;"),
        1.5
    );
    assert_eq!(one(&database, "DESCRIBE results;"), "started");
    assert_eq!(one(&database, "SHOW TABLES"), "adapters");
    let twice = database.query("SELECT 1 AS a, 2 AS a").unwrap();
    assert_eq!(twice["rows"][0], json!([1, 2]));
}

#[test]
fn sql_of_a_user_cannot_reach_out() {
    let dir = tempfile::tempdir().unwrap();
    let database = own(&dir.path().join("results.duckdb"));
    database.append(&record()).unwrap();
    let secret = dir.path().join("secret.csv");
    std::fs::write(&secret, "password\nhunter2\n").unwrap();
    let (secret, out) = (
        secret.display(),
        dir.path().join("out").display().to_string(),
    );
    let refused = [
        format!("SELECT * FROM read_csv('{secret}')"),
        format!("SELECT * FROM '{secret}'"),
        format!("SELECT content FROM read_text('{secret}')"),
        format!("SELECT * FROM read_blob('{secret}')"),
        format!("SELECT * FROM glob('{}/*')", dir.path().display()),
        format!("SELECT * FROM query('COPY attempts TO ''{out}''')"),
        format!("SELECT * FROM (COPY attempts TO '{out}')"),
        format!("COPY attempts TO '{out}'"),
        format!("COPY (SELECT 1) TO '{out}' (FORMAT csv)"),
        format!("EXPORT DATABASE '{out}'"),
        format!("ATTACH '{out}' AS b"),
        format!("SELECT 1; COPY attempts TO '{out}'"),
        format!("COPY attempts TO '{out}'; SELECT 1"),
        format!("SELECT 1) ; COPY attempts TO '{out}' ; (SELECT 1"),
        format!("DESCRIBE attempts); COPY attempts TO '{out}'; SELECT * FROM (DESCRIBE attempts"),
        "SELECT * FROM read_parquet('https://example.org/x.parquet')".into(),
        "INSTALL httpfs".into(),
        "LOAD httpfs".into(),
        "SET enable_external_access = true".into(),
        "RESET lock_configuration".into(),
        "PRAGMA enable_external_access".into(),
        "DROP TABLE attempts".into(),
        "DELETE FROM attempts".into(),
        "INSERT INTO runs SELECT * FROM runs".into(),
        "UPDATE attempts SET outcome = 'pass'".into(),
        "CREATE TABLE t AS SELECT 1".into(),
        "WITH a AS (DELETE FROM attempts RETURNING *) SELECT * FROM a".into(),
        "COMMIT; DROP TABLE attempts".into(),
        "CHECKPOINT".into(),
        "".into(),
        ";".into(),
    ];
    for sql in refused {
        let result = database.query(&sql);
        assert!(result.is_err(), "{sql}: {result:?}");
        assert!(!format!("{result:?}").contains("hunter2"), "{sql}");
        assert!(!Path::new(&out).exists(), "{sql}");
    }
    assert_eq!(one(&database, "SELECT count(*) FROM attempts"), 1);
    assert_eq!(one(&database, "SELECT count(*) FROM runs"), 1);
}

#[test]
fn queries_end_within_memory_and_rows() {
    let dir = tempfile::tempdir().unwrap();
    let database = own(&dir.path().join("results.duckdb"));
    let many = database.query("SELECT * FROM range(1000000)").unwrap();
    assert_eq!(
        (many["rows"].as_array().unwrap().len(), &many["truncated"]),
        (100_000, &json!(true))
    );
    let big = database.query("SELECT count(*) FROM (SELECT DISTINCT hash(a), a::VARCHAR || repeat('x', 200) FROM range(20000000) t(a))");
    assert!(
        matches!(big, Err(ResultsError::Sql(_) | ResultsError::TooLong(_))),
        "{big:?}"
    );
    assert_eq!(one(&database, "SELECT 1"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn others_reach_the_owner() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.duckdb");
    let database = own(&path);
    let store = Store::at(dir.path().join("home"), Manifest::built_in().unwrap());
    let mut config = Config::new(store);
    config.queries = Some(database.clone());
    let running = start(config).await.unwrap();
    let announcement = Announcement::new(&database, &running).unwrap();
    let copy = path.clone();
    tokio::task::spawn_blocking(move || {
        let other = Results::open(&copy).unwrap();
        assert!(matches!(other, Results::Other(_)));
        other.append(&record()).unwrap();
        assert_eq!(
            other.query("SELECT count(*) FROM attempts").unwrap()["rows"][0][0],
            1
        );
        let error = other.query("DROP TABLE attempts").unwrap_err().to_string();
        assert!(error.contains("SELECT"), "{error}");
    })
    .await
    .unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let owner = dir.path().join("results.duckdb.owner");
        assert_eq!(
            owner.metadata().unwrap().permissions().mode() & 0o777,
            0o600
        );
    }
    assert_eq!(one(&database, "SELECT count(*) FROM attempts"), 1);
    drop(announcement);
    running.stop(Duration::from_secs(1)).await;
    drop(database);
    // What a killed owner leaves does not matter: the lock is free.
    std::fs::write(
        dir.path().join("results.duckdb.owner"),
        r#"{"pid": 1, "url": "http://127.0.0.1:1", "token": "x"}"#,
    )
    .unwrap();
    assert_eq!(one(&own(&path), "SELECT count(*) FROM attempts"), 1);
}

/// Holds a database as another program would, in a process of its own: this test's executable, run again.
#[test]
fn a_strangers_lock_is_named() {
    const HOLD: &str = "FEWBIT_TEST_HOLD";
    if let Some(path) = std::env::var_os(HOLD) {
        let held = duckdb::Connection::open(path).unwrap();
        println!("held");
        std::thread::sleep(Duration::from_secs(60));
        drop(held);
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.duckdb");
    drop(own(&path));
    let mut child = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "a_strangers_lock_is_named", "--nocapture"])
        .env(HOLD, &path)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let out = std::io::BufReader::new(child.stdout.take().unwrap());
    let held = std::io::BufRead::lines(out)
        .map_while(Result::ok)
        .any(|line| line.contains("held"));
    assert!(held);
    let result = Results::open(&path);
    child.kill().unwrap();
    child.wait().unwrap();
    let error = result.err().unwrap();
    assert!(matches!(error, ResultsError::Stranger { .. }), "{error}");
    assert!(error.to_string().contains("another program"), "{error}");
}

#[test]
fn older_results_are_imported_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.duckdb");
    let results = Results::open(&path).unwrap();
    let text = r#"[{"model_name": "m", "hardware_type": "cuda", "average_latency_ms": 3.5, "batch_size": 2, "timestamp": "2025-01-02"},
        {"model_name": "m", "hardware_type": "cuda", "average_latency_ms": 3.5, "batch_size": 2, "timestamp": "2025-01-02"},
        {"model_name": "m", "hardware_type": "webgpu", "browser": "chrome", "throughput_items_per_second": 9},
        {"hardware_type": "cuda"}]"#;
    let first = import(&results, "old.json", text.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!((first.records, first.new, first.set_aside), (4, 2, 1));
    let again = import(&results, "old.json", text.as_bytes(), &mut |_| {}).unwrap();
    assert_eq!((again.records, again.new), (4, 0));
    let database = results.own().unwrap();
    assert_eq!(one(&database, "SELECT count(*) FROM set_aside"), 1);
    assert_eq!(
        one(&database, "SELECT reason FROM set_aside"),
        "it names no model"
    );
    let broken = format!("{}\n, {{\"model", text.trim_end_matches(']'));
    let error = import(&results, "broken.json", broken.as_bytes(), &mut |_| {}).unwrap_err();
    assert!(error.to_string().contains("line 5"), "{error}");

    for (question, rows) in [
        (Question::Performance, 0),
        (Question::Hardware, 0),
        (Question::Formats, 0),
        (Question::Compatibility, 2),
        (Question::Parity, 2),
        (Question::Coverage, 10),
    ] {
        let answer = results
            .query(&question.sql(&Filter::default()).unwrap())
            .unwrap();
        assert_eq!(
            answer["rows"].as_array().unwrap().len(),
            rows,
            "{question:?}"
        );
    }
    let latency = Filter {
        metric: Some("latency_ms".into()),
        ..Filter::default()
    };
    let answer = results
        .query(&Question::Performance.sql(&latency).unwrap())
        .unwrap();
    assert_eq!(answer["rows"].as_array().unwrap().len(), 1);
    let unknown = Filter {
        model: Some("bert*".into()),
        ..Filter::default()
    };
    let error = unknown
        .check(|sql| results.query(sql))
        .unwrap()
        .unwrap_err();
    assert!(error.to_string().contains("there are: m"), "{error}");
}

/// Not a test of times: `cargo test … --test results a_million -- --ignored --nocapture` prints them.
#[test]
#[ignore = "a benchmark: prints how long a million rows take"]
fn a_million_rows() {
    let dir = tempfile::tempdir().unwrap();
    let results = Results::open(&dir.path().join("results.duckdb")).unwrap();
    let mut text = String::from("[");
    for i in 0..1_000_000_u32 {
        let comma = if i == 0 { "" } else { ",\n" };
        text += &format!(
            "{comma}{{\"model_name\": \"model-{}\", \"hardware_type\": \"h{}\", \"batch_size\": {}, \"average_latency_ms\": {}.5, \
             \"throughput_items_per_second\": {i}, \"memory_peak_mb\": 100, \"timestamp\": {}}}",
            i % 300,
            i % 7,
            1 + i % 4,
            i % 1000,
            1_700_000_000 + i
        );
    }
    text.push(']');
    for _ in 0..2 {
        let began = std::time::Instant::now();
        let done = import(&results, "million.json", text.as_bytes(), &mut |_| {}).unwrap();
        println!("{done:?} in {:.1} s", began.elapsed().as_secs_f64());
    }
    use Question::*;
    for question in [
        Performance,
        Hardware,
        Compatibility,
        Parity,
        Formats,
        Coverage,
    ] {
        let filter = Filter {
            metric: Some("latency_ms".into()),
            ..Filter::default()
        };
        let began = std::time::Instant::now();
        let answer = results.query(&question.sql(&filter).unwrap()).unwrap();
        let rows = answer["rows"].as_array().unwrap().len();
        println!(
            "{question:?}: {rows} rows in {:.2} s",
            began.elapsed().as_secs_f64()
        );
    }
}

#[test]
fn exports_keep_types_and_a_full_disk_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.duckdb");
    {
        let results = Results::open(&path).unwrap();
        let mut records = Vec::new();
        for i in 0..300 {
            records.push(json!({"model": format!("m{i}, \"x\""), "target": "chrome:wasm", "latency_ms": i, "timestamp": 1_700_000_000 + i}));
        }
        let text = json!(records).to_string();
        import(&results, "many.json", text.as_bytes(), &mut |_| {}).unwrap();
        let out = |name: &str| dir.path().join(name);
        for (name, kind) in [
            ("r.csv", Kind::Csv),
            ("r.json", Kind::Json),
            ("r.parquet", Kind::Parquet),
        ] {
            let rows = export(&results, "FROM results", &out(name), kind).unwrap();
            assert_eq!(rows, 300, "{name}");
        }
        let json: Vec<Value> =
            serde_json::from_slice(&std::fs::read(out("r.json")).unwrap()).unwrap();
        assert_eq!(json.len(), 300);
        let connection = duckdb::Connection::open_in_memory().unwrap();
        for name in ["r.csv", "r.parquet"] {
            let sql = format!(
                "SELECT count(DISTINCT model) || ' ' || min(model) || ' ' || max(started)::TIMESTAMP::VARCHAR FROM '{}'",
                out(name).display()
            );
            let said: String = connection.query_row(&sql, [], |r| r.get(0)).unwrap();
            assert!(
                said.starts_with("300 m0, \"x\" 2023-11-14"),
                "{name}: {said}"
            );
        }
        let kind: String = connection
            .query_row(
                &format!(
                    "SELECT typeof(started) FROM '{}' LIMIT 1",
                    out("r.parquet").display()
                ),
                [],
                |r| r.get(0),
            )
            .unwrap();
        assert_eq!(kind, "TIMESTAMP WITH TIME ZONE");
        // What was exported is known when it comes back.
        let back = std::fs::read(out("r.json")).unwrap();
        let again = import(&results, "r.json", back.as_slice(), &mut |_| {}).unwrap();
        assert_eq!((again.records, again.new, again.set_aside), (300, 0, 0));
        let ordered = "SELECT model FROM results ORDER BY model DESC";
        export(&results, ordered, &out("o.csv"), Kind::Csv).unwrap();
        let text = std::fs::read_to_string(out("o.csv")).unwrap();
        assert!(
            text.starts_with("model\n\"m99, \"\"x\"\"\"\n"),
            "{}",
            &text[..60]
        );
        let many = "SELECT i, 'x' || i AS name FROM range(250000) t(i)";
        assert_eq!(
            export(&results, many, &out("m.parquet"), Kind::Parquet).unwrap(),
            250_000
        );
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = out("r.csv").metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o044, 0o044, "others may read what was exported");
        }
        let error = export(&results, "DROP TABLE runs", &out("x.csv"), Kind::Csv).unwrap_err();
        assert!(!out("x.csv").exists(), "{error}");
        let nowhere = out("no/such/folder.csv");
        assert!(export(&results, "FROM results", &nowhere, Kind::Csv).is_err());
    }
    #[cfg(unix)]
    {
        // What a process may write at most, in place of a full disk.
        let script = "trap '' XFSZ; ulimit -f 40; exec \"$0\" export -o full.json --table results";
        let output = std::process::Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_fewbit")])
            .current_dir(dir.path())
            .env("FEWBIT_DB", &path)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains("full.json"),
            "{said}"
        );
        let left: Vec<_> = std::fs::read_dir(dir.path())
            .unwrap()
            .flatten()
            .map(|e| e.file_name())
            .collect();
        assert!(!left.iter().any(|name| name == "full.json"), "{left:?}");
        assert!(
            !left
                .iter()
                .any(|name| name.to_string_lossy().starts_with(".tmp")),
            "{left:?}"
        );
    }
}
