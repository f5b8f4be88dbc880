//! From a model's name and a target to a loaded model: what `run`, `score`, `verify` and `bench` share.

use std::io::IsTerminal;

use clap::Args;
use serde_json::{Value, json};

use super::progress::PullProgress;
use crate::job::{Activations, LoadInfo, LoadOptions, RunError};
use crate::runner::{Progress, Runner};
use crate::serve::Running;
use crate::store::{ModelFiles, Store};
use crate::target::Target;

/// How to load, the same for every command that runs a model.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct LoadArgs {
    /// Threads on the CPU; without it, what the machine has.
    #[arg(long)]
    pub(super) threads: Option<usize>,
    /// `float` keeps activations in floating point; `q8` lets products with block formats quantize them to 8 bits.
    #[arg(long, value_parser = activations)]
    pub(super) activations: Option<Activations>,
    /// Tokens the model may hold; without it, what its files say.
    #[arg(long, value_name = "TOKENS")]
    pub(super) context: Option<usize>,
    /// Show the browser's window.
    #[arg(long)]
    pub(super) window: bool,
    /// A flag for the browser, such as --browser-flag=--enable-features=Vulkan; may be given several times.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    pub(super) browser_flag: Vec<String>,
    /// Drive browsers at this WebDriver URL (a Selenium Grid, a device farm, a phone) instead of starting them here. They
    /// open pages of this machine's 127.0.0.1, so that elsewhere a port has to be forwarded.
    #[arg(long, value_name = "URL")]
    pub(super) webdriver: Option<String>,
    /// With --webdriver: capabilities to ask for beside the browser's, as JSON or @FILE.
    #[arg(long, value_name = "JSON|@FILE", requires = "webdriver")]
    pub(super) capabilities: Option<String>,
    /// Where pictures of failures go.
    #[arg(skip)]
    pub(super) failures: Option<std::path::PathBuf>,
}

fn activations(text: &str) -> Result<Activations, String> {
    match text {
        "float" => Ok(Activations::Float),
        "q8" => Ok(Activations::Q8),
        _ => Err("float or q8".into()),
    }
}

impl LoadArgs {
    pub(crate) fn options(&self) -> LoadOptions {
        LoadOptions {
            threads: self.threads,
            activations: self.activations,
            context: self.context,
        }
    }
}

#[cfg(feature = "webdriver")]
impl LoadArgs {
    /// Where browsers are driven, if not here.
    pub(super) fn remote(
        &self,
    ) -> Result<Option<crate::browser::Remote>, crate::browser::RemoteError> {
        let Some(url) = &self.webdriver else {
            return Ok(None);
        };
        let remote: crate::browser::Remote = url.parse()?;
        match &self.capabilities {
            Some(text) => remote.with_capabilities(text).map(Some),
            None => Ok(Some(remote)),
        }
    }
}

/// The files of MODEL, pulled with progress if they are not here.
pub(crate) fn resolve(store: &Store, model: &str) -> anyhow::Result<ModelFiles> {
    let progress = PullProgress::new(model);
    Ok(store.resolve(model, &|event| progress.on(event))?)
}

/// A server for the browsers among `targets`; none if there are only native ones.
pub(crate) async fn pages_for(
    targets: &[Target],
    store: &Store,
) -> anyhow::Result<Option<Running>> {
    if !targets.iter().any(|t| matches!(t, Target::Browser(..))) {
        return Ok(None);
    }
    super::serve::for_runs(Some(store.clone())).await.map(Some)
}

/// A runner for `target`. Nothing is started before its first load.
pub(crate) fn runner<'p>(
    target: Target,
    pages: Option<&'p Running>,
    arguments: &LoadArgs,
) -> Result<Box<dyn Runner + 'p>, RunError> {
    match target {
        Target::Native(backend) => native(backend),
        Target::Browser(browser, backend) => {
            let pages = pages.ok_or_else(|| {
                RunError::error("no_pages", "no server was started for the browser")
            })?;
            in_browser(browser, backend, pages, arguments)
        }
    }
}

#[cfg(feature = "native")]
fn native<'p>(backend: crate::target::NativeBackend) -> Result<Box<dyn Runner + 'p>, RunError> {
    use crate::native::NativeRunner;
    use crate::target::NativeBackend;
    use fewbit_native_backends::NativeTarget;
    match backend {
        NativeBackend::Cpu => Ok(Box::new(NativeRunner::new(NativeTarget::Cpu))),
        NativeBackend::Wgpu => Ok(Box::new(NativeRunner::new(NativeTarget::Wgpu))),
        other => Ok(Box::new(crate::backends::ChildRunner::new(other)?)),
    }
}

