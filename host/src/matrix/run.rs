//! Running a plan: attempt after attempt, each kept as soon as it is there.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::child::{self, End, Order};
use super::depends::Surroundings;
use super::design::{Design, Next};
use super::plan::Planned;
use super::settings::{Profile, Settings, Verdict};
use crate::job::Outcome;
use crate::measure::Protocol;
use crate::results::record::{
    Attempt, Conclusion, Design as Declared, Record, Run, now_us, unique,
};
use crate::results::{Results, ResultsError};
use crate::target::Target;

/// What a run is made with.
pub struct Matrix {
    pub results: Arc<Results>,
    pub run: Run,
    pub settings: Settings,
    pub profile: Profile,
    /// Makes designs sequential: the share of a number within which its interval is to lie.
    pub within: Option<f64>,
    pub surroundings: Surroundings,
    pub browser_flags: Vec<String>,
    pub webdriver: Option<String>,
    pub capabilities: Option<String>,
    pub window: bool,
    pub failures: Option<PathBuf>,
}

/// What happens in a run, for whoever watches.
pub enum Event<'a> {
    Begin {
        number: usize,
        of: usize,
        planned: &'a Planned,
        left: Duration,
    },
    Stage {
        planned: &'a Planned,
        stage: &'a str,
    },
    Done {
        planned: &'a Planned,
        attempt: &'a Attempt,
        verdict: Verdict,
    },
}

/// How a run went.
#[derive(Clone, Debug, Default)]
pub struct Summary {
    /// Cells by outcome, in the order of [`Outcome`]'s variants.
    pub outcomes: std::collections::BTreeMap<&'static str, usize>,
    /// Cells that ended otherwise than expected, with the reason.
    pub unexpected: Vec<(String, Outcome, String)>,
}

