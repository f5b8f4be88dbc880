//! The server against requests as a hostile page, a careless proxy or a resuming download would send them.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use fewbit_host::serve::{Config, Folders, Port, Running, ServeError, TOKEN_HEADER, start};
use fewbit_host::store::{Manifest, Store};
use sha2::{Digest, Sha256};

const WEIGHTS: &[u8] = b"0123456789abcdef";

struct Site {
    running: Running,
    _dir: tempfile::TempDir,
}

struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (n, value) = line.split_once(": ")?;
            n.eq_ignore_ascii_case(name).then_some(value)
        })
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

async fn site() -> Site {
    site_with(|_| {}).await
}

async fn site_with(change: impl FnOnce(&mut Config)) -> Site {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    };
    write("www/index.html", b"<!doctype html><title>demo</title>");
    write("www/runner.html", b"<!doctype html><title>runner</title>");
    write(
        "web/index.js",
        "export const x = 1;\n".repeat(200).as_bytes(),
    );
    write("web/core.wasm", b"\0asm\x01\0\0\0");
    write("web/core.0a1b2c3d.js", b"export {};");
    write("secret.txt", b"secret");
    write("home/models/tiny/model.gguf", WEIGHTS);
    let manifest = format!(
        r#"{{"models": [{{"name": "tiny", "title": "Tiny", "task": "generate", "licence": "MIT", "home": "",
        "files": [{{"name": "model.gguf", "bytes": 16, "sha256": "{}"}}],
        "sources": [{{"kind": "huggingface", "repository": "a/b", "revision": "c"}}]}}]}}"#,
        hex(&Sha256::digest(WEIGHTS))
    );
    let store = Store::at(dir.path().join("home"), Manifest::parse(&manifest).unwrap());
    let mut config = Config::new(store);
    config.folders = Some(Folders {
        www: dir.path().join("www"),
        web: dir.path().join("web"),
    });
    change(&mut config);
    Site {
        running: start(config).await.unwrap(),
        _dir: dir,
    }
}

impl Site {
    fn host(&self) -> String {
        self.running.address().to_string()
    }

    /// A request with a right `Host`.
    async fn ask(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let host = self.host();
        let mut all = vec![("Host", host.as_str())];
        all.extend_from_slice(headers);
        self.raw(line, &all).await
    }

    async fn raw(&self, line: &str, headers: &[(&str, &str)]) -> Answer {
        let address = self.running.address();
        let mut request = format!("{line} HTTP/1.1\r\nConnection: close\r\n");
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        request += "\r\n";
        tokio::task::spawn_blocking(move || {
            let mut stream = TcpStream::connect(address).unwrap();
            stream
                .set_read_timeout(Some(Duration::from_secs(20)))
                .unwrap();
            stream.write_all(request.as_bytes()).unwrap();
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes).unwrap();
            let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").unwrap();
            let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
            Answer {
                status: head[9..12].parse().unwrap(),
                body: bytes[end + 4..].to_vec(),
                head,
            }
        })
        .await
        .unwrap()
    }
}

#[tokio::test]
async fn pages_are_isolated_and_strict() {
    let site = site().await;
    let page = site.ask("GET /", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.text().contains("demo"));
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert_eq!(
        page.header("cross-origin-opener-policy"),
        Some("same-origin")
    );
    assert_eq!(
        page.header("cross-origin-embedder-policy"),
        Some("require-corp")
    );
    assert_eq!(
        page.header("cross-origin-resource-policy"),
        Some("same-origin")
    );
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(page.header("cache-control"), Some("no-cache"));
    let policy = page.header("content-security-policy").unwrap();
    assert!(policy.contains("default-src 'none'") && !policy.contains("unsafe-inline"));
    assert!(!policy.contains("'unsafe-eval'"));
    // Recordings are played from blobs.
    assert!(policy.contains("media-src 'self' blob:;"));
    assert_eq!(
        page.header("permissions-policy"),
        Some("microphone=(self), camera=(), geolocation=()")
    );
    assert!(site.ask("GET /runner", &[]).await.text().contains("runner"));
}

#[tokio::test]
async fn a_rebound_name_is_refused_everywhere() {
    let site = site().await;
    let port = site.running.address().port();
    let rebound = format!("evil.example:{port}");
    let token = site.running.token().to_string();
    for host in [
        rebound.as_str(),
        "evil.example",
        "127.0.0.1:1",
        "127.0.0.1",
        "",
    ] {
        for line in [
            "GET /",
            "GET /session.json",
            "GET /models/tiny/model.gguf",
            "POST /api/models/tiny/remove",
        ] {
            let answer = site
                .raw(line, &[("Host", host), (TOKEN_HEADER, &token)])
                .await;
            assert_eq!(answer.status, 421, "{line} as {host}");
            assert!(!answer.text().contains(&token));
        }
    }
    let own = site.host();
    let twice = [("Host", own.as_str()), ("Host", rebound.as_str())];
    assert!(site.raw("GET /", &twice).await.status >= 400);
    assert!(site.raw("GET /", &[]).await.status >= 400);
    let local = format!("LOCALHOST:{port}");
    assert_eq!(site.raw("GET /", &[("Host", &local)]).await.status, 200);
}

