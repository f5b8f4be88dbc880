//! fewbit beside other libraries in one headless Chromium, one thread each, in turn (A-B-B-A, so that what drifts meets
//! both): @wllama/wllama on SmolLM2-135M-Instruct in Q4_1, onnxruntime-web on the ONNX file of all-MiniLM-L6-v2 with weights
//! in 8 bits, 128 tokens, and on the encoders of Whisper tiny.en and all-MiniLM-L6-v2; and onnxruntime-web on WebNN, in the
//! browser that has it.
//!
//! `cargo xtask bench-peers` prepares what this needs: `npm ci` in `browser-tests/`, `dist/web`.

mod encode;
mod encoder;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use axum::Router;
use fewbit_browser_tests::{open, serve};
use fewbit_host::browser::{Session, SessionOptions, find};
use fewbit_host::store::{ModelFiles, Store};
use fewbit_host::target::Browser;
use serde_json::{Value, json};
use tower_http::services::ServeDir;

const LOAD: Duration = Duration::from_secs(180);
const RUN: Duration = Duration::from_secs(300);
/// Tokens made after each prompt.
const TOKENS: usize = 48;
/// Rounds of A-B-B-A.
const ROUNDS: usize = 1;
/// Embeddings in each turn; the first of each is thrown away.
const EMBEDDINGS: usize = 6;
/// Whose encoders run on the same graph.
const ENCODERS: [&str; 2] = ["whisper-tiny.en", "all-minilm-l6-v2"];

/// Those that run on WebNN too.
const ON_WEBNN: [&str; 1] = ["all-minilm-l6-v2"];

const ONLY: &str = "--only takes generate, embed, encode or webnn";

struct Arguments {
    json: bool,
    only: Option<String>,
    rounds: usize,
}

#[tokio::main]
async fn main() -> Result<()> {
    let arguments = arguments()?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (needed, how) in [
        (
            root.join("node_modules/@wllama/wllama"),
            "npm ci --ignore-scripts, in browser-tests/",
        ),
        (root.join("../dist/web/index.js"), "cargo xtask build"),
    ] {
        ensure!(needed.exists(), "{} is missing: {how}", needed.display());
    }
    let wanted = |name: &str| arguments.only.as_deref().is_none_or(|only| only == name);
    let store = Store::open()?;
    let language = match wanted("generate") {
        true => Some(model(&store, "smollm2-135m-instruct")?),
        false => None,
    };
    let sentences = match wanted("embed") {
        true => Some(model(&store, "all-minilm-l6-v2-int8")?),
        false => None,
    };
    let made = tempfile::tempdir()?;
    let mut encoders = Vec::new();
    let named = |name: &&str| wanted("encode") || wanted("webnn") && ON_WEBNN.contains(name);
    if wanted("encode") || wanted("webnn") {
        for name in ENCODERS.into_iter().filter(named) {
            let model = model(&store, name)?;
            let folder = made.path().join(name);
            std::fs::create_dir(&folder)?;
            let prepared = encoder::prepare(&model, &folder).await?;
            encoders.push((model, prepared));
        }
    }

    let mut pages = Router::new()
        .nest_service("/peers", ServeDir::new(root.join("peers")))
        .nest_service("/npm", ServeDir::new(root.join("node_modules")))
        .nest_service("/fewbit", ServeDir::new(root.join("../dist/web")))
        .nest_service("/made", ServeDir::new(made.path()));
    let mut served = BTreeMap::new();
    let texts = language.iter().chain(&sentences);
    for model in texts.chain(encoders.iter().map(|(model, _)| model)) {
        served.insert(path_of(model), &model.folder);
    }
    for (path, folder) in served {
        pages = pages.nest_service(&path, ServeDir::new(folder));
    }
    let base = serve(pages).await?;
    let installed = find(Browser::Chrome)?;
    let mut session = open(&installed, false, &base).await?;
    session.goto(&format!("{base}/peers/index.html")).await?;

    let mut report = json!({
        "browser": session.info().browser_name, "version": session.info().browser_version, "flags": session.info().flags,
        "cores": std::thread::available_parallelism().map_or(1, usize::from),
    });
    if let Some(language) = &language {
        report["generate"] = generate(&mut session, language, arguments.rounds).await?;
    }
    if let Some(sentences) = &sentences {
        report["embed"] = embed(&mut session, sentences, arguments.rounds).await?;
    }
    let mut encoded = Vec::new();
    if wanted("encode") {
        for (model, prepared) in &encoders {
            let base = format!("/made/{}", model.name);
            let run = encode::encode(
                &mut session,
                "wasm",
                model,
                prepared,
                &base,
                arguments.rounds,
            );
            encoded.push(run.await?);
        }
    }
    report["encode"] = encoded.into();
    session.close().await;
    if wanted("webnn") {
        report["webnn"] = on_webnn(&encoders, &base, arguments.rounds).await?;
    }
    if arguments.json {
        println!("{}", serde_json::to_string_pretty(&report)?);
    } else {
        print(&report);
    }
    Ok(())
}

