//! A child process that answers requests, and how it ended if it does so no more.

use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};

use fewbit_native_backends::ort::Provider;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use super::locate::Located;
use super::wire::{Reply, Request};
use crate::job::RunError;
use crate::runner::OnProgress;

/// How much is kept of what a child says on standard error.
const SAID_LINES: usize = 20;

/// A process that dies with this value; it ends by itself when its standard input does, as when the host is killed.
pub(super) struct Process {
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    said: Arc<Mutex<Vec<String>>>,
}

impl Process {
    pub(super) fn start(provider: Provider, library: &Located) -> Result<Process, RunError> {
        let failed = |message: String| RunError::error("child", message);
        let executable = std::env::current_exe().map_err(|error| failed(error.to_string()))?;
        let mut command = Command::new(&executable);
        command
            .args(["__runner", "--provider", provider.name(), "--runtime"])
            .arg(&library.runtime);
        if let Some(plug_in) = &library.plug_in {
            command.arg("--plug-in").arg(plug_in);
        }
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| failed(format!("{}: {error}", executable.display())))?;
        let missing = || failed("a pipe to the child is missing".into());
        let stdin = child.stdin.take().ok_or_else(missing)?;
        let stdout = child.stdout.take().ok_or_else(missing)?;
        let stderr = child.stderr.take().ok_or_else(missing)?;
        let said = Arc::new(Mutex::new(Vec::new()));
        tokio::spawn(listen(stderr, said.clone()));
        Ok(Process {
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            said,
        })
    }

    /// # Errors
    /// What the child answered; that it ended, and how.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        progress: OnProgress<'_>,
    ) -> Result<serde_json::Value, RunError> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| RunError::error("json", error.to_string()))?;
        line.push(b'\n');
        if self.stdin.write_all(&line).await.is_err() || self.stdin.flush().await.is_err() {
            return Err(self.ended().await);
        }
        loop {
            let Ok(Some(line)) = self.stdout.next_line().await else {
                return Err(self.ended().await);
            };
            match serde_json::from_str(&line) {
                Ok(Reply::Progress(event)) => progress(event),
                Ok(Reply::Done(value)) => return Ok(value),
                Ok(Reply::Failed(error)) => return Err(error),
                Err(error) => {
                    let told = format!("the child answered {line:.200}: {error}");
                    return Err(RunError::error("child", told));
                }
            }
        }
    }

    /// What there is to say of a child that answers no more.
    async fn ended(&mut self) -> RunError {
        let how = match self.child.wait().await {
            Ok(status) => ending(status),
            Err(error) => error.to_string(),
        };
        let said = self.said.lock().map(|said| said.join("\n"));
        let said = said.unwrap_or_default();
        let last = match said.is_empty() {
            true => String::new(),
            false => format!("; it said: {said}"),
        };
        RunError::error("crashed", format!("the process of the model {how}{last}"))
    }

    /// Ends it and waits until it is gone.
    pub(super) async fn end(mut self) {
        drop(self.stdin);
        let _ = self.child.start_kill();
        let _ = self.child.wait().await;
    }
}

async fn listen(stderr: impl AsyncRead + Unpin, said: Arc<Mutex<Vec<String>>>) {
    let mut lines = BufReader::new(stderr).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        if let Ok(mut said) = said.lock() {
            if said.len() == SAID_LINES {
                said.remove(0);
            }
            said.push(line.chars().take(500).collect());
        }
    }
}

/// `ended by SIGSEGV`, or with which code.
fn ending(status: ExitStatus) -> String {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt;
        if let Some(signal) = status.signal() {
            let name = match signal {
                libc::SIGSEGV => "SIGSEGV",
                libc::SIGABRT => "SIGABRT",
                libc::SIGBUS => "SIGBUS",
                libc::SIGILL => "SIGILL",
                libc::SIGFPE => "SIGFPE",
                libc::SIGKILL => "SIGKILL",
                libc::SIGTERM => "SIGTERM",
                _ => return format!("was ended by signal {signal}"),
            };
            return format!("was ended by {name}");
        }
    }
    match status.code() {
        Some(code) => format!("ended with code {code}"),
        None => "ended".into(),
    }
}
