//! Real browsers, driven by WebDriver.
//!
//! [`find`] tells which browsers and drivers a machine has, [`process`] starts them so that nothing outlives us,
//! [`session`] opens one browser with a fresh profile, [`probe`] asks it what it can do, and [`page`] gives jobs to the
//! host's runner page. What is particular to one browser (flags, capabilities, where it is installed) is one file:
//! [`chromium`] (Chrome and Edge), [`firefox`], [`webkit`] (WebKitGTK, which stands in for Safari on Linux) and
//! [`safari`].
//!
//! Adding a browser: one such file, one variant of [`Browser`], one arm in [`find`] and in [`session`].

mod chromium;
pub mod doctor;
mod find;
mod firefox;
mod page;
mod probe;
mod process;
mod remote;
mod runner;
mod safari;
mod session;
mod webkit;

use std::path::PathBuf;

use crate::target::Browser;

pub use find::{Installed, find};
pub use page::{JobFailure, PageEvent, RunnerPage};
pub use probe::{Adapter, Features, Probe, Webnn};
pub use process::sweep;
pub use remote::{Remote, RemoteError};
pub use runner::{BrowserOptions, BrowserRunner, Pages};
pub use session::{Hardware, Session, SessionInfo, SessionOptions};

/// Whether this machine has a GPU to ask for: on Linux its device file, elsewhere taken for granted.
pub fn has_gpu() -> bool {
    session::gpu_device().is_some()
}

/// Why a browser could not be started or used.
#[derive(Debug, thiserror::Error)]
pub enum BrowserError {
    /// The browser or its driver is not on this machine. The outcome of a cell is `unavailable`.
    #[error("{} is unavailable: {reason}. To install it: {install}", browser.name())]
    Unavailable {
        /// Which browser.
        browser: Browser,
        /// What was looked for and not found.
        reason: String,
        /// What to type.
        install: String,
    },
    /// The browser runs and lacks what the target needs. The outcome of a cell is `unsupported`.
    #[error("{} lacks {feature}: {reason}", browser.name())]
    Unsupported {
        /// Which browser.
        browser: Browser,
        /// The missing feature.
        feature: String,
        /// What the browser said.
        reason: String,
    },
    /// A program could not be started.
    #[error("could not start {program}: {source}")]
    Start {
        /// Its path.
        program: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The driver did not open a session.
    #[error("{}: no WebDriver session: {reason}", browser.name())]
    NoSession {
        /// Which browser.
        browser: Browser,
        /// What the driver said, and the end of its log.
        reason: String,
    },
    /// A WebDriver command failed in an open session.
    #[error("{}: {doing}: {reason}", browser.name())]
    Command {
        /// Which browser.
        browser: Browser,
        /// What was being done.
        doing: String,
        /// What the driver said.
        reason: String,
    },
    /// Something took longer than its limit.
    #[error("{}: {doing} took longer than {seconds} s", browser.name())]
    TimedOut {
        /// Which browser.
        browser: Browser,
        /// What was being done.
        doing: String,
        /// The limit.
        seconds: u64,
    },
    /// The page reported a failure of its own.
    #[error("{code}: {message}")]
    Page {
        /// `FewbitError`'s code, or the name of the JavaScript error.
        code: String,
        /// Its text.
        message: String,
    },
    /// A file or folder of the run could not be made or read.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}
