//! Who may ask for what. Loopback is no boundary: any website a user visits can send requests to 127.0.0.1.
//!
//! - `Host` must name this server, or a rebound DNS name would make a foreign page same-origin with it.
//! - `Origin`, where there is one, must be this server's (or an allowed one, for reading the package and models).
//! - What changes state or computes is a POST and carries this run's token, which only own pages can read.

use std::net::SocketAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use rand::TryRngCore;

use super::Shared;

/// The header that carries the token.
pub const TOKEN_HEADER: &str = "x-fewbit-token";

/// What the package needs of a page: no inline scripts, wasm, workers (from blobs where it is loaded from another
/// origin), and connections to where models are.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval' blob:; \
     worker-src 'self' blob:; connect-src 'self' https://huggingface.co https://*.huggingface.co https://*.hf.co; \
     style-src 'self'; img-src 'self' data: blob:; media-src 'self' blob:; font-src 'self'; manifest-src 'self'; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The demo records speech; nothing here asks for a camera or a place. A frame of another origin gets neither.
const PERMISSIONS_POLICY: &str = "microphone=(self), camera=(), geolocation=()";

pub(super) struct Guard {
    token: String,
    hosts: Vec<String>,
    origins: Vec<String>,
    allowed_origins: Vec<String>,
}

impl Guard {
    pub(super) fn new(
        address: SocketAddr,
        allow_hosts: &[String],
        allowed_origins: Vec<String>,
    ) -> Guard {
        let port = address.port();
        let names = ["127.0.0.1", "localhost", "[::1]"].map(String::from);
        let own = match address {
            SocketAddr::V4(a) => a.ip().to_string(),
            SocketAddr::V6(a) => format!("[{}]", a.ip()),
        };
        let names = names.into_iter().chain([own]).chain(allow_hosts.to_vec());
        let hosts: Vec<String> = names
            .map(|name| format!("{}:{port}", name.to_ascii_lowercase()))
            .collect();
        Guard {
            token: random_key(),
            origins: hosts.iter().map(|host| format!("http://{host}")).collect(),
            hosts,
            allowed_origins,
        }
    }

    pub(super) fn token(&self) -> &str {
        &self.token
    }

    fn knows_host(&self, headers: &HeaderMap) -> bool {
        single(headers, header::HOST)
            .is_some_and(|host| self.hosts.contains(&host.to_ascii_lowercase()))
    }

    /// `Err` for a foreign origin; `Ok(Some(origin))` for an allowed one that is not our own.
    fn origin<'a>(&self, headers: &'a HeaderMap) -> Result<Option<&'a str>, ()> {
        if !headers.contains_key(header::ORIGIN) {
            return Ok(None);
        }
        match single(headers, header::ORIGIN) {
            Some(origin) if self.origins.iter().any(|o| o == origin) => Ok(None),
            Some(origin) if self.allowed_origins.iter().any(|o| o == origin) => Ok(Some(origin)),
            _ => Err(()),
        }
    }

    fn knows_token(&self, headers: &HeaderMap) -> bool {
        single(headers, HeaderName::from_static(TOKEN_HEADER))
            .is_some_and(|token| same(token.as_bytes(), self.token.as_bytes()))
    }
}

/// Before and after every request.
pub(super) async fn check(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    let allowed_origin = match refuse(&shared.guard, &request) {
        Err(refusal) => return with_headers(refusal.into_response(), None),
        Ok(origin) => origin.and_then(|origin| HeaderValue::from_str(origin).ok()),
    };
    let response = next.run(request).await;
    with_headers(response, allowed_origin)
}

type Refusal = (StatusCode, &'static str);

/// The refusal, or the allowed foreign origin if there is one.
fn refuse<'a>(guard: &Guard, request: &'a Request) -> Result<Option<&'a str>, Refusal> {
    let no = |status: StatusCode, why: &'static str| Err((status, why));
    let headers = request.headers();
    if !guard.knows_host(headers) {
        return no(
            StatusCode::MISDIRECTED_REQUEST,
            "this server is not known by that Host\n",
        );
    }
    let Ok(allowed) = guard.origin(headers) else {
        return no(
            StatusCode::FORBIDDEN,
            "requests from that Origin are refused\n",
        );
    };
    let path = request.uri().path();
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let private =
        path.starts_with("/api/") || path == "/session.json" || path.starts_with("/local/");
    if allowed.is_some() && (private || !reads) {
        return no(
            StatusCode::FORBIDDEN,
            "only this server's own pages may ask that\n",
        );
    }
    // Browsers say where a request comes from even when it carries no Origin.
    let site = single(headers, HeaderName::from_static("sec-fetch-site"));
    if private && !matches!(site, None | Some("same-origin" | "none")) {
        return no(
            StatusCode::FORBIDDEN,
            "only this server's own pages may ask that\n",
        );
    }
    if (path.starts_with("/api/") || !reads) && !guard.knows_token(headers) {
        return no(StatusCode::UNAUTHORIZED, "this wants the run's token\n");
    }
    Ok(allowed)
}

fn with_headers(mut response: Response, allowed_origin: Option<HeaderValue>) -> Response {
    let headers = response.headers_mut();
    let mut set = |name: HeaderName, value: &'static str| {
        headers.insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    set(
        HeaderName::from_static("permissions-policy"),
        PERMISSIONS_POLICY,
    );
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::REFERRER_POLICY, "no-referrer");
    set(
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    );
    set(
        HeaderName::from_static("cross-origin-embedder-policy"),
        "require-corp",
    );
    let resources = if allowed_origin.is_some() {
        "cross-origin"
    } else {
        "same-origin"
    };
    set(
        HeaderName::from_static("cross-origin-resource-policy"),
        resources,
    );
    if let Some(origin) = allowed_origin {
        set(
            header::ACCESS_CONTROL_EXPOSE_HEADERS,
            "ETag, Content-Range, Content-Length",
        );
        set(header::VARY, "Origin, Accept-Encoding");
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    }
    response
}

/// The header's value if it is there exactly once and is text.
fn single(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => value.to_str().ok(),
        _ => None,
    }
}

/// Compares without telling by its time where the first difference is.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

/// 192 random bits from the system, safe in a URL.
pub(super) fn random_key() -> String {
    use base64::Engine;
    let mut bytes = [0u8; 24];
    rand::rngs::OsRng
        .try_fill_bytes(&mut bytes)
        .expect("the system has no random numbers");
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}
