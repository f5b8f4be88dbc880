//! The npm package in a page: imported in each browser and from another origin, bundled by Vite, and aborted.

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use fewbit_browser_tests::{
    LIMIT, browsers, listed, open, package, reference_ids, serve, serve_with, site, with_package,
};
use serde_json::{Value, json};
use tower_http::services::ServeDir;

#[tokio::test(flavor = "multi_thread")]
async fn each_browser_generates_what_the_reference_does() -> Result<()> {
    const TEST: &str = "each_browser_generates_what_the_reference_does";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let (prompt, expected) = reference_ids("llama")?;
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let input =
            json!({ "source": listed("llama")?, "prompt": prompt, "tokens": expected.len() });
        let body = "const model = await load(input.source, { backend: 'wasm' });
            const answer = model.generate(input.prompt, { maxTokens: input.tokens, temperature: 0, ignoreEos: true });
            const streamed = [];
            for await (const token of answer) streamed.push(token.id);
            const result = await answer.result;
            const options = { maxTokens: input.tokens, temperature: 0, ignoreEos: true };
            const alone = (await model.generate([5, 6, 7], options).result).ids;
            const batch = model.generateBatch([[5, 6, 7], input.prompt], options);
            const rows = [[], []];
            for await (const { row, id } of batch) rows[row].push(id);
            const together = (await batch.result).map(({ ids }) => ids);
            let none = 'nothing';
            try { await model.generateBatch([]).result; } catch (error) { none = error.code; }
            const { info } = model;
            model.dispose();
            let after = 'nothing';
            try { await model.generate([1], { maxTokens: 1 }).result; } catch (error) { after = error.code; }
            return { streamed, ids: result.ids, finish: result.finishReason, info, after, alone, rows, together, none };";
        let found = with_package(&mut session, body, input).await?;
        let browser = installed.browser.name();
        ensure!(
            found["ids"] == json!(expected),
            "{browser}: {} instead of {expected:?}",
            found["ids"]
        );
        ensure!(
            found["streamed"] == found["ids"],
            "{browser}: streamed {}",
            found["streamed"]
        );
        ensure!(
            found["together"] == json!([found["alone"], expected])
                && found["rows"] == found["together"]
                && found["none"] == "bad_argument",
            "{browser}: side by side {} and {}, {} by itself; of none {}",
            found["together"],
            found["rows"],
            found["alone"],
            found["none"]
        );
        ensure!(
            found["finish"] == "length" && found["after"] == "disposed",
            "{browser}: {found}"
        );
        ensure!(
            found["info"]["backend"] == "wasm" && found["info"]["architecture"] == "llama",
            "{browser}: {found}"
        );
        println!(
            "{browser}: {} with {}",
            found["info"]["variant"], found["info"]["threads"]
        );
        session.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn auto_says_what_it_chose_and_why() -> Result<()> {
    const TEST: &str = "auto_says_what_it_chose_and_why";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, true, &base).await?;
        session.goto(&base).await?;
        let body = "const model = await load(input, { backend: 'auto' }); const { info } = model; model.dispose(); return info;";
        let info = with_package(&mut session, body, listed("llama")?).await?;
        let hardware = session
            .info()
            .adapter
            .as_ref()
            .is_some_and(|adapter| adapter.software == Some(false));
        let expected = if hardware { "webgpu" } else { "wasm" };
        ensure!(
            info["backend"] == expected,
            "{}: {info}",
            installed.browser.name()
        );
        ensure!(
            info["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{info}"
        );
        println!(
            "{}: {} because {}",
            installed.browser.name(),
            info["backend"],
            info["reason"]
        );
        session.close().await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_stops_within_one_token() -> Result<()> {
    const TEST: &str = "an_abort_stops_within_one_token";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        // The tokens that were made when the signal fired may still arrive, and at most one more.
        let body = "const model = await load(input, { backend: 'wasm' });
            const stop = new AbortController();
            let count = 0, atAbort = null, code = 'none';
            const answer = model.generate([5, 6, 7], { maxTokens: 200, temperature: 0, ignoreEos: true, signal: stop.signal });
            try {
              for await (const _ of answer) {
                count += 1;
                if (count === 5) { stop.abort(); atAbort = count; }
              }
            } catch (error) { code = error.code + ' ' + error.name; }
            const settled = await answer.result.then(() => 'ended', (error) => error.code);
            const again = (await model.generate([5, 6, 7], { maxTokens: 3, temperature: 0, ignoreEos: true }).result).ids.length;
            let early = 'none';
            try { await load(input, { backend: 'wasm', signal: AbortSignal.abort() }); } catch (error) { early = error.code; }
            model.dispose();
            return { count, atAbort, code, settled, again, early };";
        let found = with_package(&mut session, body, listed("llama")?).await?;
        let browser = installed.browser.name();
        ensure!(
            found["code"] == "aborted AbortError" && found["settled"] == "aborted",
            "{browser}: {found}"
        );
        let after = found["count"].as_u64().context("no count")?
            - found["atAbort"].as_u64().context("no abort")?;
        ensure!(after <= 1, "{browser}: {after} tokens after the abort");
        ensure!(
            found["again"] == 3 && found["early"] == "aborted",
            "{browser}: {found}"
        );
        session.close().await;
    }
    Ok(())
}

/// `score` and `forward` look at their messages, an abort among them, between two runs of the model.
#[tokio::test(flavor = "multi_thread")]
async fn score_and_forward_stop_between_runs() -> Result<()> {
    const TEST: &str = "score_and_forward_stop_between_runs";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let body = "const model = await load(input, { backend: 'wasm' });
            const ids = Array.from({ length: 200 }, (_, i) => 1 + i % 50);
            const rows = { input_ids: { type: 'i32', shape: [8, 25], data: new Uint8Array(Int32Array.from(ids).buffer) } };
            const calls = { score: (options) => model.score(ids, options), forward: (options) => model.forward(rows, options) };
            const found = {};
            for (const [name, call] of Object.entries(calls)) {
              // A message that comes while it runs is answered before it ends.
              const order = [];
              const running = call().then((value) => { order.push(name); return value; });
              await Promise.all([running, model.memoryBytes().then(() => order.push('memory'))]);
              const stop = new AbortController();
              const stopped = call({ signal: stop.signal }).then(() => 'ended', (error) => `${error.code} ${error.name}`);
              // What is asked next is the sign that the call is under way; an abort before would not reach the model.
              await model.memoryBytes();
              stop.abort();
              found[name] = { order, stopped: await stopped, again: Boolean(await call()) };
            }
            const { ids: next } = await model.generate([5, 6, 7], { maxTokens: 3, temperature: 0, ignoreEos: true }).result;
            model.dispose();
            return { ...found, next: next.length };";
        let found = with_package(&mut session, body, listed("llama")?).await?;
        let browser = installed.browser.name();
        for name in ["score", "forward"] {
            ensure!(
                found[name]["order"] == json!(["memory", name])
                    && found[name]["stopped"] == "aborted AbortError"
                    && found[name]["again"] == true,
                "{browser}: {found}"
            );
        }
        ensure!(found["next"] == 3, "{browser}: {found}");
        session.close().await;
    }
    Ok(())
}

