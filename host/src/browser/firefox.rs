//! Firefox, driven by geckodriver.

use std::path::Path;

use serde_json::json;

use super::BrowserError;
use super::find::{Installed, executables, version_of};
use super::session::{Hardware, Start};
use crate::target::Browser;

pub(super) fn find() -> Result<Installed, BrowserError> {
    let binary = executables(
        "FEWBIT_FIREFOX",
        &["firefox", "firefox-esr"],
        &[
            "/snap/bin",
            "/opt/firefox",
            "/usr/lib/firefox",
            "/Applications/Firefox.app/Contents/MacOS",
            r"C:\Program Files\Mozilla Firefox",
            r"C:\Program Files (x86)\Mozilla Firefox",
        ],
    );
    let folder = std::env::var("GECKOWEBDRIVER").unwrap_or_default();
    let mut folders = vec![
        "~/.cargo/bin",
        "/snap/bin",
        "/opt/homebrew/bin",
        "/usr/local/bin",
    ];
    if !folder.is_empty() {
        folders.insert(0, &folder);
    }
    let driver = executables("FEWBIT_GECKODRIVER", &["geckodriver"], &folders);
    let missing = |what: &str, install: &str| BrowserError::Unavailable {
        browser: Browser::Firefox,
        reason: format!("no {what} was found"),
        install: install.into(),
    };
    let Some(binary) = binary.into_iter().next() else {
        return Err(missing(
            "Firefox",
            match std::env::consts::OS {
                "linux" => "apt-get install firefox-esr (Debian) or snap install firefox (Ubuntu)",
                "macos" => "brew install --cask firefox",
                _ => "winget install Mozilla.Firefox",
            },
        ));
    };
    let Some(driver) = driver.into_iter().next() else {
        return Err(missing(
            "geckodriver",
            "cargo install geckodriver --version 0.37.1 --locked",
        ));
    };
    Ok(Installed {
        browser: Browser::Firefox,
        version: if cfg!(windows) {
            None
        } else {
            version_of(&binary)
        },
        binary: Some(binary),
        driver_version: version_of(&driver),
        driver,
        display_server: None,
    })
}

/// The preferences of a session; they are recorded with the flags.
fn preferences(start: &Start) -> serde_json::Map<String, serde_json::Value> {
    let mut preferences = serde_json::Map::new();
    let mut set = |name: &str, value: serde_json::Value| preferences.insert(name.into(), value);
    set(
        "dom.webgpu.enabled",
        json!(start.hardware != Hardware::NoGpu),
    );
    set("gfx.webgpu.ignore-blocklist", json!(true));
    set("dom.webgpu.workers.enabled", json!(true));
    // A closed network must not hold the browser up, and nothing of its own belongs in a measurement.
    set("app.update.auto", json!(false));
    set("app.normandy.enabled", json!(false));
    set("datareporting.healthreport.uploadEnabled", json!(false));
    set("datareporting.policy.dataSubmissionEnabled", json!(false));
    set("browser.safebrowsing.malware.enabled", json!(false));
    set("browser.safebrowsing.phishing.enabled", json!(false));
    set("network.captive-portal-service.enabled", json!(false));
    set("network.connectivity-service.enabled", json!(false));
    set("browser.shell.checkDefaultBrowser", json!(false));
    set("dom.min_background_timeout_value", json!(4));
    set("dom.timeout.enable_budget_timer_throttling", json!(false));
    preferences
}

/// What is recorded as flags: arguments and `name=value` of each preference.
pub(super) fn flags(start: &Start) -> Vec<String> {
    let mut flags = arguments(start);
    flags.extend(
        preferences(start)
            .iter()
            .map(|(name, value)| format!("{name}={value}")),
    );
    flags
}

fn arguments(start: &Start) -> Vec<String> {
    let mut arguments = Vec::new();
    if start.headless {
        arguments.push("-headless".into());
    }
    arguments.extend(start.extra_flags.iter().cloned());
    arguments
}

/// The command line of the driver. Its second port (WebDriver BiDi) is 9222 unless said otherwise, and two sessions
/// would meet there.
pub(super) fn driver_arguments(port: u16, second_port: u16, profiles: &Path) -> Vec<String> {
    vec![
        "--port".into(),
        port.to_string(),
        "--websocket-port".into(),
        second_port.to_string(),
        "--profile-root".into(),
        profiles.display().to_string(),
    ]
}

/// For a browser that another side starts.
pub(super) fn remote_capabilities(start: &Start) -> serde_json::Value {
    json!({
        "browserName": "firefox",
        "moz:firefoxOptions": { "args": arguments(start), "prefs": preferences(start) },
    })
}

pub(super) fn capabilities(installed: &Installed, start: &Start) -> serde_json::Value {
    json!({
        "browserName": "firefox",
        "moz:firefoxOptions": {
            "binary": installed.binary,
            "args": arguments(start),
            "prefs": preferences(start),
        },
    })
}
