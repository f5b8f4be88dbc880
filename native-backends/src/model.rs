//! A model on a thread of its own, and the handle to it.

use std::io;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fewbit_engine::backend::{BackendError, BackendInfo, MemoryUse, NumericPolicy};
use fewbit_engine::model::BuildOptions;
use fewbit_engine::session::SessionError;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::task::encoder::EncodeError;
use fewbit_engine::task::forward::ForwardError;
use fewbit_engine::task::generate::GenerateError;
use fewbit_engine::task::score::ScoreError;
use fewbit_engine::task::transcribe::TranscriptionError;
use fewbit_engine::task::{LoadError, Model, ModelFacts, TaskError};
use fewbit_onnx::{ImportOptions, OpenError};

use crate::file::FileSource;
use crate::run::Progress;
use crate::target::NativeTarget;

/// How to load.
#[derive(Clone, Debug, Default)]
pub struct NativeOptions {
    pub policy: NumericPolicy,
    /// CPU threads; all of the machine's if left out.
    pub threads: Option<usize>,
    pub build: BuildOptions,
}

#[derive(Debug, thiserror::Error)]
pub enum NativeError {
    #[error("{file}: {error}")]
    File { file: String, error: io::Error },
    #[error("this program was built without native wgpu")]
    NotBuilt,
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Onnx(#[from] OpenError),
    #[error(transparent)]
    Task(#[from] TaskError),
    #[error(transparent)]
    Transcription(#[from] TranscriptionError),
    /// A recording could not be read; the text tells why.
    #[error("{0}")]
    Sound(String),
    #[error("aborted")]
    Aborted,
    #[error("no thread for the model: {0}")]
    Thread(io::Error),
    /// The thread ended under a panic; the message was printed where it happened.
    #[error("the model's thread ended unexpectedly")]
    Gone,
}

impl NativeError {
    /// Whether the model's files ask for what is not imported, or for what the back end has not.
    pub fn is_unsupported(&self) -> bool {
        let session = match self {
            NativeError::Onnx(OpenError::Import(error)) => return error.is_unsupported(),
            NativeError::Load(LoadError::Session(error)) => Some(error),
            NativeError::Task(error)
            | NativeError::Transcription(TranscriptionError::Task(error)) => session_error(error),
            _ => None,
        };
        let refused = |error: &SessionError| {
            matches!(
                error,
                SessionError::Backend(BackendError::Unsupported { .. })
            )
        };
        session.is_some_and(refused)
    }

    /// Why no device could be opened, if that is what went wrong.
    pub fn unavailable(&self) -> Option<&str> {
        match self {
            NativeError::Load(LoadError::Session(SessionError::Backend(
                BackendError::Unavailable(reason),
            ))) => Some(reason),
            NativeError::NotBuilt => Some("this program was built without native wgpu"),
            _ => None,
        }
    }
}

/// What the session said, if it is that which went wrong.
fn session_error(error: &TaskError) -> Option<&SessionError> {
    use fewbit_engine::task::decoder::DecodeError;
    let decode = match error {
        TaskError::Generate(GenerateError::Decode(error)) => error,
        TaskError::Score(ScoreError::Decode(error)) => error,
        TaskError::Forward(ForwardError::Decode(error)) => error,
        TaskError::Encode(EncodeError::Session(error))
        | TaskError::Forward(ForwardError::Session(error)) => return Some(error),
        _ => return None,
    };
    match decode {
        DecodeError::Session(error) => Some(error),
        _ => None,
    }
}

/// What was loaded, on what.
#[derive(Clone, Debug)]
pub struct Loaded {
    pub facts: ModelFacts,
    pub backend: BackendInfo,
    pub memory: MemoryUse,
    /// All of it.
    pub elapsed: Duration,
    /// Of it, making one token so that the pipelines are compiled, or ONNX Runtime's session is made; not on the CPU.
    pub compile: Option<Duration>,
}

type Task = Box<dyn FnOnce(&mut Model) + Send>;

/// The handle to a model's thread. Dropping it ends the thread.
pub struct NativeModel {
    tasks: Option<mpsc::Sender<Task>>,
    thread: Option<JoinHandle<()>>,
}

impl NativeModel {
    /// Loads the files (name, path) on `target`. Blocks; `on_progress` is called on the model's thread and may abort.
    pub fn load(
        target: NativeTarget,
        files: Vec<(String, PathBuf)>,
        options: NativeOptions,
        on_progress: impl Fn(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<(NativeModel, Loaded), NativeError> {
        let (tasks, inbox) = mpsc::channel::<Task>();
        let (report, loaded) = mpsc::channel();
        let thread = std::thread::Builder::new()
            .name("fewbit-model".into())
            .spawn(move || match open(target, files, options, &on_progress) {
                Ok((mut model, facts)) => {
                    let _ = report.send(Ok(facts));
                    drop(report);
                    while let Ok(task) = inbox.recv() {
                        task(&mut model);
                    }
                }
                Err(error) => {
                    let _ = report.send(Err(error));
                }
            })
            .map_err(NativeError::Thread)?;
        let facts = loaded.recv().map_err(|_| NativeError::Gone)??;
        let model = NativeModel {
            tasks: Some(tasks),
            thread: Some(thread),
        };
        Ok((model, facts))
    }

    /// Runs `task` on the model's thread and waits for its result.
    pub fn call<R: Send + 'static>(
        &self,
        task: impl FnOnce(&mut Model) -> R + Send + 'static,
    ) -> Result<R, NativeError> {
        let (answer, result) = mpsc::channel();
        let task: Task = Box::new(move |model| {
            let _ = answer.send(task(model));
        });
        let tasks = self.tasks.as_ref().ok_or(NativeError::Gone)?;
        tasks.send(task).map_err(|_| NativeError::Gone)?;
        result.recv().map_err(|_| NativeError::Gone)
    }
}

impl Drop for NativeModel {
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic there was reported when a call found the thread gone.
            let _ = thread.join();
        }
    }
}

/// Whether the weights are in ONNX files: where there are other files of weights too, those are taken.
fn is_onnx(files: &ModelFiles) -> bool {
    // A reference lies beside the weights that it was computed with.
    let has = |ending: &str| {
        let mut names = files.names_ending(ending);
        names.any(|name| name != "reference.safetensors")
    };
    let others = [
        ".gguf",
        ".safetensors",
        "pytorch_model.bin",
        "pytorch_model.bin.index.json",
    ];
    has(".onnx") && !others.into_iter().any(has) && files.find("model.bin").is_none()
}

fn open(
    target: NativeTarget,
    files: Vec<(String, PathBuf)>,
    options: NativeOptions,
    on_progress: &dyn Fn(Progress) -> ControlFlow<()>,
) -> Result<(Model, Loaded), NativeError> {
    let start = Instant::now();
    let mut sources: Vec<Rc<dyn ByteSource>> = Vec::with_capacity(files.len());
    for (name, path) in files {
        let source = FileSource::open(&name, &path)
            .map_err(|error| NativeError::File { file: name, error })?;
        sources.push(Rc::new(source));
    }
    let device = target
        .device(options.policy, options.threads)
        .ok_or(NativeError::NotBuilt)?;
    let mut on_upload = |progress: fewbit_engine::session::UploadProgress| {
        on_progress(Progress::Loaded {
            bytes: progress.done,
            of: progress.total,
        })
    };
    let files = ModelFiles::new(sources);
    let loading = async {
        if !is_onnx(&files) {
            return Ok(Model::load(&files, device, options.build, &mut on_upload).await?);
        }
        let open = fewbit_onnx::open(&files, &ImportOptions::default()).await?;
        Ok(Model::open(&files, open, device, &mut on_upload).await?)
    };
    let mut model = match pollster::block_on(loading) {
        Err(NativeError::Load(LoadError::Session(error))) if error.is_aborted() => {
            return Err(NativeError::Aborted);
        }
        result => result?,
    };
    let compiling = Instant::now();
    let compiles = matches!(model.backend().name, "gpu" | "ort");
    let compile = if compiles && model.can_generate() {
        pollster::block_on(crate::run::warm_up(&mut model))?;
        Some(compiling.elapsed())
    } else {
        None
    };
    let loaded = Loaded {
        facts: model.facts().clone(),
        backend: model.backend(),
        memory: model.memory(),
        elapsed: start.elapsed(),
        compile,
    };
    Ok((model, loaded))
}
