//! Other programs: run with a time limit, output into a log with its last line shown, or shown in full;
//! on failure the log's end and the command to type by hand.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::progress::Step;
use crate::project::Project;

/// How many of the last lines a failure shows.
const TAIL_LINES: usize = 40;

/// How long output may still come after the program's own end, from programs it left behind.
const AFTERMATH: Duration = Duration::from_secs(2);

/// How a program ended.
pub(crate) enum Ended {
    Well,
    Badly(ExitStatus),
    TooLong,
}

/// Runs `command` to its end, or kills it after `limit`; failure is an error that shows the log's end.
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
    let mut log =
        File::create(&log_path).with_context(|| format!("create {}", log_path.display()))?;
    let typed = as_typed(command);
    writeln!(log, "$ {typed}").with_context(|| format!("write {}", log_path.display()))?;
    let ended = follow(command, limit, |line| {
        // npm and apt redraw a line with carriage returns: the last state counts.
        let line = line.trim_end().rsplit('\r').next().unwrap_or_default();
        step.now(line);
        // A full disk must not hide the program's own result.
        let _ = writeln!(log, "{line}");
    })?;
    match ended {
        Ended::Well => Ok(()),
        Ended::Badly(status) => bail!(failure(project, &log_path, &typed, status)),
        Ended::TooLong => bail!(
            "took longer than {} s and was stopped; by hand:\n\n    {typed}\n\nlog: {}",
            limit.as_secs(),
            project.shown(&log_path)
        ),
    }
}

/// Runs `command` with its output shown as it comes; `seen` is called with each line.
pub(crate) fn run_shown(
    command: &mut Command,
    limit: Duration,
    mut seen: impl FnMut(&str),
) -> Result<Ended> {
    follow(command, limit, |line| {
        println!("{line}");
        seen(line);
    })
}

/// Runs `command` with the terminal's own input and output: what the user watches, answers and ends.
pub(crate) fn run_in_front(command: &mut Command) -> Result<()> {
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

/// Runs `command` without input and hands over its lines, of both streams, as they come.
fn follow(command: &mut Command, limit: Duration, mut line: impl FnMut(&str)) -> Result<Ended> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start: {}", as_typed(command)))?;
    let (sender, lines) = mpsc::channel();
    read_lines(child.stdout.take().context("piped")?, sender.clone());
    read_lines(child.stderr.take().context("piped")?, sender);

    let started = Instant::now();
    let mut ended = None;
    let mut last_call = None;
    loop {
        match lines.recv_timeout(Duration::from_millis(50)) {
            Ok(text) => line(&text),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                // Both streams are closed; the end itself may be a moment away.
                std::thread::sleep(Duration::from_millis(5));
                last_call.get_or_insert_with(Instant::now);
            }
        }
        if ended.is_none() {
            if let Some(status) = child.try_wait().context("wait for a program")? {
                ended = Some(if status.success() {
                    Ended::Well
                } else {
                    Ended::Badly(status)
                });
            } else if started.elapsed() > limit {
                kill_tree(&mut child)?;
                ended = Some(Ended::TooLong);
            }
            if ended.is_some() && last_call.is_none() {
                last_call = Some(Instant::now() + AFTERMATH);
            }
        }
        if let (Some(_), Some(when)) = (&ended, last_call)
            && (Instant::now() >= when || is_closed(&lines, &mut line))
        {
            break;
        }
    }
    ended.context("the loop ends only then")
}

/// Hands over what is left; true once no more can come.
fn is_closed(lines: &mpsc::Receiver<String>, line: &mut impl FnMut(&str)) -> bool {
    loop {
        match lines.try_recv() {
            Ok(text) => line(&text),
            Err(mpsc::TryRecvError::Empty) => return false,
            Err(mpsc::TryRecvError::Disconnected) => return true,
        }
    }
}

/// Reads on a thread of its own, which a stream kept open by a stranger cannot make us wait for.
fn read_lines(stream: impl Read + Send + 'static, sender: Sender<String>) {
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n') {
            let Ok(line) = line else { return };
            if sender
                .send(String::from_utf8_lossy(&line).into_owned())
                .is_err()
            {
                return;
            }
        }
    });
}

/// Kills a program and, on Linux, what it started: cargo's compilers and tests, a test's browser.
fn kill_tree(child: &mut Child) -> Result<()> {
    let descendants = descendants(child.id());
    child.kill().context("stop a program")?;
    child.wait().context("wait for a stopped program")?;
    if !descendants.is_empty() {
        let _ = Command::new("kill")
            .arg("-9")
            .args(descendants.iter().map(u32::to_string))
            .stderr(Stdio::null())
            .status();
    }
    Ok(())
}

/// The processes below `root`, as `/proc` has them; none where there is no `/proc`.
fn descendants(root: u32) -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let parents: Vec<(u32, u32)> = entries
        .filter_map(|entry| {
            let pid = entry.ok()?.file_name().to_str()?.parse().ok()?;
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // PID (NAME) STATE PARENT …; the name may hold anything, parentheses too.
            let parent = stat
                .rsplit_once(')')?
                .1
                .split_whitespace()
                .nth(1)?
                .parse()
                .ok()?;
            Some((pid, parent))
        })
        .collect();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(&parent) = found.get(next) {
        found.extend(
            parents
                .iter()
                .filter(|(_, of)| *of == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    found.split_off(1)
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_hangs_is_stopped_with_what_it_started() {
        let started = Instant::now();
        let mut pid = String::new();
        let ended = follow(
            Command::new("sh").args(["-c", "sleep 300 & echo $!; wait"]),
            Duration::from_millis(500),
            |line| pid = line.to_owned(),
        )
        .expect("sh runs");
        assert!(matches!(ended, Ended::TooLong));
        assert!(started.elapsed() < Duration::from_secs(60));
        if Path::new("/proc/self").exists() {
            // At most its entry is still to be collected by whoever inherited it.
            let gone = || {
                let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
                state.is_empty() || state.contains(") Z ")
            };
            while !gone() {
                assert!(
                    started.elapsed() < Duration::from_secs(60),
                    "{pid} still runs"
                );
                std::thread::sleep(Duration::from_millis(10));
            }
        }
    }

    #[test]
    fn both_streams_arrive_whole_and_the_status_counts() {
        let mut lines = Vec::new();
        let ended = follow(
            Command::new("sh").args(["-c", "echo one; echo two >&2; printf three; exit 3"]),
            Duration::from_secs(60),
            |line| lines.push(line.to_owned()),
        )
        .expect("sh runs");
        assert!(matches!(ended, Ended::Badly(status) if status.code() == Some(3)));
        lines.sort();
        assert_eq!(lines, ["one", "three", "two"]);
    }

    #[test]
    fn a_command_is_shown_as_it_would_be_typed() {
        let mut command = Command::new("tool");
        command
            .args(["--name=x", "two words", ""])
            .env("KEY", "a b");
        assert_eq!(as_typed(&command), "KEY='a b' tool --name=x 'two words' ''");
    }
}
