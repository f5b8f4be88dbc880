//! `fewbit conformance`: cases that others wrote, run on a target.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::conformance::{Cases, Verdict, run};
use crate::job::Outcome;
use crate::target::{NativeBackend, Target};

/// Run operator cases on a target and count which pass.
#[derive(Args)]
pub(crate) struct Conformance {
    #[command(subcommand)]
    suite: Suite,
}

#[derive(Subcommand)]
enum Suite {
    /// ONNX's node cases: NAME/model.onnx with NAME/test_data_set_0/{input,output}_N.pb and NAME/tolerance.txt.
    ///
    /// With --json one object: target; passed, failed, unsupported; cases, each with name, outcome (pass, mismatch,
    /// error, unsupported), reason and operators.
    Onnx(Onnx),
}

#[derive(Args)]
struct Onnx {
    /// A zip file or a folder of cases, or the folder of one.
    path: PathBuf,
    /// Where to run; so far native:cpu.
    #[arg(long, default_value = "native:cpu")]
    target: Target,
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Report {
    target: Target,
    passed: usize,
    failed: usize,
    unsupported: usize,
    cases: Vec<Row>,
}

#[derive(Serialize)]
struct Row {
    name: String,
    outcome: Outcome,
    reason: Option<String>,
    operators: Vec<String>,
}

impl Conformance {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let Suite::Onnx(suite) = self.suite;
        suite.run()
    }
}

impl Onnx {
    fn run(self) -> anyhow::Result<ExitCode> {
        let mut cases = Cases::open(&self.path)?;
        let mut report = Report {
            target: self.target,
            passed: 0,
            failed: 0,
            unsupported: 0,
            cases: Vec::new(),
        };
        for name in cases.names() {
            let verdict = match (self.target, cases.read(&name)) {
                (Target::Native(NativeBackend::Cpu), Ok(case)) => run(case),
                (target, Ok(_)) => Verdict {
                    outcome: Outcome::Unsupported,
                    reason: Some(format!("ONNX files are not run on {target} yet")),
                    operators: Vec::new(),
                },
                (_, Err(error)) => Verdict {
                    outcome: Outcome::Error,
                    reason: Some(error.to_string()),
                    operators: Vec::new(),
                },
            };
            match verdict.outcome {
                Outcome::Pass => report.passed += 1,
                Outcome::Unsupported | Outcome::Unavailable => report.unsupported += 1,
                Outcome::Mismatch | Outcome::Error => report.failed += 1,
            }
            report.cases.push(Row {
                name,
                outcome: verdict.outcome,
                reason: verdict.reason,
                operators: verdict.operators,
            });
        }
        let mut out = std::io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            print(&mut out, &report)?;
        }
        Ok(match report.failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }
}

/// A table of operators, each counted in every case that has it; then what failed; then the sums.
fn print(out: &mut impl Write, report: &Report) -> std::io::Result<()> {
    let mut operators = BTreeMap::<&str, [usize; 3]>::new();
    for row in &report.cases {
        let column = match row.outcome {
            Outcome::Pass => 0,
            Outcome::Mismatch | Outcome::Error => 1,
            Outcome::Unsupported | Outcome::Unavailable => 2,
        };
        for operator in &row.operators {
            operators.entry(operator).or_default()[column] += 1;
        }
    }
    let [name, passed, failed, unsupported] = ["operator", "passed", "failed", "unsupported"];
    writeln!(out, "{name:<28}{passed:>8}{failed:>8}{unsupported:>13}")?;
    for (name, [passed, failed, unsupported]) in &operators {
        writeln!(out, "{name:<28}{passed:>8}{failed:>8}{unsupported:>13}")?;
    }
    let failures = report
        .cases
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Mismatch | Outcome::Error));
    for row in failures {
        let reason = row.reason.as_deref().unwrap_or_default();
        writeln!(out, "{}: {}: {reason}", row.name, row.outcome.name())?;
    }
    writeln!(
        out,
        "{} on {}: {} passed, {} failed, {} unsupported",
        report.cases.len(),
        report.target,
        report.passed,
        report.failed,
        report.unsupported
    )
}
