//! End-to-end tests in real browsers, through WebDriver. What is here is what several of them need; the tests are in
//! `tests/`, one file a subject.
//!
//! A browser that is not on the machine is no failure: the test prints why it was skipped. With
//! `FEWBIT_BROWSERS=chrome,firefox` only those are used, and then one that is missing fails the test.

use anyhow::{Context, Result};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::HeaderName;
use fewbit_host::browser::{Installed, Session, SessionOptions, find};
use fewbit_host::target::Browser;

/// The browsers to test with, in the order of [`Browser::ALL`]; those missing are named on standard error.
pub fn browsers(test: &str) -> Result<Vec<Installed>> {
    let wanted = std::env::var("FEWBIT_BROWSERS").ok();
    let mut found = Vec::new();
    for browser in Browser::ALL {
        if let Some(wanted) = &wanted
            && !wanted.split(',').any(|name| name.trim() == browser.name())
        {
            continue;
        }
        match find(browser) {
            Ok(installed) => found.push(installed),
            Err(error) if wanted.is_some() => return Err(error.into()),
            Err(error) => eprintln!("{test}: skipped in {}: {error}", browser.name()),
        }
    }
    Ok(found)
}

/// Serves `pages` on a free port of 127.0.0.1 with the headers that isolate a page, until the runtime ends. Returns
/// `http://127.0.0.1:PORT`.
pub async fn serve(pages: Router) -> Result<String> {
    let isolate = axum::middleware::map_response(async |mut response: axum::response::Response| {
        for (name, value) in [
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-embedder-policy", "require-corp"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            response.headers_mut().insert(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        response
    });
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no free port")?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, pages.layer(isolate)).await });
    Ok(format!("http://{address}"))
}

/// Opens a headless session; `page` is any page on 127.0.0.1.
pub async fn open(installed: &Installed, webgpu: bool, page: &str) -> Result<Session> {
    let options = SessionOptions {
        webgpu,
        ..SessionOptions::default()
    };
    Ok(Session::open(installed, &options, page).await?)
}
