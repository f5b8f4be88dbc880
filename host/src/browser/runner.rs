//! A model on a `BROWSER:BACKEND` target: a browser is started, opens the host's runner page and runs jobs there.

use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

use super::page::{JobFailure, PageEvent, RunnerPage};
use super::probe::Probe;
use super::session::{Session, SessionOptions};
use super::{BrowserError, Remote, find};
use crate::job::{
    AnswerJob, AnswerResult, BrowserFacts, EmbedJob, EmbedResult, ForwardJob, ForwardResult,
    GenerateJob, GenerateResult, GraphJob, GraphResult, Job, LoadInfo, LoadJob, LoadOptions,
    NavigatorMlJob, OnnxJob, PageModel, RunError, ScoreJob, ScoreResult,
};
use crate::runner::{OnProgress, Progress, RunFuture, Runner};
use crate::speech::{TranscribeJob, TranscribeResult};
use crate::store::ModelFiles;
use crate::target::{Browser, BrowserBackend};

/// The page's codes for what is wrong with a file, and not with the page.
const SAYS_OF_A_FILE: [&str; 4] = ["unsupported", "unavailable", "bad_model", "bad_argument"];

/// The server whose pages a browser opens.
pub trait Pages: Send + Sync {
    /// `http://127.0.0.1:PORT`.
    fn url(&self) -> String;

    /// Whether the runner page and the package that it imports are there; asked before a browser is started.
    ///
    /// # Errors
    /// What is missing, and what makes it.
    fn ready(&self) -> Result<(), RunError>;

    /// Makes a model's files reachable for pages, and says where.
    ///
    /// # Errors
    /// When the model cannot be offered.
    fn offer(&self, model: &ModelFiles) -> Result<PageModel, RunError>;
}

/// How a browser is run.
#[derive(Clone, Debug)]
pub struct BrowserOptions {
    /// Without a window.
    pub headless: bool,
    /// Flags to add.
    pub extra_flags: Vec<String>,
    /// Where a picture of the page goes when a job fails.
    pub failures: Option<PathBuf>,
    /// Drive it there, instead of starting one on this machine.
    pub remote: Option<Remote>,
}

impl Default for BrowserOptions {
    fn default() -> Self {
        Self {
            headless: true,
            extra_flags: Vec::new(),
            failures: None,
            remote: None,
        }
    }
}

/// Runs jobs in a browser. The browser starts with the first [`Runner::load`].
pub struct BrowserRunner<'p> {
    browser: Browser,
    backend: BrowserBackend,
    pages: &'p dyn Pages,
    options: BrowserOptions,
    page: Option<RunnerPage>,
    peak_resident: Option<u64>,
}

impl<'p> BrowserRunner<'p> {
    /// A runner that has started nothing yet.
    pub fn new(
        browser: Browser,
        backend: BrowserBackend,
        pages: &'p dyn Pages,
        options: BrowserOptions,
    ) -> Self {
        Self {
            browser,
            backend,
            pages,
            options,
            page: None,
            peak_resident: None,
        }
    }

    /// The page, once a model was loaded.
    pub fn page(&mut self) -> Option<&mut RunnerPage> {
        self.page.as_mut()
    }

    async fn start(&mut self) -> Result<&mut RunnerPage, RunError> {
        if self.page.is_none() {
            self.pages.ready()?;
            let options = SessionOptions {
                webgpu: self.backend == BrowserBackend::Webgpu,
                webnn: self.backend.uses_webnn(),
                headless: self.options.headless,
                extra_flags: self.options.extra_flags.clone(),
            };
            let url = self.pages.url();
            let page = format!("{}/runner", url.trim_end_matches('/'));
            let session = match &self.options.remote {
                Some(remote) => Session::open_remote(self.browser, remote, &options, &page).await,
                None => {
                    let installed = find(self.browser).map_err(run_error)?;
                    Session::open(&installed, &options, &page).await
                }
            };
            let session = session.map_err(run_error)?;
            if let (true, None) = (options.webgpu, &session.info().adapter) {
                let reason = session
                    .info()
                    .no_adapter
                    .clone()
                    .unwrap_or_else(|| "no adapter".into());
                session.close().await;
                return Err(run_error(BrowserError::Unsupported {
                    browser: self.browser,
                    feature: "WebGPU".into(),
                    reason,
                }));
            }
            let mut page = RunnerPage::open(session, &url).await.map_err(run_error)?;
            if options.webnn {
                let found = Probe::webnn(page.session()).await.map_err(run_error)?;
                if let Some(reason) = found.reason {
                    page.close().await;
                    return Err(run_error(BrowserError::Unsupported {
                        browser: self.browser,
                        feature: "WebNN".into(),
                        reason,
                    }));
                }
            }
            self.page = Some(page);
        }
        self.page.as_mut().ok_or_else(not_loaded)
    }

