//! What changes state or computes: each call carries the run's token (checked in `guard`).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::http::{HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Shared;
use crate::store::{PullEvent, StoreError};

/// The token, for this server's own pages: no other origin can read this answer.
pub(super) async fn session(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let body = json!({
        "token": shared.guard.token(),
        "header": super::TOKEN_HEADER,
        "version": env!("CARGO_PKG_VERSION"),
        "results": shared.queries.is_some(),
    });
    let mut response = Json(body).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn problem(status: StatusCode, code: &str, message: impl ToString) -> Response<Body> {
    let body = json!({"error": {"code": code, "message": message.to_string()}});
    (status, Json(body)).into_response()
}

/// Pulls a model, with one JSON object a line: `source`, `bytes`, `client`, `file`, `failed`, and at the end `done` or `error`.
pub(super) async fn pull(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Response<Body> {
    let model = match shared.store.entry(&name) {
        Ok(model) => model.clone(),
        Err(e) => return problem(StatusCode::NOT_FOUND, "unknown_model", e),
    };
    let (lines, receiver) = mpsc::channel::<Value>(64);
    let gone = Gone(Arc::new(AtomicBool::new(false)));
    let stopped = gone.0.clone();
    tokio::task::spawn_blocking(move || {
        let last = std::cell::Cell::new(Instant::now() - Duration::from_secs(1));
        let on = |event: PullEvent| -> Result<(), StoreError> {
            if stopped.load(Ordering::Relaxed) {
                return Err(StoreError::Stopped);
            }
            let repeats = matches!(
                event,
                PullEvent::Bytes { .. } | PullEvent::Client { .. } | PullEvent::Waiting
            );
            if repeats && last.get().elapsed() < Duration::from_millis(100) {
                return Ok(());
            }
            last.set(Instant::now());
            lines
                .blocking_send(line(&event))
                .map_err(|_| StoreError::Stopped)
        };
        let end = match shared.store.pull(&model, &on) {
            Ok(()) => json!({"event": "done"}),
            Err(e) => json!({"event": "error", "code": e.code(), "message": e.to_string()}),
        };
        // The page may have gone.
        let _ = lines.blocking_send(end);
    });
    let body = futures_util::stream::unfold((receiver, gone), |(mut receiver, gone)| async {
        let line = receiver.recv().await?;
        let bytes = Bytes::from(format!("{line}\n"));
        Some((Ok::<_, std::convert::Infallible>(bytes), (receiver, gone)))
    });
    let mut response = Body::from_stream(body).into_response();
    response.headers_mut().insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/x-ndjson"),
    );
    response
}

/// Tells the pull that nobody listens any more.
struct Gone(Arc<AtomicBool>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn line(event: &PullEvent) -> Value {
    match event {
        PullEvent::Waiting => json!({"event": "waiting"}),
        PullEvent::Source { source } => json!({"event": "source", "source": source}),
        PullEvent::Bytes { file, done, of } => {
            json!({"event": "bytes", "file": file, "done": done, "of": of})
        }
        PullEvent::Client { what, bytes } => {
            json!({"event": "client", "what": what, "bytes": bytes})
        }
        PullEvent::File { file } => json!({"event": "file", "file": file}),
        PullEvent::Failed { source, why } => {
            json!({"event": "failed", "source": source, "why": why})
        }
    }
}

pub(super) async fn remove(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Response<Body> {
    let result = shared
        .store
        .entry(&name)
        .and_then(|model| shared.store.remove(model));
    match result {
        Ok(freed) => Json(json!({"name": name, "bytes_freed": freed})).into_response(),
        Err(e @ StoreError::UnknownModel { .. }) => problem(StatusCode::NOT_FOUND, e.code(), &e),
        Err(e) => problem(StatusCode::INTERNAL_SERVER_ERROR, e.code(), &e),
    }
}

#[derive(Deserialize)]
pub(super) struct Query {
    sql: String,
}

/// One read-only statement over the results.
pub(super) async fn query(
    State(shared): State<Arc<Shared>>,
    Json(query): Json<Query>,
) -> Response<Body> {
    let Some(queries) = shared.queries.clone() else {
        return no_results();
    };
    let run = move || queries.query(&query.sql);
    match tokio::task::spawn_blocking(run).await {
        Ok(Ok(rows)) => Json(rows).into_response(),
        Ok(Err(message)) => problem(StatusCode::BAD_REQUEST, "query", message),
        Err(e) => problem(StatusCode::INTERNAL_SERVER_ERROR, "query", e),
    }
}

/// Rows that another process measured, for the one that owns the results.
pub(super) async fn append(
    State(shared): State<Arc<Shared>>,
    Json(rows): Json<Value>,
) -> Response<Body> {
    let Some(queries) = shared.queries.clone() else {
        return no_results();
    };
    match tokio::task::spawn_blocking(move || queries.append(&rows)).await {
        Ok(Ok(())) => Json(json!({})).into_response(),
        Ok(Err(message)) => problem(StatusCode::BAD_REQUEST, "append", message),
        Err(e) => problem(StatusCode::INTERNAL_SERVER_ERROR, "append", e),
    }
}

fn no_results() -> Response<Body> {
    problem(
        StatusCode::NOT_IMPLEMENTED,
        "no_results",
        "this server holds no results: it was built without, or another process has them",
    )
}
