//! One model loaded on one target. The native runner wraps the engine; the browser runner drives a page.

use futures_util::future::BoxFuture;
use serde::{Deserialize, Serialize};

use crate::job::{
    AnswerJob, AnswerResult, EmbedJob, EmbedResult, ForwardJob, ForwardResult, GenerateJob,
    GenerateResult, LoadInfo, LoadOptions, RunError, ScoreJob, ScoreResult,
};
use crate::speech::{TranscribeJob, TranscribeResult};
use crate::store::ModelFiles;

pub type RunFuture<'a, T> = BoxFuture<'a, Result<T, RunError>>;

/// Called while something goes on, from any thread.
pub type OnProgress<'a> = &'a (dyn Fn(Progress) + Send + Sync);

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// What is being done now, in words: "starting chromium", "reading weights".
    Stage(String),
    /// Bytes of the model that have arrived where it runs.
    Loaded { bytes: u64, of: u64 },
    /// Prompt tokens computed so far.
    Prefill { tokens: usize, of: usize },
    /// Text that one more token completed (may be empty) and how many tokens there are.
    Token { text: String, count: usize },
}

/// A place where a model runs. Calls come one after another; dropping a runner frees what it holds too, without waiting.
pub trait Runner: Send {
    /// Loads `model`; a model loaded before is disposed of first.
    fn load<'a>(
        &'a mut self,
        model: &'a ModelFiles,
        options: &'a LoadOptions,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, LoadInfo>;

    fn generate<'a>(
        &'a mut self,
        job: &'a GenerateJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, GenerateResult>;

    fn score<'a>(&'a mut self, job: &'a ScoreJob) -> RunFuture<'a, ScoreResult>;

    fn embed<'a>(&'a mut self, job: &'a EmbedJob) -> RunFuture<'a, EmbedResult>;

    fn answer<'a>(&'a mut self, job: &'a AnswerJob) -> RunFuture<'a, AnswerResult>;

    fn forward<'a>(&'a mut self, job: &'a ForwardJob) -> RunFuture<'a, ForwardResult>;

    fn transcribe<'a>(
        &'a mut self,
        job: &'a TranscribeJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, TranscribeResult>;

    /// Frees the model, and ends the browser if there is one.
    fn dispose<'a>(&'a mut self) -> RunFuture<'a, ()>;
}
