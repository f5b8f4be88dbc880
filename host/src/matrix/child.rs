//! One attempt in a process of its own: what it is told, what it says, and ending it.
//!
//! `fewbit attempt` reads an [`Order`] from its standard input, measures, and prints [`Said`], one JSON object a line. It ends
//! itself and its browser when its input ends: then whoever asked is gone, however that came.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};

use super::cell::Cell;
use crate::measure::Protocol;
use crate::results::record::{Attempt, Evidence};

/// What an attempt is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub cell: Cell,
    /// What the store resolves.
    pub model: String,
    pub protocol: Protocol,
    /// Tokens to decode in each repeat.
    pub decode: usize,
    pub browser_flags: Vec<String>,
    /// Where browsers are driven, if not here: a WebDriver URL, and capabilities as JSON.
    #[serde(default)]
    pub webdriver: Option<String>,
    #[serde(default)]
    pub capabilities: Option<String>,
    /// Show the browser's window.
    pub window: bool,
    /// Where pictures of failures go.
    pub failures: Option<PathBuf>,
}

/// What an attempt says.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// What it does now, in words.
    Stage(String),
    Attempt(Box<Attempt>),
}

/// How an attempt's process ended.
#[derive(Debug)]
pub enum End {
    Attempt(Box<Attempt>),
    /// It gave none.
    Failed {
        why: String,
        timed_out: bool,
        evidence: Vec<Evidence>,
    },
}

/// Lines of messages kept of a process that failed.
const LINES: usize = 40;

/// Runs an attempt in a fresh process and hands on what it does.
///
/// # Errors
/// A process that cannot be started.
pub async fn run(
    order: &Order,
    limit: Duration,
    mut on_stage: impl FnMut(String),
) -> std::io::Result<End> {
    let mut child = Command::new(std::env::current_exe()?)
        .arg("attempt")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut input = child.stdin.take();
    let json = serde_json::to_string(order)?;
    if let Some(input) = &mut input {
        // A child that ended at once is told of below.
        let _ = input.write_all(format!("{json}\n").as_bytes()).await;
        let _ = input.flush().await;
    }
    let errors = child.stderr.take();
    let errors = tokio::spawn(async move {
        let mut text = Vec::new();
        if let Some(errors) = errors {
            // What is beyond is read by nobody, so that the child is never held up.
            let mut errors = BufReader::new(errors);
            let _ = (&mut errors).take(1 << 20).read_to_end(&mut text).await;
            let _ = tokio::io::copy(&mut errors, &mut tokio::io::sink()).await;
        }
        String::from_utf8_lossy(&text).into_owned()
    });
    let mut attempt = None;
    let listen = async {
        let Some(output) = child.stdout.take() else {
            return;
        };
        let mut lines = BufReader::new(output).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match serde_json::from_str(&line) {
                Ok(Said::Stage(stage)) => on_stage(stage),
                Ok(Said::Attempt(said)) => attempt = Some(said),
                Err(_) => {}
            }
        }
    };
    let timed_out = tokio::time::timeout(limit, listen).await.is_err();
    // Its input ends: it ends its browser and itself.
    drop(input);
    let ended = end(&mut child).await;
    if let (Some(attempt), false) = (attempt, timed_out) {
        return Ok(End::Attempt(attempt));
    }
    let said = errors.await.unwrap_or_default();
    let last: Vec<&str> = said.lines().rev().take(LINES).collect();
    let last: Vec<&str> = last.into_iter().rev().collect();
    let evidence = (!last.is_empty()).then(|| Evidence {
        kind: "host".into(),
        text: last.join("\n"),
    });
    Ok(End::Failed {
        why: match timed_out {
            true => format!("it took longer than {} s and was ended", limit.as_secs()),
            false => format!("its process ended without an answer: {ended}"),
        },
        timed_out,
        evidence: evidence.into_iter().collect(),
    })
}

/// Waits for a process to end by itself, then ends it and what it left.
async fn end(child: &mut Child) -> String {
    if let Ok(Ok(status)) = tokio::time::timeout(Duration::from_secs(20), child.wait()).await {
        if !status.success() {
            sweep().await;
        }
        return status.to_string();
    }
    let _ = child.kill().await;
    sweep().await;
    "killed".into()
}

/// Ends the browsers of processes that could not do it themselves.
async fn sweep() {
    let _ = tokio::task::spawn_blocking(crate::browser::sweep).await;
}
