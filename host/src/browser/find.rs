//! Which browsers and drivers this machine has, and what to type to get the missing ones.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{BrowserError, chromium, firefox, safari, webkit};
use crate::target::Browser;

/// A browser with its driver, ready to be started.
#[derive(Clone, Debug)]
pub struct Installed {
    /// Which browser.
    pub browser: Browser,
    /// The browser's executable; `None` where the driver finds it alone (safaridriver).
    pub binary: Option<PathBuf>,
    /// The driver's executable.
    pub driver: PathBuf,
    /// What the browser says of its version when asked on the command line; the session's answer is what results carry.
    pub version: Option<String>,
    /// What the driver says of its version.
    pub driver_version: Option<String>,
    /// The X server to start for browsers that have no headless mode.
    pub display_server: Option<PathBuf>,
}

/// Finds `browser` and its driver.
///
/// `FEWBIT_CHROME`, `FEWBIT_CHROMEDRIVER`, `FEWBIT_SHELL`, `FEWBIT_FIREFOX`, `FEWBIT_GECKODRIVER`, `FEWBIT_EDGE`, `FEWBIT_MSEDGEDRIVER`,
/// `FEWBIT_MINIBROWSER` and `FEWBIT_WEBKITWEBDRIVER` name an executable and go before everything else.
///
/// # Errors
/// [`BrowserError::Unavailable`] naming what is missing and the command that installs it.
pub fn find(browser: Browser) -> Result<Installed, BrowserError> {
    match browser {
        Browser::Chrome | Browser::Shell | Browser::Edge => chromium::find(browser),
        Browser::Firefox => firefox::find(),
        Browser::Safari if cfg!(target_os = "linux") => webkit::find(),
        Browser::Safari => safari::find(),
    }
}

/// Every executable of these names: first the one that `variable` names, then `PATH`, then the folders given (with `~`
/// for the home folder), without duplicates.
pub(super) fn executables(variable: &str, names: &[&str], folders: &[&str]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut add = |path: PathBuf| {
        if is_executable(&path) && !found.contains(&path) {
            found.push(path);
        }
    };
    if let Some(named) = std::env::var_os(variable) {
        add(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").or_else(|| std::env::var_os("USERPROFILE"));
    let mut places: Vec<PathBuf> = std::env::split_paths(&path).collect();
    for folder in folders {
        match (folder.strip_prefix("~/"), &home) {
            (Some(rest), Some(home)) => places.push(Path::new(home).join(rest)),
            (Some(_), None) => {}
            (None, _) => places.push(PathBuf::from(folder)),
        }
    }
    for name in names {
        for place in &places {
            add(place.join(format!("{name}{}", std::env::consts::EXE_SUFFIX)));
        }
    }
    found
}

fn is_executable(path: &Path) -> bool {
    let Ok(data) = path.metadata() else {
        return false;
    };
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        data.is_file() && data.permissions().mode() & 0o111 != 0
    }
    #[cfg(not(unix))]
    data.is_file()
}

/// The first word of `PROGRAM --version` that begins with a digit, for example `153.7.0esr`; `None` when the program
/// says nothing within ten seconds. Not for browsers on Windows, which would open a window.
pub(super) fn version_of(program: &Path) -> Option<String> {
    let mut child = Command::new(program)
        .arg("--version")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let deadline = Instant::now() + Duration::from_secs(10);
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() > deadline {
            let _ = child.kill();
            let _ = child.wait();
            return None;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = child.wait_with_output().ok()?;
    first_version(&String::from_utf8_lossy(&output.stdout))
}

pub(super) fn first_version(text: &str) -> Option<String> {
    text.split_whitespace()
        .map(|word| word.trim_start_matches('('))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))
        .map(|word| word.trim_end_matches([')', ',']).to_owned())
}

/// The number before the first dot.
pub(super) fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_programs_print() {
        let cases = [
            (
                "Chromium 156.0.8078.79 built on Debian GNU/Linux 12 (bookworm)",
                "156.0.8078.79",
            ),
            (
                "ChromeDriver 156.0.8078.79 (abcdef-refs/branch)",
                "156.0.8078.79",
            ),
            ("Mozilla Firefox 153.7.0esr", "153.7.0esr"),
            (
                "geckodriver 0.37.1\n\nThe source code of this program",
                "0.37.1",
            ),
            ("Microsoft Edge 140.0.3485.54", "140.0.3485.54"),
            ("Included with Safari 26.1 (20622.2.11)", "26.1"),
        ];
        for (printed, version) in cases {
            assert_eq!(first_version(printed).as_deref(), Some(version));
        }
        assert_eq!(first_version("no version here"), None);
        assert_eq!(major("156.0.8078.79"), Some(156));
        assert_eq!(major("x.1"), None);
    }

    #[test]
    fn what_is_not_there_is_not_found() {
        assert!(
            executables(
                "FEWBIT_NO_SUCH_VARIABLE",
                &["fewbit-no-such-program"],
                &["~/bin", "/usr/bin"]
            )
            .is_empty()
        );
    }
}
