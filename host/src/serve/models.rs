//! Model files to pages: those of the store, and those shared for one run.

use std::sync::Arc;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, Response, header};
use axum::response::IntoResponse;
use serde_json::json;

use super::Shared;
use super::file::{Caching, answer, not_found};
use crate::store::Presence;

/// What pages resolve names with: the manifest's entries, where else the files are, and whether they are here.
pub(super) async fn manifest(State(shared): State<Arc<Shared>>) -> Response<Body> {
    let store = &shared.store;
    let models: Vec<_> = store
        .manifest()
        .models
        .iter()
        .map(|model| {
            let files: Vec<_> = model
                .files
                .iter()
                .map(|file| {
                    json!({
                        "name": file.name,
                        "bytes": file.bytes,
                        "sha256": file.sha256,
                        "urls": store.urls_of(model, file),
                    })
                })
                .collect();
            json!({
                "name": model.name,
                "aliases": model.aliases,
                "title": model.title,
                "task": model.task,
                "licence": model.licence,
                "home": model.home,
                "bytes": model.bytes(),
                "here": store.presence(model) == Presence::Whole,
                "files": files,
            })
        })
        .collect();
    let mut response = Json(json!({ "models": models })).into_response();
    response
        .headers_mut()
        .insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

/// A file of the manifest; nothing else in the store can be named.
pub(super) async fn file(
    State(shared): State<Arc<Shared>>,
    Path((name, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(model) = shared.store.manifest().find(&name) else {
        return not_found();
    };
    let files = shared.store.files_of(model);
    let Some(file) = files.files.iter().find(|f| f.name == file) else {
        return not_found();
    };
    answer(
        &file.path,
        &headers,
        Caching::NoStore,
        file.sha256.as_deref(),
    )
    .await
}

pub(super) async fn local(
    State(shared): State<Arc<Shared>>,
    Path((key, file)): Path<(String, String)>,
    headers: HeaderMap,
) -> Response<Body> {
    let path = shared
        .local
        .read()
        .ok()
        .and_then(|local| local.get(&key)?.get(&file).cloned());
    match path {
        Some(path) => answer(&path, &headers, Caching::NoStore, None).await,
        None => not_found(),
    }
}
