//! `fewbit repro`: the command that measures a cell again, printed and run.

use std::process::{Command, ExitCode};

use anyhow::{Context, bail};
use clap::Args;

use crate::report::table::plain;
use crate::results::{Results, default_path, objects};

/// Print the command that measures a cell again, and run it.
#[derive(Args)]
pub(crate) struct Repro {
    /// A cell's name, as `fewbit matrix` and the reports print it.
    cell: String,
    /// Only print it.
    #[arg(long)]
    print: bool,
    /// With the browser's window, and in Chromium its developer tools.
    #[arg(long)]
    window: bool,
}

impl Repro {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let arguments = {
            // Closed before the command, which wants the file.
            let results = Results::open(&default_path()?)?;
            self.arguments(&results)?
        };
        let shown: Vec<String> = arguments.iter().map(|a| quoted(a)).collect();
        println!("fewbit {}", plain(&shown.join(" ")));
        if self.print {
            return Ok(ExitCode::SUCCESS);
        }
        let status = Command::new(std::env::current_exe()?)
            .args(&arguments)
            .status()?;
        let code = status.code().and_then(|code| u8::try_from(code).ok());
        Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
    }

    fn arguments(&self, results: &Results) -> anyhow::Result<Vec<String>> {
        let sql = format!(
            "SELECT r.command, to_json(r.arguments)::VARCHAR AS arguments, a.target, a.format, a.batch, a.sequence,
               m.name AS model
             FROM attempts a JOIN runs r ON r.run = a.run JOIN models m ON m.model_id = a.model_id
             WHERE a.cell = '{}' AND r.command <> 'import' ORDER BY a.started DESC LIMIT 1",
            self.cell.replace('\'', "''")
        );
        let rows = objects(&results.query(&sql)?);
        let Some(row) = rows.first() else {
            bail!(
                "no attempt at `{}` is in the results: `fewbit query \"SELECT cell FROM cells\"` has their names",
                self.cell
            );
        };
        let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
        let said: Vec<String> =
            serde_json::from_str(&text("arguments")).context("the run's arguments")?;
        let mut arguments = said;
        if text("command") == "matrix" {
            // Of a run's many cells this one: its model may have been named by a pattern or a path.
            let model = named(&arguments, "--models", &text("model"));
            let keep = kept(&arguments);
            arguments = vec!["matrix".into(), "--force".into()];
            arguments.extend(["--models".into(), model]);
            arguments.extend(["--targets".into(), text("target")]);
            arguments.extend(["--formats".into(), text("format")]);
            arguments.extend(["--batch".into(), row["batch"].to_string()]);
            if let Some(sequence) = row["sequence"].as_u64() {
                arguments.extend(["--sequence".into(), sequence.to_string()]);
            }
            arguments.extend(keep);
        }
        if self.window {
            arguments.push("--window".into());
            let target = text("target");
            if ["chrome:", "edge:"]
                .iter()
                .any(|browser| target.starts_with(browser))
            {
                arguments.push("--browser-flag=--auto-open-devtools-for-tabs".into());
            }
        }
        Ok(arguments)
    }
}

/// How a run named the model that stands as `model` in its cells.
fn named(arguments: &[String], option: &str, model: &str) -> String {
    let at = arguments.iter().position(|a| a == option);
    let lists = at.and_then(|at| arguments.get(at + 1)).cloned();
    let joined = arguments
        .iter()
        .find_map(|a| a.strip_prefix(&format!("{option}=")).map(str::to_owned));
    let list = lists.or(joined).unwrap_or_default();
    for one in list.split(',') {
        let path = std::path::Path::new(one);
        if path.file_name().is_some_and(|name| name == model) && one.contains('/') {
            return one.to_owned();
        }
        // `FOLDER/*`
        if let (Some(folder), true) = (path.parent(), one.contains('*') && one.contains('/')) {
            let inside = folder.join(model);
            if inside.is_dir() {
                return inside.to_string_lossy().into_owned();
            }
        }
    }
    model.to_owned()
}

/// The options of a matrix run that decide how each cell is measured.
fn kept(arguments: &[String]) -> Vec<String> {
    const WITH_VALUE: [&str; 5] = [
        "--profile",
        "--threads",
        "--activations",
        "--webdriver",
        "--capabilities",
    ];
    let mut kept = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        if WITH_VALUE.contains(&argument.as_str()) {
            kept.push(argument.clone());
            kept.extend(rest.next().cloned());
        } else if argument.starts_with("--browser-flag=")
            || WITH_VALUE
                .iter()
                .any(|name| argument.starts_with(&format!("{name}=")))
        {
            kept.push(argument.clone());
        } else if argument == "--browser-flag" {
            kept.extend(rest.next().map(|flag| format!("--browser-flag={flag}")));
        }
    }
    kept
}

/// As a shell takes it.
fn quoted(argument: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:=,@%".contains(c);
    match !argument.is_empty() && argument.chars().all(plain) {
        true => argument.to_owned(),
        false => format!("'{}'", argument.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_cell_of_a_run_of_many() {
        let said: Vec<String> = [
            "matrix",
            "--models",
            "a,../reference/bert,x/*",
            "--profile=quick",
            "--browser-flag",
            "--x",
        ]
        .map(String::from)
        .to_vec();
        assert_eq!(named(&said, "--models", "bert"), "../reference/bert");
        assert_eq!(named(&said, "--models", "a"), "a");
        assert_eq!(kept(&said), ["--profile=quick", "--browser-flag=--x"]);
        assert_eq!(quoted("it's"), "'it'\\''s'");
    }
}
