//! A page of another origin, open in the same browser as the user's fewbit: it gets nothing and changes nothing.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fewbit_browser_tests::{LIMIT, browsers, open, serve_with};
use fewbit_host::serve::{Config, Folders, start};
use fewbit_host::store::{Manifest, Store};
use serde_json::{Value, json};

/// Everything the page tries, with what it came to: a status, `opaque`, or that the browser refused.
const ATTACK: &str = "
  const came = async (path, options) => {
    try {
      const answer = await fetch(input.host + path, options);
      return answer.type === 'opaque' ? 'opaque' : `${answer.status} ${(await answer.text()).slice(0, 60)}`;
    } catch (error) { return 'refused'; }
  };
  const post = { method: 'POST', body: '{}' };
  const framed = (path) => new Promise((done) => {
    const frame = document.createElement('iframe');
    frame.src = input.host + path;
    frame.onload = () => {
      try { done(`read ${frame.contentDocument?.title ?? 'nothing'}`); } catch { done('unreadable'); }
    };
    frame.onerror = () => done('refused');
    setTimeout(() => done('no answer'), 5000);
    document.body.append(frame);
  });
  return {
    session: await came('/session.json'),
    manifest: await came('/models/manifest.json'),
    remove: await came(`/api/models/${input.model}/remove`, post),
    removeBlind: await came(`/api/models/${input.model}/remove`, { ...post, mode: 'no-cors' }),
    removeGuessing: await came(`/api/models/${input.model}/remove`, { ...post, headers: { 'x-fewbit-token': 'guess' } }),
    removeForm: await (async () => {
      const form = new FormData(); form.set('a', 'b');
      return came(`/api/models/${input.model}/remove`, { method: 'POST', body: form, mode: 'no-cors' });
    })(),
    query: await came('/api/query', { method: 'POST', body: JSON.stringify({ sql: 'select 1' }) }),
    script: await new Promise((done) => {
      const script = document.createElement('script');
      script.src = input.host + '/session.json';
      script.onload = () => done('loaded');
      script.onerror = () => done('refused');
      document.head.append(script);
    }),
    frame: await framed('/'),
  };";

#[tokio::test(flavor = "multi_thread")]
async fn a_hostile_page_gets_nothing_and_changes_nothing() -> Result<()> {
    // A store with one file that a page would love to remove.
    let home = std::env::temp_dir().join(format!("fewbit-hostile-{}", std::process::id()));
    let manifest = Manifest::built_in()?;
    let store = Store::at(home.clone(), manifest);
    let model = store
        .manifest()
        .models
        .first()
        .context("an empty manifest")?
        .clone();
    let file = store.folder_of(&model).join(&model.files[0].name);
    std::fs::create_dir_all(file.parent().context("no folder")?)?;
    std::fs::write(&file, b"precious")?;
    let mut config = Config::new(store);
    let project = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    config.folders = Some(Folders {
        www: project.join("www"),
        web: project.join("dist/web"),
    });
    let host = start(config).await?;
    let page = Router::new().route(
        "/",
        get(async || Html("<!doctype html><title>evil</title><body></body>")),
    );
    let evil = serve_with(page, &[]).await?;

    for installed in browsers("a_hostile_page_gets_nothing_and_changes_nothing")? {
        let browser = installed.browser.name();
        let mut session = open(&installed, false, &evil).await?;
        // The user has fewbit open, as the attack would wish.
        session.goto(&format!("{}/runner", host.url())).await?;
        session.goto(&evil).await?;
        for name in [host.url(), host.url().replace("127.0.0.1", "localhost")] {
            let came: Value = session
                .work(ATTACK, json!({ "host": name, "model": model.name }), LIMIT)
                .await?;
            println!("{browser}: {came}");
            for (attempt, result) in came.as_object().context("no results")? {
                let result = result.as_str().unwrap_or_default();
                ensure!(
                    ["refused", "opaque", "unreadable", "no answer"].contains(&result)
                        || result.starts_with("403")
                        || (attempt == "frame" && result == "read nothing"),
                    "{browser}: {attempt}: {result}"
                );
                ensure!(
                    !result.contains(host.token()),
                    "{browser}: {attempt} told the token"
                );
            }
            ensure!(
                std::fs::read(&file)? == b"precious",
                "{browser}: the model was removed"
            );
        }
        // What the attack tried works for the host's own page, so the refusals above were no accident.
        session.goto(&format!("{}/runner", host.url())).await?;
        let own = session
            .work(
                "return await (await fetch('/session.json')).json();",
                json!(null),
                LIMIT,
            )
            .await?;
        ensure!(
            own["token"] == host.token(),
            "{browser}: own pages do not get the token"
        );
        session.close().await;
    }
    drop(host);
    std::fs::remove_dir_all(&home)?;
    Ok(())
}
