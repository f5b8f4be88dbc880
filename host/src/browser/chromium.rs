//! Chrome, Chromium, its headless shell and Edge: where they are, which flags they get and why.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::BrowserError;
use super::find::{Installed, executables, first_version, major, version_of};
use super::session::{Hardware, Start};
use crate::target::Browser;

pub(super) fn find(browser: Browser) -> Result<Installed, BrowserError> {
    let (binaries, drivers) = match browser {
        Browser::Edge => (
            edge_binaries(),
            driver("FEWBIT_MSEDGEDRIVER", "msedgedriver", "EDGEWEBDRIVER"),
        ),
        Browser::Shell => (
            shell_binaries(),
            driver("FEWBIT_CHROMEDRIVER", "chromedriver", "CHROMEWEBDRIVER"),
        ),
        _ => (
            chrome_binaries(),
            driver("FEWBIT_CHROMEDRIVER", "chromedriver", "CHROMEWEBDRIVER"),
        ),
    };
    let missing = |what: &str| BrowserError::Unavailable {
        browser,
        reason: format!("no {what} was found"),
        install: install(browser),
    };
    let (browser_name, driver_name) = match browser {
        Browser::Edge => ("Microsoft Edge", "msedgedriver"),
        Browser::Shell => ("headless shell of Chromium with WebNN", "chromedriver"),
        _ => ("Chrome or Chromium", "chromedriver"),
    };
    if binaries.is_empty() {
        return Err(missing(browser_name));
    }
    if drivers.is_empty() {
        return Err(missing(driver_name));
    }
    // A driver only speaks with the browser of its own major version: take the first pair that fits. When none does
    // the first pair is tried all the same, and the driver says what it thinks of it.
    let with_version = |paths: Vec<PathBuf>, browsers: bool| -> Vec<(PathBuf, Option<String>)> {
        paths
            .into_iter()
            .map(|path| {
                let version = if browsers && cfg!(windows) {
                    version_beside(&path)
                } else {
                    version_of(&path)
                };
                (path, version)
            })
            .collect()
    };
    let binaries = with_version(binaries, true);
    let drivers = with_version(drivers, false);
    let fits = |binary: &Option<String>, driver: &Option<String>| {
        let binary = binary.as_deref().and_then(major);
        binary.is_some() && binary == driver.as_deref().and_then(major)
    };
    let (binary, driver) = binaries
        .iter()
        .flat_map(|binary| drivers.iter().map(move |driver| (binary, driver)))
        .find(|(binary, driver)| fits(&binary.1, &driver.1))
        .unwrap_or((&binaries[0], &drivers[0]));
    Ok(Installed {
        browser,
        binary: Some(binary.0.clone()),
        version: binary.1.clone(),
        driver: driver.0.clone(),
        driver_version: driver.1.clone(),
        display_server: None,
    })
}

fn chrome_binaries() -> Vec<PathBuf> {
    executables(
        "FEWBIT_CHROME",
        &[
            "google-chrome-stable",
            "google-chrome",
            "chromium",
            "chromium-browser",
            "chrome",
            "Google Chrome",
            "Chromium",
        ],
        &[
            "/opt/google/chrome",
            "/snap/bin",
            "/Applications/Google Chrome.app/Contents/MacOS",
            "~/Applications/Google Chrome.app/Contents/MacOS",
            "/Applications/Chromium.app/Contents/MacOS",
            r"C:\Program Files\Google\Chrome\Application",
            r"C:\Program Files (x86)\Google\Chrome\Application",
            "~/AppData/Local/Google/Chrome/Application",
        ],
    )
}

/// `cargo xtask setup` puts it into `target/shell`; an archive may have `shell/` beside the executable.
fn shell_binaries() -> Vec<PathBuf> {
    let executable = std::env::current_exe().and_then(|path| path.canonicalize());
    let above = executable.iter().flat_map(|path| path.ancestors().skip(1));
    let folders: Vec<String> = above
        .take(3)
        .map(|folder| folder.join("shell").to_string_lossy().into_owned())
        .collect();
    let folders: Vec<&str> = folders.iter().map(String::as_str).collect();
    executables("FEWBIT_SHELL", &["chrome-headless-shell"], &folders)
}

fn edge_binaries() -> Vec<PathBuf> {
    executables(
        "FEWBIT_EDGE",
        &[
            "microsoft-edge-stable",
            "microsoft-edge",
            "msedge",
            "Microsoft Edge",
        ],
        &[
            "/opt/microsoft/msedge",
            "/Applications/Microsoft Edge.app/Contents/MacOS",
            r"C:\Program Files (x86)\Microsoft\Edge\Application",
            r"C:\Program Files\Microsoft\Edge\Application",
        ],
    )
}

