//! Whether memory stays flat: the private memory of a browser's processes over many cycles of work in a page.
//!
//! Private memory (`Private_Clean` and `Private_Dirty` of `/proc/PID/smaps_rollup`) rather than the proportional set size:
//! pages that another browser shares and gives back do not count. A leak grows with every cycle while noise comes and
//! goes, so what counts is the slope over several readings (Theil and Sen: the median of the slopes of all pairs, which
//! a third of wild readings does not move).

use std::time::Duration;

use anyhow::{Context, Result};
use fewbit_host::browser::{Installed, Session, SessionOptions};
use fewbit_host::target::Browser;
use serde_json::Value;

/// How long a stretch may take: a real model on a software adapter is slow.
pub const LIMIT: Duration = Duration::from_secs(1200);

/// Readings of the private memory, after as many cycles each.
#[derive(Clone, Debug)]
pub struct Readings {
    /// Cycles between two readings.
    pub stretch: usize,
    /// In order, bytes.
    pub bytes: Vec<u64>,
}

impl Readings {
    /// Bytes that each cycle leaves: the median of the slopes between all pairs of readings; 0 for fewer than two.
    pub fn growth(&self) -> f64 {
        let mut slopes = Vec::new();
        for (i, &a) in self.bytes.iter().enumerate() {
            for (j, &b) in self.bytes.iter().enumerate().skip(i + 1) {
                slopes.push((b as f64 - a as f64) / ((j - i) * self.stretch) as f64);
            }
        }
        slopes.sort_by(f64::total_cmp);
        match slopes.len() {
            0 => 0.0,
            n if n % 2 == 1 => slopes[n / 2],
            n => (slopes[n / 2 - 1] + slopes[n / 2]) / 2.0,
        }
    }
}

impl std::fmt::Display for Readings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let megabytes: Vec<String> = self
            .bytes
            .iter()
            .map(|bytes| format!("{:.1}", *bytes as f64 / 1e6))
            .collect();
        write!(
            f,
            "{} MB after each {} cycles: {:+.3} MB a cycle",
            megabytes.join(", "),
            self.stretch,
            self.growth() / 1e6
        )
    }
}

/// Opens a headless session whose garbage can be collected when asked, where the browser has that.
pub async fn open(installed: &Installed, webgpu: bool, page: &str) -> Result<Session> {
    let extra_flags = match installed.browser {
        Browser::Chrome | Browser::Shell | Browser::Edge => {
            vec!["--js-flags=--expose-gc".to_owned()]
        }
        Browser::Firefox | Browser::Safari => Vec::new(),
    };
    let options = SessionOptions {
        webgpu,
        extra_flags,
        ..SessionOptions::default()
    };
    Ok(Session::open(installed, &options, page).await?)
}

/// Does `warm_up` cycles and then a reading after each of `count` stretches. `body` is the body of an async function of
/// `input`, whose `input.cycles` says how many cycles to do.
///
/// # Errors
/// What the page throws, and a system that does not tell the memory of processes.
pub async fn readings(
    session: &mut Session,
    body: &str,
    input: &Value,
    warm_up: usize,
    stretch: usize,
    count: usize,
) -> Result<Readings> {
    let mut bytes = Vec::new();
    for cycles in [warm_up].into_iter().chain(vec![stretch; count]) {
        let mut input = input.clone();
        input["cycles"] = cycles.into();
        crate::with_package_within(session, body, input, LIMIT).await?;
        bytes.push(at_rest(session).await?);
    }
    Ok(Readings { stretch, bytes })
}

/// The browser's private memory, once it has come to rest: the smallest of what is seen over some seconds.
///
/// # Errors
/// A system that does not tell it.
pub async fn at_rest(session: &mut Session) -> Result<u64> {
    let mut least = None;
    for _ in 0..6 {
        session.evaluate("window.gc?.()", vec![]).await?;
        tokio::time::sleep(Duration::from_millis(400)).await;
        let now = session.private_memory();
        least = match (least, now) {
            (Some(least), Some(now)) => Some(u64::min(least, now)),
            (least, now) => least.or(now),
        };
    }
    least.context("this system does not tell the memory of processes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_shows_through_noise_and_noise_is_no_leak() {
        let of = |bytes: &[u64]| {
            Readings {
                stretch: 10,
                bytes: bytes.to_vec(),
            }
            .growth()
        };
        assert_eq!(of(&[]), 0.0);
        assert_eq!(of(&[5]), 0.0);
        assert_eq!(of(&[100, 120, 140]), 2.0);
        // One wild reading, high or low, at the end too.
        assert!((of(&[100, 120, 900, 160, 180]) - 2.0).abs() < 0.6);
        assert!(of(&[100, 101, 99, 100, 900]).abs() < 25.0);
        assert!(of(&[100, 130, 90, 120, 100]).abs() < 0.6);
    }
}
