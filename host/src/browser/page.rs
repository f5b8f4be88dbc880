//! The host's runner page (`www/runner.js`), spoken to through a session: a job is started, polled, and may be aborted.

use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};

use super::BrowserError;
use super::session::Session;

/// How long the page may take to load with its modules.
const OPEN: Duration = Duration::from_secs(60);
/// How long a job may go on without a sign of progress: prefill on a software adapter is slow.
const QUIET: Duration = Duration::from_secs(600);
/// How long an aborted job may take to end.
const ABORT: Duration = Duration::from_secs(10);

/// The runner page in a browser.
pub struct RunnerPage {
    session: Session,
}

/// What a page tells while a job runs.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PageEvent {
    /// What is being done: `download`, `upload`, `compile`, …
    Stage(String),
    /// Bytes of the model that arrived.
    Loaded {
        /// So far.
        bytes: u64,
        /// In all.
        of: u64,
    },
    /// A token of the answer.
    Token {
        /// The text that it completed.
        text: String,
        /// How many there are now.
        count: usize,
    },
}

#[derive(Deserialize)]
struct Poll {
    events: Vec<PageEvent>,
    done: Option<Done>,
    #[serde(default)]
    console: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
enum Done {
    Result(Value),
    Error { code: String, message: String },
}

/// A job that failed in the page, with what may explain it.
#[derive(Debug, thiserror::Error)]
#[error("{error}")]
pub struct JobFailure {
    /// Why.
    #[source]
    pub error: BrowserError,
    /// The page's last console messages.
    pub console: Vec<String>,
}

impl From<BrowserError> for JobFailure {
    fn from(error: BrowserError) -> Self {
        Self {
            error,
            console: Vec::new(),
        }
    }
}

impl RunnerPage {
    /// Opens `BASE/runner` and waits until it takes jobs.
    ///
    /// # Errors
    /// When the page does not load, or its modules fail; the browser's own words are in the text.
    pub async fn open(mut session: Session, base: &str) -> Result<RunnerPage, BrowserError> {
        let url = format!("{}/runner", base.trim_end_matches('/'));
        session.goto(&url).await?;
        let began = Instant::now();
        while session
            .evaluate("return Boolean(window.fewbitRunner)", vec![])
            .await?
            != json!(true)
        {
            if began.elapsed() > OPEN {
                // Importing again tells what the module's loading did not.
                let why = session
                    .work(
                        "await import('/runner.js');",
                        Value::Null,
                        Duration::from_secs(20),
                    )
                    .await;
                let reason = match why {
                    Err(BrowserError::Page { code, message }) => format!("{code}: {message}"),
                    _ => format!("it was not ready within {} s", OPEN.as_secs()),
                };
                let browser = session.browser();
                return Err(BrowserError::Command {
                    browser,
                    doing: format!("opening {url}"),
                    reason,
                });
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(RunnerPage { session })
    }

    /// The session that the page is in.
    pub fn session(&mut self) -> &mut Session {
        &mut self.session
    }

    /// Runs a job to its end. `on_event` hears what the page tells; when it returns `false` the job is aborted.
    ///
    /// # Errors
    /// [`BrowserError::Page`] with the code of a `FewbitError` when the job fails in the page; another [`BrowserError`]
    /// when the browser does, or when the page tells nothing for ten minutes.
    pub async fn run(
        &mut self,
        job: &Value,
        mut on_event: impl FnMut(PageEvent) -> bool,
    ) -> Result<Value, JobFailure> {
        let id = self
            .session
            .evaluate(
                "return window.fewbitRunner.start(arguments[0])",
                vec![job.clone()],
            )
            .await?;
        let mut last_sign = Instant::now();
        let mut aborted: Option<Instant> = None;
        let mut pause = Duration::from_millis(5);
        loop {
            let answer = self
                .session
                .evaluate(
                    "return window.fewbitRunner.poll(arguments[0])",
                    vec![id.clone()],
                )
                .await?;
            let poll: Poll =
                serde_json::from_str(answer.as_str().unwrap_or_default()).map_err(|error| {
                    BrowserError::Page {
                        code: "runner".into(),
                        message: format!("the runner page's answer could not be read: {error}"),
                    }
                })?;
            if !poll.events.is_empty() {
                last_sign = Instant::now();
                pause = Duration::from_millis(5);
            }
            let mut go_on = true;
            for event in poll.events {
                go_on &= on_event(event);
            }
            match poll.done {
                Some(Done::Result(value)) => return Ok(value),
                Some(Done::Error { code, message }) => {
                    return Err(JobFailure {
                        error: BrowserError::Page { code, message },
                        console: poll.console,
                    });
                }
                None => {}
            }
            let quiet = last_sign.elapsed() > QUIET;
            if aborted.is_none() && (!go_on || quiet) {
                self.session
                    .evaluate("window.fewbitRunner.abort(arguments[0])", vec![id.clone()])
                    .await?;
                aborted = Some(Instant::now());
            }
            if aborted.is_some_and(|at| at.elapsed() > ABORT) {
                let (doing, limit) = if quiet {
                    ("a job without progress", QUIET)
                } else {
                    ("aborting a job", ABORT)
                };
                return Err(self.session.timed_out(doing, limit).into());
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// Ends the browser.
    pub async fn close(self) {
        self.session.close().await;
    }
}