/// The same encoders on WebNN, or why that cannot be had here.
async fn on_webnn(
    encoders: &[(ModelFiles, encoder::Prepared)],
    base: &str,
    rounds: usize,
) -> Result<Value> {
    let installed = match find(Browser::Shell) {
        Ok(installed) => installed,
        Err(error) => return Ok(json!({ "unavailable": error.to_string() })),
    };
    let options = SessionOptions {
        webnn: true,
        ..SessionOptions::default()
    };
    let mut session = Session::open(&installed, &options, base).await?;
    session.goto(&format!("{base}/peers/index.html")).await?;
    let mut encoded = Vec::new();
    for (model, prepared) in encoders {
        if ON_WEBNN.contains(&model.name.as_str()) {
            let base = format!("/made/{}", model.name);
            let run = encode::encode(&mut session, "webnn", model, prepared, &base, rounds);
            encoded.push(run.await?);
        }
    }
    let info = session.info().clone();
    session.close().await;
    Ok(json!({
        "browser": info.browser_name, "version": info.browser_version, "flags": info.flags, "encode": encoded,
    }))
}

fn arguments() -> Result<Arguments> {
    let mut found = Arguments {
        json: false,
        only: None,
        rounds: ROUNDS,
    };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--json" => found.json = true,
            "--only" => {
                let only = words.next().context(ONLY)?;
                ensure!(
                    ["generate", "embed", "encode", "webnn"].contains(&only.as_str()),
                    ONLY
                );
                found.only = Some(only);
            }
            "--rounds" => {
                found.rounds = words.next().context("--rounds takes a number")?.parse()?
            }
            other => bail!(
                "`{other}` is unknown: bench-peers [--json] [--only generate|embed|encode|webnn] [--rounds N]"
            ),
        }
    }
    Ok(found)
}

fn model(store: &Store, name: &str) -> Result<ModelFiles> {
    store
        .resolve(name, &|_| Ok(()))
        .with_context(|| format!("the model {name}"))
}

fn path_of(model: &ModelFiles) -> String {
    format!("/models/{}", model.name)
}

fn listed(model: &ModelFiles) -> Value {
    json!({ "name": model.name, "base": format!("{}/", path_of(model)), "files": model.job_files() })
}

async fn call(
    session: &mut Session,
    function: &str,
    input: Value,
    limit: Duration,
) -> Result<Value> {
    let what = format!("{function} {}", input["name"].as_str().unwrap_or_default());
    session
        .work(
            &format!("return await window.peers.{function}(input);"),
            input,
            limit,
        )
        .await
        .context(what)
}

