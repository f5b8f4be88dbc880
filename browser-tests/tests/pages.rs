//! The demo's pages as people use them: served by the host under its policy, a model's folder chosen from this computer, a task
//! done, and the visible answer read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use fantoccini::Locator;
use fewbit_browser_tests::{LIMIT, browsers, fixtures, open, package};
use fewbit_host::browser::Session;
use fewbit_host::serve::{Config, Folders, Running, start};
use fewbit_host::store::{Manifest, Store};
use fewbit_host::target::Browser;
use serde_json::{Value, json};

const PAGES: [&str; 7] = [
    "/",
    "/search.html",
    "/classify.html",
    "/detect.html",
    "/transcribe.html",
    "/zero-shot.html",
    "/text.html",
];

/// A host that serves the pages, with a store of its own, in a folder that goes when this does.
struct Site {
    host: Running,
    store: Store,
    folder: tempfile::TempDir,
}

impl Site {
    async fn start(package: &Path) -> Result<Site> {
        let folder = tempfile::tempdir()?;
        let store = Store::at(folder.path().join("home"), Manifest::built_in()?);
        let mut config = Config::new(store.clone());
        config.folders = Some(Folders {
            www: Path::new(env!("CARGO_MANIFEST_DIR")).join("../www"),
            web: package.to_path_buf(),
        });
        let host = start(config).await?;
        Ok(Site {
            host,
            store,
            folder,
        })
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.host.url())
    }

    /// The fixture `name` with more files beside it, as a folder that a user would choose.
    fn model(&self, name: &str, files: &[(&str, Value)]) -> Result<PathBuf> {
        let to = self.folder.path().join(name);
        std::fs::create_dir_all(&to)?;
        for file in std::fs::read_dir(fixtures().join(name))? {
            let file = file?;
            // What the reference computed is no part of a model.
            if !file.file_name().to_string_lossy().starts_with("reference") {
                std::fs::copy(file.path(), to.join(file.file_name()))?;
            }
        }
        for (file, content) in files {
            std::fs::write(to.join(file), content.to_string())?;
        }
        Ok(to)
    }
}

/// A tokenizer of the words `w0 … w298`, which are their ids, and a mask.
fn tokenizer(mask: usize) -> Value {
    let word = |id| match id == mask {
        true => "[MASK]".to_owned(),
        false => format!("w{id}"),
    };
    let vocabulary: BTreeMap<String, usize> = (0..300).map(|id| (word(id), id)).collect();
    json!({
        "model": { "type": "WordLevel", "vocab": vocabulary, "unk_token": "w0" },
        "pre_tokenizer": { "type": "WhitespaceSplit" },
        "added_tokens": [{ "id": mask, "content": "[MASK]", "special": true, "normalized": false }],
    })
}

/// A picture or sound; drivers take canonical paths only.
fn media(file: &str) -> Result<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../media/tests/fixtures");
    Ok(folder.join(file).canonicalize()?)
}

/// Opens a page and waits until its package is there.
async fn visit(session: &mut Session, url: &str) -> Result<()> {
    session.goto(url).await?;
    until(session, &["idle"]).await?;
    Ok(())
}

/// Opens `page` (a path with a query) with a model: in Chromium a folder of this computer is chosen; the drivers of the others
/// cannot do that, and the page gets the model's address.
async fn visit_with(
    session: &mut Session,
    site: &Site,
    browser: Browser,
    page: &str,
    model: &Path,
) -> Result<()> {
    if browser != Browser::Chrome {
        let model = model.to_str().context("a path that is no text")?;
        let files = site.store.resolve(model, &|_| Ok(()))?;
        let base = site.host.page_model(&files).base;
        return visit(session, &site.url(&format!("{page}&model={base}"))).await;
    }
    visit(session, &site.url(page)).await?;
    give(session, "#folder", model).await?;
    // The list would else open the dialog that the line above has answered.
    let choose = "const list = document.getElementById('model');
        list.value = 'folder';
        list.dispatchEvent(new Event('change'));
        return list.value;";
    ensure!(session.evaluate(choose, vec![]).await? == "folder");
    Ok(())
}

