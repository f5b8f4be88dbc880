//! One browser, started with a fresh profile and driven through WebDriver.
//!
//! Nothing here waits without a limit. Work in a page is started and then polled (see [`Session::work`]): one long
//! script call would be cut by grids and proxies, and a script time-out of `null` makes Firefox answer `null` at once.

use std::collections::HashMap;
use std::future::Future;
use std::net::TcpListener;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use fantoccini::{Client, ClientBuilder};
use serde_json::{Value, json};

use super::find::Installed;
use super::probe::{Adapter, Probe};
use super::process::Group;
use super::{BrowserError, Remote, chromium, firefox, safari, webkit};
use crate::target::Browser;

/// How long a driver may take to listen, and an X server to be there.
const START: Duration = Duration::from_secs(30);
/// How long a new session may take: a first start of a browser on a busy machine is slow.
const NEW_SESSION: Duration = Duration::from_secs(120);
/// How long one WebDriver command may take.
const COMMAND: Duration = Duration::from_secs(60);
/// How long closing may take before everything is killed.
const CLOSE: Duration = Duration::from_secs(10);

/// Which GPU a session is started for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hardware {
    /// None: the target computes in wasm.
    NoGpu,
    /// The machine's GPU.
    Gpu,
    /// The browser's own software adapter, where it has one.
    SoftwareGpu,
}

/// What a session is wanted for.
#[derive(Clone, Debug)]
pub struct SessionOptions {
    /// Whether WebGPU is needed. Then a hardware adapter is looked for first, and a software adapter is the fallback,
    /// recorded in [`SessionInfo::notes`].
    pub webgpu: bool,
    /// Whether WebNN is needed: it is behind a flag in Chromium.
    pub webnn: bool,
    /// Without a window.
    pub headless: bool,
    /// Flags to add to those of the browser's file.
    pub extra_flags: Vec<String>,
}

impl Default for SessionOptions {
    fn default() -> Self {
        Self {
            webgpu: false,
            webnn: false,
            headless: true,
            extra_flags: Vec::new(),
        }
    }
}

/// What one start of a browser is given.
pub(super) struct Start {
    pub(super) hardware: Hardware,
    pub(super) webnn: bool,
    pub(super) headless: bool,
    pub(super) extra_flags: Vec<String>,
}

/// What is recorded of a session.
#[derive(Clone, Debug, serde::Serialize)]
pub struct SessionInfo {
    /// From the session's capabilities: `chrome`, `firefox`, `MiniBrowser`, …
    pub browser_name: String,
    /// From the session's capabilities.
    pub browser_version: String,
    /// The driver's name and version.
    pub driver: String,
    /// Arguments, preferences and environment that the browser was started with.
    pub flags: Vec<String>,
    /// What was tried before: for example why the adapter is a software one.
    pub notes: Vec<String>,
    /// The WebGPU adapter, where one was asked for and found.
    pub adapter: Option<Adapter>,
    /// Why there is none, where one was asked for.
    pub no_adapter: Option<String>,
}

/// Where a browser is started.
#[derive(Clone, Copy)]
enum Place<'a> {
    Here(&'a Installed),
    There(Browser, &'a Remote),
}

impl Place<'_> {
    fn browser(self) -> Browser {
        match self {
            Place::Here(installed) => installed.browser,
            Place::There(browser, _) => browser,
        }
    }
}

/// What a session's capabilities say.
fn said(client: &Client, name: &str) -> String {
    let all = client.capabilities();
    all.and_then(|all| all.get(name))
        .and_then(Value::as_str)
        .unwrap_or("unknown")
        .to_owned()
}

/// What the first session of this process found out about a browser's adapters; later ones start the same way.
#[derive(Clone)]
struct Known {
    hardware: Hardware,
    notes: Vec<String>,
    adapter: Option<Adapter>,
    no_adapter: Option<String>,
}

/// An open session. Dropping it ends the browser, its driver and its profile; [`Session::close`] does so politely.
pub struct Session {
    browser: Browser,
    client: Client,
    info: SessionInfo,
    group: Group,
    driver_log: &'static str,
}