/// Of an encoder-decoder, a page may have the encoder run alone; without the decoder's ids nothing else can.
#[tokio::test(flavor = "multi_thread")]
async fn forward_computes_the_outputs_asked_for() -> Result<()> {
    const TEST: &str = "forward_computes_the_outputs_asked_for";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let body = "const model = await load(input, { backend: 'wasm', threads: 1 });
            const features = { input_features: { type: 'f32', shape: [1, 80, 200], data: new Uint8Array(4 * 80 * 200) } };
            const told = (run) => run.then((found) => Object.entries(found).map(([name, { shape }]) => [name, shape]), ({ code }) => code);
            const found = {
              encoder: await told(model.forward(features, { outputs: ['encoder_last_hidden_state'] })),
              all: await told(model.forward(features)),
              unknown: await told(model.forward(features, { outputs: ['nothing'] })),
            };
            model.dispose();
            return found;";
        let found = with_package(&mut session, body, listed("whisper")?).await?;
        let browser = installed.browser.name();
        let encoder = json!([["encoder_last_hidden_state", [1, 100, 64]]]);
        ensure!(
            found["encoder"] == encoder
                && found["all"] == "bad_argument"
                && found["unknown"] == "bad_argument",
            "{browser}: {found}"
        );
        session.close().await;
    }
    Ok(())
}

