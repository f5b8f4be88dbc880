//! `fewbit doctor`: which browsers, drivers, adapters and features this machine has, and how to get what is missing.

use std::process::ExitCode;

use serde::Serialize;

use crate::browser::doctor::{Examination, examine};
use crate::job::Outcome;
use crate::target::{Browser, NativeBackend, Target};

/// Arguments of `fewbit doctor`.
#[derive(Debug, clap::Args)]
pub(crate) struct DoctorArgs {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Examine only these browsers (may be given several times): chrome, shell, firefox, safari, edge.
    #[arg(long, value_parser = browser)]
    browser: Vec<Browser>,
}

#[derive(Serialize)]
struct Report {
    fewbit: &'static str,
    system: String,
    cores: usize,
    /// Whether there is a GPU to ask for; on Linux from its device file.
    gpu: bool,
    native: Vec<Native>,
    browsers: Vec<Examination>,
}

#[derive(Serialize)]
struct Native {
    target: Target,
    outcome: Outcome,
    detail: Vec<String>,
    hint: Option<String>,
}

/// Starts each browser against the page at `page` (any page of the host) and prints what was found. Ends with success
/// as long as one target can run.
pub(crate) async fn run(arguments: DoctorArgs, page: &str) -> anyhow::Result<ExitCode> {
    let wanted = if arguments.browser.is_empty() {
        Browser::ALL.to_vec()
    } else {
        arguments.browser
    };
    let mut report = Report {
        fewbit: env!("CARGO_PKG_VERSION"),
        system: format!("{} {}", std::env::consts::OS, std::env::consts::ARCH),
        cores: std::thread::available_parallelism().map_or(1, usize::from),
        gpu: crate::browser::has_gpu(),
        native: native(),
        browsers: Vec::new(),
    };
    if !arguments.json {
        println!(
            "fewbit {} on {}, {} cores, {}",
            report.fewbit,
            report.system,
            report.cores,
            if report.gpu { "a GPU" } else { "no GPU" }
        );
        report.native.iter().for_each(print_native);
    }
    for browser in wanted {
        let examination = examine(browser, page).await;
        if !arguments.json {
            print_browser(&examination);
        }
        report.browsers.push(examination);
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    }
    let runs = report.native.iter().map(|native| native.outcome);
    let runs = runs.chain(
        report
            .browsers
            .iter()
            .flat_map(|browser| browser.targets.iter().map(|target| target.outcome)),
    );
    Ok(
        if runs.into_iter().any(|outcome| outcome == Outcome::Pass) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        },
    )
}

fn browser(name: &str) -> Result<Browser, String> {
    Browser::ALL
        .into_iter()
        .find(|browser| browser.name() == name)
        .ok_or_else(|| format!("`{name}` is no browser: chrome, shell, firefox, safari or edge"))
}

#[cfg(feature = "native")]
fn native() -> Vec<Native> {
    let cpu = Native {
        target: Target::Native(NativeBackend::Cpu),
        outcome: Outcome::Pass,
        detail: vec![cpu_features()],
        hint: None,
    };
    let adapters = fewbit_native_backends::adapters::adapters();
    let target = Target::Native(NativeBackend::Wgpu);
    let gpu = if adapters.is_empty() {
        Native {
            target,
            outcome: Outcome::Unavailable,
            detail: vec!["no graphics adapter was found".into()],
            hint: cfg!(target_os = "linux")
                .then(|| "apt-get install mesa-vulkan-drivers libvulkan1".into()),
        }
    } else {
        let line = |adapter: &fewbit_native_backends::adapters::Adapter| {
            let kind = if adapter.software {
                "software"
            } else {
                "hardware"
            };
            let mut words = vec![
                adapter.name.clone(),
                kind.into(),
                adapter.api.clone(),
                adapter.driver.clone(),
            ];
            words.extend(adapter.features.iter().map(|&feature| feature.to_owned()));
            words.push(format!(
                "{} MiB a binding",
                adapter.max_storage_buffer_binding_size >> 20
            ));
            words.join(", ")
        };
        Native {
            target,
            outcome: Outcome::Pass,
            detail: adapters.iter().map(line).collect(),
            hint: None,
        }
    };
    vec![cpu, gpu]
}

/// A command built without native targets says so.
#[cfg(not(feature = "native"))]
fn native() -> Vec<Native> {
    NativeBackend::ALL
        .map(|backend| Native {
            target: Target::Native(backend),
            outcome: Outcome::Unavailable,
            detail: vec!["this command was built without native targets".into()],
            hint: Some("cargo xtask build".into()),
        })
        .into()
}

#[cfg(feature = "native")]
fn cpu_features() -> String {
    let mut words: Vec<&str> = vec![std::env::consts::ARCH];
    #[cfg(target_arch = "x86_64")]
    for (name, has) in [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("f16c", std::arch::is_x86_feature_detected!("f16c")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        (
            "avx512-vnni",
            std::arch::is_x86_feature_detected!("avx512vnni"),
        ),
    ] {
        if has {
            words.push(name);
        }
    }
    words.join(", ")
}

fn print_native(native: &Native) {
    println!("\n{}", native.target);
    for line in &native.detail {
        println!("  {:<12} {line}", native.outcome.name());
    }
    print_hint(native.hint.as_deref());
}

fn print_browser(found: &Examination) {
    match &found.session {
        Some(session) => println!(
            "\n{}: {} {}, {}",
            found.browser, session.browser_name, session.browser_version, session.driver
        ),
        None => println!("\n{}: {}", found.browser, found.outcome.name()),
    }
    if let Some(reason) = &found.reason {
        println!("  {reason}");
        print_hint(found.install.as_deref());
        return;
    }
    for target in &found.targets {
        println!(
            "  {:<15} {:<12} {}",
            target.target.to_string(),
            target.outcome.name(),
            plain(&target.detail)
        );
        print_hint(target.hint.as_deref());
    }
    let Some(features) = &found.features else {
        return;
    };
    let yes_no = |yes: bool| if yes { "yes" } else { "no" };
    println!(
        "  cross-origin isolated {}, SharedArrayBuffer {}, OPFS {}, {} cores told",
        yes_no(features.cross_origin_isolated),
        yes_no(features.shared_memory),
        yes_no(features.opfs),
        features
            .cores
            .map_or("no".into(), |cores| cores.to_string()),
    );
    for note in found.session.iter().flat_map(|session| &session.notes) {
        println!("  note: {}", plain(note));
    }
}

fn print_hint(hint: Option<&str>) {
    if let Some(hint) = hint {
        println!("  to do: {hint}");
    }
}

/// Text from a browser or adapter, without what a terminal would act on.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}
