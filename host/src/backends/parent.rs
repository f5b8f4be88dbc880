//! A runner whose model is in a child process.

use serde::de::DeserializeOwned;

use fewbit_native_backends::ort::Provider;

use super::locate::{Located, locate};
use super::process::Process;
use super::wire::{Probed, Request};
use crate::job::{
    AnswerJob, AnswerResult, EmbedJob, EmbedResult, ForwardJob, ForwardResult, GenerateJob,
    GenerateResult, Job, LoadInfo, LoadOptions, RunError, ScoreJob, ScoreResult,
};
use crate::runner::{OnProgress, Progress, RunFuture, Runner};
use crate::speech::{TranscribeJob, TranscribeResult};
use crate::store::{ModelFiles, home};
use crate::target::NativeBackend;

/// Runs jobs on an execution provider of ONNX Runtime. Each load starts a process anew.
pub struct ChildRunner {
    provider: Provider,
    library: Located,
    process: Option<Process>,
}

impl ChildRunner {
    /// # Errors
    /// `unavailable` where the provider's library is not here.
    pub fn new(backend: NativeBackend) -> Result<ChildRunner, RunError> {
        let name = backend.name();
        let provider = super::provider(backend).ok_or_else(|| {
            RunError::error("bad_target", format!("native:{name} is not ONNX Runtime's"))
        })?;
        let home = home().map_err(|error| RunError::unavailable("no_home", error.to_string()))?;
        let library = locate(provider, &home)?;
        Ok(ChildRunner {
            provider,
            library,
            process: None,
        })
    }

    async fn ask<T: DeserializeOwned>(
        &mut self,
        request: Request,
        progress: OnProgress<'_>,
    ) -> Result<T, RunError> {
        let process = self.process.as_mut();
        let process = process.ok_or_else(|| RunError::error("not_loaded", "no model is loaded"))?;
        let answered = process.ask(&request, progress).await;
        if matches!(&answered, Err(error) if error.code == "crashed") {
            self.process = None;
        }
        serde_json::from_value(answered?)
            .map_err(|error| RunError::error("json", error.to_string()))
    }

    async fn job<T: DeserializeOwned>(
        &mut self,
        job: Job,
        progress: OnProgress<'_>,
    ) -> Result<T, RunError> {
        self.ask(Request::Job(Box::new(job)), progress).await
    }

    async fn end(&mut self) {
        if let Some(process) = self.process.take() {
            process.end().await;
        }
    }
}

/// Whether a provider computes here, found out in a child.
///
/// # Errors
/// `unavailable`: the loader's words, or how the child ended.
pub async fn probe(provider: Provider, library: &Located) -> Result<Probed, RunError> {
    let mut process = Process::start(provider, library)?;
    let probed = probed(&mut process).await;
    process.end().await;
    probed
}

/// What crashes when it is asked whether it is there is not there.
async fn probed(process: &mut Process) -> Result<Probed, RunError> {
    let answered = process.ask(&Request::Probe, &|_| {}).await;
    let answered = answered.map_err(|error| match error.code.as_str() {
        "crashed" => RunError::unavailable("crashed", error.message),
        _ => error,
    });
    serde_json::from_value(answered?).map_err(|error| RunError::error("json", error.to_string()))
}

impl Runner for ChildRunner {
    fn load<'a>(
        &'a mut self,
        model: &'a ModelFiles,
        options: &'a LoadOptions,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, LoadInfo> {
        Box::pin(async move {
            self.end().await;
            progress(Progress::Stage("starting ONNX Runtime".into()));
            let mut process = Process::start(self.provider, &self.library)?;
            if let Err(error) = probed(&mut process).await {
                process.end().await;
                return Err(error);
            }
            self.process = Some(process);
            let request = Request::Load {
                model: model.clone(),
                options: options.clone(),
            };
            self.ask(request, progress).await
        })
    }

    fn generate<'a>(
        &'a mut self,
        job: &'a GenerateJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, GenerateResult> {
        Box::pin(self.job(Job::Generate(job.clone()), progress))
    }

    fn score<'a>(&'a mut self, job: &'a ScoreJob) -> RunFuture<'a, ScoreResult> {
        Box::pin(self.job(Job::Score(job.clone()), &|_| {}))
    }

    fn embed<'a>(&'a mut self, job: &'a EmbedJob) -> RunFuture<'a, EmbedResult> {
        Box::pin(self.job(Job::Embed(job.clone()), &|_| {}))
    }

    fn answer<'a>(&'a mut self, job: &'a AnswerJob) -> RunFuture<'a, AnswerResult> {
        Box::pin(self.job(Job::Answer(job.clone()), &|_| {}))
    }

    fn forward<'a>(&'a mut self, job: &'a ForwardJob) -> RunFuture<'a, ForwardResult> {
        Box::pin(self.job(Job::Forward(job.clone()), &|_| {}))
    }

    fn transcribe<'a>(
        &'a mut self,
        job: &'a TranscribeJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, TranscribeResult> {
        Box::pin(self.job(Job::Transcribe(job.clone()), progress))
    }

    fn dispose<'a>(&'a mut self) -> RunFuture<'a, ()> {
        Box::pin(async move {
            self.end().await;
            Ok(())
        })
    }
}