#[cfg(not(feature = "native"))]
fn native<'p>(backend: crate::target::NativeBackend) -> Result<Box<dyn Runner + 'p>, RunError> {
    Err(RunError::unavailable(
        "not_built",
        format!(
            "native:{} is not in this build of fewbit (feature `native`)",
            backend.name()
        ),
    ))
}

#[cfg(feature = "webdriver")]
fn in_browser<'p>(
    browser: crate::target::Browser,
    backend: crate::target::BrowserBackend,
    pages: &'p Running,
    arguments: &LoadArgs,
) -> Result<Box<dyn Runner + 'p>, RunError> {
    let remote = arguments
        .remote()
        .map_err(|error| RunError::error("webdriver", error.to_string()))?;
    let options = crate::browser::BrowserOptions {
        remote,
        headless: !arguments.window,
        extra_flags: arguments.browser_flag.clone(),
        failures: arguments.failures.clone(),
    };
    let runner = crate::browser::BrowserRunner::new(browser, backend, pages, options);
    Ok(Box::new(runner))
}

#[cfg(not(feature = "webdriver"))]
fn in_browser<'p>(
    browser: crate::target::Browser,
    _: crate::target::BrowserBackend,
    _: &'p Running,
    _: &LoadArgs,
) -> Result<Box<dyn Runner + 'p>, RunError> {
    Err(RunError::unavailable(
        "not_built",
        format!(
            "{} is not in this build of fewbit (feature `webdriver`)",
            browser.name()
        ),
    ))
}

/// What a runner does now, in one line of standard error that is overwritten; nothing where that is no terminal.
pub(crate) struct Status {
    bar: Option<indicatif::ProgressBar>,
}

impl Status {
    pub(crate) fn new(target: Target) -> Status {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar = indicatif::ProgressBar::new_spinner().with_prefix(target.to_string());
            if let Ok(style) = indicatif::ProgressStyle::with_template("{spinner} {prefix}: {msg}")
            {
                bar.set_style(style);
            }
            bar.enable_steady_tick(std::time::Duration::from_millis(120));
            bar
        });
        Status { bar }
    }

    pub(crate) fn on(&self, progress: &Progress) {
        let Some(bar) = &self.bar else { return };
        match progress {
            Progress::Stage(stage) => bar.set_message(stage.clone()),
            Progress::Loaded { bytes, of } => {
                let (bytes, of) = (indicatif::HumanBytes(*bytes), indicatif::HumanBytes(*of));
                bar.set_message(format!("loading {bytes} of {of}"));
            }
            Progress::Prefill { tokens, of } => {
                bar.set_message(format!("prompt: {tokens} of {of} tokens"));
            }
            Progress::Token { count, .. } => bar.set_message(format!("{count} tokens")),
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

/// A runner with its model, and what the load said.
pub(crate) struct Loaded<'p> {
    pub(crate) runner: Box<dyn Runner + 'p>,
    pub(crate) info: LoadInfo,
}

pub(crate) async fn load<'p>(
    target: Target,
    pages: Option<&'p Running>,
    model: &ModelFiles,
    arguments: &LoadArgs,
) -> Result<Loaded<'p>, RunError> {
    let status = Status::new(target);
    let mut runner = runner(target, pages, arguments)?;
    let result = runner
        .load(model, &arguments.options(), &|p| status.on(&p))
        .await;
    status.clear();
    match result {
        Ok(info) => Ok(Loaded { runner, info }),
        Err(error) => {
            // What failed to load must still end its browser; the first error is the one that tells.
            let _ = runner.dispose().await;
            Err(error)
        }
    }
}

/// The fields that every JSON answer of a run has.
pub(crate) fn head(target: Target, model: &str, info: &LoadInfo) -> Value {
    json!({
        "target": target,
        "outcome": "pass",
        "model": model,
        "adapter": info.adapter.as_ref().map(|a| a.name.clone()),
        "adapter_software": info.adapter.as_ref().and_then(|a| a.software),
        "browser_name": info.browser.as_ref().map(|b| b.name.clone()),
        "browser_version": info.browser.as_ref().map(|b| b.version.clone()),
        "activations": info.activations,
        "threads": info.threads,
        "variant": info.variant,
        "load_ms": info.load_ms,
        "info": info,
    })
}

/// The JSON answer of a run that gave none.
pub(crate) fn failure(target: Target, model: &str, error: &RunError) -> Value {
    json!({
        "target": target,
        "outcome": error.outcome,
        "model": model,
        "code": error.code,
        "message": error.message,
    })
}

/// `a` with the fields of `b`.
pub(crate) fn merged(mut a: Value, b: Value) -> Value {
    if let (Value::Object(a), Value::Object(b)) = (&mut a, b) {
        a.extend(b);
    }
    a
}
