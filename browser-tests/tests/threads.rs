//! The wasm build with threads: the same tokens by several workers over one memory, where a page may share memory;
//! one thread and the reason where it may not.

use anyhow::{Result, ensure};
use fewbit_browser_tests::{
    ISOLATED, browsers, listed, open, package, reference_ids, serve_with, site, with_package,
};
use fewbit_host::browser::Probe;
use serde_json::json;

const RUN: &str = "
  const model = await load(input.source, { backend: 'wasm', threads: input.threads });
  const rounds = [];
  for (let round = 0; round < 2; round += 1) {
    const { ids } = await model.generate(input.prompt, { maxTokens: input.tokens, temperature: 0, ignoreEos: true }).result;
    rounds.push(ids);
  }
  const { info } = model;
  model.dispose();
  return { rounds, info };";

#[tokio::test(flavor = "multi_thread")]
async fn threads_change_no_token() -> Result<()> {
    const TEST: &str = "threads_change_no_token";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    if !package.join("wasm/threads").is_dir() {
        eprintln!("{TEST}: skipped: cargo xtask build --only wasm --variant threads was not run");
        return Ok(());
    }
    let isolated = serve_with(site(&package), &ISOLATED).await?;
    let open_page = serve_with(site(&package), &[]).await?;
    for installed in browsers(TEST)? {
        let browser = installed.browser.name();
        for (base, may_share) in [(&isolated, true), (&open_page, false)] {
            let mut session = open(&installed, false, base).await?;
            session.goto(base).await?;
            let features = Probe::new(&mut session).await?.features;
            let can = may_share && features.shared_memory && features.relaxed_simd;
            for name in ["llama", "qwen2"] {
                let (prompt, expected) = reference_ids(name)?;
                let input = json!({
                    "source": listed(name)?, "prompt": prompt, "tokens": expected.len(), "threads": 3,
                });
                let found = with_package(&mut session, RUN, input).await?;
                let info = &found["info"];
                let threads = &info["threads"];
                ensure!(
                    found["rounds"] == json!([expected, expected]),
                    "{browser}, {name}, {threads}: {} instead of {expected:?}",
                    found["rounds"]
                );
                ensure!(threads["asked"] == 3, "{browser}: {threads}");
                if can {
                    ensure!(
                        threads["got"] == 3 && info["variant"] == "threads",
                        "{browser}: {info}"
                    );
                } else {
                    let reason = threads["reason"].as_str().unwrap_or_default();
                    ensure!(
                        threads["got"] == 1 && !reason.is_empty() && info["variant"] != "threads",
                        "{browser}: {info}"
                    );
                }
                println!("{browser}, {name}: {} with {threads}", info["variant"]);
            }
            session.close().await;
        }
    }
    Ok(())
}
