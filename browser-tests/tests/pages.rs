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

/// A second of noise, 16 kHz, as a WAV file of this site's folder.
fn noise(site: &Site) -> Result<PathBuf> {
    let count = 16000u32;
    let mut wav = b"RIFF".to_vec();
    wav.extend((36 + count * 2).to_le_bytes());
    wav.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    wav.extend(16000u32.to_le_bytes());
    wav.extend(32000u32.to_le_bytes());
    wav.extend(b"\x02\0\x10\0data");
    wav.extend((count * 2).to_le_bytes());
    let mut state = 7u32;
    for _ in 0..count {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        wav.extend(((state >> 16) as i16 / 4).to_le_bytes());
    }
    let path = site.folder.path().canonicalize()?.join("noise.wav");
    std::fs::write(&path, wav)?;
    Ok(path)
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

/// Gives a picture or sound to the picker `root`, and waits until the page has it: a picture is decoded first, and a click on
/// the page's button before that only brings a hint.
async fn pick(session: &mut Session, root: &str, path: &Path) -> Result<()> {
    give(session, &format!("{root} input[type=file]"), path).await?;
    let said = format!("{root} .drop-text");
    let began = Instant::now();
    while text(session, &said).await?.is_empty() {
        ensure!(began.elapsed() < LIMIT, "{root} does not take the file");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
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
                       wide: document.documentElement.scrollWidth <= innerWidth ? [] : [[document.documentElement.scrollWidth, innerWidth].join(' > '),
                         ...[...document.querySelectorAll('body *')].filter((part) => part.getBoundingClientRect().right > innerWidth)
                           .map((part) => part.outerHTML.slice(0, 60))],
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
                    && found["wide"] == json!([])
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
        pick(&mut session, "#sound", &media("stereo.wav")?).await?;
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

/// A task page with a model and an input; what it must show is what the package answers when it is asked the same.
struct Task {
    page: &'static str,
    model: PathBuf,
    /// The picker that takes a file, and the file.
    file: Option<(&'static str, PathBuf)>,
    /// Values of fields.
    fields: Vec<(&'static str, &'static str)>,
    /// Gives what is shown, as lines, from the page's `result`: a function's body.
    expected: &'static str,
    /// Gives what is shown, as lines, from the document.
    shown: &'static str,
}

/// Labels with percentages, as the pages write them.
const BARS: &str = "return [...document.querySelectorAll('.bars .labelled')].map((row) =>
    row.querySelector('.label-name').innerText + ' ' + row.querySelector('.score').innerText);";
const SCORES: &str = "const percent = (score) => (score * 100).toLocaleString(undefined,
    { minimumFractionDigits: 1, maximumFractionDigits: 1 }) + ' %';
    return result.flat().map(({ label, token, score }) => (label ?? token) + ' ' + percent(score));";

fn tasks(site: &Site) -> Result<Vec<Task>> {
    let pixels = |class: &str, size: Value| json!({ "image_processor_type": class, "size": size });
    let square = json!({ "height": 64, "width": 64 });
    let edges = json!({ "shortest_edge": 64, "longest_edge": 96 });
    let mut crop = pixels("CLIPImageProcessor", json!({ "shortest_edge": 64 }));
    crop["crop_size"] = square.clone();
    let features = json!({
        "feature_extractor_type": "ClapFeatureExtractor", "truncation": "rand_trunc", "padding": "repeatpad", "feature_size": 16,
        "sampling_rate": 8160, "hop_length": 32, "fft_window_size": 256, "max_length_s": 1, "nb_max_samples": 8160,
        "frequency_min": 50, "frequency_max": 4000,
    });
    let preprocessor = "preprocessor_config.json";
    let mut told: Value =
        serde_json::from_slice(&std::fs::read(fixtures().join("t5/config.json"))?)?;
    told["task_specific_params"] = json!({ "translation_en_to_de": { "prefix": "w7 " }, "summarization": { "prefix": "w9 " } });
    let samples = json!({
        "feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": true, "sampling_rate": 16000, "feature_size": 1,
        "padding_value": 0.0, "return_attention_mask": false,
    });
    let mut letters = json!({ "<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4, "'": 31 });
    for (id, letter) in ('a'..='z').enumerate() {
        letters[letter.to_string()] = json!(id + 5);
    }
    Ok(vec![
        Task {
            page: "/classify.html?",
            model: site.model(
                "vit",
                &[(preprocessor, pixels("ViTImageProcessor", square))],
            )?,
            file: Some(("#picture", media("rgb.png")?)),
            fields: vec![("top", "10")],
            expected: SCORES,
            shown: BARS,
        },
        Task {
            page: "/detect.html?threshold=0.12",
            model: site.model("detr", &[(preprocessor, pixels("DetrImageProcessor", edges))])?,
            file: Some(("#picture", media("rgb.png")?)),
            fields: vec![],
            expected: "return result.filter(({ score }) => score >= 0.12).map(({ label, box }) => {
                const { xmin, ymin, xmax, ymax } = box;
                const [x, y] = [xmin, ymin].map((value) => Math.round(value));
                return [label, x, y, Math.round(xmax - xmin), Math.round(ymax - ymin)].join(' ');
              }).sort();",
            shown: "return [...document.querySelectorAll('.stage .box')].map((box) => {
                const frame = box.querySelector('.frame');
                const numbers = ['x', 'y', 'width', 'height'].map((name) => Math.round(Number(frame.getAttribute(name))));
                return [box.querySelector('text').textContent.split(' ')[0], ...numbers].join(' ');
              }).sort();",
        },
        Task {
            page: "/zero-shot.html?",
            model: site.model("clip", &[(preprocessor, crop), ("tokenizer.json", tokenizer(299))])?,
            file: Some(("#picture", media("rgb.png")?)),
            fields: vec![
                ("labels-image", "w5 w9\nw17\nw100 w3"),
                ("template-image", "w8 {} w2"),
            ],
            expected: SCORES,
            shown: BARS,
        },
        Task {
            page: "/zero-shot.html?input=audio",
            model: site.model(
                "clap",
                &[(preprocessor, features), ("tokenizer.json", tokenizer(299))],
            )?,
            file: Some(("#sound", media("stereo.wav")?)),
            fields: vec![
                ("labels-audio", "w5 w9\nw17\nw100 w3"),
                ("template-audio", "w8 {} w2"),
            ],
            expected: SCORES,
            shown: BARS,
        },
        Task {
            page: "/text.html?what=fillMask",
            model: site.model("bert-masked", &[("tokenizer.json", tokenizer(5))])?,
            file: None,
            fields: vec![("blanks", "w3 [MASK] w4 w7 [MASK]")],
            expected: SCORES,
            shown: BARS,
        },
        Task {
            page: "/text.html?what=translate",
            model: site.model("t5", &[("config.json", told), ("tokenizer.json", tokenizer(299))])?,
            file: None,
            fields: vec![("foreign", "w5 w6")],
            expected: "return [result.text.trim()];",
            shown: "return [document.getElementById('written').innerText.trim()];",
        },
        Task {
            page: "/transcribe.html?",
            model: site.model("wav2vec2", &[(preprocessor, samples), ("vocab.json", letters)])?,
            file: Some(("#sound", noise(site)?)),
            fields: vec![],
            expected: "return result.segments.length > 0 ? result.segments.map(({ text }) => text.trim()) : [result.text.trim()];",
            shown: "const parts = [...document.querySelectorAll('.part span:last-child')].map((part) => part.innerText.trim());
                return parts.length > 0 ? parts : [document.getElementById('transcript').innerText.trim()];",
        },
    ])
}