#[tokio::test]
async fn a_foreign_page_gets_nothing() {
    let site = site().await;
    let token = site.running.token().to_string();
    for origin in [
        "https://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://127.0.0.1",
    ] {
        for line in [
            "GET /session.json",
            "GET /fewbit/index.js",
            "OPTIONS /api/query",
            "POST /api/models/tiny/remove",
        ] {
            let answer = site
                .ask(line, &[("Origin", origin), (TOKEN_HEADER, &token)])
                .await;
            assert_eq!(answer.status, 403, "{line} from {origin}");
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
    }
    // Requests a page can send without an Origin: images, frames, scripts.
    for site_header in ["cross-site", "same-site"] {
        let answer = site
            .ask("GET /session.json", &[("Sec-Fetch-Site", site_header)])
            .await;
        assert_eq!(answer.status, 403);
        assert!(!answer.text().contains(&token));
    }
    let own = format!("http://{}", site.host());
    let answer = site
        .ask(
            "GET /session.json",
            &[("Origin", &own), ("Sec-Fetch-Site", "same-origin")],
        )
        .await;
    assert!(answer.text().contains(&token));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

#[tokio::test]
async fn what_changes_state_wants_the_token() {
    let site = site().await;
    let remove = "POST /api/models/tiny/remove";
    for headers in [&[][..], &[(TOKEN_HEADER, "wrong")], &[(TOKEN_HEADER, "")]] {
        assert_eq!(site.ask(remove, headers).await.status, 401);
    }
    let token = site.running.token().to_string();
    let both = [(TOKEN_HEADER, token.as_str()), (TOKEN_HEADER, "wrong")];
    assert_eq!(site.ask(remove, &both).await.status, 401);
    assert_eq!(
        site.ask("GET /models/tiny/model.gguf", &[]).await.status,
        200
    );
    assert_eq!(
        site.ask("GET /api/models/tiny/remove", &both[..1])
            .await
            .status,
        405
    );
    assert_eq!(site.ask(remove, &both[..1]).await.status, 200);
    assert_eq!(
        site.ask("GET /models/tiny/model.gguf", &[]).await.status,
        404
    );
    assert_eq!(
        site.ask("POST /api/models/none/remove", &both[..1])
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn nothing_outside_the_folders() {
    let site = site().await;
    for path in [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/fewbit/../secret.txt",
        "/fewbit/%2e%2e/secret.txt",
        "/fewbit/..%2fsecret.txt",
        "/models/tiny/..%2f..%2f..%2fsecret.txt",
        "/models/..%2f/secret.txt",
        "/local/x/secret.txt",
        "/.hidden",
        "//etc/passwd",
        "/fewbit//etc/passwd",
        "/%2fetc/passwd",
        "/index.html%00.js",
        "/fewbit",
    ] {
        let answer = site.ask(&format!("GET {path}"), &[]).await;
        assert!(
            matches!(answer.status, 400 | 404),
            "{path}: {}",
            answer.status
        );
        assert!(!answer.text().contains("secret"));
    }
}

#[tokio::test]
async fn ranges_and_validators() {
    let site = site().await;
    let path = "GET /models/tiny/model.gguf";
    let whole = site.ask(path, &[("Accept-Encoding", "br, gzip")]).await;
    assert_eq!((whole.status, whole.body.as_slice()), (200, WEIGHTS));
    assert_eq!(whole.header("accept-ranges"), Some("bytes"));
    assert_eq!(whole.header("content-encoding"), None);
    assert_eq!(
        whole.header("content-type"),
        Some("application/octet-stream")
    );
    let etag = whole.header("etag").unwrap().to_string();
    assert!(etag.starts_with('"') && etag.len() == 66);

    let part = site
        .ask(path, &[("Range", "bytes=4-"), ("If-Range", &etag)])
        .await;
    assert_eq!((part.status, part.body.as_slice()), (206, &WEIGHTS[4..]));
    assert_eq!(part.header("content-range"), Some("bytes 4-15/16"));
    let changed = site
        .ask(path, &[("Range", "bytes=4-"), ("If-Range", "\"old\"")])
        .await;
    assert_eq!((changed.status, changed.body.len()), (200, 16));
    let beyond = site.ask(path, &[("Range", "bytes=16-")]).await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, Some("bytes */16"))
    );
    let same = site.ask(path, &[("If-None-Match", &etag)]).await;
    assert_eq!((same.status, same.body.len()), (304, 0));
    let head = site.ask("HEAD /models/tiny/model.gguf", &[]).await;
    assert_eq!(
        (head.status, head.header("content-length"), head.body.len()),
        (200, Some("16"), 0)
    );
}

#[tokio::test]
async fn types_compression_and_caching() {
    let site = site().await;
    let script = site
        .ask("GET /fewbit/index.js", &[("Accept-Encoding", "br")])
        .await;
    assert_eq!(
        script.header("content-type"),
        Some("text/javascript; charset=utf-8")
    );
    assert_eq!(script.header("content-encoding"), Some("br"));
    assert!(script.body.len() < 1000);
    let tag = script.header("etag").unwrap().to_string();
    let again = site
        .ask(
            "GET /fewbit/index.js",
            &[("Accept-Encoding", "br"), ("If-None-Match", &tag)],
        )
        .await;
    assert_eq!(again.status, 304);
    let plain = site.ask("GET /fewbit/index.js", &[]).await;
    assert_eq!(
        (plain.header("content-encoding"), plain.body.len()),
        (None, 4000)
    );
    let wasm = site.ask("GET /fewbit/core.wasm", &[]).await;
    assert_eq!(wasm.header("content-type"), Some("application/wasm"));
    assert_eq!(wasm.header("cache-control"), Some("no-cache"));
    let hashed = site.ask("GET /fewbit/core.0a1b2c3d.js", &[]).await;
    assert!(
        hashed
            .header("cache-control")
            .unwrap()
            .contains("immutable")
    );
    let manifest = site.ask("GET /models/manifest.json", &[]).await;
    let json: serde_json::Value = serde_json::from_str(&manifest.text()).unwrap();
    let file = &json["models"][0]["files"][0];
    assert_eq!(
        (file["bytes"].as_u64(), json["models"][0]["here"].as_bool()),
        (Some(16), Some(true))
    );
    assert_eq!(
        file["urls"][0],
        "https://huggingface.co/a/b/resolve/c/model.gguf"
    );
}

#[tokio::test]
async fn allowed_origins_may_load_but_not_act() {
    let site =
        site_with(|config| config.allow_origins = vec!["https://friend.example".into()]).await;
    let token = site.running.token().to_string();
    let origin = ("Origin", "https://friend.example");
    let script = site.ask("GET /fewbit/index.js", &[origin]).await;
    assert_eq!(script.status, 200);
    assert_eq!(script.header("access-control-allow-origin"), Some(origin.1));
    assert_eq!(
        script.header("cross-origin-resource-policy"),
        Some("cross-origin")
    );
    for line in ["GET /session.json", "POST /api/models/tiny/remove"] {
        assert_eq!(
            site.ask(line, &[origin, (TOKEN_HEADER, &token)])
                .await
                .status,
            403
        );
    }
}

#[tokio::test]
async fn files_are_shared_one_by_one() {
    let site = site().await;
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("model.safetensors"), b"weights").unwrap();
    std::fs::write(dir.path().join(".env"), b"secret").unwrap();
    let store = Store::at(dir.path().join("home"), Manifest::built_in().unwrap());
    let files = store
        .resolve(dir.path().to_str().unwrap(), &|_| Ok(()))
        .unwrap();
    let page = site.running.page_model(&files);
    let shared = site
        .ask(&format!("GET {}model.safetensors", page.base), &[])
        .await;
    assert_eq!(shared.text(), "weights");
    assert_eq!(
        site.ask(&format!("GET {}.env", page.base), &[])
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn a_pull_tells_its_progress() {
    let site = site().await;
    let token = site.running.token().to_string();
    let pull = site
        .ask(
            "POST /api/models/tiny/pull",
            &[(TOKEN_HEADER, &token), ("Accept-Encoding", "gzip")],
        )
        .await;
    assert_eq!(pull.header("content-type"), Some("application/x-ndjson"));
    assert!(
        pull.text().contains(r#"{"event":"done"}"#),
        "{}",
        pull.text()
    );
    let query = site.ask("POST /api/query", &[(TOKEN_HEADER, &token)]).await;
    assert!(query.status >= 400);
}

#[tokio::test]
async fn a_port_in_use_is_said_or_passed_over() {
    let site = site().await;
    let port = site.running.address().port();
    let again = |port| {
        let mut config = Config::new(Store::at("/nowhere".into(), Manifest::built_in().unwrap()));
        config.port = port;
        start(config)
    };
    let error = again(Port::Exactly(port)).await.err().unwrap();
    assert!(matches!(error, ServeError::PortInUse { .. }));
    assert!(error.to_string().contains(&port.to_string()));
    let next = again(Port::From(port)).await.unwrap();
    assert!(next.address().port() > port);
    next.stop(Duration::from_secs(1)).await;
}
