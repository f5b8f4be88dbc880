//! `fewbit conformance webnn`.

use std::io::Write;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use fewbit_native_backends::NativeTarget;
use serde::Serialize;

use super::{NOT_OURS, native, without};
use crate::conformance::webnn::{self, Family};
use crate::conformance::{Table, Verdict};
use crate::job::Outcome;
use crate::serve::Running;
use crate::target::{BrowserBackend, Target};

/// How the page of the table begins.
const HEADING: &str = "# WebNN operators by target\n\nWritten by `fewbit conformance webnn DIR --target TARGET,… --table FILE`: how \
    many of the W3C's conformance cases of an\noperator pass on a target, of how many; what does not pass is \
    `unsupported` by name unless it says failed.\n\nOn a GPU float16 is computed in float32 and rounded where a result \
    leaves it, with and without `shader-f16`, and 64-bit integers\nare pairs of 32-bit words.";

#[derive(Args)]
pub(super) struct Webnn {
    /// A folder of files of cases (*.json), or one such file.
    path: PathBuf,
    /// Where to run, one after another: native:cpu, native:wgpu, or BROWSER:BACKEND such as chrome:wasm.
    #[arg(long, default_value = "native:cpu", value_delimiter = ',')]
    target: Vec<Target>,
    /// In browsers, call `navigator.ml` as a page does: that of fewbit/webnn over the target's back end. On BROWSER:webnn it
    /// is always the browser's own that is called.
    #[arg(long)]
    navigator_ml: bool,
    /// Print one object of counts and cases for each target.
    #[arg(long)]
    json: bool,
    /// Write a table of operators and targets there, in Markdown.
    #[arg(long)]
    table: Option<PathBuf>,
}

#[derive(Serialize)]
struct Report {
    target: Target,
    /// Whether `navigator.ml` was called.
    navigator_ml: bool,
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

impl Webnn {
    pub(super) async fn run(self) -> anyhow::Result<ExitCode> {
        let families = webnn::read(&self.path)?;
        let mut table = Table::default();
        let mut failed = 0;
        for &target in &self.target {
            let report = on(target, self.navigator_ml, &families, &mut table).await?;
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
}

async fn on(
    target: Target,
    navigator_ml: bool,
    families: &[Family],
    table: &mut Table,
) -> anyhow::Result<Report> {
    let pages = match target {
        Target::Browser(..) => Some(super::super::serve::for_runs(None).await?),
        Target::Native(_) => None,
    };
    let own = matches!(target, Target::Browser(_, BrowserBackend::Webnn));
    let navigator_ml = own || navigator_ml && matches!(target, Target::Browser(..));
    let mut place = Place::new(target, navigator_ml, pages.as_ref());
    table.begin(&match navigator_ml && !own {
        true => format!("{target}, navigator.ml"),
        false => target.to_string(),
    });
    let mut report = Report {
        target,
        navigator_ml,
        passed: 0,
        failed: 0,
        unsupported: 0,
        cases: Vec::new(),
    };
    for family in families {
        let verdicts = place.run(family).await;
        for (case, verdict) in family.cases.iter().zip(verdicts) {
            match verdict.outcome {
                Outcome::Pass => report.passed += 1,
                Outcome::Unsupported | Outcome::Unavailable => report.unsupported += 1,
                Outcome::Mismatch | Outcome::Error => report.failed += 1,
            }
            table.count(&case.operators(), verdict.outcome);
            report.cases.push(Row {
                name: format!("{}/{}", family.name, case.name),
                outcome: verdict.outcome,
                reason: verdict.reason,
                operators: case.operators(),
            });
        }
    }
    place.close().await;
    Ok(report)
}

/// Where cases run.
enum Place<'p> {
    Native(NativeTarget),
    #[cfg(feature = "webdriver")]
    Browser(Box<webnn::BrowserCases<'p>>),
    #[cfg(feature = "webdriver")]
    NavigatorMl(Box<webnn::NavigatorMl<'p>>),
    OnnxRuntime,
    NotBuilt(Target, PhantomData<&'p ()>),
}

impl<'p> Place<'p> {
    fn new(target: Target, navigator_ml: bool, pages: Option<&'p Running>) -> Place<'p> {
        match (target, pages) {
            (Target::Native(backend), _) => match native(backend) {
                Some(target) => Place::Native(target),
                None => Place::OnnxRuntime,
            },
            #[cfg(feature = "webdriver")]
            (Target::Browser(browser, backend), Some(pages)) if navigator_ml => {
                Place::NavigatorMl(Box::new(webnn::NavigatorMl::new(browser, backend, pages)))
            }
            #[cfg(feature = "webdriver")]
            (Target::Browser(browser, backend), Some(pages)) => {
                Place::Browser(Box::new(webnn::BrowserCases::new(browser, backend, pages)))
            }
            (target, _) => Place::NotBuilt(target, PhantomData),
        }
    }

    async fn run(&mut self, family: &Family) -> Vec<Verdict> {
        match self {
            Place::Native(target) => webnn::run(family, *target),
            #[cfg(feature = "webdriver")]
            Place::Browser(browser) => browser.run(family).await,
            #[cfg(feature = "webdriver")]
            Place::NavigatorMl(page) => page.run(family).await,
            Place::OnnxRuntime => {
                let verdict = |_| without(Outcome::Unsupported, NOT_OURS.into());
                family.cases.iter().map(verdict).collect()
            }
            Place::NotBuilt(target, _) => {
                let reason = format!("{target} is not in this build of fewbit");
                let verdict = |_| without(Outcome::Unavailable, reason.clone());
                family.cases.iter().map(verdict).collect()
            }
        }
    }

    async fn close(self) {
        #[cfg(feature = "webdriver")]
        match self {
            Place::Browser(browser) => browser.close().await,
            Place::NavigatorMl(page) => page.close().await,
            _ => {}
        }
    }
}

/// A table of operators; then what failed; then the sums.
fn print(out: &mut impl Write, table: &Table, report: &Report) -> std::io::Result<()> {
    write!(out, "{}", table.text())?;
    for row in report
        .cases
        .iter()
        .filter(|row| row.outcome != Outcome::Pass)
    {
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
