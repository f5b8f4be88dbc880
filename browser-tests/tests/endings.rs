//! However a command ends, nothing of its browsers stays: no process, no folder.
#![cfg(unix)]

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::browsers;
use fewbit_host::browser::sweep;

/// Processes whose environment has the tag of a group that belongs to process `owner`.
fn tagged(owner: u32) -> Vec<String> {
    let tag = format!("FEWBIT_BROWSER_GROUP={owner}.");
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| {
            let environment = std::fs::read(entry.path().join("environ")).ok()?;
            let has = environment
                .split(|&byte| byte == 0)
                .any(|entry| entry.starts_with(tag.as_bytes()));
            has.then(|| {
                std::fs::read_to_string(entry.path().join("comm"))
                    .unwrap_or_default()
                    .trim()
                    .to_owned()
            })
        })
        .collect()
}

fn folders(owner: u32) -> Vec<PathBuf> {
    let places = std::fs::read_dir(std::env::temp_dir())
        .into_iter()
        .flatten()
        .flatten();
    let ours = places.filter(|entry| {
        entry
            .file_name()
            .to_string_lossy()
            .starts_with("fewbit-browsers-")
    });
    ours.flat_map(|entry| entry.path().read_dir().into_iter().flatten().flatten())
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with(&format!("{owner}."))
        })
        .map(|entry| entry.path())
        .collect()
}

/// Starts the program and waits until its browser is open.
fn hold(browser: &str, ending: &str) -> Result<Child> {
    let mut child = Command::new(env!("CARGO_BIN_EXE_hold-browser"))
        .args([browser, ending])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let output = child.stdout.take().context("no output")?;
    let line = BufReader::new(output)
        .lines()
        .next()
        .context("it said nothing")??;
    ensure!(line == "open", "{line}");
    Ok(child)
}

fn wait(child: &mut Child) -> Result<()> {
    let began = Instant::now();
    while child.try_wait()?.is_none() {
        if began.elapsed() > Duration::from_secs(30) {
            child.kill()?;
            anyhow::bail!("it did not end within 30 s");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn signal(child: &Child, name: &str) -> Result<()> {
    let status = Command::new("kill")
        .args([&format!("-{name}"), &child.id().to_string()])
        .status()?;
    ensure!(status.success(), "kill -{name} failed");
    Ok(())
}

#[test]
fn nothing_stays_after_an_error_an_exit_a_panic_or_a_signal() -> Result<()> {
    for installed in browsers("nothing_stays_after_an_error_an_exit_a_panic_or_a_signal")? {
        let browser = installed.browser.name();
        for ending in ["fail", "exit", "panic", "INT", "TERM", "HUP"] {
            let by_signal = ending.chars().all(char::is_uppercase);
            let mut child = hold(browser, if by_signal { "wait" } else { ending })?;
            let owner = child.id();
            if by_signal {
                ensure!(
                    !tagged(owner).is_empty(),
                    "{browser}: no tagged process while it runs"
                );
                signal(&child, ending)?;
            }
            wait(&mut child)?;
            ensure!(
                tagged(owner).is_empty(),
                "{browser}, {ending}: left {:?}",
                tagged(owner)
            );
            ensure!(
                folders(owner).is_empty(),
                "{browser}, {ending}: left {:?}",
                folders(owner)
            );
        }
    }
    Ok(())
}

#[test]
fn what_a_killed_command_leaves_is_swept() -> Result<()> {
    for installed in browsers("what_a_killed_command_leaves_is_swept")? {
        let browser = installed.browser.name();
        let mut child = hold(browser, "wait")?;
        let owner = child.id();
        signal(&child, "KILL")?;
        wait(&mut child)?;
        ensure!(
            !folders(owner).is_empty(),
            "{browser}: a killed command cannot have cleaned up"
        );
        sweep();
        ensure!(
            tagged(owner).is_empty(),
            "{browser}: left {:?}",
            tagged(owner)
        );
        ensure!(
            folders(owner).is_empty(),
            "{browser}: left {:?}",
            folders(owner)
        );
    }
    Ok(())
}