/// `folder_variable` is where hosted CI machines say which folder holds the driver.
fn driver(variable: &str, name: &str, folder_variable: &str) -> Vec<PathBuf> {
    let folder = std::env::var(folder_variable).unwrap_or_default();
    let mut folders = vec![
        "/usr/lib/chromium",
        "/usr/lib/chromium-browser",
        "/snap/bin",
        "/opt/homebrew/bin",
        "/usr/local/bin",
    ];
    if !folder.is_empty() {
        folders.insert(0, &folder);
    }
    executables(variable, &[name], &folders)
}

/// On Windows the version is the name of a folder beside the executable.
fn version_beside(binary: &Path) -> Option<String> {
    let mut versions: Vec<String> = binary
        .parent()?
        .read_dir()
        .ok()?
        .flatten()
        .filter_map(|entry| first_version(&entry.file_name().to_string_lossy()))
        .collect();
    versions.sort_by_key(|version| major(version));
    versions.pop()
}

fn install(browser: Browser) -> String {
    match (browser, std::env::consts::OS) {
        (Browser::Shell, "linux") => "in a clone of fewbit, `cargo xtask setup`; or set FEWBIT_SHELL to a chrome-headless-shell that has WebNN".into(),
        (Browser::Shell, _) => "set FEWBIT_SHELL to a chrome-headless-shell that has WebNN, with chromedriver in PATH".into(),
        (Browser::Edge, "linux") => {
            "see https://learn.microsoft.com/linux/packages, then `apt-get install microsoft-edge-stable`, and put msedgedriver of the same version in PATH".into()
        }
        (Browser::Edge, "macos") => "brew install --cask microsoft-edge && brew install --cask microsoft-edge-webdriver".into(),
        (Browser::Edge, _) => "winget install Microsoft.Edge, and msedgedriver of the same version in PATH".into(),
        (_, "linux") => "apt-get install chromium chromium-driver".into(),
        (_, "macos") => "brew install --cask google-chrome && brew install --cask chromedriver".into(),
        (_, _) => "winget install Google.Chrome && npm install -g chromedriver".into(),
    }
}

/// The flags of a session, in the order given to the browser; all of them are part of every result row.
pub(super) fn flags(start: &Start) -> Vec<String> {
    let mut flags: Vec<String> = [
        // A page in the background would be slowed down and measured wrong.
        "--disable-background-timer-throttling",
        "--disable-renderer-backgrounding",
        "--disable-backgrounding-occluded-windows",
        // Nothing the browser does for itself belongs in a measurement, and a closed network must not hold it up.
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--disable-default-apps",
        "--disable-extensions",
        "--no-first-run",
        "--no-default-browser-check",
        "--password-store=basic",
        "--use-mock-keychain",
        "--window-size=1280,900",
    ]
    .map(String::from)
    .to_vec();
    if start.headless {
        flags.push("--headless=new".into());
    }
    if super::process::is_root() {
        flags.push("--no-sandbox".into());
    }
    if super::process::small_shared_memory() {
        flags.push("--disable-dev-shm-usage".into());
    }
    // The browser heeds the last list of features only.
    let mut features = Vec::new();
    if start.webnn {
        features.push("WebMachineLearningNeuralNetwork");
    }
    match start.hardware {
        Hardware::NoGpu => flags.push("--disable-gpu".into()),
        Hardware::Gpu => {
            if cfg!(target_os = "linux") {
                features.push("Vulkan");
                flags.extend(["--enable-unsafe-webgpu", "--use-angle=vulkan"].map(String::from));
            }
        }
        Hardware::SoftwareGpu => {
            flags.extend(
                ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"].map(String::from),
            );
        }
    }
    if !features.is_empty() {
        flags.push(format!("--enable-features={}", features.join(",")));
    }
    flags.extend(start.extra_flags.iter().cloned());
    flags
}

/// The command line of the driver.
pub(super) fn driver_arguments(browser: Browser, port: u16) -> Vec<String> {
    let mut arguments = vec![format!("--port={port}")];
    if browser == Browser::Shell {
        // It is another build than the installed driver's browser.
        arguments.push("--disable-build-check".into());
    }
    arguments
}

pub(super) fn capabilities(
    installed: &Installed,
    start: &Start,
    profile: &Path,
) -> serde_json::Value {
    let mut arguments = flags(start);
    // With a folder of ours the shell opens no page that the driver finds; the driver makes one in the run's own TMPDIR.
    if installed.browser != Browser::Shell {
        arguments.push(format!("--user-data-dir={}", profile.display()));
    }
    let (name, options) = match installed.browser {
        Browser::Edge => ("MicrosoftEdge", "ms:edgeOptions"),
        _ => ("chrome", "goog:chromeOptions"),
    };
    json!({ "browserName": name, options: { "binary": installed.binary, "args": arguments } })
}