impl Session {
    /// Starts `installed`. For WebGPU, `secure_page` (the URL of any page in a secure context, such as one of
    /// 127.0.0.1) is opened to ask for an adapter.
    ///
    /// # Errors
    /// [`BrowserError`] when driver or browser do not start within their limits.
    pub async fn open(
        installed: &Installed,
        options: &SessionOptions,
        secure_page: &str,
    ) -> Result<Session, BrowserError> {
        Session::open_at(Place::Here(installed), options, secure_page).await
    }

    /// The same behind a WebDriver URL.
    ///
    /// # Errors
    /// [`BrowserError`] when the URL gives no session within its limits.
    pub async fn open_remote(
        browser: Browser,
        remote: &Remote,
        options: &SessionOptions,
        secure_page: &str,
    ) -> Result<Session, BrowserError> {
        Session::open_at(Place::There(browser, remote), options, secure_page).await
    }

    async fn open_at(
        place: Place<'_>,
        options: &SessionOptions,
        secure_page: &str,
    ) -> Result<Session, BrowserError> {
        let start = |hardware| Start {
            hardware,
            webnn: options.webnn,
            headless: options.headless,
            extra_flags: options.extra_flags.clone(),
        };
        if !options.webgpu {
            return Session::start(place, &start(Hardware::NoGpu)).await;
        }
        let browser = place.browser();
        static KNOWN: Mutex<Option<HashMap<Browser, Known>>> = Mutex::new(None);
        let known = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        let found = known().get_or_insert_default().get(&browser).cloned();
        if let Some(found) = found {
            let mut session = Session::start(place, &start(found.hardware)).await?;
            session.info.notes.extend(found.notes);
            session.info.adapter = found.adapter;
            session.info.no_adapter = found.no_adapter;
            return Ok(session);
        }
        let mut notes = Vec::new();
        let attempts = attempts(browser, &mut notes);
        let last = attempts.len() - 1;
        for (index, hardware) in attempts.into_iter().enumerate() {
            let mut session = Session::start(place, &start(hardware)).await?;
            session.goto(secure_page).await?;
            let (adapter, no_adapter) = Probe::adapter(&mut session).await?;
            let is_hardware = adapter
                .as_ref()
                .is_some_and(|adapter| adapter.software != Some(true));
            if index == last || is_hardware {
                session.info.notes.extend(notes.clone());
                session.info.adapter = adapter.clone();
                session.info.no_adapter = no_adapter.clone();
                known().get_or_insert_default().insert(
                    browser,
                    Known {
                        hardware,
                        notes,
                        adapter,
                        no_adapter,
                    },
                );
                return Ok(session);
            }
            let found = match (&adapter, &no_adapter) {
                (Some(adapter), _) => adapter.name.as_str(),
                (None, Some(reason)) => reason.as_str(),
                (None, None) => "none",
            };
            notes.push(format!(
                "asked for a hardware adapter first and got: {found}"
            ));
            session.close().await;
        }
        unreachable!("the last attempt returns")
    }