    /// Runs a job in the open page and reads its result.
    async fn job<T: DeserializeOwned>(
        &mut self,
        job: &Job,
        progress: OnProgress<'_>,
    ) -> Result<T, RunError> {
        let page = self.page.as_mut().ok_or_else(not_loaded)?;
        let job =
            serde_json::to_value(job).map_err(|error| RunError::error("job", error.to_string()))?;
        let result = page
            .run(&job, |event| {
                progress(match event {
                    PageEvent::Stage(stage) => Progress::Stage(stage),
                    PageEvent::Loaded { bytes, of } => Progress::Loaded { bytes, of },
                    PageEvent::Token { text, count } => Progress::Token { text, count },
                });
                true
            })
            .await;
        match result {
            Ok(value) => read(value),
            Err(failure) => Err(self.explain(failure).await),
        }
    }

    /// Runs an ONNX file once, in a worker of its own. The browser starts with the first one, and anew after one that did not
    /// end as a file may: what traps, takes too long or fills the memory leaves the next one a fresh page.
    ///
    /// # Errors
    /// What the page says of the file, or the browser of the page.
    pub async fn onnx(&mut self, job: OnnxJob) -> Result<ForwardResult, RunError> {
        self.apart(Job::Onnx(job)).await
    }

    /// Runs parts of a graph, in a worker of its own; else as [`BrowserRunner::onnx`].
    ///
    /// # Errors
    /// What the page says of the graph as a whole, or the browser of the page.
    pub async fn graph(&mut self, job: GraphJob) -> Result<GraphResult, RunError> {
        self.apart(Job::Graph(job)).await
    }

    /// Builds and runs graphs by `navigator.ml`, as a page does; else as [`BrowserRunner::onnx`].
    ///
    /// # Errors
    /// What the page says of the graphs as a whole, or the browser of the page.
    pub async fn navigator_ml(&mut self, job: NavigatorMlJob) -> Result<GraphResult, RunError> {
        self.apart(Job::NavigatorMl(job)).await
    }

    /// A job that brings all it needs.
    async fn apart<T: DeserializeOwned>(&mut self, job: Job) -> Result<T, RunError> {
        let page = self.start().await?;
        let job = serde_json::to_value(job);
        let job = job.map_err(|error| RunError::error("job", error.to_string()))?;
        let failure = match page.run(&job, |_| true).await {
            Ok(value) => return read(value),
            Err(failure) => failure.error,
        };
        let told = |code: &str| SAYS_OF_A_FILE.contains(&code);
        if !matches!(&failure, BrowserError::Page { code, .. } if told(code))
            && let Some(page) = self.page.take()
        {
            page.close().await;
        }
        Err(run_error(failure))
    }

    /// A failure with the page's last messages, and a picture of the page where one is wanted.
    async fn explain(&mut self, failure: JobFailure) -> RunError {
        let mut error = run_error(failure.error);
        for line in failure.console.iter().rev().take(8).rev() {
            error.message.push_str("\n  ");
            error
                .message
                .push_str(line.lines().next().unwrap_or_default());
        }
        if let (Some(folder), Some(page)) = (&self.options.failures, &mut self.page)
            && let Ok(picture) = page.session().screenshot().await
        {
            let time = std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(0, |time| time.as_millis());
            let path = folder.join(format!(
                "{}-{}-{time}.png",
                self.browser.name(),
                self.backend.name()
            ));
            if std::fs::create_dir_all(folder).is_ok() && std::fs::write(&path, picture).is_ok() {
                error
                    .message
                    .push_str(&format!("\n  the page at that moment: {}", path.display()));
            }
        }
        error
    }

    /// The largest memory of the browser's processes at the ends of jobs.
    fn peak(&mut self) -> Option<u64> {
        let now = self.page.as_mut().and_then(|page| page.session().memory());
        self.peak_resident = self.peak_resident.max(now);
        self.peak_resident
    }
}

