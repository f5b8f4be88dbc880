//! WebKitGTK's MiniBrowser under an X server of its own: on Linux it stands in for Safari's engine.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::BrowserError;
use super::find::{Installed, executables, version_of};
use super::session::Start;
use crate::target::Browser;

const INSTALL: &str = "apt-get install webkit2gtk-driver xvfb";

pub(super) fn find() -> Result<Installed, BrowserError> {
    let missing = |what: &str| BrowserError::Unavailable {
        browser: Browser::Safari,
        reason: format!("no {what} was found (on Linux, WebKitGTK stands in for Safari)"),
        install: INSTALL.into(),
    };
    let driver = executables(
        "FEWBIT_WEBKITWEBDRIVER",
        &["WebKitWebDriver"],
        &["/usr/bin"],
    )
    .into_iter()
    .next();
    let driver = driver.ok_or_else(|| missing("WebKitWebDriver"))?;
    let binary = mini_browser().ok_or_else(|| missing("MiniBrowser of WebKitGTK"))?;
    let display = executables("FEWBIT_XVFB", &["Xvfb"], &["/usr/bin", "/usr/X11R6/bin"])
        .into_iter()
        .next();
    let display = display.ok_or_else(|| missing("Xvfb"))?;
    Ok(Installed {
        browser: Browser::Safari,
        version: version_of(&binary),
        driver_version: version_of(&driver),
        binary: Some(binary),
        driver,
        display_server: Some(display),
    })
}

/// `/usr/lib/<machine>/webkit2gtk-4.1/MiniBrowser`, the newest API version first.
fn mini_browser() -> Option<PathBuf> {
    let named = executables("FEWBIT_MINIBROWSER", &["MiniBrowser"], &[]);
    if let Some(path) = named.into_iter().next() {
        return Some(path);
    }
    let mut found = Vec::new();
    for root in ["/usr/lib", "/usr/lib64", "/usr/libexec"] {
        let machines = Path::new(root)
            .read_dir()
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path());
        for folder in machines.chain([PathBuf::from(root)]) {
            for api in ["webkitgtk-6.0", "webkit2gtk-4.1", "webkit2gtk-4.0"] {
                let path = folder.join(api).join("MiniBrowser");
                if path.is_file() {
                    found.push((api != "webkitgtk-6.0", api, path));
                }
            }
        }
    }
    found.sort();
    found.into_iter().next().map(|(_, _, path)| path)
}

/// The flags of a session, recorded in every result row.
pub(super) fn flags(start: &Start) -> Vec<String> {
    let mut flags = vec!["--automation".to_owned()];
    flags.extend(start.extra_flags.iter().cloned());
    flags
}

/// The environment of driver and browser; what is set here is recorded with the flags.
pub(super) fn environment() -> Vec<(String, String)> {
    let mut environment = vec![
        ("GDK_BACKEND".to_owned(), "x11".to_owned()),
        // Without a session bus GTK waits for one.
        ("GSETTINGS_BACKEND".to_owned(), "memory".to_owned()),
        ("NO_AT_BRIDGE".to_owned(), "1".to_owned()),
    ];
    if super::process::is_root() {
        // bubblewrap refuses to work for root.
        environment.push((
            "WEBKIT_DISABLE_SANDBOX_THIS_IS_DANGEROUS".to_owned(),
            "1".to_owned(),
        ));
    }
    environment
}

pub(super) fn driver_arguments(port: u16) -> Vec<String> {
    vec![format!("--port={port}"), "--host=127.0.0.1".into()]
}

pub(super) fn capabilities(installed: &Installed, start: &Start) -> serde_json::Value {
    json!({
        "browserName": "MiniBrowser",
        "webkitgtk:browserOptions": { "binary": installed.binary, "args": flags(start) },
    })
}