    async fn start(place: Place<'_>, start: &Start) -> Result<Session, BrowserError> {
        let installed = match place {
            Place::Here(installed) => installed,
            Place::There(browser, remote) => return Session::there(browser, remote, start).await,
        };
        let browser = installed.browser;
        let group = Group::new()?;
        let mut environment = Vec::new();
        if let Some(server) = &installed.display_server {
            let display = start_display(browser, &group, server).await?;
            environment.push(("DISPLAY".to_owned(), display));
        }
        let profile = group.folder("profile")?;
        let (capabilities, mut flags) = match browser {
            Browser::Chrome | Browser::Shell | Browser::Edge => (
                chromium::capabilities(installed, start, &profile),
                chromium::flags(start),
            ),
            Browser::Firefox => (
                firefox::capabilities(installed, start),
                firefox::flags(start),
            ),
            Browser::Safari if installed.display_server.is_some() => {
                let set = webkit::environment();
                environment.extend(set.iter().cloned());
                let mut flags = webkit::flags(start);
                flags.extend(set.iter().map(|(name, value)| format!("{name}={value}")));
                (webkit::capabilities(installed, start), flags)
            }
            Browser::Safari => (safari::capabilities(), Vec::new()),
        };
        flags.extend(
            installed
                .display_server
                .iter()
                .map(|server| format!("under {}", server.display())),
        );
        let port = start_driver(installed, &group, &profile, &environment).await?;
        let url = format!("http://127.0.0.1:{port}");
        let client = connect(browser, &group, &url, capabilities).await?;
        let driver = installed
            .driver
            .file_stem()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        let info = SessionInfo {
            browser_name: said(&client, "browserName"),
            browser_version: said(&client, "browserVersion"),
            // WebKitWebDriver does not tell its version; it is the browser's.
            driver: match &installed.driver_version {
                Some(version) => format!("{driver} {version}"),
                None => driver,
            },
            flags,
            notes: Vec::new(),
            adapter: None,
            no_adapter: None,
        };
        Ok(Session {
            browser,
            client,
            info,
            group,
            driver_log: DRIVER_LOG,
        })
    }

    /// A session that another side starts.
    async fn there(
        browser: Browser,
        remote: &Remote,
        start: &Start,
    ) -> Result<Session, BrowserError> {
        let group = Group::new()?;
        let flags = match browser {
            Browser::Chrome | Browser::Shell | Browser::Edge => chromium::flags(start),
            Browser::Firefox => firefox::flags(start),
            Browser::Safari => Vec::new(),
        };
        let capabilities = remote.capabilities(browser, start);
        let client = connect(browser, &group, &remote.url, capabilities).await?;
        let mut notes = vec![format!("driven at {}", remote.shown())];
        // A grid tells more of the node in capabilities of its own.
        for (name, value) in client.capabilities().into_iter().flatten() {
            if let (Some(name), Some(value)) = (name.strip_prefix("se:"), value.as_str()) {
                notes.push(format!("{name}: {value}"));
            }
        }
        let info = SessionInfo {
            browser_name: said(&client, "browserName"),
            browser_version: said(&client, "browserVersion"),
            driver: format!("WebDriver at {}", remote.shown()),
            flags,
            notes,
            adapter: None,
            no_adapter: None,
        };
        Ok(Session {
            browser,
            client,
            info,
            group,
            driver_log: DRIVER_LOG,
        })
    }

    /// Which browser this is.
    pub fn browser(&self) -> Browser {
        self.browser
    }

    /// What is recorded of the session.
    pub fn info(&self) -> &SessionInfo {
        &self.info
    }

    /// The WebDriver client, for what a test needs beyond this type.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Memory of the browser, its driver and all their processes (proportional set size, bytes), where the platform tells.
    pub fn memory(&self) -> Option<u64> {
        self.group.memory()
    }

    /// Memory that the browser, its driver and all their processes share with nobody (bytes), where the platform tells.
    pub fn private_memory(&self) -> Option<u64> {
        self.group.private_memory()
    }

    /// Opens a page.
    pub async fn goto(&mut self, url: &str) -> Result<(), BrowserError> {
        self.command(&format!("opening {url}"), self.client.goto(url))
            .await
    }

    /// Runs a short synchronous script: the body of a function, with `arguments`.
    pub async fn evaluate(
        &mut self,
        script: &str,
        arguments: Vec<Value>,
    ) -> Result<Value, BrowserError> {
        self.command("running a script", self.client.execute(script, arguments))
            .await
    }

