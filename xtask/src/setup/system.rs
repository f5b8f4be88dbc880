//! The system's package manager: Debian's is called where it may be; elsewhere the command is printed.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Result;

use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};

/// Something that must be on the machine, and how it comes there.
pub(crate) struct Need {
    pub(crate) what: &'static str,
    /// What it is for, when it is missing.
    pub(crate) purpose: &'static str,
    /// There if any of these programs is.
    pub(crate) programs: &'static [&'static str],
    /// There if any of these files is.
    pub(crate) files: &'static [&'static str],
    pub(crate) debian: &'static [&'static str],
    /// What to type on macOS and on Windows; empty where it cannot be had.
    pub(crate) macos: &'static str,
    pub(crate) windows: &'static str,
}

impl Need {
    pub(crate) fn met(&self) -> bool {
        self.programs
            .iter()
            .any(|name| find_program(name).is_some())
            || self.files.iter().any(|path| Path::new(path).exists())
    }

    /// Whether the machine's system can have it at all.
    pub(crate) fn possible(&self) -> bool {
        !self.typed(&[]).is_empty() || cfg!(target_os = "linux")
    }

    fn typed(&self, linux: &[&str]) -> String {
        if cfg!(target_os = "macos") {
            self.macos.to_owned()
        } else if cfg!(windows) {
            self.windows.to_owned()
        } else {
            linux.join(" ")
        }
    }
}

/// Installs what is missing of `needs`, or says what to type. Returns those still missing.
pub(crate) fn install<'a>(
    project: &Project,
    progress: &Progress,
    needs: &[&'a Need],
) -> Result<Vec<&'a Need>> {
    let missing: Vec<&Need> = needs
        .iter()
        .copied()
        .filter(|need| need.possible() && !need.met())
        .collect();
    if missing.is_empty() {
        return Ok(missing);
    }
    let packages: Vec<&str> = missing
        .iter()
        .flat_map(|need| need.debian.iter().copied())
        .collect();
    if is_debian()
        && is_root()
        && find_program("apt-get").is_some()
        && let Err(error) = apt(project, progress, &packages)
    {
        progress.say(format!("{error:#}"));
    }
    let missing: Vec<&Need> = missing.into_iter().filter(|need| !need.met()).collect();
    for need in &missing {
        let what = need.what;
        let purpose = need.purpose;
        let typed = if cfg!(target_os = "linux") {
            linux_hint(need)
        } else {
            need.typed(&[])
        };
        progress.say(format!(
            "- {what} is missing ({purpose}); type:\n    {typed}"
        ));
    }
    Ok(missing)
}

fn apt(project: &Project, progress: &Progress, packages: &[&str]) -> Result<()> {
    let step = progress.step(format!("apt-get install {}", packages.join(" ")));
    // Once a run is enough, however often something is missing.
    static UPDATED: AtomicBool = AtomicBool::new(false);
    if !UPDATED.load(Ordering::Relaxed) {
        let mut update = Command::new("apt-get");
        update.args(["-o", "Acquire::http::Timeout=30", "update"]);
        process::run(
            project,
            &step,
            "apt-update",
            &mut update,
            Duration::from_secs(180),
        )?;
        UPDATED.store(true, Ordering::Relaxed);
    }
    let mut install = Command::new("apt-get");
    install
        .args(["-o", "Acquire::http::Timeout=30"])
        .args(["install", "-y", "--no-install-recommends"])
        .args(packages)
        .env("DEBIAN_FRONTEND", "noninteractive");
    process::run(
        project,
        &step,
        "apt-install",
        &mut install,
        Duration::from_secs(15 * 60),
    )?;
    step.done();
    Ok(())
}

fn linux_hint(need: &Need) -> String {
    let packages = need.debian.join(" ");
    if is_debian() {
        format!("sudo apt-get install --no-install-recommends {packages}")
    } else {
        format!("install what Debian calls `{packages}` with your distribution's package manager")
    }
}

/// Debian itself: Ubuntu's `chromium` and `firefox` are snaps, which WebDriver cannot always drive.
fn is_debian() -> bool {
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    release.lines().any(|line| line.trim() == "ID=debian")
}

/// Whether packages may be installed without asking.
fn is_root() -> bool {
    cfg!(unix)
        && process::output(Command::new("id").arg("-u")).is_some_and(|identity| identity == "0")
}
