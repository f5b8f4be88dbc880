//! Safari on macOS, driven by safaridriver, which finds the browser alone.

use std::path::PathBuf;

use serde_json::json;

use super::BrowserError;
use super::find::{Installed, executables, version_of};
use crate::target::Browser;

pub(super) fn find() -> Result<Installed, BrowserError> {
    let missing = |reason: &str, install: &str| BrowserError::Unavailable {
        browser: Browser::Safari,
        reason: reason.into(),
        install: install.into(),
    };
    if !cfg!(target_os = "macos") {
        return Err(missing(
            "Safari runs on macOS only",
            "run the same command on a Mac",
        ));
    }
    let driver: Option<PathBuf> =
        executables("FEWBIT_SAFARIDRIVER", &["safaridriver"], &["/usr/bin"])
            .into_iter()
            .next();
    let driver = driver.ok_or_else(|| {
        missing(
            "no safaridriver was found",
            "install Safari, then: sudo safaridriver --enable",
        )
    })?;
    Ok(Installed {
        browser: Browser::Safari,
        binary: None,
        version: version_of(&driver),
        driver_version: version_of(&driver),
        driver,
        display_server: None,
    })
}

pub(super) fn driver_arguments(port: u16) -> Vec<String> {
    vec!["--port".into(), port.to_string()]
}

pub(super) fn capabilities() -> serde_json::Value {
    json!({ "browserName": "safari" })
}
