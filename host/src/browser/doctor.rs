//! Which browsers this machine has and what each can do, found by really starting each.

use serde::Serialize;

use super::probe::{Adapter, Features, Probe, Webnn};
use super::session::{Session, SessionInfo, SessionOptions};
use super::{BrowserError, find};
use crate::job::Outcome;
use crate::target::{Browser, BrowserBackend, Target};

/// What there is to say of one browser.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// The name used in targets.
    pub browser: &'static str,
    /// `pass`: it started and answered. `unavailable`: browser or driver is missing. `error`: it did not start.
    pub outcome: Outcome,
    /// Why it is not `pass`.
    pub reason: Option<String>,
    /// What to type to get what is missing.
    pub install: Option<String>,
    /// The browser's executable.
    pub binary: Option<String>,
    /// The driver's executable.
    pub driver: Option<String>,
    /// The session as it was opened: names, versions, flags.
    pub session: Option<SessionInfo>,
    /// What a page of the host finds there.
    pub features: Option<Features>,
    /// What each target of this browser comes to.
    pub targets: Vec<TargetState>,
}

/// Whether a target can run.
#[derive(Clone, Debug, Serialize)]
pub struct TargetState {
    /// Which.
    pub target: Target,
    /// `pass`, `unsupported`, `unavailable` or `error`.
    pub outcome: Outcome,
    /// What it would run on, or why it cannot run.
    pub detail: String,
    /// A flag or command that would help.
    pub hint: Option<String>,
}

/// Starts `browser` and asks it; `page` is the URL of a page of the host.
pub async fn examine(browser: Browser, page: &str) -> Examination {
    let mut report = Examination {
        browser: browser.name(),
        outcome: Outcome::Pass,
        reason: None,
        install: None,
        binary: None,
        driver: None,
        session: None,
        features: None,
        targets: Vec::new(),
    };
    if let Err(error) = ask(browser, page, &mut report).await {
        report.outcome = match error {
            BrowserError::Unavailable { .. } => Outcome::Unavailable,
            _ => Outcome::Error,
        };
        report.reason = Some(match error {
            BrowserError::Unavailable {
                reason, install, ..
            } => {
                report.install = Some(install);
                reason
            }
            other => other.to_string(),
        });
        let why = report.reason.clone().unwrap_or_default();
        report.targets = BrowserBackend::ALL
            .map(|backend| TargetState {
                target: Target::Browser(browser, backend),
                outcome: report.outcome,
                detail: why.clone(),
                hint: report.install.clone(),
            })
            .to_vec();
    }
    report
}

async fn ask(browser: Browser, page: &str, report: &mut Examination) -> Result<(), BrowserError> {
    let installed = find(browser)?;
    report.binary = installed
        .binary
        .as_ref()
        .map(|path| path.display().to_string());
    report.driver = Some(installed.driver.display().to_string());
    let options = SessionOptions {
        webgpu: true,
        webnn: true,
        ..SessionOptions::default()
    };
    let mut session = Session::open(&installed, &options, page).await?;
    let asked = async {
        session.goto(page).await?;
        Probe::new(&mut session).await
    };
    let probe = asked.await;
    let info = session.info().clone();
    session.close().await;
    let probe = probe?;
    report.targets = vec![
        webgpu(browser, &probe),
        webnn(browser, &probe.features.webnn),
        wasm(browser, &probe.features),
    ];
    report.session = Some(SessionInfo {
        adapter: probe.adapter,
        no_adapter: probe.no_adapter,
        ..info
    });
    report.features = Some(probe.features);
    Ok(())
}

fn webgpu(browser: Browser, probe: &Probe) -> TargetState {
    let target = Target::Browser(browser, BrowserBackend::Webgpu);
    match &probe.adapter {
        Some(adapter) => TargetState {
            target,
            outcome: Outcome::Pass,
            detail: describe(adapter),
            hint: None,
        },
        None => TargetState {
            target,
            outcome: Outcome::Unsupported,
            detail: probe
                .no_adapter
                .clone()
                .unwrap_or_else(|| "no adapter".into()),
            hint: no_adapter_hint(browser).map(str::to_owned),
        },
    }
}

fn webnn(browser: Browser, found: &Webnn) -> TargetState {
    let target = Target::Browser(browser, BrowserBackend::Webnn);
    match (&found.reason, &found.devices) {
        (None, Some(devices)) => TargetState {
            target,
            outcome: Outcome::Pass,
            detail: format!(
                "{devices}, {} operators",
                found.operators.unwrap_or_default()
            ),
            hint: None,
        },
        (reason, _) => TargetState {
            target,
            outcome: Outcome::Unsupported,
            detail: reason.clone().unwrap_or_else(|| "no navigator.ml".into()),
            hint: None,
        },
    }
}