    /// Runs the body of an async function with one argument, `input`: starts it and polls for its end, `limit` at most.
    ///
    /// # Errors
    /// [`BrowserError::Page`] with the name (or `code`) and message of what the script threw.
    pub async fn work(
        &mut self,
        body: &str,
        input: Value,
        limit: Duration,
    ) -> Result<Value, BrowserError> {
        let script = format!(
            "const all = (window.fewbitWork ??= {{ last: 0, done: {{}} }});
             const id = ++all.last;
             (async (input) => {{ {body} }})(arguments[0]).then(
               (value) => {{ all.done[id] = {{ value: value === undefined ? null : value }}; }},
               (error) => {{ all.done[id] = {{ error: {{
                 code: String(error?.code ?? error?.name ?? 'Error'), message: String(error?.message ?? error) }} }}; }});
             return id;"
        );
        let id = self.evaluate(&script, vec![input]).await?;
        let began = Instant::now();
        let mut pause = Duration::from_millis(10);
        loop {
            let poll = "const all = window.fewbitWork; const done = all?.done[arguments[0]];
                        if (!all) return { error: { code: 'gone', message: 'the page was left' } };
                        if (!done) return null;
                        delete all.done[arguments[0]]; return done;";
            let done = self.evaluate(poll, vec![id.clone()]).await?;
            if let Some(error) = done.get("error") {
                let text = |name: &str| {
                    error
                        .get(name)
                        .and_then(Value::as_str)
                        .unwrap_or("unknown")
                        .to_owned()
                };
                return Err(BrowserError::Page {
                    code: text("code"),
                    message: text("message"),
                });
            }
            if let Some(value) = done.get("value") {
                return Ok(value.clone());
            }
            if began.elapsed() > limit {
                return Err(self.timed_out("work in the page", limit));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(Duration::from_millis(200));
        }
    }

    /// A picture of the page, as PNG.
    pub async fn screenshot(&mut self) -> Result<Vec<u8>, BrowserError> {
        self.command("taking a screenshot", self.client.screenshot())
            .await
    }

    /// Ends the session, then the browser, its driver and its profile.
    pub async fn close(self) {
        let Session { client, group, .. } = self;
        let _ = tokio::time::timeout(CLOSE, client.close()).await;
        let _ = tokio::task::spawn_blocking(move || drop(group)).await;
    }

    pub(super) fn timed_out(&self, doing: &str, limit: Duration) -> BrowserError {
        BrowserError::TimedOut {
            browser: self.browser,
            doing: doing.into(),
            seconds: limit.as_secs(),
        }
    }

    async fn command<T, E: std::fmt::Display>(
        &self,
        doing: &str,
        command: impl Future<Output = Result<T, E>>,
    ) -> Result<T, BrowserError> {
        match tokio::time::timeout(COMMAND, command).await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(error)) => {
                let mut reason = error.to_string();
                if let Some(status) = self.group.ended() {
                    reason = format!(
                        "{reason}; the driver ended ({status}): {}",
                        self.group.log(self.driver_log, 600)
                    );
                }
                Err(BrowserError::Command {
                    browser: self.browser,
                    doing: doing.into(),
                    reason,
                })
            }
            Err(_) => Err(self.timed_out(doing, COMMAND)),
        }
    }
}

const DRIVER_LOG: &str = "driver";

/// Which adapters to ask for, in order; notes say why one is left out.
fn attempts(browser: Browser, notes: &mut Vec<String>) -> Vec<Hardware> {
    match browser {
        // They have no software adapter to ask for: what the system's graphics library offers is what there is.
        Browser::Firefox | Browser::Safari => vec![Hardware::Gpu],
        Browser::Chrome | Browser::Shell | Browser::Edge if gpu_device().is_none() => {
            notes.push("no hardware adapter was asked for: this machine has no GPU device".into());
            vec![Hardware::SoftwareGpu]
        }
        Browser::Chrome | Browser::Shell | Browser::Edge => {
            vec![Hardware::Gpu, Hardware::SoftwareGpu]
        }
    }
}

