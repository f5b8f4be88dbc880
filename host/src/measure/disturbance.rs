//! What else the machine did while something was timed. The rules are fixed beforehand and never look at the times
//! themselves: programs that are not ours had a share of the CPUs, a hypervisor took one away, or a loop of known work ran
//! slower than just before. Linux's pressure stall information of the ten seconds before is kept beside them; it decides
//! only where the system does not tell whose work it was, as our own threads make it too.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::results::record::{Attempt, Measurement};

/// The share of all CPU time that programs which are not ours may have during the repeats.
const OTHERS: f64 = 0.10;
/// The share of all CPU time that a hypervisor may take during the repeats.
const STEAL: f64 = 0.05;
/// How much longer the loop may take after the repeats than before.
const SLOWER: f64 = 1.25;
/// The share of the ten seconds before the first repeat in which tasks may wait for a CPU, in percent.
const PRESSURE: f64 = 10.0;

/// Runs from before the first repeat to after the last.
pub(super) struct Watch {
    pressure: Option<f64>,
    ticks: Option<Ticks>,
    loop_ms: f64,
}

/// Counted since the system started.
#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    busy: u64,
    stolen: u64,
    /// Of this process and its descendants.
    ours: u64,
}

/// Shares of all CPU time between two counts.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Shares {
    others: f64,
    stolen: f64,
}

impl Watch {
    pub(super) fn begin() -> Watch {
        Watch {
            pressure: pressure(),
            loop_ms: calibration(),
            ticks: ticks(),
        }
    }

    /// Sets the attempt's validity and keeps what decided it.
    pub(super) fn end(self, attempt: &mut Attempt) {
        let shares = self
            .ticks
            .zip(ticks())
            .map(|(before, after)| between(before, after));
        let loop_ms = calibration();
        let mut keep = |name: &str, unit: &str, samples: Vec<f64>| {
            let mut measurement = Measurement::new(name, unit, samples);
            measurement.observation = "process".into();
            attempt.measurements.push(measurement);
        };
        keep("calibration_ms", "ms", vec![self.loop_ms, loop_ms]);
        if let Some(pressure) = self.pressure {
            keep("cpu_pressure", "%", vec![pressure]);
        }
        if let Some(shares) = shares {
            keep("cpu_others", "share", vec![shares.others]);
            keep("cpu_steal", "share", vec![shares.stolen]);
        }
        let why = reason(self.pressure, shares, loop_ms / self.loop_ms);
        attempt.validity = Some(if why.is_some() { "disturbed" } else { "valid" }.into());
        if let (Some(why), None) = (why, &attempt.reason) {
            attempt.reason = Some(why);
        }
    }
}

/// Why an attempt counts as disturbed, by the rules above.
fn reason(pressure: Option<f64>, shares: Option<Shares>, slower: f64) -> Option<String> {
    match (shares, pressure) {
        (Some(shares), _) if shares.others > OTHERS => {
            return Some(format!(
                "disturbed: other programs had {:.0} % of the CPUs",
                shares.others * 1e2
            ));
        }
        (Some(shares), _) if shares.stolen > STEAL => {
            return Some(format!(
                "disturbed: {:.0} % of the CPUs' time was stolen",
                shares.stolen * 1e2
            ));
        }
        (None, Some(pressure)) if pressure > PRESSURE => {
            return Some(format!(
                "disturbed: tasks waited for a CPU during {pressure:.0} % of the ten seconds before"
            ));
        }
        _ => {}
    }
    (slower > SLOWER).then(|| {
        format!("disturbed: a loop of known work took {slower:.2} times as long after as before")
    })
}

fn between(before: Ticks, after: Ticks) -> Shares {
    let all = after.all.saturating_sub(before.all).max(1) as f64;
    let busy = after.busy.saturating_sub(before.busy);
    let ours = after.ours.saturating_sub(before.ours);
    Shares {
        others: busy.saturating_sub(ours) as f64 / all,
        stolen: after.stolen.saturating_sub(before.stolen) as f64 / all,
    }
}

/// Linux's pressure stall information: the share of the last ten seconds in which tasks waited for a CPU, in percent.
fn pressure() -> Option<f64> {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = pressure.lines().find(|line| line.starts_with("some"))?;
    some.split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()
}

