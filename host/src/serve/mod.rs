//! The web server: pages, the npm package, model files, and the few calls that change something or compute.
//!
//! | path | what |
//! | --- | --- |
//! | `/`, `/…` | the demo page and its files, from `www/` |
//! | `/runner` | the page that browser targets are driven on |
//! | `/fewbit/…` | the built npm package, from `dist/web/` |
//! | `/models/manifest.json` | the manifest with what is here |
//! | `/models/NAME/FILE` | a file of the store |
//! | `/local/KEY/FILE` | files shared for one run, under an unguessable key |
//! | `/session.json` | the run's token, for this server's own pages |
//! | `POST /api/models/NAME/pull` | gets a model; progress as JSON lines (token) |
//! | `POST /api/models/NAME/remove` | removes it (token) |
//! | `POST /api/query` | a read-only SQL query (token) |

mod api;
mod assets;
mod file;
mod folders;
mod guard;
mod models;

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tower_http::CompressionLevel;
use tower_http::compression::CompressionLayer;
use tower_http::compression::predicate::{NotForContentType, Predicate, SizeAbove};

pub use folders::{FolderError, Folders};
pub use guard::TOKEN_HEADER;

use crate::job::PageModel;
use crate::store::{ModelFiles, Store};

/// A batch of rows from another process may be as large; whoever sends one has the run's token.
const BATCH_BYTES: usize = 256 << 20;

/// The port tried first.
pub const DEFAULT_PORT: u16 = 8017;

pub struct Config {
    pub store: Store,
    pub host: IpAddr,
    pub port: Port,
    /// Where `www/` and the built package are; `None` serves neither.
    pub folders: Option<Folders>,
    /// Names beside the address's own under which this server may be reached.
    pub allow_hosts: Vec<String>,
    /// Origins (`https://example.org`) that may load the package and models from here.
    pub allow_origins: Vec<String>,
    /// Answers `POST /api/query`.
    pub queries: Option<Arc<dyn Queries>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// This one or an error.
    Exactly(u16),
    /// The first free one from here, at most 20 further.
    From(u16),
    /// Whatever the system gives.
    Any,
}

/// Reads the results: implemented over DuckDB, absent in a build without it.
pub trait Queries: Send + Sync {
    /// Runs one read-only statement; may block.
    ///
    /// # Errors
    /// A message for the user.
    fn query(&self, sql: &str) -> Result<serde_json::Value, String>;

    /// Appends rows that another process measured; may block.
    ///
    /// # Errors
    /// A message for the user.
    fn append(&self, rows: &serde_json::Value) -> Result<(), String>;
}

#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error("port {port} on {host} is in use; stop what uses it or choose another with --port")]
    PortInUse { host: IpAddr, port: u16 },
    #[error("cannot listen on {host}:{port}: {message}")]
    Listen {
        host: IpAddr,
        port: u16,
        message: String,
    },
}

impl Config {
    /// Loopback, any free port, nothing allowed beyond.
    pub fn new(store: Store) -> Config {
        Config {
            store,
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            port: Port::Any,
            folders: None,
            allow_hosts: Vec::new(),
            allow_origins: Vec::new(),
            queries: None,
        }
    }
}

/// What handlers share.
struct Shared {
    store: Store,
    folders: Option<Folders>,
    guard: guard::Guard,
    local: RwLock<HashMap<String, HashMap<String, PathBuf>>>,
    queries: Option<Arc<dyn Queries>>,
}

/// A server that runs until this value is dropped or [`Running::stop`] is called.
pub struct Running {
    address: SocketAddr,
    shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    task: tokio::task::JoinHandle<std::io::Result<()>>,
}

/// Binds and starts serving on the current tokio runtime.
///
/// # Errors
/// A port in use, or an address that cannot be listened on.
pub async fn start(config: Config) -> Result<Running, ServeError> {
    let listener = bind(config.host, config.port).await?;
    let address = listener.local_addr().map_err(|e| ServeError::Listen {
        host: config.host,
        port: 0,
        message: e.to_string(),
    })?;
    let shared = Arc::new(Shared {
        store: config.store,
        folders: config.folders,
        guard: guard::Guard::new(address, &config.allow_hosts, config.allow_origins),
        local: RwLock::default(),
        queries: config.queries,
    });
    let (stop, mut stopped) = watch::channel(false);
    let app = router(shared.clone());
    let task = tokio::spawn(async move {
        axum::serve(listener, app)
            .with_graceful_shutdown(async move {
                // Ends as well when the sender is dropped.
                let _ = stopped.wait_for(|&stop| stop).await;
            })
            .await
    });
    Ok(Running {
        address,
        shared,
        stop,
        task,
    })
}

