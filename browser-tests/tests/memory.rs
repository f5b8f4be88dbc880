//! Memory stays flat over loads and generations: with a small checkpoint in every browser, and by hand with a real model.

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::memory::{self, readings};
use fewbit_browser_tests::{browsers, listed, package, serve, site, with_package_within};
use fewbit_host::serve::{Config, Folders, start};
use fewbit_host::store::Store;
use fewbit_host::target::Browser;
use serde_json::{Value, json};

/// Loads, generates and disposes of a model, `input.cycles` times.
const CYCLES: &str = "for (let i = 0; i < input.cycles; i++) {
      const model = await load(input.source, { backend: input.backend, threads: 1 });
      await model.generate([1, 2, 3], { maxTokens: 4, temperature: 0, ignoreEos: true }).result;
      model.dispose();
    }
    return null;";

/// Keeps as many bytes as a worker's wasm memory has, `input.cycles` times: the leak that must be seen.
const LEAK: &str = "const kept = (globalThis.kept ??= []);
    for (let i = 0; i < input.cycles; i++) kept.push(new Uint8Array(input.bytes).fill(1));
    return null;";

/// The wasm memory after each of `input.count` generations.
const GENERATIONS: &str =
    "const model = await load(input.source, { backend: input.backend, threads: 1 });
    const bytes = [(await model.memory()).wasm];
    for (let i = 0; i < input.count; i++) {
      await model.generate([1 + i, 2, 3], { maxTokens: 8, temperature: 0, ignoreEos: true }).result;
      bytes.push((await model.memory()).wasm);
    }
    const { gpu } = await model.memory();
    model.dispose();
    return { bytes, gpu };";

#[tokio::test(flavor = "multi_thread")]
async fn memory_stays_flat() -> Result<()> {
    const TEST: &str = "memory_stays_flat";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    if !cfg!(target_os = "linux") {
        eprintln!("{TEST}: skipped: only Linux tells the private memory of processes");
        return Ok(());
    }
    let source = listed("llama")?;
    let model: u64 = source["files"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|file| file["bytes"].as_u64())
        .sum();
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let browser = installed.browser;
        let webgpu = browser == Browser::Chrome;
        let backends = if webgpu {
            &["wasm", "webgpu"][..]
        } else {
            &["wasm"]
        };
        for backend in backends {
            let name = format!("{}:{backend}", browser.name());
            let mut session = memory::open(&installed, *backend == "webgpu", &base).await?;
            session.goto(&base).await?;
            let mut input = json!({ "source": source, "backend": backend, "count": 50 });
            let wasm = with_package_within(&mut session, GENERATIONS, input.clone(), memory::LIMIT)
                .await?;
            let wasm = generations(&wasm)?;
            ensure!(
                wasm[50] == wasm[5],
                "{name}: wasm memory grew with generations: {wasm:?}"
            );

            let found = readings(&mut session, CYCLES, &input, 10, 10, 5).await?;
            println!("{name}: wasm {} bytes; {found}", wasm[50]);
            input["bytes"] = wasm[50].into();
            let leak = readings(&mut session, LEAK, &input, 0, 10, 3).await?;
            println!("{name}: with a leak of {} bytes a cycle {leak}", wasm[50]);
            // A model a cycle: a worker that is not let go keeps some times that, and what a browser's collector leaves
            // for later (WebKit's cannot be called) is less.
            let limit = model as f64;
            ensure!(
                leak.growth() > limit,
                "{name}: the measure does not see a leak: {leak}"
            );
            ensure!(found.growth() < limit, "{name}: memory grows: {found}");
            session.close().await;
        }
    }
    Ok(())
}

/// The same with SmolLM2, as `docs/browser-tests.md` tells; and on WebGPU the file is never in wasm memory as a whole.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes and a model of 98 MB: cargo test -p fewbit-browser-tests --test memory -- --ignored --nocapture"]
async fn a_real_model_leaves_memory_flat() -> Result<()> {
    const TEST: &str = "a_real_model_leaves_memory_flat";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let store = Store::open()?;
    let model = tokio::task::spawn_blocking({
        let store = store.clone();
        move || store.resolve("smollm2-135m-instruct", &|_| Ok(()))
    })
    .await??;
    let file: u64 = model.files.iter().map(|file| file.bytes).sum();
    let mut config = Config::new(store);
    let mut folders = Folders::find()?;
    folders.web = package;
    config.folders = Some(folders);
    let host = start(config).await?;
    let page = host.page_model(&model);
    let files = serde_json::to_value(&page.files)?;
    let source = json!({ "name": page.name, "baseUrl": page.base, "files": files });
    for installed in browsers(TEST)? {
        let wanted = std::env::var("FEWBIT_BACKENDS").unwrap_or_else(|_| "wasm,webgpu".into());
        for backend in wanted.split(',') {
            let name = format!("{}:{backend}", installed.browser.name());
            let webgpu = backend == "webgpu";
            let mut session =
                memory::open(&installed, webgpu, &format!("{}/runner", host.url())).await?;
            if webgpu && session.info().adapter.is_none() {
                println!("{name}: unsupported: {:?}", session.info().no_adapter);
                session.close().await;
                continue;
            }
            session.goto(&format!("{}/runner", host.url())).await?;
            let input = json!({ "source": source, "backend": backend, "count": 50 });
            let found =
                with_package_within(&mut session, GENERATIONS, input.clone(), memory::LIMIT)
                    .await?;
            let wasm = generations(&found)?;
            println!(
                "{name}: the file has {file} bytes; wasm memory {} after loading, {} after 50 generations; on the GPU {}",
                wasm[0], wasm[50], found["gpu"]
            );
            ensure!(
                wasm[50] == wasm[5],
                "{name}: wasm memory grew with generations: {wasm:?}"
            );
            // wasm memory never shrinks, so this is the most it ever was.
            ensure!(
                !webgpu || wasm[50] < file / 2,
                "{name}: {} bytes of wasm memory for a file of {file}",
                wasm[50]
            );
            let cycles = readings(&mut session, CYCLES, &input, 4, 4, 5).await?;
            println!("{name}: {cycles}");
            ensure!(
                cycles.growth() < file as f64 / 20.0,
                "{name}: memory grows: {cycles}"
            );
            session.close().await;
        }
    }
    Ok(())
}

fn generations(found: &Value) -> Result<Vec<u64>> {
    serde_json::from_value(found["bytes"].clone()).context("no readings of the wasm memory")
}
