//! `fewbit attempt`: one attempt of `fewbit matrix`, in a process of its own. Not for people: see `matrix::child`.

use std::io::Write;
use std::process::ExitCode;

use super::launch::{self, LoadArgs};
use super::verify;
use crate::job::RunError;
use crate::matrix::cell::Task;
use crate::matrix::child::{Order, Said};
use crate::measure::{Length, Work, measure};
use crate::results::record::{Attempt, Evidence, STORED, now_us};
use crate::runner::Progress;
use crate::store::Store;
use crate::target::Target;

pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line)?;
    let order: Order = serde_json::from_str(&line)?;
    end_with_the_asker();
    let attempt = attempt(&order).await;
    say(&Said::Attempt(Box::new(attempt)));
    Ok(ExitCode::SUCCESS)
}

/// Ends this process, and by its exit its browser, when nobody listens any more.
fn end_with_the_asker() {
    std::thread::spawn(|| {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        std::process::exit(1);
    });
}

fn say(said: &Said) {
    let Ok(line) = serde_json::to_string(said) else {
        return;
    };
    let mut out = std::io::stdout().lock();
    let told = writeln!(out, "{line}").and_then(|()| out.flush());
    if told.is_err() {
        std::process::exit(1);
    }
}

async fn attempt(order: &Order) -> Attempt {
    let cell = &order.cell;
    let target = cell.target.to_string();
    let mut attempt = Attempt::begin(&target, &cell.model, cell.task.name());
    if let Err(error) = measured(order, &mut attempt).await {
        attempt.outcome = error.outcome;
        attempt.measurements.clear();
        let mut lines = error.message.lines();
        let first = lines.next().unwrap_or_default();
        attempt.reason = Some(format!("{}: {first}", error.code));
        attempt.evidence.extend(evidence(lines));
    }
    attempt.finished_us = Some(now_us());
    attempt
}

/// What a browser's failure says after its first line: the page's messages, and where the picture is.
fn evidence<'a>(lines: impl Iterator<Item = &'a str>) -> Vec<Evidence> {
    const PICTURE: &str = "the page at that moment: ";
    let (mut console, mut found) = (Vec::new(), Vec::new());
    for line in lines {
        match line.trim().strip_prefix(PICTURE) {
            Some(path) => found.push(Evidence {
                kind: "screenshot".into(),
                text: path.into(),
            }),
            None => console.push(line.trim()),
        }
    }
    if !console.is_empty() {
        found.push(Evidence {
            kind: "console".into(),
            text: console.join("\n"),
        });
    }
    found
}

async fn measured(order: &Order, attempt: &mut Attempt) -> Result<(), RunError> {
    let cell = &order.cell;
    let told = |code: &'static str| {
        move |error: anyhow::Error| RunError::error(code, format!("{error:#}"))
    };
    let store = Store::open().map_err(|e| RunError::error("store", e.to_string()))?;
    let files = store
        .resolve(&order.model, &|_| Ok(()))
        .map_err(|e| RunError::error(e.code(), e.to_string()))?;
    let reference = verify::reference(&store, &order.model).map_err(told("reference"))?;
    let pages = launch::pages_for(&[cell.target], &store)
        .await
        .map_err(told("pages"))?;
    let work = work(order)?;
    let arguments = LoadArgs::for_attempt(order);
    let stage = |stage: String| say(&Said::Stage(stage));
    let mut runner = launch::runner(cell.target, pages.as_ref(), &arguments)?;
    let last = std::sync::Mutex::new(std::time::Instant::now());
    let loaded = runner
        .load(&files, &arguments.options(), &|progress| {
            let text = match progress {
                Progress::Stage(stage) => stage,
                Progress::Loaded { bytes, of } => {
                    // Many come; a few are enough.
                    let Ok(mut last) = last.lock() else { return };
                    if last.elapsed().as_millis() < 250 {
                        return;
                    }
                    *last = std::time::Instant::now();
                    format!("loading {} of {} MB", bytes / 1_000_000, of / 1_000_000)
                }
                _ => return,
            };
            stage(text);
        })
        .await;
    let result = match loaded {
        Ok(info) => {
            let format = info.model.as_ref().and_then(|m| m.block_format.clone());
            attempt.info = Some(info);
            match cell.format == STORED || format.as_deref() == Some(&cell.format) {
                true => {
                    measure(
                        &mut *runner,
                        work.as_ref(),
                        &order.protocol,
                        reference.as_ref(),
                        attempt,
                        &stage,
                    )
                    .await
                }
                false => Err(RunError::unsupported(
                    "format",
                    format!(
                        "its weights are {}, not {}: `fewbit convert` makes other files of them",
                        format.as_deref().unwrap_or("of an unknown format"),
                        cell.format
                    ),
                )),
            }
        }
        Err(error) => Err(error),
    };
    // Ends a browser; what was measured is there already.
    let _ = runner.dispose().await;
    result
}

fn work(order: &Order) -> Result<Option<Work>, RunError> {
    let cell = &order.cell;
    let tokens = Length::Tokens(cell.sequence.unwrap_or(128) as usize);
    match cell.task {
        Task::Generate => Ok(Some(Work::Generate {
            prompt: tokens,
            decode: order.decode,
            batch: cell.batch as usize,
        })),
        Task::Embed => Ok(Some(Work::Embed {
            text: tokens,
            batch: cell.batch as usize,
        })),
        Task::Transcribe => Ok(Some(Work::Transcribe)),
        Task::Verify => Ok(None),
    }
}

impl LoadArgs {
    fn for_attempt(order: &Order) -> LoadArgs {
        LoadArgs {
            window: order.window,
            webdriver: order.webdriver.clone(),
            capabilities: order.capabilities.clone(),
            browser_flag: order.browser_flags.clone(),
            failures: match order.cell.target {
                Target::Browser(..) => order.failures.clone(),
                Target::Native(_) => None,
            },
            ..LoadArgs::default()
        }
    }
}
