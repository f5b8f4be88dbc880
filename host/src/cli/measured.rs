//! What a measuring command says of itself and its machine, and where its rows go.

use std::path::Path;
use std::process::Command;

use crate::results::record::{Attempt, Run, now_us, unique};

/// The run's row: this command line, this build, this machine.
pub(crate) fn run(command: &str) -> Run {
    let machine = machine();
    Run {
        run: unique(),
        started_us: now_us(),
        command: command.into(),
        arguments: std::env::args().skip(1).collect(),
        fewbit: env!("CARGO_PKG_VERSION").into(),
        commit_id: commit(),
        os: Some(format!(
            "{} {}",
            std::env::consts::OS,
            std::env::consts::ARCH
        )),
        cores: std::thread::available_parallelism()
            .ok()
            .and_then(|n| i64::try_from(n.get()).ok()),
        ..machine
    }
}

/// Set when a release is built; else of the checkout that the command lies in.
fn commit() -> Option<String> {
    if let Some(commit) = option_env!("FEWBIT_COMMIT") {
        return Some(commit.into());
    }
    let executable = std::env::current_exe().ok()?;
    let folder = executable.ancestors().find(|f| f.join(".git").exists())?;
    let git = |arguments: &[&str]| -> Option<String> {
        let out = Command::new("git")
            .arg("-C")
            .arg(folder)
            .args(arguments)
            .output()
            .ok()?;
        let text = String::from_utf8(out.stdout).ok()?.trim().to_string();
        out.status.success().then_some(text)
    };
    let commit = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(if changed.is_empty() {
        commit
    } else {
        format!("{commit}+changes")
    })
}

fn machine() -> Run {
    let read = |path: &str| std::fs::read_to_string(Path::new(path)).ok();
    let field = |text: Option<String>, name: &str| -> Option<String> {
        text?
            .lines()
            .find(|line| line.starts_with(name))?
            .split_once(':')
            .map(|(_, value)| value.trim().to_string())
    };
    Run {
        machine: read("/proc/sys/kernel/hostname")
            .map(|name| name.trim().to_string())
            .or_else(|| std::env::var("COMPUTERNAME").ok())
            .or_else(|| std::env::var("HOSTNAME").ok()),
        cpu: field(read("/proc/cpuinfo"), "model name"),
        memory: field(read("/proc/meminfo"), "MemTotal")
            .and_then(|kb| kb.split_whitespace().next()?.parse::<i64>().ok())
            .map(|kb| kb * 1024),
        ..Run::default()
    }
}

/// Writes rows to the results; a command's own answer does not hang on that.
#[cfg(feature = "results")]
pub(crate) async fn keep(run: Run, attempts: Vec<Attempt>) {
    use crate::results::{Results, default_path, record::Record};
    let kept = tokio::task::spawn_blocking(move || -> anyhow::Result<()> {
        Results::open(&default_path()?)?.append(&Record {
            attempts,
            ..Record::new(&run)
        })?;
        Ok(())
    })
    .await;
    let error = match kept {
        Ok(Ok(())) => return,
        Ok(Err(e)) => format!("{e:#}"),
        Err(e) => e.to_string(),
    };
    eprintln!("fewbit: the rows are not kept: {error}");
}

#[cfg(not(feature = "results"))]
pub(crate) async fn keep(_: Run, _: Vec<Attempt>) {
    eprintln!("fewbit: the rows are not kept: this build has no results (feature `results`)");
}
