//! `device.destroy()` in the midst of a generation: the text goes on with the same tokens.

use anyhow::{Result, ensure};
use fewbit_browser_tests::{
    browsers, listed, open, package, reference_ids, serve, site, with_package,
};
use serde_json::json;

const RUN: &str = "
  const model = await load(input.source, { backend: 'webgpu' });
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
  return { ids, whole, lost, backend, adapter: adapter?.name };";

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_device_changes_no_token() -> Result<()> {
    const TEST: &str = "a_lost_device_changes_no_token";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let base = serve(site(&package)).await?;
    for installed in browsers(TEST)? {
        let browser = installed.browser.name();
        let mut session = open(&installed, true, &base).await?;
        if session.info().adapter.is_none() {
            eprintln!(
                "{TEST}: skipped in {browser}: {}",
                session.info().no_adapter.as_deref().unwrap_or("no adapter")
            );
            session.close().await;
            continue;
        }
        session.goto(&base).await?;
        for name in ["llama", "qwen2"] {
            let (prompt, expected) = reference_ids(name)?;
            for lose_after in [vec![], vec![3], vec![2, 9]] {
                let input = json!({
                    "source": listed(name)?, "prompt": prompt, "tokens": expected.len(), "loseAfter": lose_after,
                });
                let found = with_package(&mut session, RUN, input).await?;
                ensure!(found["backend"] == "webgpu", "{browser}: {found}");
                ensure!(
                    found["lost"] == lose_after.len(),
                    "{browser}: {} losses of {lose_after:?}",
                    found["lost"]
                );
                ensure!(
                    found["ids"] == json!(expected),
                    "{browser}, {name}, lost after {lose_after:?}: {} instead of {expected:?}",
                    found["ids"]
                );
                ensure!(found["whole"] == found["ids"], "{browser}: {found}");
            }
        }
        session.close().await;
    }
    Ok(())
}
