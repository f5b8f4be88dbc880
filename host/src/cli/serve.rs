//! `fewbit serve`: the pages, the package and the models on a local port.

use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::serve::{Config, DEFAULT_PORT, Folders, Port};
use crate::store::Store;

/// Serve the demo page, the npm package and the models on this machine.
///
/// Pages and package are found beside the executable or in the project's folder; FEWBIT_WWW and FEWBIT_WEB name other places.
#[derive(Args)]
pub(crate) struct Serve {
    /// Use this port or fail; without it, the first free one from 8017.
    #[arg(long)]
    port: Option<u16>,
    /// The address to listen on. Anything but loopback lets others on the network in.
    #[arg(long, default_value = "127.0.0.1")]
    host: IpAddr,
    /// Open the page in the default browser.
    #[arg(long)]
    open: bool,
    /// Another name this machine is reached by (the Host header is checked).
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// An origin, such as https://example.org, whose pages may load the package and models from here.
    #[arg(long, value_name = "ORIGIN")]
    allow_origin: Vec<String>,
    /// Print one JSON object with url and token instead of words.
    #[arg(long)]
    json: bool,
}

impl Serve {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let mut config = Config::new(Store::open()?);
        config.host = self.host;
        config.port = self.port.map_or(Port::From(DEFAULT_PORT), Port::Exactly);
        config.folders = Some(Folders::find()?);
        config.allow_hosts = self.allow_host;
        config.allow_origins = self.allow_origin;
        #[cfg(feature = "results")]
        let owned = own_results();
        #[cfg(feature = "results")]
        if let Some(database) = &owned {
            config.queries = Some(database.clone());
        }
        let running = crate::serve::start(config).await?;
        // Other commands now find the results through this server.
        #[cfg(feature = "results")]
        let _announcement = match &owned {
            Some(database) => Some(crate::results::Announcement::new(database, &running)?),
            None => None,
        };
        let url = running.url();
        if self.json {
            println!(
                "{}",
                serde_json::json!({"url": url, "token": running.token()})
            );
        } else {
            println!("fewbit serves on {url}/  (Ctrl-C ends it)");
        }
        if self.open
            && let Err(e) = open::that_detached(&url)
        {
            eprintln!("cannot open a browser ({e}); open {url}/ yourself");
        }
        stop_asked().await?;
        running.stop(Duration::from_secs(2)).await;
        Ok(ExitCode::SUCCESS)
    }
}

/// The results, if no other process has them; serving goes on without.
#[cfg(feature = "results")]
fn own_results() -> Option<std::sync::Arc<crate::results::Database>> {
    let path = crate::results::default_path().ok()?;
    match crate::results::Results::open(&path) {
        Ok(results) => {
            if let crate::results::Results::Other(owner) = &results {
                eprintln!("results are held by process {} at {}", owner.pid, owner.url);
            }
            results.own()
        }
        Err(e) => {
            eprintln!("serving without results: {e}");
            None
        }
    }
}

/// A server of this command's own, on any free port, for the browsers it drives.
#[cfg(feature = "runners")]
pub(crate) async fn for_runs(store: Option<Store>) -> anyhow::Result<crate::serve::Running> {
    let store = match store {
        Some(store) => store,
        None => Store::open()?,
    };
    let mut config = Config::new(store);
    config.folders = Some(Folders::find()?);
    Ok(crate::serve::start(config).await?)
}

/// Ctrl-C, or what a service manager sends.
async fn stop_asked() -> std::io::Result<()> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = tokio::signal::ctrl_c() => result,
            _ = terminate.recv() => Ok(()),
        }
    }
    #[cfg(not(unix))]
    tokio::signal::ctrl_c().await
}
