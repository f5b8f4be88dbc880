//! End-to-end tests in real browsers, through WebDriver. What is here is what several of them need; the tests are in
//! `tests/`, one file a subject.
//!
//! What is not on the machine is no failure: the test prints why it was skipped. With `FEWBIT_BROWSERS=chrome,firefox`
//! only those browsers are used, and then one that is missing fails the test.

pub mod memory;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::HeaderValue;
use axum::http::header::HeaderName;
use axum::response::Html;
use axum::routing::get;
use fewbit_host::browser::{Installed, Session, SessionOptions, find};
use fewbit_host::target::Browser;
use serde_json::{Value, json};
use tower_http::services::ServeDir;

/// How long one piece of work in a page may take on a busy machine with a software adapter.
pub const LIMIT: Duration = Duration::from_secs(240);

/// The browsers to test with, in the order of [`Browser::ALL`]; those that are missing are named on standard error.
pub fn browsers(test: &str) -> Result<Vec<Installed>> {
    let wanted = std::env::var("FEWBIT_BROWSERS").ok();
    let mut found = Vec::new();
    // The shell is Chromium once more; what it is for, WebNN, has tests of its own.
    let usual = |browser: &Browser| *browser != Browser::Shell || wanted.is_some();
    for browser in Browser::ALL.into_iter().filter(usual) {
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

/// `dist/web`, if the package is built; otherwise says why `test` is skipped.
pub fn package(test: &str) -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/web");
    if folder.join("index.js").is_file() && folder.join("wasm").is_dir() {
        return Some(folder);
    }
    eprintln!("{test}: skipped: dist/web is not built (cargo xtask build)");
    None
}

/// The small checkpoints with reference outputs, one folder an architecture.
pub fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../engine/tests/fixtures/reference")
}

/// Serves `pages` on a free port of 127.0.0.1 with the headers that isolate a page, until the runtime ends. Returns
/// `http://127.0.0.1:PORT`.
pub async fn serve(pages: Router) -> Result<String> {
    serve_with(pages, &ISOLATED).await
}

/// The headers of an isolated page.
pub const ISOLATED: [(&str, &str); 3] = [
    ("cross-origin-opener-policy", "same-origin"),
    ("cross-origin-embedder-policy", "require-corp"),
    ("cross-origin-resource-policy", "same-origin"),
];

/// As [`serve`], with these headers on every answer that does not have them.
pub async fn serve_with(
    pages: Router,
    headers: &'static [(&'static str, &'static str)],
) -> Result<String> {
    let add = move |mut response: axum::response::Response| async move {
        for &(name, value) in headers {
            let name = HeaderName::from_static(name);
            response
                .headers_mut()
                .entry(name)
                .or_insert(HeaderValue::from_static(value));
        }
        response
    };
    let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0))
        .await
        .context("no free port")?;
    let address = listener.local_addr()?;
    let pages = pages.layer(axum::middleware::map_response(add));
    tokio::spawn(async move { axum::serve(listener, pages).await });
    Ok(format!("http://{address}"))
}

/// An empty page at `/`, the package at `/fewbit/`, the fixtures at `/models/`.
pub fn site(package: &Path) -> Router {
    Router::new()
        .route(
            "/",
            get(async || Html("<!doctype html><title>a test</title><h1>a test</h1>")),
        )
        .nest_service("/fewbit", ServeDir::new(package))
        .nest_service("/models", ServeDir::new(fixtures()))
}

/// What `load()` takes for the fixture `name`: a model whose files are at `/models/NAME/`.
pub fn listed(name: &str) -> Result<Value> {
    let folder = fixtures().join(name);
    let mut files = Vec::new();
    for file in ["config.json", "model.safetensors"] {
        let bytes = std::fs::metadata(folder.join(file))
            .with_context(|| format!("{name}/{file}"))?
            .len();
        files.push(json!({ "name": file, "bytes": bytes }));
    }
    Ok(json!({ "name": name, "baseUrl": format!("/models/{name}/"), "files": files }))
}

/// What the reference computes for a language model: the prompt's ids and how it goes on.
pub fn reference_ids(name: &str) -> Result<(Vec<u32>, Vec<u32>)> {
    let folder = fixtures().join(name);
    let facts: Value = serde_json::from_slice(&std::fs::read(folder.join("reference.json"))?)?;
    let generated: Vec<u32> = serde_json::from_value(facts["generated_ids"].clone())?;
    let bytes = std::fs::read(folder.join("reference.safetensors"))?;
    let tensors = safetensors::SafeTensors::deserialize(&bytes)?;
    let ids = tensors.tensor("in.input_ids")?;
    let prompt = ids
        .data()
        .chunks_exact(8)
        .map(|id| id[0] as u32 | (id[1] as u32) << 8)
        .collect();
    Ok((prompt, generated))
}

/// Opens a headless session; `page` is any page on 127.0.0.1.
pub async fn open(installed: &Installed, webgpu: bool, page: &str) -> Result<Session> {
    let options = SessionOptions {
        webgpu,
        ..SessionOptions::default()
    };
    Ok(Session::open(installed, &options, page).await?)
}

/// Runs JavaScript in the page (the body of an async function of `input`), which finds `load`, `cache` and
/// `FewbitError` of the package at `/fewbit/`.
pub async fn with_package(session: &mut Session, body: &str, input: Value) -> Result<Value> {
    with_package_within(session, body, input, LIMIT).await
}

/// As [`with_package`], with another limit.
pub async fn with_package_within(
    session: &mut Session,
    body: &str,
    input: Value,
    limit: Duration,
) -> Result<Value> {
    let body =
        format!("const {{ load, cache, FewbitError }} = await import('/fewbit/index.js');\n{body}");
    let name = session.info().browser_name.clone();
    session
        .work(&body, input, limit)
        .await
        .with_context(|| format!("in {name}"))
}