fn router(shared: Arc<Shared>) -> Router {
    let compression = CompressionLayer::new()
        .quality(CompressionLevel::Precise(5))
        .compress_when(
            SizeAbove::new(512)
                .and(NotForContentType::IMAGES)
                .and(NotForContentType::const_new("application/x-ndjson"))
                .and(NotForContentType::const_new("application/octet-stream")),
        );
    let compressed = Router::new()
        .route("/", get(assets::index))
        .route("/runner", get(assets::runner))
        .route("/fewbit/{*path}", get(assets::package))
        .route("/{*path}", get(assets::www))
        .route("/models/manifest.json", get(models::manifest))
        .route("/api/query", post(api::query))
        .layer(compression);
    Router::new()
        // Model files go out as they are: pages resume them by range and check their sums.
        .route("/models/{name}/{*file}", get(models::file))
        .route("/local/{key}/{*file}", get(models::local))
        .route("/session.json", get(api::session))
        .route("/api/models/{name}/pull", post(api::pull))
        .route("/api/models/{name}/remove", post(api::remove))
        .route(
            "/api/results",
            post(api::append).layer(DefaultBodyLimit::max(BATCH_BYTES)),
        )
        .merge(compressed)
        .layer(middleware::from_fn_with_state(shared.clone(), guard::check))
        .with_state(shared)
}

async fn bind(host: IpAddr, port: Port) -> Result<TcpListener, ServeError> {
    let (first, tries) = match port {
        Port::Exactly(port) => (port, 1),
        Port::From(port) => (port, 20),
        Port::Any => (0, 1),
    };
    let mut last = None;
    for port in first..=first.saturating_add(tries - 1) {
        match TcpListener::bind((host, port)).await {
            Ok(listener) => return Ok(listener),
            Err(e) if e.kind() == std::io::ErrorKind::AddrInUse => {
                last.get_or_insert(ServeError::PortInUse { host, port });
            }
            Err(e) => {
                return Err(ServeError::Listen {
                    host,
                    port,
                    message: e.to_string(),
                });
            }
        }
    }
    Err(last.unwrap_or(ServeError::PortInUse { host, port: first }))
}

impl Running {
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The server's own origin, such as `http://127.0.0.1:8017`; with an address that means all interfaces, loopback.
    pub fn url(&self) -> String {
        let ip = self.address.ip();
        let port = self.address.port();
        match ip {
            _ if ip.is_unspecified() => format!("http://127.0.0.1:{port}"),
            IpAddr::V4(ip) => format!("http://{ip}:{port}"),
            IpAddr::V6(ip) => format!("http://[{ip}]:{port}"),
        }
    }

    /// This run's token, which every call that changes state or computes must carry in [`TOKEN_HEADER`].
    pub fn token(&self) -> &str {
        self.shared.guard.token()
    }

    /// Gives pages access to `model`'s files, and how they are to name them.
    pub fn page_model(&self, model: &ModelFiles) -> PageModel {
        let base = if model.in_store {
            format!("/models/{}/", model.name)
        } else {
            let files = model.files.iter();
            let shared = files.map(|f| (f.name.clone(), f.path.clone())).collect();
            format!("/local/{}/", self.share(shared))
        };
        PageModel {
            name: model.name.clone(),
            base,
            files: model.job_files(),
        }
    }

    /// Why pages of this server cannot load the npm package, if that is so.
    pub fn package_missing(&self) -> Option<String> {
        match &self.shared.folders {
            Some(folders) => folders.package_missing(),
            None => Some("this server serves no pages".into()),
        }
    }

    fn share(&self, files: HashMap<String, PathBuf>) -> String {
        let key = guard::random_key();
        if let Ok(mut local) = self.shared.local.write() {
            local.insert(key.clone(), files);
        }
        key
    }

    /// Stops taking connections and waits for open ones, at most `patience`.
    pub async fn stop(mut self, patience: Duration) {
        let _ = self.stop.send(true);
        if tokio::time::timeout(patience, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.stop.send(true);
    }
}

/// `www` and `dist/web` are for [`Folders`]; a path below a folder, if it stays there.
fn below(folder: &Path, relative: &str) -> Option<PathBuf> {
    let mut path = folder.to_path_buf();
    for part in relative.split('/') {
        let plain = !part.is_empty()
            && !part.starts_with('.')
            && !part.contains(['\\', ':', '\0'])
            && Path::new(part).components().count() == 1;
        if !plain {
            return None;
        }
        path.push(part);
    }
    Some(path)
}

#[cfg(feature = "webdriver")]
impl crate::browser::Pages for Running {
    fn url(&self) -> String {
        Running::url(self)
    }

    fn ready(&self) -> Result<(), crate::job::RunError> {
        match self.package_missing() {
            None => Ok(()),
            Some(missing) => Err(crate::job::RunError::unavailable("not_built", missing)),
        }
    }

    fn offer(&self, model: &ModelFiles) -> Result<PageModel, crate::job::RunError> {
        Ok(self.page_model(model))
    }
}
