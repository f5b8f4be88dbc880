//! `fewbit demo --headless`: the demo page in a headless browser, from the model's download to streamed tokens.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use super::serve;
use crate::browser::{Session, SessionOptions, find};
use crate::target::Browser;

/// Arguments of `fewbit demo`.
#[derive(Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Without a window; with one, use `fewbit serve --open`.
    #[arg(long, required = true)]
    headless: bool,
    /// Where the page computes: auto, webgpu or wasm.
    #[arg(long, default_value = "auto", value_parser = ["auto", "webgpu", "wasm"])]
    backend: String,
    /// A model of the manifest.
    #[arg(long, default_value = "smollm2-135m-instruct")]
    model: String,
    /// What the model is asked.
    #[arg(long, default_value = "Tell me a short story about a lighthouse.")]
    prompt: String,
    /// Tokens to make at most.
    #[arg(long, default_value_t = 64)]
    max_tokens: usize,
    /// Tokens that must have come, or the command fails.
    #[arg(long, default_value_t = 32)]
    at_least: usize,
    /// Where the picture of the page goes.
    #[arg(long, value_name = "FILE")]
    screenshot: Option<PathBuf>,
    /// Seconds for all of it.
    #[arg(long, default_value_t = 300)]
    timeout: u64,
}

/// What the page tells of itself (`window.fewbitDemo`).
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct State {
    state: String,
    stage: Option<String>,
    error: Option<PageError>,
    text: String,
    tokens: usize,
    info: Option<Value>,
    timings: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct PageError {
    code: String,
    message: String,
}

pub(crate) async fn run(arguments: DemoArgs) -> anyhow::Result<ExitCode> {
    debug_assert!(arguments.headless);
    let began = Instant::now();
    let pages = serve::for_runs(None).await?;
    if let Some(missing) = pages.package_missing() {
        bail!("{missing}");
    }
    let installed = find(Browser::Chrome)?;
    let options = SessionOptions {
        // A page that chooses by itself must find what there is.
        webgpu: arguments.backend != "wasm",
        ..SessionOptions::default()
    };
    let mut session =
        Session::open(&installed, &options, &format!("{}/runner", pages.url())).await?;
    let opened = began.elapsed();
    let outcome = watch(&mut session, &pages.url(), &arguments, began).await;
    if let Some(path) = &arguments.screenshot {
        save_screenshot(&mut session, path).await?;
    }
    let info = session.info().clone();
    session.close().await;
    let state = outcome?;

    println!();
    println!("{}", "-".repeat(60));
    println!(
        "browser      {} {} (started in {:.1} s)",
        info.browser_name,
        info.browser_version,
        opened.as_secs_f32()
    );
    print_info(&state);
    println!(
        "tokens       {} in {:.1} s from the start of this command",
        state.tokens,
        began.elapsed().as_secs_f32()
    );
    for (name, key, unit) in [
        ("first token", "timeToFirstToken", "ms"),
        ("prefill", "prefillTokensPerSecond", "tokens/s"),
        ("decode", "decodeTokensPerSecond", "tokens/s"),
    ] {
        if let Some(value) = state
            .timings
            .as_ref()
            .and_then(|timings| timings[key].as_f64())
        {
            println!("{name:<12} {value:.1} {unit}");
        }
    }
    if let Some(path) = &arguments.screenshot {
        println!("screenshot   {}", path.display());
    }
    if state.tokens < arguments.at_least {
        bail!(
            "only {} tokens came, {} were wanted",
            state.tokens,
            arguments.at_least
        );
    }
    Ok(ExitCode::SUCCESS)
}

/// Opens the page so that it loads the model and answers at once, and prints the text as it comes.
async fn watch(
    session: &mut Session,
    url: &str,
    arguments: &DemoArgs,
    began: Instant,
) -> anyhow::Result<State> {
    let query: String = [
        ("model", arguments.model.as_str()),
        ("backend", arguments.backend.as_str()),
        ("prompt", arguments.prompt.as_str()),
        ("max_tokens", &arguments.max_tokens.to_string()),
    ]
    .iter()
    .map(|(name, value)| format!("{name}={}&", percent_encode(value)))
    .collect();
    session.goto(&format!("{url}/?{query}run")).await?;
    let limit = Duration::from_secs(arguments.timeout);
    let mut printed = 0;
    let mut stage = String::new();
    loop {
        let told = session
            .evaluate("return JSON.stringify(window.fewbitDemo ?? null)", vec![])
            .await?;
        let state: Option<State> = serde_json::from_str(told.as_str().unwrap_or("null"))
            .context("the page's state could not be read")?;
        let state = state.unwrap_or_default();
        if let Some(now) = &state.stage
            && *now != stage
        {
            stage.clone_from(now);
            eprintln!("{:6.1} s  {}", began.elapsed().as_secs_f32(), plain(now));
        }
        if let Some(fresh) = state.text.get(printed..)
            && !fresh.is_empty()
        {
            use std::io::Write;
            print!("{}", plain(fresh));
            std::io::stdout().flush()?;
            printed = state.text.len();
        }
        match state.state.as_str() {
            "done" => return Ok(state),
            "error" => {
                let error = state.error.map_or_else(
                    || "without a reason".into(),
                    |error| format!("{}: {}", error.code, error.message),
                );
                bail!("the page failed: {}", plain(&error));
            }
            _ if began.elapsed() > limit => {
                bail!(
                    "not done within {} s: the page is {:?}, {} tokens came",
                    limit.as_secs(),
                    state.state,
                    state.tokens
                );
            }
            _ => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

async fn save_screenshot(session: &mut Session, path: &PathBuf) -> anyhow::Result<()> {
    let picture = session.screenshot().await?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::write(path, picture).with_context(|| path.display().to_string())
}

fn print_info(state: &State) {
    let Some(info) = &state.info else { return };
    let text = |value: &Value| plain(value.as_str().unwrap_or("unknown"));
    println!("model        {}", text(&info["name"]));
    println!(
        "backend      {}: {}",
        text(&info["backend"]),
        text(&info["reason"])
    );
    let adapter = &info["adapter"];
    if adapter.is_object() {
        let kind = match adapter["software"].as_bool() {
            Some(true) => "software",
            Some(false) => "hardware",
            None => "not known whether software",
        };
        println!("adapter      {} ({kind})", text(&adapter["name"]));
    } else {
        println!("adapter      none");
    }
    println!(
        "runtime      {}, {} threads",
        text(&info["variant"]),
        info["threads"]["got"]
    );
}

/// Text from a model or adapter, without what a terminal would act on; line ends stay.
fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() && c != '\n' { ' ' } else { c })
        .collect()
}

fn percent_encode(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prompts_survive_the_address_bar() {
        assert_eq!(percent_encode("a b&c=d?é"), "a%20b%26c%3Dd%3F%C3%A9");
    }

    #[test]
    fn terminals_get_no_escapes() {
        assert_eq!(plain("a\u{1b}[2Jb\nc"), "a [2Jb\nc");
    }
}