#[tokio::test(flavor = "multi_thread")]
async fn each_task_shows_its_answer() -> Result<()> {
    const TEST: &str = "each_task_shows_its_answer";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let site = Site::start(&package).await?;
    let tasks = tasks(&site)?;
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let mut session = open(&installed, false, &site.url("/runner")).await?;
        for task in &tasks {
            let what = format!("{}: {}", browser.name(), task.page);
            visit_with(&mut session, &site, browser, task.page, &task.model)
                .await
                .with_context(|| what.clone())?;
            if let Some((picker, file)) = &task.file {
                pick(&mut session, picker, file).await?;
            }
            for (field, value) in &task.fields {
                let set = "document.getElementById(arguments[0]).value = arguments[1]";
                session
                    .evaluate(set, vec![json!(field), json!(value)])
                    .await?;
            }
            click(&session, "#run").await?;
            let told = until(&mut session, &["done", "ready"])
                .await
                .with_context(|| what.clone())?;
            ensure!(told["notice"].is_null(), "{what}: {}", told["notice"]);
            let told = until(&mut session, &["done"])
                .await
                .with_context(|| what.clone())?;
            let expected = format!("const [result] = arguments; {}", task.expected);
            let expected = session
                .evaluate(&expected, vec![told["result"].clone()])
                .await?;
            let shown = session.evaluate(task.shown, vec![]).await?;
            let lines = expected.as_array().context("no lines")?;
            ensure!(
                !lines.is_empty() && lines.iter().all(|line| line != "") && shown == expected,
                "{what}: shows {shown} instead of {expected}"
            );
            println!("{what}: {shown}");
        }
        session.close().await;
    }
    Ok(())
}
