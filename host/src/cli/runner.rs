//! `fewbit __runner`: the other end of a target that has a process of its own. The host starts it; nobody types it.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use fewbit_native_backends::ort::Provider;

use crate::backends::{Located, serve};

/// Jobs as lines of JSON on standard input, answers on standard output.
#[derive(Args)]
pub(crate) struct RunnerArgs {
    /// Such as ort-cpu.
    #[arg(long, value_parser = provider)]
    provider: Provider,
    /// ONNX Runtime's library.
    #[arg(long)]
    runtime: PathBuf,
    /// The provider's, where it is one of its own.
    #[arg(long)]
    plug_in: Option<PathBuf>,
}

fn provider(name: &str) -> Result<Provider, String> {
    let mut all = Provider::ALL.into_iter();
    let found = all.find(|provider| provider.name() == name);
    found.ok_or_else(|| format!("`{name}` is no provider"))
}

impl RunnerArgs {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let library = Located {
            runtime: self.runtime,
            plug_in: self.plug_in,
        };
        serve(self.provider, &library).await?;
        Ok(ExitCode::SUCCESS)
    }
}
