//! Pages from `www/` and the built npm package.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path as UrlPath, State};
use axum::http::{HeaderMap, Response, StatusCode};
use axum::response::IntoResponse;

use super::file::{Caching, answer, not_found};
use super::{Shared, below};

pub(super) async fn index(State(shared): State<Arc<Shared>>, headers: HeaderMap) -> Response<Body> {
    page(&shared, "index.html", &headers).await
}

pub(super) async fn runner(
    State(shared): State<Arc<Shared>>,
    headers: HeaderMap,
) -> Response<Body> {
    page(&shared, "runner.html", &headers).await
}

pub(super) async fn www(
    State(shared): State<Arc<Shared>>,
    UrlPath(path): UrlPath<String>,
    headers: HeaderMap,
) -> Response<Body> {
    page(&shared, &path, &headers).await
}

async fn page(shared: &Shared, path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(folders) = &shared.folders else {
        return not_found();
    };
    from(&folders.www, path, headers).await
}

pub(super) async fn package(
    State(shared): State<Arc<Shared>>,
    UrlPath(path): UrlPath<String>,
    headers: HeaderMap,
) -> Response<Body> {
    let Some(folders) = &shared.folders else {
        return not_found();
    };
    if !folders.web.is_dir()
        && let Some(missing) = folders.package_missing()
    {
        return (StatusCode::SERVICE_UNAVAILABLE, format!("{missing}\n")).into_response();
    }
    from(&folders.web, &path, &headers).await
}

async fn from(folder: &Path, path: &str, headers: &HeaderMap) -> Response<Body> {
    let Some(file) = below(folder, path) else {
        return not_found();
    };
    let caching = if is_hashed(path) {
        Caching::Immutable
    } else {
        Caching::Revalidate
    };
    answer(&file, headers, caching, None).await
}

/// Whether the file's name carries a hash of its content: `name.0123abcd.js` or `name-0123abcd.js`.
fn is_hashed(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let parts: Vec<&str> = name.split(['.', '-']).collect();
    parts.len() > 2
        && parts[1..parts.len() - 1].iter().any(|part| {
            part.len() >= 8
                && part.bytes().any(|b| b.is_ascii_digit())
                && part.bytes().all(|b| b.is_ascii_hexdigit())
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashed_names() {
        assert!(is_hashed("assets/app.0a1b2c3d.js"));
        assert!(is_hashed("app-0a1b2c3d4e5f.wasm"));
        for plain in [
            "index.html",
            "fewbit_relaxed.wasm",
            "app.min.js",
            "0a1b2c3d.js",
            "decade.feedbeef.js",
        ] {
            assert!(!is_hashed(plain), "{plain}");
        }
    }
}
