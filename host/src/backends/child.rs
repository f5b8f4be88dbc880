//! The child's side: a runner on one provider, asked over standard input.

use std::fs::File;
use std::io::{BufRead, Write};
use std::sync::Mutex;

use fewbit_engine::backend::NumericPolicy;
use fewbit_native_backends::NativeTarget;
use fewbit_native_backends::ort::{Found, Library, LibraryError, Provider};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc;

use super::locate::Located;
use super::wire::{Probed, Reply, Request};
use crate::job::{Job, RunError};
use crate::native::NativeRunner;
use crate::runner::{Progress, Runner};

/// Answers requests until there are no more: the end of standard input is that of the host, and ends this process at once.
///
/// # Errors
/// Where standard output cannot be had or written to.
pub async fn serve(provider: Provider, library: &Located) -> std::io::Result<()> {
    let answers = Mutex::new(answers()?);
    let say = |reply: Reply| {
        let mut line = serde_json::to_vec(&reply).unwrap_or_default();
        line.push(b'\n');
        if let Ok(mut answers) = answers.lock() {
            // The host is gone if this fails, and so is standard input.
            let _ = answers.write_all(&line).and_then(|()| answers.flush());
        }
    };
    let mut requests = requests()?;
    let mut runner = NativeRunner::new(NativeTarget::Ort(provider));
    while let Some(line) = requests.recv().await {
        let progress = |event: Progress| say(Reply::Progress(event));
        let answered = match serde_json::from_str(&line) {
            Ok(request) => answer(&mut runner, provider, library, request, &progress).await,
            Err(error) => Err(RunError::error("json", error.to_string())),
        };
        say(match answered {
            Ok(value) => Reply::Done(value),
            Err(error) => Reply::Failed(error),
        });
    }
    Ok(())
}

/// Lines of standard input, read on a thread that ends the process with them, whatever else it is in the middle of.
fn requests() -> std::io::Result<mpsc::UnboundedReceiver<String>> {
    let (sender, receiver) = mpsc::unbounded_channel();
    let read = move || {
        for line in std::io::stdin().lock().lines() {
            let sent = line.is_ok_and(|line| sender.send(line).is_ok());
            if !sent {
                break;
            }
        }
        end();
    };
    std::thread::Builder::new()
        .name("requests".into())
        .spawn(read)?;
    Ok(receiver)
}

/// Ends the process without the libraries' own endings, some of which hang or crash.
fn end() -> ! {
    #[cfg(unix)]
    // SAFETY: it only ends the process.
    unsafe {
        libc::_exit(0)
    }
    #[cfg(not(unix))]
    std::process::exit(0)
}

/// Standard output for answers alone: what libraries print there goes to standard error.
fn answers() -> std::io::Result<File> {
    #[cfg(unix)]
    {
        use std::os::fd::AsFd;
        let own = std::io::stdout().as_fd().try_clone_to_owned()?;
        // SAFETY: both are open descriptors of this process; the first stays open as `own`.
        if unsafe { libc::dup2(libc::STDERR_FILENO, libc::STDOUT_FILENO) } < 0 {
            return Err(std::io::Error::last_os_error());
        }
        Ok(File::from(own))
    }
    #[cfg(windows)]
    {
        use std::os::windows::io::AsHandle;
        let own = std::io::stdout().as_handle().try_clone_to_owned()?;
        Ok(File::from(own))
    }
}

async fn answer(
    runner: &mut NativeRunner,
    provider: Provider,
    library: &Located,
    request: Request,
    progress: &(dyn Fn(Progress) + Send + Sync),
) -> Result<Value, RunError> {
    match request {
        Request::Probe => json(probe(provider, library)),
        Request::Load { model, options } => {
            load(library)?;
            json(runner.load(&model, &options, progress).await)
        }
        Request::Job(job) => match *job {
            Job::Generate(job) => json(runner.generate(&job, progress).await),
            Job::Score(job) => json(runner.score(&job).await),
            Job::Embed(job) => json(runner.embed(&job).await),
            Job::Answer(job) => json(runner.answer(&job).await),
            Job::Forward(job) => json(runner.forward(&job).await),
            Job::Transcribe(job) => json(runner.transcribe(&job, progress).await),
            Job::Dispose => json(runner.dispose().await),
            Job::Load(_) | Job::Onnx(_) | Job::Graph(_) | Job::NavigatorMl(_) => {
                Err(RunError::error("bad_job", "a job for a page"))
            }
        },
    }
}

fn json<T: Serialize>(answer: Result<T, RunError>) -> Result<Value, RunError> {
    serde_json::to_value(answer?).map_err(|error| RunError::error("json", error.to_string()))
}

fn load(library: &Located) -> Result<Library, RunError> {
    let found = Found {
        runtime: library.runtime.clone(),
        plug_in: library.plug_in.clone(),
    };
    Library::load(&found).map_err(|error| match error {
        LibraryError::Another { .. } => RunError::error("internal", error.to_string()),
        _ => RunError::unavailable("loader", error.to_string()),
    })
}

/// Opens the provider's device, which computes something by it.
fn probe(provider: Provider, library: &Located) -> Result<Probed, RunError> {
    let loaded = load(library)?;
    let target = NativeTarget::Ort(provider);
    let device = target.device(NumericPolicy::default(), None);
    let device = device.ok_or_else(|| RunError::unavailable("not_built", "not in this build"))?;
    let opened = pollster::block_on(device.open());
    opened.map_err(|error| {
        let reason = error.to_string();
        let reason = reason.trim_start_matches("unavailable: ").to_owned();
        RunError::unavailable("no_device", reason)
    })?;
    Ok(Probed {
        version: loaded.version().to_owned(),
        devices: loaded.devices(provider),
    })
}
