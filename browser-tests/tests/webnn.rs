//! The back end on a browser's own WebNN, in the build of Chromium that has it.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::{fixtures, listed, package, reference_ids, serve, site, with_package};
use fewbit_engine::format::Checkpoint;
use fewbit_engine::graph::op::{Extension, Op, Unary};
use fewbit_engine::graph::{Dim, GraphBuilder};
use fewbit_engine::session::WeightSource;
use fewbit_engine::tensor::DataType;
use fewbit_host::browser::{BrowserOptions, BrowserRunner, Session, SessionOptions, find};
use fewbit_host::runner::Runner;
use fewbit_host::serve::{Config, Folders, start};
use fewbit_host::store::{Manifest, Store};
use fewbit_host::target::{Browser, BrowserBackend};
use fewbit_host::verify::Reference;
use fewbit_host::verify::folder::FolderReference;
use serde_json::json;

/// Whether the package is built, with the module for WebNN, and the shell is there; otherwise says why `test` is skipped.
fn ready(test: &str) -> bool {
    let Some(folder) = package(test) else {
        return false;
    };
    if !folder.join("wasm/webnn").is_dir() {
        eprintln!("{test}: skipped: dist/web/wasm/webnn is not built (cargo xtask build)");
        return false;
    }
    match find(Browser::Shell) {
        Ok(_) => true,
        Err(error) => {
            eprintln!("{test}: skipped: {error}");
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn webnn_computes_what_the_references_say() -> Result<()> {
    const TEST: &str = "webnn_computes_what_the_references_say";
    if !ready(TEST) {
        return Ok(());
    }
    let mut folders = Vec::new();
    for entry in std::fs::read_dir(fixtures())? {
        folders.push(entry?.path());
    }
    folders.sort();
    let store = Store::at(fixtures().join("none"), Manifest::built_in()?);
    let mut config = Config::new(store.clone());
    config.folders = Some(Folders::find()?);
    let pages = start(config).await?;
    let options = BrowserOptions::default();
    let mut runner = BrowserRunner::new(Browser::Shell, BrowserBackend::Webnn, &pages, options);
    for folder in &folders {
        let name = folder.file_name().map(Path::new).unwrap_or(folder);
        let what = || name.display().to_string();
        let files = store.resolve(&folder.to_string_lossy(), &|_| Ok(()))?;
        let reference = Reference::Folder(Box::new(FolderReference::read(folder)?));
        let info = runner.load(&files, &Default::default(), &|_| {}).await;
        let info = info.with_context(what)?;
        ensure!(info.backend == "webnn", "{}: {}", what(), info.backend);
        let findings = reference.check(&mut runner, None).await;
        let findings = findings.with_context(what)?;
        ensure!(findings.hold(), "{}: {:?}", what(), findings.rows);
    }
    runner.dispose().await?;
    println!("{} references", folders.len());
    Ok(())
}

const RUN: &str = "
  const model = await load(input.source, { backend: 'webnn' });
  const answer = model.generate(input.prompt, { maxTokens: input.tokens, temperature: 0, ignoreEos: true });
  const ids = [];
  let lost = 0;
  for await (const token of answer) {
    ids.push(token.id);
    if (input.loseAfter.includes(ids.length)) lost += (await model.debug.loseDevice()) ? 1 : 0;
  }
  const { ids: whole } = await answer.result;
  const { backend, adapter } = model.info;
  model.dispose();
  return { ids, whole, lost, backend, device: adapter?.name };";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_context_changes_no_token() -> Result<()> {
    const TEST: &str = "a_lost_context_changes_no_token";
    if !ready(TEST) {
        return Ok(());
    }
    let folder = package(TEST).context("it was there a moment ago")?;
    let base = serve(site(&folder)).await?;
    let options = SessionOptions {
        webnn: true,
        ..SessionOptions::default()
    };
    let mut session = Session::open(&find(Browser::Shell)?, &options, &base).await?;
    session.goto(&base).await?;
    for name in ["llama", "qwen2"] {
        let (prompt, expected) = reference_ids(name)?;
        for lose_after in [vec![], vec![3], vec![2, 9]] {
            let input = json!({
                "source": listed(name)?, "prompt": prompt, "tokens": expected.len(), "loseAfter": lose_after,
            });
            let found = with_package(&mut session, RUN, input).await?;
            ensure!(found["backend"] == "webnn", "{found}");
            ensure!(found["lost"] == lose_after.len(), "{found}");
            ensure!(
                found["ids"] == json!(expected) && found["whole"] == found["ids"],
                "{name}, lost after {lose_after:?}: {} instead of {expected:?}",
                found["ids"]
            );
        }
    }
    session.close().await;
    Ok(())
}

/// `y = 2 · atan(exp(x))`: WebNN has no `atan`.
fn with_atan() -> Result<Vec<u8>> {
    let mut b = GraphBuilder::new();
    let x = b.input("x", DataType::F32, vec![Dim::from(2), Dim::from(3)])?;
    let large = b.unary(Unary::Exp, x)?;
    let angle = b.op(Op::Extension(Extension::Atan), &[large])?;
    let two = b.number(2.0)?;
    let y = b.mul(angle, two)?;
    b.output("y", y)?;
    let source = WeightSource {
        checkpoint: Checkpoint::default(),
        files: Vec::new(),
    };
    Ok(pollster::block_on(fewbit_onnx::export(
        &b.finish(),
        &source,
    ))?)
}

/// By itself WebNN refuses, with the operator's name; with wasm beside it, where that is asked for, the rest stays on WebNN.
#[tokio::test(flavor = "multi_thread")]
async fn what_webnn_refuses_runs_beside_it_where_asked_for() -> Result<()> {
    const TEST: &str = "what_webnn_refuses_runs_beside_it_where_asked_for";
    if !ready(TEST) {
        return Ok(());
    }
    let folder = package(TEST).context("it was there a moment ago")?;
    let base = serve(site(&folder)).await?;
    let options = SessionOptions {
        webnn: true,
        ..SessionOptions::default()
    };
    let mut session = Session::open(&find(Browser::Shell)?, &options, &base).await?;
    session.goto(&base).await?;
    let x = [0.5_f32, -1.0, 2.0, 0.0, 0.25, -30.0];
    let script = "
      const file = new File([Uint8Array.from(input.bytes)], 'atan.onnx');
      const x = { type: 'f32', shape: [2, 3], data: new Uint8Array(Float32Array.from(input.x).buffer) };
      const told = {};
      for (const backend of ['webnn', 'webnn+wasm']) {
        try {
          const model = await load(file, { backend });
          const { y } = await model.forward({ x });
          told[backend] = { y: [...new Float32Array(y.data.slice().buffer)], backend: model.info.backend, device: model.info.adapter?.name };
          model.dispose();
        } catch (error) { told[backend] = { error: `${error.code}: ${error.message}` }; }
      }
      return told;";
    let input = json!({ "bytes": with_atan()?, "x": x });
    let found = with_package(&mut session, script, input).await?;
    session.close().await;
    let refused = found["webnn"]["error"].as_str().unwrap_or_default();
    ensure!(
        refused.starts_with("unsupported: ") && refused.contains("atan"),
        "{found}"
    );
    let mixed = &found["webnn+wasm"];
    let got = mixed["y"].as_array().context("no output")?.iter();
    let got: Vec<f64> = got.filter_map(serde_json::Value::as_f64).collect();
    let near = |(got, x): (&f64, f32)| (got - 2.0 * f64::from(x).exp().atan()).abs() < 1e-5;
    ensure!(got.len() == 6 && got.iter().zip(x).all(near), "{found}");
    ensure!(mixed["backend"] == "webnn+wasm", "{found}");
    println!("{mixed}");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_webnn_says_so() -> Result<()> {
    const TEST: &str = "a_browser_without_webnn_says_so";
    if !ready(TEST) {
        return Ok(());
    }
    let folder = package(TEST).context("it was there a moment ago")?;
    let base = serve(site(&folder)).await?;
    // The same browser, without the flag.
    let options = SessionOptions::default();
    let mut session = Session::open(&find(Browser::Shell)?, &options, &base).await?;
    session.goto(&base).await?;
    let input = json!({ "source": listed("llama")? });
    let script = "
      try { await load(input.source, { backend: 'webnn' }); return 'loaded'; }
      catch (error) { return `${error.code}: ${error.message}`; }";
    let found = with_package(&mut session, script, input).await?;
    let said = found.as_str().unwrap_or_default();
    ensure!(
        said.starts_with("unavailable: ") && said.contains("WebNN"),
        "{said}"
    );
    session.close().await;
    Ok(())
}
