//! The page of results in real browsers: what others wrote is text, nothing is fetched, and it can be used by keyboard.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Result, ensure};
use axum::Router;
use axum::http::header::CONTENT_SECURITY_POLICY;
use axum::response::Html;
use fewbit_browser_tests::browsers;
use fewbit_host::browser::{Session, SessionOptions};
use fewbit_host::report::page::{Facts, page};
use fewbit_host::target::Browser;
use serde_json::{Value, json};

const HOSTILE: &str = "</script><img src=x onerror=\"document.title='broken'\">";

fn facts() -> Facts {
    let targets = ["native:cpu", "chrome:wasm", "chrome:webgpu", "firefox:wasm"];
    let outcomes = ["pass", "mismatch", "error", "unavailable"];
    let name = |target: &str| format!("{HOSTILE}/stored/generate/b1/s128@{target}");
    let cell = |(target, outcome): (&&str, &&str)| {
        json!({
            "cell": name(target), "model": HOSTILE, "architecture": "llama", "format": "stored", "task": "generate",
            "batch": 1, "sequence": 128, "target": target, "outcome": outcome, "stability": null, "validity": "valid",
            "reason": HOSTILE, "browser_name": "chrome", "browser_version": HOSTILE, "adapter": HOSTILE,
            "adapter_software": true, "machine": "here", "run": "r1", "attempt": "a1", "finished": "2026-12-01 00:00",
            "attempts": 2, "stop_reason": "2 of 2 processes", "expectation": null, "parity_max_abs": 1e-5,
        })
    };
    let time = |target: &&str| {
        json!({
            "cell": name(target), "target": target, "machine": "here", "adapter_software": true,
            "metric": "decode_tokens_per_second", "unit": "tokens/s", "median": 30.5, "lowest": 20.0, "highest": 41.0,
            "processes": 2, "repeats": 6, "run": "r1", "disturbed": 0,
        })
    };
    Facts {
        cells: targets.iter().zip(&outcomes).map(cell).collect(),
        times: targets.iter().map(time).collect(),
        runs: vec![json!({
            "run": "r1", "started": "2026-12-01 00:00", "command": "matrix", "arguments": HOSTILE, "fewbit": "0.1.0",
            "commit_id": "abc", "machine": HOSTILE, "os": "linux", "cpu": HOSTILE, "cores": 2,
        })],
        evidence: vec![json!({"cell": name("chrome:webgpu"), "kind": "console", "text": HOSTILE})],
        versus: vec![json!({
            "cell": HOSTILE, "a": "chrome:wasm", "b": "native:cpu", "metric": "decode_tokens_per_second", "ratio": 0.5,
            "low": 0.4, "high": 0.6, "processes_a": 2, "processes_b": 2, "how": "paired", "note": null,
        })],
        cut: None,
        made: "2026-12-01 00:00".into(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_report_is_text_and_asks_for_nothing() -> Result<()> {
    let html = page(&facts())?;
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    // Whatever path is asked for counts. The policy would stop a script or a request, and so hide it: there is none.
    let app = Router::new().fallback(move || {
        counter.fetch_add(1, Ordering::Relaxed);
        let html = html.clone();
        async move { ([(CONTENT_SECURITY_POLICY, "")], Html(html)) }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/report", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app).await });
    for installed in browsers("the_report_is_text_and_asks_for_nothing")? {
        if installed.browser == Browser::Edge {
            continue;
        }
        let before = asked.load(Ordering::Relaxed);
        let mut session = Session::open(&installed, &SessionOptions::default(), &url).await?;
        session.goto(&url).await?;
        let seen = session
            .evaluate(
                "for (const details of document.querySelectorAll('details')) details.open = true;
                 const colour = (element) => getComputedStyle(element).backgroundColor;
                 const first = document.querySelector('nav a');
                 first.focus();
                 return {
                   title: document.title,
                   active: document.querySelectorAll('script, img, iframe, object, link[rel=stylesheet]').length,
                   fetched: performance.getEntriesByType('resource').filter((e) => !e.name.startsWith('data:')).map((e) => e.name),
                   text: document.body.innerText,
                   rows: document.querySelectorAll('table.map tbody tr').length,
                   marks: [...document.querySelectorAll('table.map td a')].map((a) => [a.textContent, a.getAttribute('aria-label')]),
                   broken: [...document.querySelectorAll('a[href]')].filter((a) => !document.getElementById(a.getAttribute('href').slice(1))).length,
                   unnamed: [...document.querySelectorAll('table')].filter((t) => !t.caption).length,
                   focused: document.activeElement === first,
                   wide: document.documentElement.scrollWidth > innerWidth + 1,
                   colours: new Set([...document.querySelectorAll('table.map td')].map(colour)).size,
                 };",
                vec![],
            )
            .await?;
        let name = installed.browser.name();
        ensure!(seen["title"] == "fewbit: results", "{name}: {seen}");
        ensure!(
            seen["active"] == 0 && seen["fetched"] == json!([]),
            "{name}: {seen}"
        );
        let text = seen["text"].as_str().unwrap_or_default();
        ensure!(text.matches(HOSTILE).count() > 10, "{name}: {text}");
        ensure!(seen["rows"] == 1 && seen["colours"] == 4, "{name}: {seen}");
        let marks = seen["marks"].as_array().map_or(&[][..], Vec::as_slice);
        ensure!(
            marks.len() == 4 && marks.iter().all(|m| m[0] != "" && m[1] != Value::Null),
            "{name}: {seen}"
        );
        ensure!(
            seen["broken"] == 0 && seen["unnamed"] == 0,
            "{name}: {seen}"
        );
        ensure!(
            seen["focused"] == true && seen["wide"] == false,
            "{name}: {seen}"
        );
        let requests = asked.load(Ordering::Relaxed) - before;
        ensure!(requests == 1, "{name}: {requests} requests");
        session.close().await;
    }
    Ok(())
}
