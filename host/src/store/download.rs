//! One file over HTTP: resumed where an earlier try stopped, checked by size and sha256.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::Path;
use std::time::Duration;

use sha2::{Digest, Sha256};
use ureq::Agent;
use ureq::http::{Response, StatusCode, header};

use super::manifest::FileEntry;
use super::{OnPull, PullEvent, StoreError};

const CHUNK: usize = 256 * 1024;
/// Tries after a broken connection, as long as each brings something.
const TRIES: usize = 5;

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Timeouts {
    /// For a connection; short, as another source may be there.
    pub connect: Duration,
    /// For the next bytes of an answer.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Timeouts {
        Timeouts {
            connect: Duration::from_secs(3),
            idle: Duration::from_secs(20),
        }
    }
}

/// A client that follows redirects (model hubs send to a content server) and leaves bodies as they are.
pub(crate) fn agent(timeouts: Timeouts) -> Agent {
    Agent::config_builder()
        .timeout_resolve(Some(timeouts.connect))
        .timeout_connect(Some(timeouts.connect))
        .timeout_recv_response(Some(timeouts.idle))
        .timeout_per_read(Some(timeouts.idle))
        .http_status_as_error(false)
        .accept_encoding("identity")
        .user_agent(concat!("fewbit/", env!("CARGO_PKG_VERSION")))
        .build()
        .new_agent()
}

/// Fetches `url` into `part`, going on from what `part` already holds, and checks it against `file`.
///
/// # Errors
/// The network's, the server's or the disk's; a wrong size or sha256, after which `part` is removed. After a broken or stalled
/// connection `part` stays, so that the next call resumes.
pub(crate) fn fetch(
    agent: &Agent,
    timeouts: Timeouts,
    url: &str,
    file: &FileEntry,
    part: &Path,
    on: OnPull,
) -> Result<(), StoreError> {
    let mut download = Download::open(part, file)?;
    for attempt in 1.. {
        let before = download.got;
        match download.attempt(agent, timeouts, url, on) {
            Ok(()) => break,
            // A broken connection that brought something is worth another try.
            Err(StoreError::Incomplete { .. } | StoreError::Stalled { .. })
                if download.got > before && attempt < TRIES => {}
            Err(error) => return Err(error),
        }
    }
    download.check(url)
}

struct Download<'a> {
    part: &'a Path,
    file: &'a FileEntry,
    out: File,
    hash: Sha256,
    got: u64,
}

