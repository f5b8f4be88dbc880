//! Browsers start, answer, and leave nothing behind.

use std::time::Duration;

use anyhow::{Result, ensure};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fewbit_browser_tests::{browsers, open, serve};
use fewbit_host::browser::{BrowserError, Probe};
use fewbit_host::target::Browser;
use serde_json::json;

async fn page() -> Result<String> {
    serve(Router::new().route(
        "/",
        get(async || Html("<!doctype html><title>a page</title><h1>a page</h1>")),
    ))
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_browser_says_what_it_is_and_can_do() -> Result<()> {
    let page = page().await?;
    for installed in browsers("each_browser_says_what_it_is_and_can_do")? {
        let mut session = open(&installed, true, &page).await?;
        session.goto(&page).await?;
        let info = session.info().clone();
        ensure!(
            info.browser_version
                .starts_with(|c: char| c.is_ascii_digit()),
            "{info:?}"
        );
        let probe = Probe::new(&mut session).await?;
        println!("{info:?}\n{probe:?}\nmemory {:?}", session.memory());
        ensure!(
            probe.features.simd,
            "{:?} has no wasm SIMD",
            installed.browser
        );
        ensure!(probe.features.cross_origin_isolated && probe.features.secure_context);
        ensure!(probe.adapter.is_some() != probe.no_adapter.is_some());
        if matches!(installed.browser, Browser::Chrome | Browser::Firefox) {
            ensure!(
                probe.adapter.is_some(),
                "no adapter: {:?}",
                probe.no_adapter
            );
        }
        ensure!(session.screenshot().await?.starts_with(b"\x89PNG"));
        session.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn work_in_a_page_is_polled_and_limited() -> Result<()> {
    let page = page().await?;
    for installed in browsers("work_in_a_page_is_polled_and_limited")? {
        let mut session = open(&installed, false, &page).await?;
        session.goto(&page).await?;
        let limit = Duration::from_secs(30);
        let wait = "await new Promise((done) => setTimeout(done, 300)); return input.a + 1;";
        ensure!(session.work(wait, json!({ "a": 41 }), limit).await? == json!(42));
        ensure!(session.work("", json!(null), limit).await?.is_null());
        let thrown = session
            .work(
                "throw Object.assign(new Error('no'), { code: 'bad' });",
                json!(null),
                limit,
            )
            .await;
        ensure!(
            matches!(&thrown, Err(BrowserError::Page { code, message }) if code == "bad" && message == "no"),
            "{thrown:?}"
        );
        let never = session
            .work(
                "await new Promise(() => {});",
                json!(null),
                Duration::from_secs(1),
            )
            .await;
        ensure!(
            matches!(never, Err(BrowserError::TimedOut { .. })),
            "{never:?}"
        );
        session.close().await;
    }
    Ok(())
}
