//! `cargo xtask test`: first what needs no browser, then the browsers. Says how long each tier took and
//! repeats the runners' own closing lines at the end.

use std::collections::BTreeSet;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::ValueEnum;

use crate::build::{cargo, wasm, web};
use crate::process::{self, Ended};
use crate::progress::Progress;
use crate::project::Project;
use crate::setup::{browsers, duckdb, npm, onnx, rust};
use crate::weigh::{self, Size};

/// What a test that passes prints, a reason to skip above all, is else kept by the runner.
const SHOW: [&str; 2] = ["--", "--show-output"];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run only this tier.
    #[arg(long, value_enum)]
    tier: Option<Tier>,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Tier {
    /// The crates' own tests, the TypeScript's types and tests: minutes, no browser.
    Quick,
    /// Real browsers, by WebDriver.
    Browsers,
}

/// How a tier went.
struct Report {
    tier: &'static str,
    took: Duration,
    closing: Vec<String>,
    /// What tests said of what they could not do here.
    skipped: BTreeSet<String>,
    failed: Vec<String>,
}

pub(crate) fn run(project: &Project, progress: &Progress, args: &Args) -> Result<()> {
    let mut reports = Vec::new();
    if args.tier.is_none_or(|tier| tier == Tier::Quick) {
        reports.push(quick(project, progress)?);
    }
    if args.tier.is_none_or(|tier| tier == Tier::Browsers) {
        reports.push(in_browsers(project, progress)?);
    }
    for report in &reports {
        let outcome = if report.failed.is_empty() {
            "passed"
        } else {
            "FAILED"
        };
        println!(
            "\n{} tier: {outcome} in {:.0} s",
            report.tier,
            report.took.as_secs_f32()
        );
        for line in report.skipped.iter().chain(&report.closing) {
            println!("{line}");
        }
    }
    let failed: Vec<String> = reports
        .into_iter()
        .flat_map(|report| report.failed)
        .collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join("; "));
    }
    Ok(())
}

fn quick(project: &Project, progress: &Progress) -> Result<Report> {
    duckdb::library(project, progress)?;
    npm::ci(project, progress, "web")?;
    onnx::all(project, progress);
    let started = Instant::now();
    let mut report = Report::new("quick");
    let mut crates = native(project)?;
    crates.args(SHOW);
    report.add(progress, &mut crates, Duration::from_secs(60 * 60))?;
    let mut tools = cargo::command(project);
    tools.args(["test", "--profile", "xtask", "-p", "xtask"]);
    report.add(progress, &mut tools, Duration::from_secs(15 * 60))?;
    let folder = project.root().join("web");
    if folder.join("package.json").is_file() {
        for script in ["check", "test"] {
            let mut npm = npm::command(&folder)?;
            npm.args(["run", script]);
            report.add(progress, &mut npm, Duration::from_secs(600))?;
        }
    }
    report.took = started.elapsed();
    Ok(report)
}

fn in_browsers(project: &Project, progress: &Progress) -> Result<Report> {
    rust::wasm_target(project, progress)?;
    browsers::all(project, progress)?;
    duckdb::library(project, progress)?;
    npm::ci(project, progress, "browser-tests")?;
    let mut modules = wasm::choose(&[])?;
    modules.extend(wasm::MODULES);
    wasm::build(project, progress, &modules)?;
    web::build(project, progress)?;
    let started = Instant::now();
    let mut report = Report::new("browsers");
    let sizes = weigh::files_of(project, progress)?;
    match weigh::within_limits(&sizes, &modules) {
        Ok(sums) => report.closing.extend(sums.iter().map(Size::to_string)),
        Err(error) => report.failed.push(error.to_string()),
    }
    let mut tests = cargo::command(project);
    // One after another: two browsers at once on two cores only time out.
    tests
        .args(["test", "-p", "fewbit-browser-tests", "--no-fail-fast"])
        .args(SHOW)
        .arg("--test-threads=1");
    report.add(progress, &mut tests, Duration::from_secs(60 * 60))?;
    // The command itself with browsers: as the quick tier has built it.
    let mut command = native(project)?;
    command
        .args(["--test", "matrix", "--test", "webnn_cases"])
        .args(["--", "--ignored", "--show-output", "--test-threads=1"]);
    report.add(progress, &mut command, Duration::from_secs(30 * 60))?;
    report.took = started.elapsed();
    Ok(report)
}