/// The text is the same for both; its first words differ from run to run, so that nothing of it is in a cache.
fn prompt(run: usize) -> String {
    let opening = [
        "Yesterday",
        "Tomorrow",
        "Tonight",
        "Once",
        "Sometimes",
        "Never",
        "Often",
        "Always",
    ][run % 8];
    let story = "the old lighthouse keeper climbed the stairs and looked out over the grey sea, where three small boats \
        were coming home with the tide. He counted them twice, as he had done every evening for thirty years, and wrote \
        the number into a book with a worn leather cover. Then he trimmed the lamp, poured himself a cup of tea, and sat \
        down to read the letter that the postman had brought that morning. It was from his sister, who lived far away in \
        a city of glass and steel, and it began with a question that he had been afraid of since the day she left.";
    format!("{opening} {story}")
}

async fn generate(session: &mut Session, language: &ModelFiles, rounds: usize) -> Result<Value> {
    let names = ["fewbit:generate", "wllama:generate"];
    let mut loads = Vec::new();
    for name in names {
        loads.push(
            call(
                session,
                "load",
                json!({ "name": name, "model": listed(language) }),
                LOAD,
            )
            .await?,
        );
    }
    let mut runs: [Vec<Value>; 2] = [Vec::new(), Vec::new()];
    // A warm-up each, then the turns.
    let turns = [0, 1]
        .into_iter()
        .chain((0..rounds).flat_map(|_| [0, 1, 1, 0]));
    for (turn, which) in turns.enumerate() {
        let input = json!({ "name": names[which], "prompt": prompt(turn), "tokens": TOKENS });
        let run = call(session, "generate", input, RUN).await?;
        eprintln!(
            "{}{}: {} prompt tokens, prefill {:.1}/s, decode {:.1}/s",
            names[which],
            if turn < 2 { " (warm-up)" } else { "" },
            run["promptTokens"],
            run["prefillPerSecond"].as_f64().unwrap_or(f64::NAN),
            run["decodePerSecond"].as_f64().unwrap_or(f64::NAN)
        );
        if turn >= 2 {
            runs[which].push(run);
        }
    }
    for name in names {
        call(session, "close", json!({ "name": name }), RUN).await?;
    }
    let rate =
        |which: usize, name: &str| median(runs[which].iter().filter_map(|run| run[name].as_f64()));
    let [ours, theirs] = [0, 1].map(|which| {
        json!({
            "prefill": rate(which, "prefillPerSecond"),
            "decode": rate(which, "decodePerSecond"),
            "load": loads[which],
        })
    });
    Ok(json!({
        "model": language.name, "fewbit": ours, "wllama": theirs,
        "ratio": { "prefill": ratio(&ours["prefill"], &theirs["prefill"]), "decode": ratio(&ours["decode"], &theirs["decode"]) },
        "runs": { "fewbit": runs[0], "wllama": runs[1] },
    }))
}

/// The same ONNX file in both.
async fn embed(session: &mut Session, sentences: &ModelFiles, rounds: usize) -> Result<Value> {
    let names = ["fewbit:embed", "onnxruntime-web:embed"];
    let mut loads = Vec::new();
    for name in names {
        loads.push(
            call(
                session,
                "load",
                json!({ "name": name, "model": listed(sentences) }),
                LOAD,
            )
            .await?,
        );
    }
    // 126 words of one token each, and the two that the tokenizer adds.
    let text = ["river"; 126].join(" ");
    let first = call(
        session,
        "embed",
        json!({ "name": names[0], "text": text }),
        RUN,
    )
    .await?;
    let ids = first["ids"].clone();
    ensure!(
        ids.as_array().is_some_and(|ids| ids.len() == 128),
        "the text became {} tokens",
        ids.as_array().map_or(0, Vec::len)
    );
    let mut times: [Vec<f64>; 2] = [Vec::new(), Vec::new()];
    let mut vectors = [Value::Null, Value::Null];
    for which in (0..rounds).flat_map(|_| [0, 1, 1, 0]) {
        for turn in 0..EMBEDDINGS {
            let input = json!({ "name": names[which], "text": text, "ids": ids });
            let run = call(session, "embed", input, RUN).await?;
            if turn > 0 {
                times[which].push(run["ms"].as_f64().context("no time")?);
            }
            vectors[which] = run["vector"].clone();
        }
    }
    for name in names {
        call(session, "close", json!({ "name": name }), RUN).await?;
    }
    let [ours, theirs] = times.each_ref().map(|times| median(times.iter().copied()));
    Ok(json!({
        "model": sentences.name, "tokens": 128,
        "fewbit": { "ms": ours, "load": loads[0] }, "onnxruntime-web": { "ms": theirs, "load": loads[1] },
        "ratio": ratio(&json!(theirs), &json!(ours)), "cosine": cosine(&vectors[0], &vectors[1]),
        "runs": { "fewbit": times[0], "onnxruntime-web": times[1] },
    }))
}

