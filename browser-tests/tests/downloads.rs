//! Downloads into the browser's storage: broken ones go on where they stopped, false ones are refused and not kept.

use std::sync::{Arc, Mutex};

use anyhow::{Context, Result, ensure};
use axum::Router;
use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderMap, Response, StatusCode, header};
use axum::routing::get;
use fewbit_browser_tests::{
    browsers, fixtures, listed, open, package, reference_ids, serve, site, with_package,
};
use serde_json::{Value, json};

/// A server of `/ways/WAY/FILE` (the LLaMA fixture) whose behaviour WAY names, with the ranges it was asked for.
#[derive(Clone, Default)]
struct Ways {
    asked: Arc<Mutex<Vec<String>>>,
}

impl Ways {
    fn routes(&self) -> Router {
        let ways = self.clone();
        let answer = move |Path((way, file)): Path<(String, String)>, headers: HeaderMap| {
            let ways = ways.clone();
            async move { ways.answer(&way, &file, &headers) }
        };
        Router::new().route("/ways/{way}/{file}", get(answer))
    }

    fn taken(&self) -> Vec<String> {
        std::mem::take(
            &mut *self
                .asked
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner),
        )
    }

    fn answer(&self, way: &str, file: &str, headers: &HeaderMap) -> Response<Body> {
        let bytes = std::fs::read(fixtures().join("llama").join(file)).unwrap_or_default();
        let range = headers
            .get(header::RANGE)
            .and_then(|range| range.to_str().ok())
            .unwrap_or("whole")
            .to_owned();
        let start = range
            .strip_prefix("bytes=")
            .and_then(|range| range.strip_suffix('-')?.parse::<usize>().ok());
        let first = {
            let mut asked = self
                .asked
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner);
            if file == "model.safetensors" {
                asked.push(range.clone());
            }
            asked.len() <= 1
        };
        let large = file == "model.safetensors";
        let from = start.unwrap_or(0).min(bytes.len());
        let until = match way {
            // The first answer stops in the midst; later ones are whole.
            "breaks-once" if large && first => bytes.len() / 2,
            // No answer ever gets further than the first half.
            "never-ends" if large => (bytes.len() / 2).max(from),
            _ => bytes.len(),
        };
        let sent = bytes[from..until].to_vec();
        let cut = until < bytes.len();
        let length = bytes.len() - from;
        let chunks = futures_util::stream::iter(
            sent.chunks(64 << 10)
                .map(<[u8]>::to_vec)
                .map(Ok)
                .collect::<Vec<_>>(),
        );
        // The break comes when what was sent has been read: a browser drops what it has not handed on.
        let broken = futures_util::stream::once(async move {
            if !cut {
                return Ok(Vec::new());
            }
            tokio::time::sleep(std::time::Duration::from_secs(1)).await;
            Err(std::io::Error::other("cut off"))
        });
        let body = Body::from_stream(futures_util::StreamExt::chain(chunks, broken));
        let mut answer = Response::builder()
            .header(header::CONTENT_LENGTH, length)
            .header(header::ACCEPT_RANGES, "bytes")
            .header(header::ETAG, "\"fixture\"");
        if start.is_some() {
            let range = format!("bytes {from}-{}/{}", bytes.len() - 1, bytes.len());
            answer = answer
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_RANGE, range);
        }
        answer.body(body).unwrap_or_default()
    }
}

fn source(way: &str, sha256: Option<&str>) -> Result<Value> {
    let mut source = listed("llama")?;
    source["baseUrl"] = json!(format!("/ways/{way}/"));
    if let Some(sum) = sha256 {
        source["files"][1]["sha256"] = json!(sum);
    }
    Ok(source)
}

/// Loads; returns what went wrong (or the ids generated) and what the cache then holds.
const LOAD: &str = "
  await cache.clear();
  let came;
  try {
    const model = await load(input.source, { backend: 'wasm' });
    const { ids } = await model.generate(input.prompt, { maxTokens: 8, temperature: 0, ignoreEos: true }).result;
    model.dispose();
    came = { ids };
  } catch (error) { came = { code: error.code, message: error.message }; }
  return { ...came, kept: await cache.list() };";

fn complete(found: &Value, file: &str) -> bool {
    let kept = found["kept"].as_array().into_iter().flatten();
    kept.into_iter()
        .any(|entry| entry["file"] == file && entry["complete"] == true)
}

#[tokio::test(flavor = "multi_thread")]
async fn downloads_are_resumed_checked_and_typed() -> Result<()> {
    const TEST: &str = "downloads_are_resumed_checked_and_typed";
    let Some(package) = package(TEST) else {
        return Ok(());
    };
    let (prompt, expected) = reference_ids("llama")?;
    let ways = Ways::default();
    let base = serve(site(&package).merge(ways.routes())).await?;
    let file = std::fs::read(fixtures().join("llama/model.safetensors"))?;
    for installed in browsers(TEST)? {
        let browser = installed.browser.name();
        let mut session = open(&installed, false, &base).await?;
        session.goto(&base).await?;
        let mut run = async |source: Value| {
            with_package(
                &mut session,
                LOAD,
                json!({ "source": source, "prompt": prompt }),
            )
            .await
        };

        ways.taken();
        let found = run(source("breaks-once", None)?).await?;
        let asked = ways.taken();
        ensure!(found["ids"] == json!(expected[..8]), "{browser}: {found}");
        let resumed = asked.get(1).and_then(|range| {
            range
                .strip_prefix("bytes=")?
                .strip_suffix('-')?
                .parse::<usize>()
                .ok()
        });
        let resumed = resumed.with_context(|| format!("{browser}: not resumed: {asked:?}"))?;
        ensure!(
            resumed > 0 && resumed <= file.len() / 2,
            "{browser}: {asked:?}"
        );

        ways.taken();
        let found = run(source("never-ends", None)?).await?;
        ensure!(found["code"] == "network", "{browser}: {found}");
        ensure!(
            found["message"]
                .as_str()
                .is_some_and(|message| message.contains("model.safetensors")),
            "{browser}: {found}"
        );
        ensure!(
            !complete(&found, "model.safetensors"),
            "{browser}: a broken file was kept as whole: {found}"
        );

        ways.taken();
        let wrong = "0".repeat(64);
        let found = run(source("whole", Some(&wrong))?).await?;
        ensure!(found["code"] == "checksum", "{browser}: {found}");
        ensure!(
            !complete(&found, "model.safetensors"),
            "{browser}: a false file was kept: {found}"
        );

        let missing = run(json!({ "name": "none", "baseUrl": "/nothing/", "files": [{ "name": "config.json" }, { "name": "model.safetensors" }] })).await?;
        ensure!(
            missing["code"] == "http" || missing["code"] == "not_found",
            "{browser}: {missing}"
        );
        session.close().await;
    }
    Ok(())
}