/// `cargo test` of all that has native tests.
fn native(project: &Project) -> Result<Command> {
    let mut crates = cargo::command(project);
    give_runtime_folder(project, &mut crates)?;
    crates
        .args(["test", "--workspace", "--no-fail-fast"])
        .args(["--exclude", "fewbit-browser-tests"])
        // The module itself is tested in the browsers; natively it has nothing to run.
        .args(["--exclude", "fewbit-runtime-wasm"])
        // The tools are built already, in their own profile.
        .args(["--exclude", "xtask", "--exclude", "xtask-bindgen"]);
    Ok(crates)
}

/// Mesa's Vulkan drivers look for a compositor there, and complain in every test that opens a device where the variable
/// is not set, as it is not for root.
fn give_runtime_folder(project: &Project, command: &mut Command) -> Result<()> {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none_or(|folder| folder.is_empty()) {
        let folder = project.own().join("runtime");
        std::fs::create_dir_all(&folder)?;
        command.env("XDG_RUNTIME_DIR", folder);
    }
    Ok(())
}

impl Report {
    fn new(tier: &'static str) -> Self {
        Self {
            tier,
            took: Duration::ZERO,
            closing: Vec::new(),
            skipped: BTreeSet::new(),
            failed: Vec::new(),
        }
    }

    fn add(&mut self, progress: &Progress, command: &mut Command, limit: Duration) -> Result<()> {
        let typed = process::as_typed(command);
        progress.say(format!("\n$ {typed}"));
        let mut source = String::new();
        let (closing, skipped) = (&mut self.closing, &mut self.skipped);
        let ended = process::run_shown(command, limit, |line| {
            let plain = without_colour(line);
            let plain = plain.trim();
            if tells_a_skip(plain) {
                skipped.insert(plain.to_owned());
            } else if plain.starts_with("Running ") || plain.starts_with("Doc-tests ") {
                source = plain.to_owned();
            } else if plain.starts_with("test result:") && !plain.contains(" 0 passed; 0 failed;")
                || plain.starts_with("Test Files ")
                || plain.starts_with("Tests ")
            {
                if !source.is_empty() {
                    closing.push(std::mem::take(&mut source));
                }
                closing.push(plain.to_owned());
            }
        })?;
        match ended {
            Ended::Well => {}
            Ended::Badly(status) => self.failed.push(format!("{typed} ({status})")),
            Ended::TooLong => self
                .failed
                .push(format!("{typed} (stopped after {} s)", limit.as_secs())),
        }
        Ok(())
    }
}

/// Our tests say `skipped: WHY` or `TEST: skipped in BROWSER: WHY`.
fn tells_a_skip(line: &str) -> bool {
    let said = [": skipped ", ": skipped,", ": skipped:"];
    line.starts_with("skipped:") || said.iter().any(|said| line.contains(said))
}

/// `line` less its escape sequences.
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut characters = line.chars();
    while let Some(character) = characters.next() {
        if character == '\u{1b}' {
            // ESC [ parameters letter
            for rest in characters.by_ref() {
                if rest.is_ascii_alphabetic() {
                    break;
                }
            }
        } else {
            plain.push(character);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn skips_are_told_from_names() {
        assert!(tells_a_skip("skipped: no adapter"));
        assert!(tells_a_skip("a_test: skipped in edge: edge is unavailable"));
        assert!(!tells_a_skip("test tags_in_front_are_skipped ... ok"));
    }

    #[test]
    fn colours_are_taken_out() {
        assert_eq!(
            without_colour("\u{1b}[1m\u{1b}[32m     Running\u{1b}[0m unittests"),
            "     Running unittests"
        );
        assert_eq!(without_colour("plain"), "plain");
        assert_eq!(without_colour("cut \u{1b}[3"), "cut ");
    }
}
