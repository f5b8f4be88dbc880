//! One file as an HTTP answer: type, validators, single ranges.

use std::path::Path;
use std::time::UNIX_EPOCH;

use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use axum::response::IntoResponse;
use tokio::io::{AsyncReadExt, AsyncSeekExt, SeekFrom};
use tokio_util::io::ReaderStream;

/// How long a browser may keep a file without asking again.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Caching {
    /// Always asks, and gets 304 if nothing changed.
    Revalidate,
    /// The name changes when the content does.
    Immutable,
    /// Pages keep these themselves, once.
    NoStore,
}

impl Caching {
    const fn value(self) -> &'static str {
        match self {
            Caching::Revalidate => "no-cache",
            Caching::Immutable => "public, max-age=31536000, immutable",
            Caching::NoStore => "no-store",
        }
    }
}

/// Answers with `path`, or 404. `etag` is the content's hash where it is known.
pub(super) async fn answer(
    path: &Path,
    request: &HeaderMap,
    caching: Caching,
    etag: Option<&str>,
) -> Response<Body> {
    match open(path, request, caching, etag).await {
        Ok(response) => response,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => not_found(),
        Err(e) => {
            let message = format!("cannot read this file: {e}\n");
            (StatusCode::INTERNAL_SERVER_ERROR, message).into_response()
        }
    }
}

pub(super) fn not_found() -> Response<Body> {
    (StatusCode::NOT_FOUND, "no such file\n").into_response()
}

async fn open(
    path: &Path,
    request: &HeaderMap,
    caching: Caching,
    etag: Option<&str>,
) -> std::io::Result<Response<Body>> {
    let mut file = tokio::fs::File::open(path).await?;
    let metadata = file.metadata().await?;
    if !metadata.is_file() {
        return Ok(not_found());
    }
    let length = metadata.len();
    let etag = match etag {
        Some(hash) => format!("\"{hash}\""),
        None => {
            let modified = metadata.modified()?.duration_since(UNIX_EPOCH);
            format!(
                "\"{length:x}-{:x}\"",
                modified.unwrap_or_default().as_nanos()
            )
        }
    };
    let text = |name| request.get(name).and_then(|v| v.to_str().ok());
    let mut response = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::CACHE_CONTROL, caching.value())
        .header(header::ETAG, &etag);
    if text(header::IF_NONE_MATCH).is_some_and(|tags| lists(tags, &etag)) {
        return Ok(finish(
            response.status(StatusCode::NOT_MODIFIED),
            Body::empty(),
        ));
    }
    response = response.header(header::CONTENT_TYPE, content_type(path));

    let fresh = text(header::IF_RANGE).is_none_or(|tag| tag == etag);
    let range = text(header::RANGE)
        .filter(|_| fresh)
        .map(|r| parse(r, length));
    let (start, end) = match range {
        Some(Range::Unsatisfiable) => {
            let response = response
                .status(StatusCode::RANGE_NOT_SATISFIABLE)
                .header(header::CONTENT_RANGE, format!("bytes */{length}"));
            return Ok(finish(response, Body::empty()));
        }
        Some(Range::One(start, end)) => {
            response = response.status(StatusCode::PARTIAL_CONTENT).header(
                header::CONTENT_RANGE,
                format!("bytes {start}-{end}/{length}"),
            );
            (start, end + 1)
        }
        Some(Range::Ignored) | None => (0, length),
    };
    file.seek(SeekFrom::Start(start)).await?;
    let body = ReaderStream::with_capacity(file.take(end - start), 256 * 1024);
    let response = response.header(header::CONTENT_LENGTH, end - start);
    Ok(finish(response, Body::from_stream(body)))
}

fn finish(response: axum::http::response::Builder, body: Body) -> Response<Body> {
    response
        .body(body)
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

/// Whether `If-None-Match` names `etag`; compressed answers carry it weakened.
fn lists(tags: &str, etag: &str) -> bool {
    tags.split(',')
        .map(|tag| tag.trim().trim_start_matches("W/"))
        .any(|tag| tag == etag || tag == "*")
}

#[derive(Debug, PartialEq, Eq)]
enum Range {
    /// First and last byte.
    One(u64, u64),
    Unsatisfiable,
    /// Several ranges, another unit or bad syntax: answered with the whole file, as RFC 9110 section 14.2 allows.
    Ignored,
}

fn parse(header: &str, length: u64) -> Range {
    let Some((first, last)) = header
        .strip_prefix("bytes=")
        .and_then(|r| r.trim().split_once('-'))
    else {
        return Range::Ignored;
    };
    let number = |text: &str| {
        let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (first, last) {
        ("", suffix) => match number(suffix) {
            None => Range::Ignored,
            Some(0) => Range::Unsatisfiable,
            Some(_) if length == 0 => Range::Unsatisfiable,
            Some(n) => Range::One(length.saturating_sub(n), length - 1),
        },
        (first, last) => match (
            number(first),
            last.is_empty().then_some(u64::MAX).or(number(last)),
        ) {
            (Some(first), Some(last)) if first > last => Range::Ignored,
            (Some(first), Some(_)) if first >= length => Range::Unsatisfiable,
            (Some(first), Some(last)) => Range::One(first, last.min(length - 1)),
            _ => Range::Ignored,
        },
    }
}

/// By extension; what is unknown is bytes, which `nosniff` keeps from being taken for anything else.
fn content_type(path: &Path) -> HeaderValue {
    let extension = path
        .extension()
        .and_then(|e| e.to_str())
        .unwrap_or_default();
    HeaderValue::from_static(match extension {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "map" => "application/json",
        "webmanifest" => "application/manifest+json",
        "wasm" => "application/wasm",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "jpg" | "jpeg" => "image/jpeg",
        "webp" => "image/webp",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" | "md" | "ts" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        assert_eq!(parse("bytes=0-0", 10), Range::One(0, 0));
        assert_eq!(parse("bytes=3-", 10), Range::One(3, 9));
        assert_eq!(parse("bytes=3-99", 10), Range::One(3, 9));
        assert_eq!(parse("bytes=-4", 10), Range::One(6, 9));
        assert_eq!(parse("bytes=-40", 10), Range::One(0, 9));
        assert_eq!(
            parse("bytes=99999999999999999999-", 10),
            Range::Unsatisfiable
        );
        assert_eq!(parse("bytes=10-", 10), Range::Unsatisfiable);
        assert_eq!(parse("bytes=-0", 10), Range::Unsatisfiable);
        assert_eq!(parse("bytes=0-", 0), Range::Unsatisfiable);
        for odd in [
            "bytes=",
            "bytes=-",
            "bytes=5-3",
            "bytes=0-1,3-4",
            "items=0-1",
            "bytes=+1-2",
            "bytes=a-b",
        ] {
            assert_eq!(parse(odd, 10), Range::Ignored, "{odd}");
        }
    }
}