/// The device file of a GPU on Linux; elsewhere there is always something to ask.
pub(super) fn gpu_device() -> Option<PathBuf> {
    if !cfg!(target_os = "linux") {
        return Some(PathBuf::from("a GPU"));
    }
    let named = [
        "/dev/nvidia0",
        "/dev/dxg",
        "/dev/kfd",
        "/dev/mali0",
        "/dev/kgsl-3d0",
    ]
    .map(PathBuf::from);
    let rendering = std::fs::read_dir("/dev/dri")
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path());
    let rendering = rendering.filter(|path| path.to_string_lossy().contains("renderD"));
    named
        .into_iter()
        .filter(|path| path.exists())
        .chain(rendering)
        .next()
}

fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

/// Starts an X server on a display that it chooses itself, and returns the display's name.
async fn start_display(
    browser: Browser,
    group: &Group,
    server: &std::path::Path,
) -> Result<String, BrowserError> {
    let arguments = [
        "-displayfd",
        "1",
        "-screen",
        "0",
        "1280x1024x24",
        "-nolisten",
        "tcp",
    ];
    group.start(server, &arguments, &[], "display")?;
    let began = Instant::now();
    loop {
        let log = group.log("display", 4000);
        if let Some(number) = log.lines().find_map(|line| line.trim().parse::<u32>().ok()) {
            return Ok(format!(":{number}"));
        }
        if group.ended().is_some() || began.elapsed() > START {
            return Err(BrowserError::NoSession {
                browser,
                reason: format!("{} gave no display: {log}", server.display()),
            });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Starts the driver on a free port and waits until it listens there.
async fn start_driver(
    installed: &Installed,
    group: &Group,
    profile: &std::path::Path,
    environment: &[(String, String)],
) -> Result<u16, BrowserError> {
    let browser = installed.browser;
    let no_port = |source| BrowserError::Start {
        program: installed.driver.clone(),
        source,
    };
    let port = free_port().map_err(no_port)?;
    let arguments = match browser {
        Browser::Chrome | Browser::Shell | Browser::Edge => {
            chromium::driver_arguments(browser, port)
        }
        Browser::Firefox => firefox::driver_arguments(port, free_port().map_err(no_port)?, profile),
        Browser::Safari if installed.display_server.is_some() => webkit::driver_arguments(port),
        Browser::Safari => safari::driver_arguments(port),
    };
    group.start(&installed.driver, &arguments, environment, DRIVER_LOG)?;
    let began = Instant::now();
    loop {
        if tokio::net::TcpStream::connect(("127.0.0.1", port))
            .await
            .is_ok()
        {
            return Ok(port);
        }
        let ended = group.ended();
        if ended.is_some() || began.elapsed() > START {
            let how = ended.map_or_else(
                || format!("did not listen within {} s", START.as_secs()),
                |status| format!("ended ({status})"),
            );
            let reason = format!(
                "{} {how}: {}",
                installed.driver.display(),
                group.log(DRIVER_LOG, 1000)
            );
            return Err(BrowserError::NoSession { browser, reason });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn connect(
    browser: Browser,
    group: &Group,
    url: &str,
    mut capabilities: Value,
) -> Result<Client, BrowserError> {
    capabilities["timeouts"] = json!({ "script": 30_000, "pageLoad": 60_000, "implicit": 0 });
    let Value::Object(capabilities) = capabilities else {
        unreachable!("capabilities are an object");
    };
    let connector = hyper_rustls::HttpsConnectorBuilder::new()
        .with_webpki_roots()
        .https_or_http()
        .enable_http1()
        .build();
    let mut builder = ClientBuilder::new(connector);
    builder.capabilities(capabilities);
    let failed = |reason: String| {
        let log = group.log(DRIVER_LOG, 1000);
        BrowserError::NoSession {
            browser,
            reason: if log.is_empty() {
                reason
            } else {
                format!("{reason}; its log ends: {log}")
            },
        }
    };
    match tokio::time::timeout(NEW_SESSION, builder.connect(url)).await {
        Ok(Ok(client)) => Ok(client),
        Ok(Err(error)) => Err(failed(error.to_string())),
        Err(_) => Err(failed(format!(
            "no session within {} s",
            NEW_SESSION.as_secs()
        ))),
    }
}