/// A page of one origin, the package from another: the worker comes through a blob.
#[tokio::test(flavor = "multi_thread")]
async fn another_origin_can_import_the_package() -> Result<()> {
    const TEST: &str = "another_origin_can_import_the_package";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let (prompt, expected) = reference_ids("llama")?;
    let cdn = serve_with(
        site(&package),
        &[
            ("access-control-allow-origin", "*"),
            ("cross-origin-resource-policy", "cross-origin"),
        ],
    )
    .await?;
    let base = serve(Router::new().route(
        "/",
        get(async || Html("<!doctype html><title>a test</title>")),
    ))
    .await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let mut source = listed("llama")?;
        source["baseUrl"] = json!(format!("{cdn}/models/llama/"));
        let body = "const { load } = await import(input.cdn + '/fewbit/index.js');
            const model = await load(input.source, { backend: 'wasm' });
            const { ids } = await model.generate(input.prompt, { maxTokens: 8, temperature: 0, ignoreEos: true }).result;
            model.dispose();
            return ids;";
        let input = json!({ "cdn": cdn, "source": source, "prompt": prompt });
        let ids = session
            .work(body, input, LIMIT)
            .await
            .with_context(|| installed.browser.name())?;
        ensure!(
            ids == json!(expected[..8]),
            "{}: {ids}",
            installed.browser.name()
        );
        session.close().await;
    }
    Ok(())
}

/// What a bundler makes of `import { load } from "fewbit"`.
#[tokio::test(flavor = "multi_thread")]
async fn a_vite_app_can_use_the_package() -> Result<()> {
    const TEST: &str = "a_vite_app_can_use_the_package";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    if !here.join("node_modules/vite").is_dir() {
        eprintln!("{TEST}: skipped: no Vite (npm ci --ignore-scripts, in browser-tests/)");
        return Ok(());
    }
    let app = here.join("vite-app");
    let out = std::env::temp_dir().join(format!("fewbit-vite-{}", std::process::id()));
    let built = tokio::process::Command::new("node")
        .arg(here.join("node_modules/vite/bin/vite.js"))
        .args(["build", "--logLevel", "warn", "--emptyOutDir", "--outDir"])
        .arg(&out)
        .current_dir(&app)
        .env("FEWBIT_PACKAGE", package.canonicalize()?)
        .kill_on_drop(true)
        .output();
    let built = tokio::time::timeout(LIMIT, built).await??;
    ensure!(
        built.status.success(),
        "vite: {}",
        String::from_utf8_lossy(&built.stderr)
    );
    let pages = Router::new()
        .nest_service("/models", ServeDir::new(fewbit_browser_tests::fixtures()))
        .fallback_service(ServeDir::new(&out));
    let base = serve(pages).await?;
    let (prompt, expected) = reference_ids("llama")?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let input = json!({ "source": listed("llama")?, "prompt": prompt });
        let ids = session
            .work("return await window.run(input);", input, LIMIT)
            .await
            .with_context(|| installed.browser.name())?;
        ensure!(
            ids == json!(expected[..8]),
            "{}: {ids}",
            installed.browser.name()
        );
        session.close().await;
    }
    let _ = std::fs::remove_dir_all(&out);
    Ok(())
}

/// The shape of an answer is the same for text and for ids.
#[tokio::test(flavor = "multi_thread")]
async fn errors_are_typed() -> Result<()> {
    const TEST: &str = "errors_are_typed";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let body = "const codes = {};
            const attempt = async (name, f) => {
              try { await f(); codes[name] = 'none'; } catch (error) {
                codes[name] = error instanceof FewbitError ? error.code : `${error.name}: ${error.message}`;
              }
            };
            const model = await load(input.source, { backend: 'wasm' });
            await attempt('full', () => model.generate(Array(300).fill(1), { maxTokens: 1 }).result);
            await attempt('embed', () => model.embed(['text']));
            await attempt('id', () => model.generate([100000], { maxTokens: 1 }).result);
            model.dispose();
            await attempt('missing', () => load({ ...input.source, files: [{ name: 'model.safetensors' }, { name: 'config.json' }], baseUrl: '/models/nothing/' }, { backend: 'wasm' }));
            await attempt('rubbish', () => load([{ name: 'model.gguf', data: new TextEncoder().encode('GGUF rubbish').buffer }], { backend: 'wasm' }));
            return codes;";
        let codes: Value =
            with_package(&mut session, body, json!({ "source": listed("llama")? })).await?;
        let browser = installed.browser.name();
        ensure!(codes["full"] == "context_full", "{browser}: {codes}");
        ensure!(codes["rubbish"] == "bad_model", "{browser}: {codes}");
        ensure!(
            codes["missing"] == "http" || codes["missing"] == "not_found",
            "{browser}: {codes}"
        );
        for name in ["embed", "id"] {
            let code = codes[name].as_str().unwrap_or_default();
            ensure!(
                ["unsupported", "bad_argument", "bad_model"].contains(&code),
                "{browser}: {name}: {codes}"
            );
        }
        session.close().await;
    }
    Ok(())
}