/// Waits until the page is in one of these states; an error that the page shows fails.
async fn until(session: &mut Session, states: &[&str]) -> Result<Value> {
    let began = Instant::now();
    loop {
        let told = session
            .evaluate("return window.fewbitDemo ?? null", vec![])
            .await?;
        let state = told["state"].as_str().unwrap_or_default();
        if states.contains(&state) {
            return Ok(told);
        }
        ensure!(state != "error", "the page failed: {}", told["error"]);
        if began.elapsed() > LIMIT {
            bail!("not {states:?} in time: {told}");
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Gives a file, or a folder, to the page as the browser's dialog would.
async fn give(session: &Session, input: &str, path: &Path) -> Result<()> {
    let field = session.client().find(Locator::Css(input)).await?;
    field
        .send_keys(path.to_str().context("a path that is no text")?)
        .await?;
    Ok(())
}

async fn click(session: &Session, what: &str) -> Result<()> {
    let element = session.client().find(Locator::Css(what)).await?;
    Ok(element.click().await?)
}

async fn text(session: &mut Session, what: &str) -> Result<String> {
    let script = "return document.querySelector(arguments[0])?.innerText ?? null";
    let found = session.evaluate(script, vec![json!(what)]).await?;
    Ok(found
        .as_str()
        .with_context(|| format!("the page has no {what}"))?
        .to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_page_opens_without_a_complaint() -> Result<()> {
    const TEST: &str = "every_page_opens_without_a_complaint";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let site = Site::start(&package).await?;
    for installed in browsers(TEST)? {
        let browser = installed.browser.name();
        let mut session = open(&installed, false, &site.url("/runner")).await?;
        for page in PAGES {
            visit(&mut session, &site.url(page)).await?;
            let found = session
                .evaluate(
                    "const shown = (id) => document.getElementById(id).hidden ? null : document.getElementById(id).innerText;
                     return {
                       title: document.title,
                       heading: document.querySelector('h1')?.innerText ?? '',
                       current: document.querySelector('.pages [aria-current=page]')?.getAttribute('href') ?? null,
                       wide: document.documentElement.scrollWidth > innerWidth,
                       unnamed: [...document.querySelectorAll('input, select, textarea')]
                         .filter((field) => field.labels.length === 0 && !field.getAttribute('aria-label')).map((field) => field.outerHTML),
                       problem: shown('problem'),
                     }",
                    vec![],
                )
                .await?;
            ensure!(
                found["current"] == page
                    && found["problem"].is_null()
                    && found["wide"] == false
                    && found["unnamed"] == json!([])
                    && found["heading"] != "",
                "{browser}: {page}: {found}"
            );
            let title = found["title"].as_str().unwrap_or_default();
            ensure!(title.ends_with("· fewbit"), "{browser}: {page}: {title}");
        }
        session.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn search_finds_the_passage_that_was_asked_for() -> Result<()> {
    const TEST: &str = "search_finds_the_passage_that_was_asked_for";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let site = Site::start(&package).await?;
    let model = site.model("bert", &[("tokenizer.json", tokenizer(5))])?;
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let mut session = open(&installed, false, &site.url("/runner")).await?;
        let page = "/search.html?query=w40%20w41";
        visit_with(&mut session, &site, browser, page, &model).await?;
        let fill = "document.getElementById('text').value = arguments[0]";
        let passages = "w10 w11 w12 w13\n\nw40 w41\n\nw90 w17 w33";
        session.evaluate(fill, vec![json!(passages)]).await?;
        click(&session, "#run").await?;
        let told = until(&mut session, &["done"]).await?;
        ensure!(told["info"]["architecture"] == "bert", "{}", told["info"]);
        // Random weights know no meaning, but the same words are the same direction.
        let first = text(&mut session, "#results .result:first-child").await?;
        ensure!(
            first.contains("w40 w41") && first.contains("1.00"),
            "{}: first is {first:?}",
            browser.name()
        );
        let shown = text(&mut session, "#results").await?;
        ensure!(
            shown.contains("w10 w11 w12 w13") && shown.contains("w90 w17 w33"),
            "{}: {shown}",
            browser.name()
        );
        session.close().await;
    }
    Ok(())
}

/// A page says plainly that a model is not for it, and what it is for.
#[tokio::test(flavor = "multi_thread")]
async fn a_model_for_something_else_is_told_so() -> Result<()> {
    const TEST: &str = "a_model_for_something_else_is_told_so";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let site = Site::start(&package).await?;
    let model = site.model("bert", &[("tokenizer.json", tokenizer(5))])?;
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let mut session = open(&installed, false, &site.url("/runner")).await?;
        visit_with(&mut session, &site, browser, "/transcribe.html?", &model).await?;
        click(&session, "#run").await?;
        let hint = text(&mut session, "#run-text").await?;
        ensure!(
            hint.contains("Record something"),
            "{}: {hint}",
            browser.name()
        );
        give(&session, "#sound input[type=file]", &media("stereo.wav")?).await?;
        click(&session, "#run").await?;
        let told = until(&mut session, &["ready"]).await?;
        let notice = text(&mut session, "#notice").await?;
        ensure!(
            notice.contains("cannot transcribe") && notice.contains("compare texts by meaning"),
            "{}: {notice}",
            browser.name()
        );
        ensure!(
            told["result"].is_null(),
            "{}: an answer all the same: {}",
            browser.name(),
            told["result"]
        );
        session.close().await;
    }
    Ok(())
}
