//! A page that is written for WebNN alone runs unchanged where the browser has WebNN and where fewbit gives it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use axum::response::Html;
use axum::routing::get;
use fewbit_browser_tests::{LIMIT, browsers, package, serve, site};
use fewbit_host::browser::{Installed, Session, SessionOptions, find};
use fewbit_host::target::Browser;
use serde_json::{Value, json};

/// What the page finds in a browser, and whether `navigator.ml` is the browser's own.
async fn answer(installed: &Installed, base: &str) -> Result<(bool, Value)> {
    let options = SessionOptions {
        webnn: installed.browser == Browser::Shell,
        ..SessionOptions::default()
    };
    let mut session = Session::open(installed, &options, base).await?;
    session.goto(&format!("{base}/webnn.html")).await?;
    let script = "
      while (!window.finished) await new Promise((resolve) => setTimeout(resolve, 20));
      const answer = await window.finished;
      const own = /native code/.test(Function.prototype.toString.call(MLGraphBuilder));
      return { own, answer };";
    let found = session.work(script, json!({}), LIMIT).await;
    session.close().await;
    let found = found?;
    Ok((found["own"] == true, found["answer"].clone()))
}

fn numbers(value: &Value) -> Vec<f64> {
    let list = value.as_array().into_iter().flatten();
    list.filter_map(Value::as_f64).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_for_webnn_runs_unchanged() -> Result<()> {
    const TEST: &str = "a_page_for_webnn_runs_unchanged";
    let Some(folder) = package(TEST) else {
        return Ok(());
    };
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("pages/webnn.html");
    let page = std::fs::read_to_string(&page).with_context(|| page.display().to_string())?;
    let pages = site(&folder).route("/webnn.html", get(move || async move { Html(page) }));
    let base = serve(pages).await?;
    let mut all = Vec::new();
    for installed in browsers(TEST)? {
        let name = installed.browser.name();
        let (own, found) = answer(&installed, &base).await.context(name)?;
        ensure!(!own, "{name} has WebNN of its own");
        all.push((name, found));
    }
    match find(Browser::Shell) {
        Ok(shell) => {
            let (own, found) = answer(&shell, &base).await.context("shell")?;
            ensure!(own, "the shell's WebNN was replaced");
            all.push(("shell", found));
        }
        Err(error) => eprintln!("{TEST}: skipped in shell: {error}"),
    }
    let Some((_, first)) = all.first() else {
        return Ok(());
    };
    for (name, found) in &all {
        for (at, answer) in found["answers"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let wanted = &first["answers"][at];
            ensure!(
                answer["larger"] == wanted["larger"] && answer["best"] == wanted["best"],
                "{name}: {answer} where {wanted} was computed elsewhere"
            );
            let (got, wanted) = (
                numbers(&answer["probabilities"]),
                numbers(&wanted["probabilities"]),
            );
            ensure!(got.len() == 7, "{name}: {answer}");
            let close = got.iter().zip(&wanted).all(|(a, b)| (a - b).abs() < 1e-5);
            ensure!(
                close,
                "{name}: {got:?} where {wanted:?} was computed elsewhere"
            );
        }
        ensure!(
            found["refused"]
                == json!([
                    "InvalidStateError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "TypeError",
                    "string",
                    "InvalidStateError"
                ]),
            "{name}: {}",
            found["refused"]
        );
        println!("{name}: {}", found["answers"][0]["probabilities"]);
    }
    Ok(())
}