/// `cpu` of `/proc/stat` (user, nice, system, idle, iowait, irq, softirq, steal), and what is ours of it.
fn ticks() -> Option<Ticks> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let fields: Vec<u64> = fields.take(8).map_while(|f| f.parse().ok()).collect();
    let [user, nice, system, idle, iowait, irq, softirq, stolen] = fields[..] else {
        return None;
    };
    let busy = user + nice + system + irq + softirq;
    Some(Ticks {
        all: busy + idle + iowait + stolen,
        busy,
        stolen,
        ours: ours()?,
    })
}

/// CPU time of this process and its descendants, of those that ended and were waited for too.
fn ours() -> Option<u64> {
    let mut processes: HashMap<u32, (u32, u64)> = HashMap::new();
    for entry in std::fs::read_dir("/proc").ok()?.flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|n| n.parse().ok()) else {
            continue;
        };
        // A process may end meanwhile.
        let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
        if let Some(found) = parent_and_ticks(&stat) {
            processes.insert(pid, found);
        }
    }
    let own = std::process::id();
    let is_ours = |mut pid: u32| {
        for _ in 0..64 {
            if pid == own {
                return true;
            }
            match processes.get(&pid) {
                Some((parent, _)) => pid = *parent,
                None => return false,
            }
        }
        false
    };
    let ours = processes.iter().filter(|(pid, _)| is_ours(**pid));
    Some(ours.map(|(_, (_, ticks))| ticks).sum())
}

/// Fields 4 and 14 to 17 of `/proc/PID/stat`: the parent; user and system time, of itself and of children that it waited for.
fn parent_and_ticks(stat: &str) -> Option<(u32, u64)> {
    // The second field, in parentheses, may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let times = fields.get(11..15)?.iter();
    let times: Vec<u64> = times.map_while(|f| f.parse().ok()).collect();
    Some((parent, times.iter().sum()))
}

/// The quickest of five turns of a loop that only computes, in milliseconds.
fn calibration() -> f64 {
    let turn = || {
        let began = Instant::now();
        let mut x = 0x9e37_79b9_7f4a_7c15_u64;
        for _ in 0..1_000_000 {
            x ^= x << 13;
            x ^= x >> 7;
            x ^= x << 17;
        }
        std::hint::black_box(x);
        began.elapsed()
    };
    let best = (0..5).map(|_| turn()).min().unwrap_or(Duration::ZERO);
    best.as_secs_f64() * 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_decide() {
        let shares = |others, stolen| Some(Shares { others, stolen });
        assert_eq!(reason(Some(90.0), shares(0.05, 0.01), 1.1), None);
        assert_eq!(reason(None, None, 1.0), None);
        let told = |pressure, shares, slower| reason(pressure, shares, slower).unwrap();
        assert!(told(Some(11.0), None, 1.0).contains("11 %"));
        assert!(told(None, shares(0.2, 0.0), 1.0).contains("had 20 %"));
        assert!(told(None, shares(0.0, 0.1), 1.0).contains("10 %"));
        assert!(told(None, shares(0.0, 0.0), 1.3).contains("1.30 times"));
    }

    #[test]
    fn what_is_ours_is_not_others() {
        let at = |all, busy, ours| Ticks {
            all,
            busy,
            stolen: 0,
            ours,
        };
        let shares = between(at(1000, 500, 100), at(1100, 590, 180));
        assert_eq!(
            shares,
            Shares {
                others: 0.1,
                stolen: 0.0
            }
        );
        // Counted one after the other, ours may be a little more.
        assert_eq!(between(at(0, 0, 0), at(100, 50, 51)).others, 0.0);
        let stat = "12 (a) b (c) S 7 12 12 0 -1 0 0 0 0 0 10 20 3 4 20 0 1 0 99";
        assert_eq!(parent_and_ticks(stat), Some((7, 37)));
    }

    #[test]
    fn a_watched_attempt_tells_what_decided() {
        let mut attempt = Attempt::begin("native:cpu", "m", "generate");
        Watch::begin().end(&mut attempt);
        assert!(attempt.validity.is_some());
        let metric = |m: &Measurement| m.metric == "calibration_ms" && m.samples.len() == 2;
        assert!(attempt.measurements.iter().any(metric));
    }
}