impl<'a> Download<'a> {
    fn open(part: &'a Path, file: &'a FileEntry) -> Result<Download<'a>, StoreError> {
        let out = OpenOptions::new()
            .create(true)
            .read(true)
            .append(true)
            .open(part)
            .map_err(|e| StoreError::io(part, &e))?;
        let mut download = Download {
            part,
            file,
            out,
            hash: Sha256::new(),
            got: 0,
        };
        download.rehash()?;
        Ok(download)
    }

    /// Takes in what an earlier try left; a file that is too long starts anew.
    fn rehash(&mut self) -> Result<(), StoreError> {
        let io = |e| StoreError::io(self.part, &e);
        let length = self.out.metadata().map_err(io)?.len();
        if length > self.file.bytes {
            return self.restart();
        }
        let mut left = (&self.out).take(length);
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = left.read(&mut buffer).map_err(io)?;
            if n == 0 {
                return Ok(());
            }
            self.hash.update(&buffer[..n]);
            self.got += n as u64;
        }
    }

    fn restart(&mut self) -> Result<(), StoreError> {
        self.out
            .set_len(0)
            .map_err(|e| StoreError::io(self.part, &e))?;
        self.hash = Sha256::new();
        self.got = 0;
        Ok(())
    }

    fn attempt(
        &mut self,
        agent: &Agent,
        timeouts: Timeouts,
        url: &str,
        on: OnPull,
    ) -> Result<(), StoreError> {
        if self.got == self.file.bytes {
            return Ok(());
        }
        let mut request = agent.get(url);
        if self.got > 0 {
            request = request.header(header::RANGE, format!("bytes={}-", self.got));
        }
        let response = request.call().map_err(|e| StoreError::Network {
            url: url.to_string(),
            message: e.to_string(),
        })?;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(self.got) => {}
            // The server knows no ranges, or has another file than the one begun.
            StatusCode::OK if self.got > 0 => self.restart()?,
            StatusCode::OK => {}
            StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => {
                self.restart()?;
                return Err(StoreError::Network {
                    url: url.to_string(),
                    message: "the server gave another range than asked for".into(),
                });
            }
            status => {
                return Err(StoreError::Status {
                    url: url.to_string(),
                    status: status.as_u16(),
                });
            }
        }
        self.check_announced(&response, url)?;
        self.read_body(response, timeouts, url, on)
    }

    /// Refuses at once what cannot be the file, rather than after all of it has come.
    fn check_announced<T>(&self, response: &Response<T>, url: &str) -> Result<(), StoreError> {
        let length = response
            .headers()
            .get(header::CONTENT_LENGTH)
            .and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
        match length {
            Some(length) if self.got.saturating_add(length) != self.file.bytes => {
                Err(StoreError::Size {
                    what: url.to_string(),
                    expected: self.file.bytes,
                    got: self.got.saturating_add(length),
                })
            }
            _ => Ok(()),
        }
    }

    fn read_body(
        &mut self,
        response: Response<ureq::Body>,
        timeouts: Timeouts,
        url: &str,
        on: OnPull,
    ) -> Result<(), StoreError> {
        let mut body = response.into_body().into_reader();
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match body.read(&mut buffer) {
                Ok(n) => n,
                Err(e) => return Err(self.broken(&e, timeouts, url)),
            };
            if n == 0 && self.got == self.file.bytes {
                return Ok(());
            }
            if n == 0 {
                return Err(StoreError::Incomplete {
                    url: url.to_string(),
                    got: self.got,
                    expected: self.file.bytes,
                });
            }
            if self.got + n as u64 > self.file.bytes {
                let got = self.got + n as u64;
                self.remove();
                return Err(StoreError::Size {
                    what: url.to_string(),
                    expected: self.file.bytes,
                    got,
                });
            }
            let needed = self.file.bytes - self.got;
            if let Err(e) = self.out.write_all(&buffer[..n]) {
                // What was written is worth nothing beside a full disk.
                self.remove();
                return Err(StoreError::writing(self.part, &e, needed));
            }
            self.hash.update(&buffer[..n]);
            self.got += n as u64;
            on(PullEvent::Bytes {
                file: &self.file.name,
                done: self.got,
                of: self.file.bytes,
            })?;
        }
    }

    fn broken(&self, error: &std::io::Error, timeouts: Timeouts, url: &str) -> StoreError {
        let stalled = matches!(
            error.get_ref().and_then(|e| e.downcast_ref()),
            Some(ureq::Error::Timeout(_))
        ) || error.kind() == std::io::ErrorKind::TimedOut;
        let (url, got, expected) = (url.to_string(), self.got, self.file.bytes);
        if stalled {
            StoreError::Stalled {
                url,
                seconds: timeouts.idle.as_secs(),
                got,
                expected,
            }
        } else {
            StoreError::Incomplete { url, got, expected }
        }
    }

    fn check(self, url: &str) -> Result<(), StoreError> {
        let got = hex(&self.hash.clone().finalize());
        if got != self.file.sha256 {
            self.remove();
            return Err(StoreError::Sha256 {
                what: url.to_string(),
                expected: self.file.sha256.clone(),
                got,
            });
        }
        let needed = 0;
        self.out
            .sync_all()
            .map_err(|e| StoreError::writing(self.part, &e, needed))
    }

    fn remove(&self) {
        // If even that fails, the next try sees a wrong sha256 again.
        let _ = std::fs::remove_file(self.part);
    }
}

/// `N` of `Content-Range: bytes N-…`.
fn range_start<T>(response: &Response<T>) -> Option<u64> {
    let value = response.headers().get(header::CONTENT_RANGE)?;
    let range = value.to_str().ok()?.strip_prefix("bytes ")?;
    range.split('-').next()?.parse().ok()
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The sha256 of a whole file.
pub(crate) fn sha256_of(path: &Path) -> Result<String, StoreError> {
    let io = |e| StoreError::io(path, &e);
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; CHUNK];
    loop {
        let n = file.read(&mut buffer).map_err(io)?;
        if n == 0 {
            return Ok(hex(&hash.finalize()));
        }
        hash.update(&buffer[..n]);
    }
}