/// The adapter in one line: name, whether it is software, and the features that kernels are chosen by.
pub fn describe(adapter: &Adapter) -> String {
    let mut words = vec![adapter.name.clone()];
    words.push(match adapter.software {
        Some(true) => "software (pages choose wasm over it)".into(),
        Some(false) => "hardware".into(),
        None => "not known whether software".into(),
    });
    words.extend(
        ["shader-f16", "subgroups"]
            .iter()
            .filter(|name| adapter.features.iter().any(|has| has == *name))
            .map(|name| (*name).to_owned()),
    );
    if adapter
        .language_features
        .iter()
        .any(|name| name == "packed_4x8_integer_dot_product")
    {
        words.push("packed_4x8_integer_dot_product".into());
    }
    if let Some(bytes) = adapter.limits.get("maxStorageBufferBindingSize") {
        words.push(format!("{} MiB a binding", bytes >> 20));
    }
    if adapter.name == "unnamed" {
        words.push(format!("fingerprint {}", adapter.fingerprint));
    }
    words.join(", ")
}

fn no_adapter_hint(browser: Browser) -> Option<&'static str> {
    match (browser, std::env::consts::OS) {
        (Browser::Firefox, "linux") => Some("apt-get install mesa-vulkan-drivers libvulkan1"),
        (Browser::Safari, "linux") => None,
        (Browser::Safari, _) => Some("Safari has WebGPU from version 26 on"),
        (_, "linux") => Some(
            "a Vulkan driver for the GPU, or the flags --enable-unsafe-webgpu --use-webgpu-adapter=swiftshader",
        ),
        _ => None,
    }
}

fn wasm(browser: Browser, features: &Features) -> TargetState {
    let target = Target::Browser(browser, BrowserBackend::Wasm);
    if !features.simd {
        let detail = "this browser has no wasm simd128".into();
        return TargetState {
            target,
            outcome: Outcome::Unsupported,
            detail,
            hint: None,
        };
    }
    let mut words = vec!["simd128".to_owned()];
    if features.relaxed_simd {
        words.push("relaxed-simd".into());
    }
    if features.shared_memory && features.cross_origin_isolated {
        words.push(format!("threads (up to {})", features.cores.unwrap_or(1)));
    } else {
        let why = features
            .shared_memory_reason
            .as_deref()
            .unwrap_or("the page is not cross-origin isolated");
        words.push(format!("one thread ({why})"));
    }
    if !features.opfs {
        words.push("models are not kept in OPFS".into());
    }
    TargetState {
        target,
        outcome: Outcome::Pass,
        detail: words.join(", "),
        hint: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_without_its_feature_is_unsupported_and_says_why() {
        let probe = Probe {
            adapter: None,
            no_adapter: Some("no navigator.gpu".into()),
            features: Features::default(),
        };
        let state = webgpu(Browser::Firefox, &probe);
        assert_eq!(
            (state.outcome, state.detail.as_str()),
            (Outcome::Unsupported, "no navigator.gpu")
        );
        assert_eq!(
            wasm(Browser::Safari, &probe.features).outcome,
            Outcome::Unsupported
        );
        let refused = Webnn {
            reason: Some("no backend".into()),
            ..Webnn::default()
        };
        let state = webnn(Browser::Chrome, &refused);
        assert_eq!(
            (state.outcome, state.detail.as_str()),
            (Outcome::Unsupported, "no backend")
        );
        let found = Webnn {
            devices: Some("cpu".into()),
            operators: Some(95),
            ..Webnn::default()
        };
        assert_eq!(webnn(Browser::Shell, &found).detail, "cpu, 95 operators");
        let features = Features {
            simd: true,
            shared_memory_reason: Some("no SharedArrayBuffer".into()),
            ..Features::default()
        };
        let state = wasm(Browser::Safari, &features);
        assert_eq!(state.outcome, Outcome::Pass);
        assert!(
            state.detail.contains("one thread (no SharedArrayBuffer)"),
            "{}",
            state.detail
        );
    }

    #[test]
    fn an_adapter_is_described_in_one_line() {
        let adapter = Adapter {
            name: "unnamed".into(),
            software: Some(true),
            features: vec!["shader-f16".into()],
            fingerprint: "0123456789abcdef".into(),
            ..Adapter::default()
        };
        assert_eq!(
            describe(&adapter),
            "unnamed, software (pages choose wasm over it), shader-f16, fingerprint 0123456789abcdef"
        );
    }
}