#[derive(Debug, thiserror::Error)]
pub enum MatrixError {
    #[error(
        "the rows cannot be kept, and so the run ends here; what was kept stays, and the next run goes on: {0}"
    )]
    Results(#[from] ResultsError),
    #[error("a process for an attempt cannot be started: {0}")]
    Process(#[from] std::io::Error),
}

impl Matrix {
    /// Runs what the plan has to run.
    ///
    /// # Errors
    /// Results that cannot be written, processes that cannot be started. A cell that fails is no error.
    pub async fn run(
        &self,
        plan: &[Planned],
        on: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Summary, MatrixError> {
        let running: Vec<&Planned> = plan.iter().filter(|planned| planned.run).collect();
        let mut summary = Summary::default();
        for (i, planned) in running.iter().enumerate() {
            let left = running[i..].iter().map(|p| p.estimate).sum();
            on(Event::Begin {
                number: i + 1,
                of: running.len(),
                planned,
                left,
            });
            let last = self.cell(planned, on).await?;
            let verdict = self.verdict(planned, &last);
            *summary.outcomes.entry(last.outcome.name()).or_default() += 1;
            if verdict == Verdict::Unexpected {
                let reason = last.reason.clone().unwrap_or_default();
                let name = planned.cell.name();
                summary.unexpected.push((name, last.outcome, reason));
            }
            on(Event::Done {
                planned,
                attempt: &last,
                verdict,
            });
        }
        Ok(summary)
    }

    fn verdict(&self, planned: &Planned, attempt: &Attempt) -> Verdict {
        let seen = attempt.info.as_ref().and_then(|info| info.browser.clone());
        let version = seen.map(|browser| browser.version);
        let version = version.or_else(|| match planned.cell.target {
            Target::Browser(browser, _) => self.surroundings.version(browser).map(str::to_owned),
            Target::Native(_) => None,
        });
        self.settings
            .verdict(&planned.cell, version.as_deref(), attempt.outcome)
    }

    /// Measures two cells in turn, A-B-B-A, so that what drifts meets both alike; the attempts of a round share a block.
    ///
    /// # Errors
    /// As [`Matrix::run`]. A cell that does not pass ends the rounds.
    pub async fn pair(
        &self,
        pair: [&Planned; 2],
        rounds: u32,
        on: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Summary, MatrixError> {
        let declared = pair.map(|planned| Declared {
            kind: "interleaved".into(),
            rule: format!(
                "{rounds} rounds of A-B-B-A, a fresh process each, {} repeats in it after {} of warm-up",
                self.profile.repeats, self.profile.warm_up
            ),
            ..self.declared(planned, Design::Fixed(2 * rounds))
        });
        self.keep(Record {
            designs: declared.to_vec(),
            ..Record::new(&self.run)
        })
        .await?;
        let mut processes = [0, 0];
        let mut last: [Option<Attempt>; 2] = [None, None];
        'rounds: for _ in 0..rounds {
            let block = unique();
            for which in [0, 1, 1, 0] {
                let mut attempt = self.attempt(pair[which], on).await?;
                processes[which] += 1;
                attempt.process = processes[which];
                attempt.block = Some(block.clone());
                self.keep(Record {
                    attempts: vec![attempt.clone()],
                    ..Record::new(&self.run)
                })
                .await?;
                let passed = attempt.outcome == Outcome::Pass;
                last[which] = Some(attempt);
                if !passed {
                    break 'rounds;
                }
            }
        }
        let mut summary = Summary::default();
        let mut record = Record::new(&self.run);
        for (which, planned) in pair.iter().enumerate() {
            let Some(attempt) = &last[which] else {
                continue;
            };
            let verdict = self.verdict(planned, attempt);
            *summary.outcomes.entry(attempt.outcome.name()).or_default() += 1;
            record.conclusions.push(Conclusion {
                cell: planned.cell.name(),
                finished_us: now_us(),
                stop_reason: match attempt.outcome {
                    Outcome::Pass => format!("{} of {} processes", processes[which], 2 * rounds),
                    outcome => outcome.name().into(),
                },
                expectation: None,
            });
            if verdict == Verdict::Unexpected {
                let reason = attempt.reason.clone().unwrap_or_default();
                summary
                    .unexpected
                    .push((planned.cell.name(), attempt.outcome, reason));
            }
        }
        self.keep(record).await?;
        Ok(summary)
    }

    /// What a cell is to be measured by.
    fn declared(&self, planned: &Planned, design: Design) -> Declared {
        Declared {
            cell: planned.cell.name(),
            declared_us: now_us(),
            kind: design.kind().into(),
            processes: design.processes(),
            repeats: self.profile.repeats,
            warm_up: self.profile.warm_up,
            rule: design.rule(&self.profile, planned.cell.task),
        }
    }

    /// Measures one cell and says why it is done. Gives back its last attempt.
    async fn cell(
        &self,
        planned: &Planned,
        on: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Attempt, MatrixError> {
        let name = planned.cell.name();
        let task = planned.cell.task;
        let design = Design::new(&self.profile, task, self.within);
        self.keep(Record {
            designs: vec![self.declared(planned, design)],
            ..Record::new(&self.run)
        })
        .await?;
        let (mut process, mut r#try) = (1, 1);
        let began = Instant::now();
        // Of each process the last attempt's.
        let mut timed: Vec<Vec<f64>> = Vec::new();
        loop {
            let mut attempt = self.attempt(planned, on).await?;
            attempt.process = process;
            attempt.r#try = r#try;
            let metric = task.main_metric();
            let main = attempt.measurements.iter();
            if let Some(main) = main.into_iter().find(|m| metric == Some(&m.metric)) {
                timed.truncate(process as usize - 1);
                timed.push(main.samples.clone());
            }
            let late = began.elapsed() > Duration::from_secs(self.profile.cell_seconds);
            let next = design.next(&attempt, &timed, late);
            let mut record = Record {
                attempts: vec![attempt.clone()],
                ..Record::new(&self.run)
            };
            if let Next::Stop(reason) = &next {
                record.conclusions.push(Conclusion {
                    cell: name.clone(),
                    finished_us: now_us(),
                    stop_reason: reason.clone(),
                    expectation: match self.verdict(planned, &attempt) {
                        Verdict::Fine => None,
                        Verdict::Expected => Some("expected".into()),
                        Verdict::Unexpected => Some("unexpected".into()),
                    },
                });
            }
            self.keep(record).await?;
            match next {
                Next::Stop(_) => return Ok(attempt),
                Next::Again => r#try += 1,
                Next::Process => (process, r#try) = (process + 1, 1),
            }
        }
    }

    /// One attempt in a fresh process.
    async fn attempt(
        &self,
        planned: &Planned,
        on: &(dyn Fn(Event<'_>) + Sync),
    ) -> Result<Attempt, MatrixError> {
        let order = Order {
            cell: planned.cell.clone(),
            model: planned.model.clone(),
            protocol: Protocol {
                warm_up: self.profile.warm_up,
                repeats: self.profile.repeats,
                seconds: Some(self.profile.seconds),
            },
            decode: self.profile.decode,
            browser_flags: self.browser_flags.clone(),
            webdriver: self.webdriver.clone(),
            capabilities: self.capabilities.clone(),
            window: self.window,
            failures: self.failures.clone(),
        };
        let started_us = now_us();
        let limit = Duration::from_secs(self.profile.limit_seconds);
        let end = child::run(&order, limit, |stage| {
            on(Event::Stage {
                planned,
                stage: &stage,
            });
        })
        .await?;
        let cell = &planned.cell;
        let mut attempt = match end {
            End::Attempt(attempt) => *attempt,
            End::Failed {
                why,
                timed_out,
                evidence,
            } => Attempt {
                started_us,
                finished_us: Some(now_us()),
                reason: Some(why),
                validity: timed_out.then(|| "timed out".into()),
                evidence,
                ..Attempt::begin(&cell.target.to_string(), &cell.model, cell.task.name())
            },
        };
        attempt.format = cell.format.clone();
        attempt.batch = cell.batch;
        attempt.sequence = cell.sequence;
        attempt.model_sha256 = planned.depends.get("model").cloned();
        attempt.depends = planned.depends.clone();
        Ok(attempt)
    }

    async fn keep(&self, record: Record) -> Result<(), MatrixError> {
        let results = self.results.clone();
        let kept = tokio::task::spawn_blocking(move || results.append(&record)).await;
        match kept {
            Ok(kept) => Ok(kept?),
            Err(error) => Err(ResultsError::Sql(error.to_string()).into()),
        }
    }
}
