//! Browsers, their WebDriver drivers, and the software Vulkan that Firefox and native `wgpu` use where
//! there is no GPU.

use std::time::Duration;

use anyhow::Result;

use crate::build::cargo;
use crate::process;
use crate::progress::Progress;
use crate::project::{Project, find_program};
use crate::setup::shell;
use crate::setup::system::{self, Need};

/// The driver of Firefox that the tests are made with.
const GECKODRIVER: &str = "0.37.1";

const CHROMIUM: Need = Need {
    what: "Chromium or Chrome",
    purpose: "target chrome, and the demo",
    programs: &[
        "chromium",
        "chromium-browser",
        "google-chrome",
        "google-chrome-stable",
    ],
    files: &[
        "/Applications/Google Chrome.app",
        "C:/Program Files/Google/Chrome/Application/chrome.exe",
    ],
    debian: &["chromium"],
    macos: "brew install --cask google-chrome",
    windows: "winget install Google.Chrome",
};

const CHROMEDRIVER: Need = Need {
    what: "chromedriver",
    purpose: "drives target chrome",
    programs: &["chromedriver"],
    files: &[],
    debian: &["chromium-driver"],
    macos: "brew install --cask chromedriver",
    windows: "winget install Chromium.ChromeDriver",
};

const FIREFOX: Need = Need {
    what: "Firefox",
    purpose: "target firefox",
    programs: &["firefox", "firefox-esr"],
    files: &[
        "/Applications/Firefox.app",
        "C:/Program Files/Mozilla Firefox/firefox.exe",
    ],
    debian: &["firefox-esr"],
    macos: "brew install --cask firefox",
    windows: "winget install Mozilla.Firefox",
};

const WEBKIT: Need = Need {
    what: "WebKitGTK's driver",
    purpose: "target safari on Linux",
    programs: &["WebKitWebDriver"],
    files: &["/usr/bin/safaridriver"],
    debian: &["webkit2gtk-driver"],
    macos: "sudo safaridriver --enable",
    windows: "",
};

const XVFB: Need = Need {
    what: "Xvfb",
    purpose: "a display for WebKitGTK",
    programs: &["Xvfb"],
    files: &[],
    debian: &["xvfb"],
    macos: "",
    windows: "",
};

const VULKAN_LOADER: Need = Need {
    what: "Vulkan's loader",
    purpose: "target native:wgpu",
    programs: &[],
    files: &[
        "/usr/lib/x86_64-linux-gnu/libvulkan.so.1",
        "/usr/lib/aarch64-linux-gnu/libvulkan.so.1",
        "/usr/lib/libvulkan.so.1",
        "/usr/lib64/libvulkan.so.1",
    ],
    debian: &["libvulkan1"],
    macos: "",
    windows: "",
};

const VULKAN_DRIVERS: Need = Need {
    what: "Mesa's Vulkan drivers",
    purpose: "WebGPU in Firefox and native:wgpu without a GPU",
    programs: &[],
    files: &["/usr/share/vulkan/icd.d"],
    debian: &["mesa-vulkan-drivers"],
    macos: "",
    windows: "",
};

/// What `cargo xtask demo` needs of them.
pub(crate) fn chromium(project: &Project, progress: &Progress) -> Result<()> {
    system::install(project, progress, &[&CHROMIUM, &CHROMEDRIVER]).map(drop)
}

/// Everything the browser tests can use. What stays missing makes its targets `unavailable`.
pub(crate) fn all(project: &Project, progress: &Progress) -> Result<()> {
    system::install(
        project,
        progress,
        &[
            &CHROMIUM,
            &CHROMEDRIVER,
            &FIREFOX,
            &WEBKIT,
            &XVFB,
            &VULKAN_LOADER,
            &VULKAN_DRIVERS,
        ],
    )?;
    geckodriver(project, progress);
    shell::install(project, progress);
    Ok(())
}

/// geckodriver by `cargo install`; Debian has no package of it.
fn geckodriver(project: &Project, progress: &Progress) {
    if !FIREFOX.met() || find_program("geckodriver").is_some() {
        return;
    }
    let step = progress.step(format!("geckodriver {GECKODRIVER}"));
    let mut command = cargo::command(project);
    command.args([
        "install",
        "--locked",
        "geckodriver",
        "--version",
        GECKODRIVER,
    ]);
    // The project's own flags and folders are not this program's.
    command.current_dir(std::env::temp_dir());
    match process::run(
        project,
        &step,
        "geckodriver",
        &mut command,
        Duration::from_secs(15 * 60),
    ) {
        Ok(()) => step.done(),
        Err(error) => {
            drop(step);
            progress.say(format!("{error:#}\ntarget firefox stays unavailable"));
        }
    }
}
