//! Opens a browser, says so, and holds it open until it is ended from outside: what `tests/endings.rs` ends in all the
//! ways a command can end.

use anyhow::{Result, bail};
use axum::Router;
use axum::routing::get;
use fewbit_browser_tests::{open, serve};
use fewbit_host::browser::find;
use fewbit_host::target::Browser;

#[tokio::main]
async fn main() -> Result<()> {
    let mut words = std::env::args().skip(1);
    let (Some(name), Some(ending)) = (words.next(), words.next()) else {
        bail!("hold-browser BROWSER wait|fail|exit|panic");
    };
    let browser = Browser::ALL
        .into_iter()
        .find(|browser| browser.name() == name);
    let Some(browser) = browser else {
        bail!("no browser is called {name}")
    };
    let page = serve(Router::new().route("/", get(async || "a page"))).await?;
    let mut session = open(&find(browser)?, false, &page).await?;
    session.goto(&page).await?;
    println!("open");
    match ending.as_str() {
        "fail" => bail!("on purpose"),
        "exit" => std::process::exit(3),
        "panic" => panic!("on purpose"),
        _ => std::future::pending::<()>().await,
    }
    Ok(())
}
