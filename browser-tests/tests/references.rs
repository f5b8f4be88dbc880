//! `fewbit verify` in each browser, for every carried reference: what it says of a target is what its page computes.

use anyhow::{Context, Result, ensure};
use fewbit_browser_tests::{browsers, fixtures, package};
use fewbit_host::browser::{BrowserOptions, BrowserRunner};
use fewbit_host::runner::Runner;
use fewbit_host::serve::{Config, Folders, start};
use fewbit_host::store::{Manifest, Store};
use fewbit_host::target::BrowserBackend;
use fewbit_host::verify::Reference;
use fewbit_host::verify::folder::FolderReference;

#[tokio::test(flavor = "multi_thread")]
async fn each_browser_computes_what_the_references_say() -> Result<()> {
    const TEST: &str = "each_browser_computes_what_the_references_say";
    if package(TEST).is_none() {
        return Ok(());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures())? {
        names.push(entry?.path());
    }
    names.sort();
    ensure!(names.len() > 10, "{names:?}");
    // No model of the store is asked for.
    let store = Store::at(fixtures().join("none"), Manifest::built_in()?);
    let mut config = Config::new(store.clone());
    config.folders = Some(Folders::find()?);
    let pages = start(config).await?;
    for installed in browsers(TEST)? {
        let (browser, backend) = (installed.browser, BrowserBackend::Wasm);
        let options = BrowserOptions::default();
        let mut runner = BrowserRunner::new(browser, backend, &pages, options);
        for folder in &names {
            let what = format!("{} in {}", folder.display(), browser.name());
            let files = store.resolve(&folder.to_string_lossy(), &|_| Ok(()))?;
            let reference = Reference::Folder(Box::new(FolderReference::read(folder)?));
            runner
                .load(&files, &Default::default(), &|_| {})
                .await
                .with_context(|| what.clone())?;
            let findings = reference.check(&mut runner, None).await;
            let findings = findings.with_context(|| what.clone())?;
            ensure!(findings.hold(), "{what}: {:?}", findings.rows);
        }
        runner.dispose().await?;
        println!("{}: {} references", browser.name(), names.len());
    }
    Ok(())
}