fn median(values: impl Iterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => None,
        count if count % 2 == 1 => Some(values[middle]),
        _ => Some((values[middle - 1] + values[middle]) / 2.0),
    }
}

fn ratio(above: &Value, below: &Value) -> Option<f64> {
    Some(above.as_f64()? / below.as_f64()?)
}

fn cosine(a: &Value, b: &Value) -> Option<f64> {
    let numbers = |value: &Value| -> Option<Vec<f64>> {
        value.as_array()?.iter().map(Value::as_f64).collect()
    };
    let (a, b) = (numbers(a)?, numbers(b)?);
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| x * y).sum::<f64>();
    (a.len() == b.len()).then(|| dot(&a, &b) / (dot(&a, &a) * dot(&b, &b)).sqrt())
}

fn print(report: &Value) {
    let number = |value: &Value| {
        value
            .as_f64()
            .map_or("-".into(), |value| format!("{value:.1}"))
    };
    println!(
        "{} {}, one thread each",
        report["browser"].as_str().unwrap_or_default(),
        report["version"].as_str().unwrap_or_default()
    );
    let generate = &report["generate"];
    if generate.is_object() {
        println!(
            "\n{:<34}{:>10}{:>10}{:>8}",
            format!(
                "{} (tokens/s)",
                generate["model"].as_str().unwrap_or_default()
            ),
            "fewbit",
            "wllama",
            "ratio"
        );
        for what in ["prefill", "decode"] {
            let [ours, theirs, ratio] =
                ["fewbit", "wllama", "ratio"].map(|who| number(&generate[who][what]));
            println!("{what:<34}{ours:>10}{theirs:>10}{ratio:>8}");
        }
    }
    let embed = &report["embed"];
    if embed.is_object() {
        println!(
            "\n{:<40}{:>10}{:>10}{:>8}",
            "all-minilm-l6-v2-int8, 128 tokens (ms)", "fewbit", "ort-web", "ratio"
        );
        let [ours, theirs] = ["fewbit", "onnxruntime-web"].map(|who| number(&embed[who]["ms"]));
        println!(
            "{:<40}{ours:>10}{theirs:>10}{:>8}",
            "one text",
            embed["ratio"]
                .as_f64()
                .map_or("-".into(), |ratio| format!("{ratio:.2}"))
        );
        println!(
            "cosine of the two embeddings {:.5}",
            embed["cosine"].as_f64().unwrap_or(f64::NAN)
        );
    }
    if let Some(encoders) = report["encode"].as_array().filter(|all| !all.is_empty()) {
        encode::print("encoders (ms)", encoders);
    }
    let webnn = &report["webnn"];
    if let Some(reason) = webnn["unavailable"].as_str() {
        println!("\nWebNN: unavailable: {reason}");
    }
    if let Some(encoders) = webnn["encode"].as_array() {
        let browser = ["browser", "version"].map(|what| webnn[what].as_str().unwrap_or_default());
        encode::print(&format!("WebNN (ms), {}", browser.join(" ")), encoders);
    }
}
