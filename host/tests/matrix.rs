//! `fewbit matrix` as a command: what it runs again, and that nothing is lost when it is killed.
#![cfg(all(unix, feature = "native", feature = "results", feature = "webdriver"))]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use fewbit_host::results::Results;
use serde_json::Value;

const REFERENCES: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../engine/tests/fixtures/reference"
);

struct Place {
    folder: tempfile::TempDir,
}

impl Place {
    fn new() -> Place {
        Place {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn database(&self) -> PathBuf {
        self.folder.path().join("results.duckdb")
    }

    fn command(&self, models: &str, targets: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fewbit"));
        command
            .args(["matrix", "--targets", targets, "--models"])
            .arg(format!("{REFERENCES}/{models}"))
            .env("FEWBIT_DB", self.database())
            .env("FEWBIT_HOME", self.folder.path().join("home"))
            .env("FEWBIT_TEST_PLACE", self.folder.path())
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .stdout(Stdio::piped());
        command
    }

    fn json(&self, models: &str, targets: &str, more: &[&str]) -> Value {
        let profile: &[&str] = match more.contains(&"--profile") {
            true => &[],
            false => &["--profile", "smoke"],
        };
        let output = self
            .command(models, targets)
            .arg("--json")
            .args(profile)
            .args(more)
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        serde_json::from_str(&said)
            .unwrap_or_else(|e| panic!("{e}: {said}{}", String::from_utf8_lossy(&output.stderr)))
    }

    fn query(&self, sql: &str) -> Vec<Vec<Value>> {
        let answer = Results::open(&self.database()).unwrap().query(sql).unwrap();
        serde_json::from_value(answer["rows"].clone()).unwrap()
    }

    /// Processes that carry this test's mark.
    fn left(&self) -> Vec<String> {
        let mark = format!("FEWBIT_TEST_PLACE={}", self.folder.path().display());
        let processes = Path::new("/proc")
            .read_dir()
            .into_iter()
            .flatten()
            .flatten();
        processes
            .filter(|entry| {
                let environment = std::fs::read(entry.path().join("environ")).unwrap_or_default();
                environment.split(|b| *b == 0).any(|e| e == mark.as_bytes())
            })
            .map(|entry| entry.path().display().to_string())
            .collect()
    }
}

#[test]
fn what_is_fresh_is_left_and_what_changed_runs() {
    let place = Place::new();
    let plan = place.json("b*", "native:cpu", &["--dry-run"]);
    let cells = plan["cells"].as_array().unwrap().len();
    assert_eq!(plan["to_run"], cells);
    assert!(cells >= 3, "{plan}");
    assert!(
        plan["cells"]
            .as_array()
            .unwrap()
            .iter()
            .all(|c| c["state"] == "missing")
    );

    let run = place.json("b*", "native:cpu", &[]);
    assert_eq!(
        (&run["ran"], &run["outcomes"]["pass"]),
        (&cells.into(), &cells.into()),
        "{run}"
    );
    let again = place.json("b*", "native:cpu", &[]);
    assert_eq!(
        (&again["ran"], &again["fresh"]),
        (&0.into(), &cells.into()),
        "{again}"
    );
    let forced = place.json("bert", "native:cpu", &["--force"]);
    assert_eq!(forced["ran"], 1);

    // A flag that native targets do not see leaves them fresh; a more thorough profile does not.
    let flagged = place.json("b*", "native:cpu", &["--dry-run", "--browser-flag=--x"]);
    assert_eq!(flagged["to_run"], 0);
    let thorough = place.json("b*", "native:cpu", &["--dry-run", "--profile", "full"]);
    assert_eq!(thorough["to_run"], cells, "{thorough}");
    let why = thorough["cells"][0]["why"].as_str().unwrap();
    assert!(why.contains("profile was smoke, is full"), "{why}");
    let old = place.json(
        "bert",
        "native:cpu",
        &["--dry-run", "--refresh-older-than", "0"],
    );
    assert_eq!(old["cells"][0]["state"], "stale");

    let rows = place.query(
        "SELECT stability, stop_reason, machine IS NOT NULL FROM cells WHERE model = 'bert'",
    );
    assert_eq!(rows[0][1], "1 of 1 processes");
    let held =
        place.query("SELECT count(*) FROM parity JOIN attempts USING (attempt) WHERE NOT holds");
    assert_eq!(held[0][0], 0);
}

#[test]
fn what_is_not_there_is_unavailable_and_fresh() {
    let place = Place::new();
    let mut command = place.command("bert", "edge:wasm");
    command.args(["--profile", "smoke"]);
    // Whatever the machine has: no Edge is found under this name.
    command
        .env("FEWBIT_EDGE", "/nonexistent")
        .env("PATH", "/nonexistent")
        .env("HOME", place.folder.path());
    let output = command.arg("--json").output().unwrap();
    let run: Value = serde_json::from_slice(&output.stdout).unwrap();
    if run["outcomes"]["unavailable"] != 1 {
        eprintln!("skipped: this machine has an Edge where no variable leads: {run}");
        return;
    }
    assert!(output.status.success(), "what is not there fails no run");
    let why = place.query("SELECT reason FROM cells");
    assert!(
        why[0][0].as_str().unwrap().contains("no_browser")
            || why[0][0].as_str().unwrap().contains("not_built"),
        "{why:?}"
    );
}

#[test]
fn wrong_command_lines_say_what_is_known() {
    let place = Place::new();
    for (more, expected) in [
        (&["--profile", "slow"][..], "full, quick, smoke"),
        (&["--shard", "5/4"], "1 ≤ I ≤ N"),
        (&["--models", "no-such-model"], "no-such-model"),
        (&["--targets", "opera:*"], "opera:*"),
        (&["--webdriver", "localhost:4444"], "http://HOST:PORT"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_fewbit"))
            .arg("matrix")
            .args(more)
            .env("FEWBIT_DB", place.database())
            .env("FEWBIT_HOME", place.folder.path().join("home"))
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && said.contains(expected),
            "{more:?}: {said}"
        );
    }
}

/// Killed outright at moments that a seed draws, the command loses no row that it told of, keeps none twice, and leaves no
/// process; the next run goes on.
#[test]
fn a_killed_run_loses_nothing() {
    let place = Place::new();
    let (models, targets) = ("*", "native:cpu");
    let of = place.json(models, targets, &["--dry-run"])["to_run"]
        .as_u64()
        .unwrap();
    let mut told: BTreeSet<String> = BTreeSet::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..6 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let moment = Duration::from_millis(200 + random % 1800);
        let mut child = place
            .command(models, targets)
            .args(["--profile", "smoke"])
            .spawn()
            .unwrap();
        let output = child.stdout.take().unwrap();
        let reader = std::thread::spawn(move || {
            let lines = BufReader::new(output).lines().map_while(Result::ok);
            let names = lines.filter_map(|line| line.split_whitespace().nth(1).map(str::to_owned));
            names
                .filter(|name| name.contains('@'))
                .collect::<Vec<String>>()
        });
        std::thread::sleep(moment);
        child.kill().unwrap();
        child.wait().unwrap();
        // Its attempt notices that nobody listens.
        let waiting = Instant::now();
        while !place.left().is_empty() {
            assert!(
                waiting.elapsed() < Duration::from_secs(30),
                "{:?}",
                place.left()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        told.extend(reader.join().unwrap());
        let kept = place.query("SELECT cell, count(*) FROM attempts GROUP BY cell");
        let names: BTreeSet<String> = kept
            .iter()
            .map(|r| r[0].as_str().unwrap().to_owned())
            .collect();
        assert!(
            told.is_subset(&names),
            "told of but not kept: {:?}",
            told.difference(&names)
        );
        let batches = place
            .query("SELECT (SELECT sum(attempts) FROM batches) - (SELECT count(*) FROM attempts)");
        assert_eq!(
            batches[0][0].as_f64().unwrap_or(0.0),
            0.0,
            "whole batches only"
        );
    }
    let rest = place.json(models, targets, &[]);
    assert_eq!(rest["unexpected"], serde_json::json!([]), "{rest}");
    let done = place
        .query("SELECT count(*) FROM cells WHERE stop_reason IS NOT NULL AND outcome = 'pass'");
    assert_eq!(done[0][0], of);
    // A cell that was told of as done is not run again by a later run.
    let twice =
        place.query("SELECT cell, count(*) FROM conclusions GROUP BY cell HAVING count(*) > 1");
    assert!(twice.is_empty(), "{twice:?}");
    assert_eq!(place.json(models, targets, &[])["ran"], 0);
}

/// The processes of `fewbit attempt` under a command.
fn attempts_of(parent: u32) -> Vec<String> {
    let mut found = Vec::new();
    for task in Path::new(&format!("/proc/{parent}/task"))
        .read_dir()
        .into_iter()
        .flatten()
        .flatten()
    {
        let children = std::fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(children.split_whitespace().map(str::to_owned));
    }
    found
}

/// However the command ends, and its attempt with it or not, no browser, driver or X server is left over; at the latest once
/// the next run has begun.
#[test]
#[ignore = "needs browsers and the built package: the browsers tier runs it"]
fn browsers_of_a_killed_run_end() {
    let place = Place::new();
    let targets = "chrome:wasm,firefox:wasm";
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    for round in 0..4 {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let mut child = place
            .command("bert", targets)
            .args(["--profile", "smoke", "--force"])
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(1500 + random % 4000));
        let attempts = attempts_of(child.id());
        child.kill().unwrap();
        let both = round % 2 == 1;
        if both {
            let killed = Command::new("kill")
                .arg("-9")
                .args(&attempts)
                .status()
                .unwrap();
            println!("killed {attempts:?} too: {killed}");
        }
        child.wait().unwrap();
        let waiting = Instant::now();
        while !both && !place.left().is_empty() {
            assert!(
                waiting.elapsed() < Duration::from_secs(60),
                "{:?}",
                place.left()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
    }
    let rest = place.json("bert", targets, &["--force"]);
    assert_eq!(rest["unexpected"], serde_json::json!([]), "{rest}");
    let waiting = Instant::now();
    while !place.left().is_empty() {
        assert!(
            waiting.elapsed() < Duration::from_secs(60),
            "{:?}",
            place.left()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    let twice =
        place.query("SELECT run, cell, count(*) FROM conclusions GROUP BY ALL HAVING count(*) > 1");
    assert!(twice.is_empty(), "{twice:?}");
    let browsers = place.query("SELECT count(DISTINCT name) FROM browsers");
    assert_eq!(browsers[0][0], 2);
}

/// A real Selenium Grid on loopback: the cell runs on the grid's node, and its row says so.
#[test]
#[ignore = "needs browsers and the built package: the browsers tier runs it"]
fn a_cell_is_measured_on_a_selenium_grid() {
    let Some(jar) = std::env::var_os("FEWBIT_TEST_SELENIUM") else {
        println!(
            "a_cell_is_measured_on_a_selenium_grid: skipped, FEWBIT_TEST_SELENIUM names no selenium-server.jar"
        );
        return;
    };
    let place = Place::new();
    let port = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let mut grid = Command::new("java")
        .arg("-jar")
        .arg(jar)
        .args([
            "standalone",
            "--host",
            "127.0.0.1",
            "--selenium-manager",
            "false",
            "--port",
        ])
        .arg(port.to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let began = Instant::now();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "the grid does not listen"
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    // It listens before its node is there; a session asked for meanwhile waits in its queue.
    let url = format!("http://127.0.0.1:{port}");
    let run = place.json("bert", "chrome:wasm", &["--webdriver", &url]);
    grid.kill().unwrap();
    grid.wait().unwrap();
    assert_eq!(run["outcomes"]["pass"], 1, "{run}");
    let rows = place.query("SELECT driver, browser_version FROM results");
    assert_eq!(rows[0][0], format!("WebDriver at {url}"));
    assert!(rows[0][1].as_str().unwrap().contains('.'));
    // Nobody is there any more: an error that says so, and nothing hangs.
    let gone = place.json("bert", "chrome:wasm", &["--webdriver", &url, "--force"]);
    assert_eq!(gone["outcomes"]["error"], 1, "{gone}");
}
