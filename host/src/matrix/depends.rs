//! What a cell's state hangs on beside the machine: where one of these is another than when it was measured, it is stale.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use fewbit_native_backends::ort::Provider;
use sha2::{Digest, Sha256};

use super::cell::Cell;
use super::settings::Profile;
use super::sources::{self, Sources};
use super::subject::Built;
use crate::backends;
use crate::browser;
use crate::target::{Browser, BrowserBackend, NativeBackend, Target};

/// Names and what they are now, as an attempt carries them.
pub type Depends = BTreeMap<String, String>;

/// What is the same for all cells of a run.
pub struct Surroundings {
    native: Sources,
    package: Option<Sources>,
    modules: String,
    /// The store's folder.
    home: PathBuf,
    browsers: HashMap<Browser, (String, String)>,
    adapters: String,
    flags: Vec<String>,
    /// Where browsers are driven, if not here.
    remote: Option<String>,
    profile: (String, Profile),
}

impl Surroundings {
    /// Looks for the browsers of `cells` and for adapters; starts none of them. `home` is the store's
    /// folder, `flags` are those of the command line,
    /// `remote` the WebDriver URL as it may be shown; what is behind that is not known before it is used.
    pub fn look(
        home: &Path,
        cells: &[Cell],
        profile: (String, Profile),
        flags: &[String],
        remote: Option<String>,
    ) -> Surroundings {
        let mut browsers = HashMap::new();
        for cell in cells {
            if let (Target::Browser(browser, _), None) = (cell.target, &remote) {
                browsers
                    .entry(browser)
                    .or_insert_with(|| installed(browser));
            }
        }
        let web = crate::serve::Folders::find()
            .ok()
            .map(|folders| folders.web);
        let web = web.map(|web| web.canonicalize().unwrap_or(web));
        let package = web.as_deref().and_then(sources::of_package);
        Surroundings {
            native: sources::native(),
            modules: match (&package, &web) {
                (None, Some(web)) => modules(web),
                _ => String::new(),
            },
            package,
            home: home.to_path_buf(),
            browsers,
            adapters: adapters(),
            flags: flags.to_vec(),
            remote,
            profile,
        }
    }

    /// The version of a browser that was looked for.
    pub fn version(&self, browser: Browser) -> Option<&str> {
        self.browsers
            .get(&browser)
            .map(|(version, _)| version.as_str())
    }

    pub fn of(&self, cell: &Cell, built: &Built, model_sha256: &str) -> Depends {
        let mut depends = Depends::new();
        let mut put = |name: &str, value: &str| depends.insert(name.into(), value.into());
        put("model", model_sha256);
        put("profile", &self.profile.0);
        let mut on = &self.native;
        let on_gpu = match cell.target {
            Target::Native(backend) => {
                if let Some(provider) = backends::provider(backend) {
                    put("library", &self.library(provider));
                }
                backend == NativeBackend::Wgpu
            }
            Target::Browser(name, backend) => {
                if let Some((version, driver)) = self.browsers.get(&name) {
                    put("browser", version);
                    put("driver", driver);
                }
                if let Some(remote) = &self.remote {
                    put("webdriver", remote);
                }
                put("flags", &self.flags.join(" "));
                match &self.package {
                    Some(package) => on = package,
                    // A package from elsewhere tells no sources: all of its modules count.
                    None => {
                        on = &NOTHING;
                        put("package", &self.modules);
                    }
                }
                backend != BrowserBackend::Wasm
            }
        };
        if on_gpu {
            put("adapters", &self.adapters);
        }
        let code = sources::sum(
            on,
            cell.target,
            built.architecture.as_deref(),
            built.operators.as_ref(),
        );
        put("code", &code);
        put("fewbit", env!("CARGO_PKG_VERSION"));
        depends
    }

    /// Which files a provider's library is, as their sizes and times of change; nothing of them is loaded.
    fn library(&self, provider: Provider) -> String {
        let Ok(found) = backends::locate(provider, &self.home) else {
            return "none".into();
        };
        let files = std::iter::once(found.runtime).chain(found.plug_in);
        let states = files.map(|path| match crate::inspect::sums::state(&path) {
            Ok((bytes, modified)) => format!("{} ({bytes} bytes, {modified})", path.display()),
            Err(error) => error.to_string(),
        });
        states.collect::<Vec<String>>().join("; ")
    }

    /// What was another when a cell was measured, in words; nothing if it is all the same. A more thorough profile than
    /// today's is as good.
    pub fn changed(
        &self,
        then: &Depends,
        now: &Depends,
        rank: impl Fn(&str) -> u32,
    ) -> Option<String> {
        for (name, value) in now {
            let Some(old) = then.get(name) else {
                return Some(format!("{name} was not kept"));
            };
            let holds = match name.as_str() {
                "profile" => rank(old) >= self.profile.1.rank,
                _ => old == value,
            };
            if !holds {
                return Some(match name.as_str() {
                    "code" => "its kernels or graph code changed".into(),
                    "model" => "the model's files changed".into(),
                    _ => format!("{name} was {old}, is {value}"),
                });
            }
        }
        None
    }
}

static NOTHING: Sources = Sources::new();

/// Version and driver, or that there is none.
fn installed(browser: Browser) -> (String, String) {
    let unknown = || "unknown".to_owned();
    match browser::find(browser) {
        Ok(found) => (
            found.version.unwrap_or_else(unknown),
            found.driver_version.unwrap_or_else(unknown),
        ),
        Err(_) => ("none".into(), "none".into()),
    }
}

/// What Vulkan, Metal and DX12 name. Browsers bring software adapters of their own, which come with their version.
fn adapters() -> String {
    let found = fewbit_native_backends::adapters::adapters();
    let names = found
        .iter()
        .map(|a| format!("{} ({}, {})", a.name, a.api, a.driver));
    let names: Vec<String> = names.collect();
    match names.is_empty() {
        true => "none".into(),
        false => names.join("; "),
    }
}

/// One sum over a package's wasm modules.
fn modules(web: &Path) -> String {
    let variants = std::fs::read_dir(web.join("wasm"))
        .into_iter()
        .flatten()
        .flatten();
    let mut paths: Vec<PathBuf> = variants
        .map(|variant| variant.path().join("fewbit_runtime_bg.wasm"))
        .collect();
    paths.sort();
    let mut hash = Sha256::new();
    for path in paths {
        hash.update(std::fs::read(path).unwrap_or_default());
    }
    hash.finalize()
        .iter()
        .take(8)
        .map(|b| format!("{b:02x}"))
        .collect()
}
