//! Pulls against a local web server that misbehaves in the ways real ones do.

use std::cell::RefCell;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fewbit_host::store::{Manifest, Presence, PullEvent, Store, StoreError, Timeouts};
use sha2::{Digest, Sha256};

/// One request as the server saw it.
#[derive(Clone, Debug)]
struct Seen {
    path: String,
    range: Option<u64>,
}

struct Server {
    address: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

/// Serves until the test process ends; `answer` writes the whole response.
fn server(
    answer: impl Fn(usize, &Seen, &mut TcpStream) -> std::io::Result<()> + Send + 'static,
) -> Server {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let seen = Arc::new(Mutex::new(Vec::new()));
    let log = seen.clone();
    std::thread::spawn(move || {
        let count = AtomicUsize::new(0);
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let request = read_request(&stream);
            log.lock().unwrap().push(request.clone());
            // A client that hangs up early is part of some tests.
            let _ = answer(count.fetch_add(1, Ordering::SeqCst), &request, &mut stream);
        }
    });
    Server { address, seen }
}

fn read_request(stream: &TcpStream) -> Seen {
    let mut seen = Seen {
        path: String::new(),
        range: None,
    };
    for line in BufReader::new(stream).lines().map_while(Result::ok) {
        if line.is_empty() {
            break;
        }
        if let Some(rest) = line.strip_prefix("GET ") {
            seen.path = rest.split(' ').next().unwrap_or_default().into();
        }
        if let Some(range) = line.to_ascii_lowercase().strip_prefix("range: bytes=") {
            seen.range = range.trim_end_matches('-').parse().ok();
        }
    }
    seen
}

/// A right answer for `data`, from the range asked for.
fn give(request: &Seen, data: &[u8], to: &mut TcpStream) -> std::io::Result<()> {
    give_first(request, data, data.len(), to)
}

/// Announces all of `data` and sends it up to `until`.
fn give_first(
    request: &Seen,
    data: &[u8],
    until: usize,
    to: &mut TcpStream,
) -> std::io::Result<()> {
    let from = request.range.unwrap_or(0) as usize;
    let status = match request.range {
        Some(_) => format!(
            "206 Partial Content\r\nContent-Range: bytes {from}-{}/{}",
            data.len() - 1,
            data.len()
        ),
        None => "200 OK".into(),
    };
    write!(
        to,
        "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        data.len() - from
    )?;
    to.write_all(&data[from..until.max(from)])
}

fn data() -> Vec<u8> {
    (0..1_000_000u32).flat_map(|i| i.to_le_bytes()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect()
}

fn manifest(sources: &str, data: &[u8]) -> Manifest {
    Manifest::parse(&format!(
        r#"{{"models": [{{"name": "tiny", "title": "Tiny", "task": "generate", "licence": "MIT", "home": "",
            "files": [{{"name": "sub/model.gguf", "bytes": {}, "sha256": "{}"}}],
            "sources": [{sources}]}}]}}"#,
        data.len(),
        sha256(data)
    ))
    .unwrap()
}

fn http(base: &str) -> String {
    format!(r#"{{"kind": "http", "base": "{base}/"}}"#)
}

fn store(home: &Path, sources: &str, data: &[u8]) -> Store {
    Store::at(home.to_path_buf(), manifest(sources, data)).with_timeouts(Timeouts {
        connect: Duration::from_secs(3),
        idle: Duration::from_millis(300),
    })
}

fn pull(store: &Store) -> Result<(), StoreError> {
    store.pull(store.entry("tiny").unwrap(), &|_| Ok(()))
}

fn presence(store: &Store) -> Presence {
    store.presence(store.entry("tiny").unwrap())
}

/// Nothing may be under a final name.
fn assert_empty(store: &Store) {
    let folder = store.folder_of(store.entry("tiny").unwrap());
    assert!(!folder.join("sub/model.gguf").exists());
    assert_eq!(presence(store), Presence::Missing);
}

fn parts(home: &Path) -> Vec<u64> {
    let entries = std::fs::read_dir(home.join("partial")).unwrap();
    entries
        .flatten()
        .filter(|e| e.path().extension().is_some_and(|e| e == "part"))
        .map(|e| e.metadata().unwrap().len())
        .collect()
}

#[test]
fn hugging_face_urls_and_events() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |_, request, to| give(request, &copy, to));
    let source = r#"{"kind": "huggingface", "repository": "some/repo", "revision": "abc"}"#;
    let store = store(home.path(), source, &data).with_hugging_face(&server.address);
    let events = RefCell::new(Vec::new());
    store
        .pull(store.entry("tiny").unwrap(), &|event| {
            events.borrow_mut().push(format!("{event:?}"));
            Ok(())
        })
        .unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen[0].path, "/some/repo/resolve/abc/sub/model.gguf");
    let events = events.into_inner();
    assert!(events[0].contains("Hugging Face some/repo"));
    assert!(events.last().unwrap().starts_with("File"));
    let whole = format!("done: {}, of: {}", data.len(), data.len());
    assert!(events.iter().any(|e| e.contains(&whole)));
    let path = store.files_of(store.entry("tiny").unwrap()).files[0]
        .path
        .clone();
    assert_eq!(std::fs::read(path).unwrap(), data);
    assert_eq!(presence(&store), Presence::Whole);
    assert!(parts(home.path()).is_empty());
}

#[test]
fn a_stop_in_mid_download_is_resumed() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |n, request, to| match n {
        0 => give_first(request, &copy, 1_500_000, to),
        _ => give(request, &copy, to),
    });
    let store = store(home.path(), &http(&server.address), &data);
    pull(&store).unwrap();
    let seen = server.seen.lock().unwrap();
    assert_eq!(seen.len(), 2);
    assert_eq!(seen[0].range, None);
    assert!(seen[1].range.is_some_and(|n| n > 0 && n <= 1_500_000));
    assert_eq!(presence(&store), Presence::Whole);
}

