//! Other programs: run with a time limit, output into a log, its last line shown; on failure the log's
//! end and the command to type by hand.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::project::Project;

/// How many of the last lines a failure shows.
const TAIL_LINES: usize = 40;

/// Runs `command` to its end, or kills it after `limit`.
///
/// `name` names the log in `target/xtask-state/logs`.
pub(crate) fn run(
    project: &Project,
    step: &Step<'_>,
    name: &str,
    command: &mut Command,
    limit: Duration,
) -> Result<()> {
    let logs = project.own().join("logs");
    fs::create_dir_all(&logs).with_context(|| format!("create {}", logs.display()))?;
    let log_path = logs.join(format!("{name}.log"));
    let log = Mutex::new(
        File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?,
    );
    let typed = as_typed(command);
    writeln!(log.lock().expect("no thread panics"), "$ {typed}")?;

    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start: {typed}"))?;
    let out = child.stdout.take().context("piped")?;
    let err = child.stderr.take().context("piped")?;

    let ended = std::thread::scope(|scope| {
        scope.spawn(|| follow(out, step, &log));
        scope.spawn(|| follow(err, step, &log));
        let started = Instant::now();
        loop {
            if let Some(status) = child.try_wait()? {
                return Ok::<_, std::io::Error>(Some(status));
            }
            if started.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Ok(None);
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    })
    .with_context(|| format!("waiting for: {typed}"))?;

    match ended {
        Some(status) if status.success() => Ok(()),
        Some(status) => bail!(failure(project, &log_path, &typed, status)),
        None => bail!(
            "took longer than {} s and was stopped; by hand:\n\n    {typed}\n\nlog: {}",
            limit.as_secs(),
            project.shown(&log_path)
        ),
    }
}

/// Runs `command` with the terminal's own input and output, for what the user watches or answers.
pub(crate) fn run_visibly(command: &mut Command) -> Result<()> {
    let typed = as_typed(command);
    let status = command
        .status()
        .with_context(|| format!("cannot start: {typed}"))?;
    if !status.success() {
        bail!("failed ({status}): {typed}");
    }
    Ok(())
}

/// What a program prints, if it runs and ends well.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn follow(stream: impl Read, step: &Step<'_>, log: &Mutex<File>) {
    for line in BufReader::new(stream).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line);
        // npm and apt redraw a line with carriage returns: the last state counts.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        step.now(line);
        if let Ok(mut log) = log.lock() {
            // A full disk must not hide the program's own result.
            let _ = writeln!(log, "{line}");
        }
    }
}

fn failure(project: &Project, log: &Path, typed: &str, status: ExitStatus) -> String {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    let tail = &lines[lines.len().saturating_sub(TAIL_LINES)..];
    let mut message = String::new();
    let _ = writeln!(message, "failed ({status}): {typed}\n");
    for line in tail {
        let _ = writeln!(message, "    {line}");
    }
    let _ = write!(message, "\nlog: {}", project.shown(log));
    message
}

/// The command as a person would type it in a shell.
pub(crate) fn as_typed(command: &Command) -> String {
    let mut typed = String::new();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            let _ = write!(typed, "{}={} ", name.to_string_lossy(), quoted(value));
        }
    }
    typed.push_str(&quoted(command.get_program()));
    for argument in command.get_args() {
        let _ = write!(typed, " {}", quoted(argument));
    }
    match command.get_current_dir() {
        Some(dir) => format!("(cd {} && {typed})", quoted(dir.as_os_str())),
        None => typed,
    }
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:@+,".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', "'\\''"))
    }
}
