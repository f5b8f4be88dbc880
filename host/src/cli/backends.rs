//! `fewbit backends`: which of ONNX Runtime's execution providers compute here, and getting their libraries.

use std::process::ExitCode;

use clap::{Args, Subcommand};
use fewbit_native_backends::ort::Provider;
use serde::Serialize;

use super::progress::PullProgress;
use crate::backends::{Located, Probed, locate, package_of, probe};
use crate::job::{Outcome, RunError};
use crate::store::{LibraryEntry, home};

/// See which of ONNX Runtime's execution providers compute here, and get their libraries.
#[derive(Args)]
pub(crate) struct Backends {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Try every provider, each in a process of its own, and say what it is or why it is not there.
    ///
    /// With --json one object: backends, each with target, outcome (pass, unavailable, error), reason, version, devices,
    /// library, plug_in, install; platforms, each with platform and targets.
    List(List),
    /// Get a provider's library from its Python package, by pip, with its sum checked.
    Install(Install),
}

#[derive(Args)]
struct List {
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct Install {
    /// cpu, openvino, cuda (with TensorRT), migraphx (ROCm), qnn, coreml or directml.
    name: String,
}

/// What people call a platform, and the targets that compute on it.
const PLATFORMS: [(&str, &[&str]); 8] = [
    ("CPU", &["native:cpu", "native:ort-cpu"]),
    (
        "CUDA",
        &["native:ort-cuda", "native:ort-tensorrt", "native:wgpu"],
    ),
    ("ROCm", &["native:ort-migraphx", "native:wgpu"]),
    ("MPS", &["native:ort-coreml", "native:wgpu"]),
    ("OpenVINO", &["native:ort-openvino"]),
    ("Qualcomm", &["native:ort-qnn"]),
    ("WebNN", &["shell:webnn", "chrome:webnn", "edge:webnn"]),
    (
        "WebGPU",
        &[
            "chrome:webgpu",
            "shell:webgpu",
            "firefox:webgpu",
            "safari:webgpu",
            "edge:webgpu",
        ],
    ),
];

#[derive(Serialize)]
struct Report {
    backends: Vec<Row>,
    platforms: Vec<Platform>,
}

#[derive(Serialize)]
struct Platform {
    platform: &'static str,
    targets: &'static [&'static str],
}

#[derive(Serialize)]
struct Row {
    target: String,
    outcome: Outcome,
    reason: Option<String>,
    /// Of ONNX Runtime.
    version: Option<String>,
    devices: Vec<String>,
    library: Option<String>,
    plug_in: Option<String>,
    /// What gets the library.
    install: String,
}

impl Backends {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        match self.action {
            Action::List(list) => list.run().await,
            Action::Install(install) => install.run(),
        }
    }
}

impl List {
    async fn run(self) -> anyhow::Result<ExitCode> {
        let home = home()?;
        let mut rows = Vec::new();
        for provider in Provider::ALL {
            let located = locate(provider, &home);
            let probed = match &located {
                Ok(library) => probe(provider, library).await,
                Err(error) => Err(error.clone()),
            };
            let row = row(provider, located.ok(), probed);
            if !self.json {
                print(&row);
            }
            rows.push(row);
        }
        let platforms = PLATFORMS.map(|(platform, targets)| Platform { platform, targets });
        let report = Report {
            backends: rows,
            platforms: platforms.into(),
        };
        if self.json {
            println!("{}", serde_json::to_string(&report)?);
        } else {
            println!();
            for Platform { platform, targets } in &report.platforms {
                println!("{platform:9} {}", targets.join(", "));
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn row(provider: Provider, located: Option<Located>, probed: Result<Probed, RunError>) -> Row {
    let shown = |path: &std::path::Path| path.display().to_string();
    let (outcome, reason, probed) = match probed {
        Ok(probed) => (Outcome::Pass, None, probed),
        Err(error) => (error.outcome, Some(error.message), Probed::default()),
    };
    Row {
        target: format!("native:{}", provider.name()),
        outcome,
        reason,
        version: (!probed.version.is_empty()).then_some(probed.version),
        devices: probed.devices,
        plug_in: located
            .as_ref()
            .and_then(|found| found.plug_in.as_deref().map(shown)),
        library: located.as_ref().map(|found| shown(&found.runtime)),
        install: format!("fewbit backends install {}", package_of(provider)),
    }
}

fn print(row: &Row) {
    let what = match row.outcome {
        Outcome::Pass => "available",
        other => other.name(),
    };
    println!("{:22} {what}", row.target);
    if let Some(version) = &row.version {
        println!("  onnxruntime {version}");
    }
    for device in &row.devices {
        println!("  {device}");
    }
    for path in row.library.iter().chain(&row.plug_in) {
        println!("  {path}");
    }
    if let Some(reason) = &row.reason {
        println!("  {}", reason.trim().replace('\n', "\n  "));
    }
}

impl Install {
    fn run(self) -> anyhow::Result<ExitCode> {
        let entry = LibraryEntry::named(&self.name)?;
        let progress = PullProgress::new(&entry.name);
        let folder = entry.install(&home()?, &|event| progress.on(event))?;
        println!("{}: {}", entry.name, folder.display());
        Ok(ExitCode::SUCCESS)
    }
}
