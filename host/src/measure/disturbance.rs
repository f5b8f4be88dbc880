//! What else the machine did while something was timed. The rules are fixed beforehand and never look at the times
//! themselves: tasks of others waited for a CPU, a hypervisor took it away, or a loop of known work ran slower than just
//! before.

use std::time::{Duration, Instant};

use crate::results::record::{Attempt, Measurement};

/// Waiting for a CPU during this share of the last ten seconds before the first repeat.
const PRESSURE: f64 = 10.0;
/// The share of all CPU time that a hypervisor took during the repeats.
const STEAL: f64 = 0.05;
/// How much longer the loop may take after the repeats than before.
const SLOWER: f64 = 1.25;

/// Runs from before the first repeat to after the last.
pub(super) struct Watch {
    pressure: Option<f64>,
    ticks: Option<Ticks>,
    loop_ms: f64,
}

#[derive(Clone, Copy)]
struct Ticks {
    all: u64,
    stolen: u64,
}

impl Watch {
    pub(super) fn begin() -> Watch {
        Watch {
            pressure: pressure(),
            ticks: ticks(),
            loop_ms: calibration(),
        }
    }

    /// Sets the attempt's validity and keeps what decided it.
    pub(super) fn end(self, attempt: &mut Attempt) {
        let loop_ms = calibration();
        let steal = self.ticks.zip(ticks()).map(|(before, after)| {
            let all = after.all.saturating_sub(before.all).max(1);
            after.stolen.saturating_sub(before.stolen) as f64 / all as f64
        });
        let mut keep = |name: &str, unit: &str, samples: Vec<f64>| {
            let mut measurement = Measurement::new(name, unit, samples);
            measurement.observation = "process".into();
            attempt.measurements.push(measurement);
        };
        keep("calibration_ms", "ms", vec![self.loop_ms, loop_ms]);
        if let Some(pressure) = self.pressure {
            keep("cpu_pressure", "%", vec![pressure]);
        }
        if let Some(steal) = steal {
            keep("cpu_steal", "share", vec![steal]);
        }
        let why = reason(self.pressure, steal, loop_ms / self.loop_ms);
        attempt.validity = Some(if why.is_some() { "disturbed" } else { "valid" }.into());
        if let (Some(why), None) = (why, &attempt.reason) {
            attempt.reason = Some(why);
        }
    }
}

/// Why an attempt counts as disturbed, by the rules above.
fn reason(pressure: Option<f64>, steal: Option<f64>, slower: f64) -> Option<String> {
    if let Some(pressure) = pressure.filter(|p| *p > PRESSURE) {
        return Some(format!(
            "disturbed: tasks waited for a CPU during {pressure:.0} % of the ten seconds before"
        ));
    }
    if let Some(steal) = steal.filter(|s| *s > STEAL) {
        return Some(format!(
            "disturbed: {:.0} % of the CPU's time was stolen",
            steal * 1e2
        ));
    }
    (slower > SLOWER).then(|| {
        format!("disturbed: a loop of known work took {slower:.2} times as long after as before")
    })
}

/// Linux's pressure stall information: the share of the last ten seconds in which tasks waited for a CPU, in percent.
pub fn pressure() -> Option<f64> {
    let pressure = std::fs::read_to_string("/proc/pressure/cpu").ok()?;
    let some = pressure.lines().find(|line| line.starts_with("some"))?;
    some.split_whitespace()
        .find_map(|field| field.strip_prefix("avg10="))?
        .parse()
        .ok()
}

/// `cpu` of `/proc/stat`: user, nice, system, idle, iowait, irq, softirq, steal.
fn ticks() -> Option<Ticks> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let fields = stat.lines().next()?.split_whitespace().skip(1);
    let fields: Vec<u64> = fields.take(8).map_while(|f| f.parse().ok()).collect();
    (fields.len() == 8).then(|| Ticks {
        all: fields.iter().sum(),
        stolen: fields[7],
    })
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
        assert_eq!(reason(Some(9.0), Some(0.01), 1.1), None);
        assert_eq!(reason(None, None, 1.0), None);
        assert!(reason(Some(11.0), None, 1.0).unwrap().contains("11 %"));
        assert!(reason(None, Some(0.1), 1.0).unwrap().contains("10 %"));
        assert!(reason(None, None, 1.3).unwrap().contains("1.30 times"));
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