impl Runner for BrowserRunner<'_> {
    fn load<'a>(
        &'a mut self,
        model: &'a ModelFiles,
        options: &'a LoadOptions,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, LoadInfo> {
        Box::pin(async move {
            if self.page.is_none() {
                progress(Progress::Stage(format!("starting {}", self.browser.name())));
            }
            let offered = self.pages.offer(model)?;
            let session = self.start().await?.session().info().clone();
            let job = Job::Load(LoadJob {
                model: offered,
                backend: self.backend.name().into(),
                options: options.clone(),
            });
            let mut info: LoadInfo = self.job(&job, progress).await?;
            if let (Some(adapter), Some(seen)) = (&mut info.adapter, &session.adapter) {
                adapter.software = adapter.software.or(seen.software);
                adapter.vendor = adapter.vendor.take().or_else(|| seen.info().vendor);
            }
            let user_agent = match &mut self.page {
                Some(page) => page
                    .session()
                    .evaluate("return navigator.userAgent", vec![])
                    .await
                    .ok(),
                None => None,
            };
            info.browser = Some(BrowserFacts {
                name: session.browser_name,
                version: session.browser_version,
                driver: Some(session.driver),
                user_agent: user_agent.and_then(|value| value.as_str().map(str::to_owned)),
            });
            info.flags = session.flags;
            info.flags
                .extend(session.notes.iter().map(|note| format!("note: {note}")));
            info.memory.peak_resident = self.peak();
            Ok(info)
        })
    }

    fn generate<'a>(
        &'a mut self,
        job: &'a GenerateJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, GenerateResult> {
        Box::pin(async move {
            let mut result: GenerateResult =
                self.job(&Job::Generate(job.clone()), progress).await?;
            result.memory.peak_resident = self.peak();
            Ok(result)
        })
    }

    fn score<'a>(&'a mut self, job: &'a ScoreJob) -> RunFuture<'a, ScoreResult> {
        Box::pin(async move { self.job(&Job::Score(job.clone()), &|_| {}).await })
    }

    fn embed<'a>(&'a mut self, job: &'a EmbedJob) -> RunFuture<'a, EmbedResult> {
        Box::pin(async move {
            let mut result: EmbedResult = self.job(&Job::Embed(job.clone()), &|_| {}).await?;
            result.memory.peak_resident = self.peak();
            Ok(result)
        })
    }

    fn answer<'a>(&'a mut self, job: &'a AnswerJob) -> RunFuture<'a, AnswerResult> {
        Box::pin(async move { self.job(&Job::Answer(job.clone()), &|_| {}).await })
    }

    fn forward<'a>(&'a mut self, job: &'a ForwardJob) -> RunFuture<'a, ForwardResult> {
        Box::pin(async move { self.job(&Job::Forward(job.clone()), &|_| {}).await })
    }

    fn transcribe<'a>(
        &'a mut self,
        job: &'a TranscribeJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, TranscribeResult> {
        Box::pin(async move {
            let job = Job::Transcribe(job.clone());
            let mut result: TranscribeResult = self.job(&job, progress).await?;
            result.memory.peak_resident = self.peak();
            Ok(result)
        })
    }

    fn dispose<'a>(&'a mut self) -> RunFuture<'a, ()> {
        Box::pin(async move {
            if let Some(page) = self.page.take() {
                page.close().await;
            }
            Ok(())
        })
    }
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, RunError> {
    serde_json::from_value(value).map_err(|error| {
        RunError::error(
            "runner",
            format!("the page's result could not be read: {error}"),
        )
    })
}

fn not_loaded() -> RunError {
    RunError::error("no_model", "no model was loaded in a browser")
}

/// A browser's failure in the words of a cell.
pub(crate) fn run_error(error: BrowserError) -> RunError {
    let message = error.to_string();
    match error {
        BrowserError::Unavailable { .. } => RunError::unavailable("no_browser", message),
        BrowserError::Unsupported { .. } => RunError::unsupported("no_feature", message),
        BrowserError::Page { code, message } if code == "unsupported" => {
            RunError::unsupported(code, message)
        }
        BrowserError::Page { code, message } if code == "unavailable" => {
            RunError::unavailable(code, message)
        }
        BrowserError::Page { code, message } => RunError::error(code, message),
        BrowserError::TimedOut { .. } => RunError::error("timed_out", message),
        BrowserError::NoSession { .. } => RunError::error("no_session", message),
        BrowserError::Start { .. } | BrowserError::Command { .. } | BrowserError::Io { .. } => {
            RunError::error("webdriver", message)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::job::Outcome;

    #[test]
    fn failures_become_outcomes() {
        let page = |code: &str| {
            run_error(BrowserError::Page {
                code: code.into(),
                message: "why".into(),
            })
        };
        assert_eq!(page("unsupported").outcome, Outcome::Unsupported);
        assert_eq!(page("unavailable").outcome, Outcome::Unavailable);
        assert_eq!(
            (page("checksum").outcome, page("checksum").code.as_str()),
            (Outcome::Error, "checksum")
        );
        let missing = BrowserError::Unavailable {
            browser: Browser::Edge,
            reason: "no Edge was found".into(),
            install: "get it".into(),
        };
        let missing = run_error(missing);
        assert_eq!(missing.outcome, Outcome::Unavailable);
        assert!(
            missing.message.contains("no Edge was found") && missing.message.contains("get it"),
            "{missing}"
        );
    }
}
