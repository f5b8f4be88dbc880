//! `fewbit conformance`: cases that others wrote, run on a target.

mod webnn;

use std::io::Write;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use fewbit_native_backends::NativeTarget;
use serde::Serialize;

#[cfg(feature = "webdriver")]
use crate::conformance::BrowserCases;
use crate::conformance::{Case, Cases, Table, Verdict, run};
use crate::job::Outcome;
use crate::serve::Running;
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
    /// With --json one object a target, each on a line: target; passed, failed, unsupported; cases, each with name, outcome
    /// (pass, mismatch, error, unsupported, unavailable), reason, operators and, where it passed, how many nodes were left
    /// for the target after all was computed that depends on nothing unknown.
    Onnx(Onnx),
    /// The W3C's WebNN cases: files of JSON, one an operator, of graphs with inputs and the outputs they must give.
    ///
    /// With --json one object a target, each on a line: target; passed, failed, unsupported; cases, each with name, outcome
    /// (pass, mismatch, error, unsupported, unavailable), reason and operators.
    Webnn(webnn::Webnn),
}

#[derive(Args)]
struct Onnx {
    /// A zip file or a folder of cases, or the folder of one.
    path: PathBuf,
    /// Where to run, one after another: native:cpu, native:wgpu, or BROWSER:BACKEND such as chrome:wasm.
    #[arg(long, default_value = "native:cpu", value_delimiter = ',')]
    target: Vec<Target>,
    #[arg(long)]
    json: bool,
    /// Write a table of operators and targets there, in Markdown.
    #[arg(long)]
    table: Option<PathBuf>,
}

/// How the page of the table begins.
const HEADING: &str = "# ONNX operators by target\n\nWritten by `fewbit conformance onnx ZIP --target TARGET,… --table FILE`: \
    how many of ONNX's node cases that have an\noperator pass on a target, of how many; what does not pass is \
    `unsupported` by name unless it says failed.";

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
    nodes: Option<usize>,
}

impl Conformance {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.suite {
            Suite::Onnx(suite) => suite.run().await,
            Suite::Webnn(suite) => suite.run().await,
        }
    }
}

impl Onnx {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let mut table = Table::default();
        let mut failed = 0;
        for &target in &self.target {
            let report = self.on(target, &mut table).await?;
            failed += report.failed;
            let mut out = std::io::stdout().lock();
            if self.json {
                writeln!(out, "{}", serde_json::to_string(&report)?)?;
            } else {
                print(&mut out, &table, &report)?;
            }
        }
        if let Some(path) = &self.table {
            std::fs::write(path, table.markdown(HEADING))
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(match failed {
            0 => ExitCode::SUCCESS,
            _ => ExitCode::FAILURE,
        })
    }

    async fn on(&self, target: Target, table: &mut Table) -> anyhow::Result<Report> {
        let mut cases = Cases::open(&self.path)?;
        let pages = match target {
            Target::Browser(..) => Some(super::serve::for_runs(None).await?),
            Target::Native(_) => None,
        };
        let mut place = Place::new(target, pages.as_ref());
        table.begin(&target.to_string());
        let mut report = Report {
            target,
            passed: 0,
            failed: 0,
            unsupported: 0,
            cases: Vec::new(),
        };
        for name in cases.names() {
            let verdict = match cases.read(&name) {
                Ok(case) => place.run(case).await,
                Err(error) => without(Outcome::Error, error.to_string()),
            };
            match verdict.outcome {
                Outcome::Pass => report.passed += 1,
                Outcome::Unsupported | Outcome::Unavailable => report.unsupported += 1,
                Outcome::Mismatch | Outcome::Error => report.failed += 1,
            }
            table.count(&verdict.operators, verdict.outcome);
            report.cases.push(Row {
                name,
                outcome: verdict.outcome,
                reason: verdict.reason,
                operators: verdict.operators,
                nodes: verdict.nodes,
            });
        }
        place.close().await;
        Ok(report)
    }
}

fn without(outcome: Outcome, reason: String) -> Verdict {
    Verdict {
        outcome,
        reason: Some(reason),
        operators: Vec::new(),
        nodes: None,
    }
}

/// Where cases run.
enum Place<'p> {
    Native(NativeTarget),
    #[cfg(feature = "webdriver")]
    Browser(Box<BrowserCases<'p>>),
    OnnxRuntime,
    NotBuilt(Target, PhantomData<&'p ()>),
}

impl<'p> Place<'p> {
    fn new(target: Target, pages: Option<&'p Running>) -> Place<'p> {
        match (target, pages) {
            (Target::Native(backend), _) => match native(backend) {
                Some(target) => Place::Native(target),
                None => Place::OnnxRuntime,
            },
            #[cfg(feature = "webdriver")]
            (Target::Browser(browser, backend), Some(pages)) => {
                Place::Browser(Box::new(BrowserCases::new(browser, backend, pages)))
            }
            (target, _) => Place::NotBuilt(target, PhantomData),
        }
    }

    async fn run(&mut self, case: Case) -> Verdict {
        match self {
            Place::Native(target) => run(case, *target),
            #[cfg(feature = "webdriver")]
            Place::Browser(browser) => browser.run(&case).await,
            Place::OnnxRuntime => without(Outcome::Unsupported, NOT_OURS.into()),
            Place::NotBuilt(target, _) => {
                let reason = format!("{target} is not in this build of fewbit");
                without(Outcome::Unavailable, reason)
            }
        }
    }

    async fn close(self) {
        #[cfg(feature = "webdriver")]
        if let Place::Browser(browser) = self {
            browser.close().await;
        }
    }
}

/// Why ONNX Runtime runs no cases.
const NOT_OURS: &str = "cases are run by fewbit's own operators; ONNX Runtime has its own";

/// The engine's own back end, if it is one.
fn native(backend: NativeBackend) -> Option<NativeTarget> {
    match backend {
        NativeBackend::Cpu => Some(NativeTarget::Cpu),
        NativeBackend::Wgpu => Some(NativeTarget::Wgpu),
        _ => None,
    }
}

/// A table of operators, each counted in every case that has it; then what failed; then the sums.
fn print(out: &mut impl Write, table: &Table, report: &Report) -> std::io::Result<()> {
    write!(out, "{}", table.text())?;
    let failures = report
        .cases
        .iter()
        .filter(|row| matches!(row.outcome, Outcome::Mismatch | Outcome::Error));
    for row in failures {
        let reason = row.reason.as_deref().unwrap_or_default();
        writeln!(out, "{}: {}: {reason}", row.name, row.outcome.name())?;
    }
    let beforehand = report.cases.iter().filter(|row| row.nodes == Some(0));
    writeln!(
        out,
        "{} on {}: {} passed ({} of them computed while the model was read), {} failed, {} unsupported",
        report.cases.len(),
        report.target,
        report.passed,
        beforehand.count(),
        report.failed,
        report.unsupported
    )
}