#[test]
fn what_arrived_is_kept_for_the_next_pull() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let dead = server(move |n, request, to| match n {
        0 => give_first(request, &copy, 1_000_000, to),
        _ => give_first(request, &copy, 0, to),
    });
    let first = store(home.path(), &http(&dead.address), &data);
    let error = pull(&first).unwrap_err().to_string();
    assert!(error.contains("pull again to resume"), "{error}");
    assert_empty(&first);
    assert!(parts(home.path())[0] > 0);

    let copy = data.clone();
    let alive = server(move |_, request, to| give(request, &copy, to));
    let second = store(home.path(), &http(&alive.address), &data);
    pull(&second).unwrap();
    assert!(alive.seen.lock().unwrap()[0].range.is_some());
}

#[test]
fn a_server_without_ranges_starts_anew() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |n, request, to| {
        let whole = Seen {
            range: None,
            ..request.clone()
        };
        let until = if n == 0 { 700_000 } else { copy.len() };
        give_first(&whole, &copy, until, to)
    });
    let store = store(home.path(), &http(&server.address), &data);
    pull(&store).unwrap();
    assert_eq!(presence(&store), Presence::Whole);
}

#[test]
fn a_wrong_sha256_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let mut wrong = data.clone();
    wrong[123_456] ^= 1;
    let server = server(move |_, request, to| give(request, &wrong, to));
    let store = store(home.path(), &http(&server.address), &data);
    let error = pull(&store).unwrap_err().to_string();
    assert!(
        error.contains("sha256") && error.contains(&sha256(&data)),
        "{error}"
    );
    assert_empty(&store);
    assert!(parts(home.path()).is_empty());
}

#[test]
fn a_wrong_size_is_refused_before_the_body() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let server = server(move |_, request, to| give(request, b"<html>log in</html>", to));
    let store = store(home.path(), &http(&server.address), &data);
    let error = pull(&store).unwrap_err().to_string();
    assert!(error.contains("19 bytes"), "{error}");
    assert_empty(&store);
}

#[test]
fn a_silent_server_is_left_for_the_next_source() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    // It accepts and never answers.
    let silent = server(|_, _, _| {
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let gone = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        format!("http://{}", listener.local_addr().unwrap())
    };
    let missing =
        server(|_, _, to| to.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"));
    let copy = data.clone();
    let good = server(move |_, request, to| give(request, &copy, to));
    let sources = [&silent.address, &gone, &missing.address, &good.address]
        .map(|address| http(address))
        .join(",");
    let store = store(home.path(), &sources, &data);
    let failures = RefCell::new(Vec::new());
    store
        .pull(store.entry("tiny").unwrap(), &|event| {
            if let PullEvent::Failed { why, .. } = event {
                failures.borrow_mut().push(why.to_string());
            }
            Ok(())
        })
        .unwrap();
    let failures = failures.into_inner();
    assert_eq!(failures.len(), 3, "{failures:?}");
    assert!(failures[0].contains("timeout"), "{failures:?}");
    assert!(failures[2].contains("404"), "{failures:?}");
    assert_eq!(presence(&store), Presence::Whole);
}

#[test]
fn a_stall_is_named() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |_, request, to| {
        give_first(request, &copy, 300_000, to)?;
        to.flush()?;
        std::thread::sleep(Duration::from_secs(60));
        Ok(())
    });
    let store = store(home.path(), &http(&server.address), &data);
    let error = pull(&store).unwrap_err().to_string();
    // The first try brings something and is repeated; the server, busy with it, then never answers.
    assert!(
        error.contains("nothing arrived") || error.contains("timeout"),
        "{error}"
    );
    assert_empty(&store);
    assert!(parts(home.path())[0] > 0);
}

#[test]
fn a_user_can_stop_a_pull() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |_, request, to| give(request, &copy, to));
    let store = store(home.path(), &http(&server.address), &data);
    let result = store.pull(store.entry("tiny").unwrap(), &|event| match event {
        PullEvent::Bytes { done, .. } if done > 1_000_000 => Err(StoreError::Stopped),
        _ => Ok(()),
    });
    assert!(matches!(result, Err(StoreError::Stopped)));
    assert_empty(&store);
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_named() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |_, request, to| give(request, &copy, to));
    let store = store(home.path(), &http(&server.address), &data);
    // Writing to /dev/full fails as on a full disk.
    let partial = home.path().join("partial");
    std::fs::create_dir_all(&partial).unwrap();
    let part = partial.join(format!("{}.part", sha256(&data)));
    std::os::unix::fs::symlink("/dev/full", part).unwrap();
    let error = pull(&store).unwrap_err();
    assert!(
        matches!(error, StoreError::DiskFull { needed, .. } if needed == data.len() as u64),
        "{error}"
    );
    assert!(error.to_string().contains("disk is full"));
    assert_empty(&store);
}

#[test]
fn a_damaged_file_is_pulled_again_and_removing_frees() {
    let home = tempfile::tempdir().unwrap();
    let data = data();
    let copy = data.clone();
    let server = server(move |_, request, to| give(request, &copy, to));
    let store = store(home.path(), &http(&server.address), &data);
    pull(&store).unwrap();
    let entry = store.entry("tiny").unwrap();
    let path = store.files_of(entry).files[0].path.clone();
    let mut damaged = data.clone();
    damaged[7] ^= 1;
    std::fs::write(&path, damaged).unwrap();
    pull(&store).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), data);
    assert_eq!(store.remove(entry).unwrap(), data.len() as u64);
    assert_empty(&store);
    assert!(!store.folder_of(entry).exists());
}
