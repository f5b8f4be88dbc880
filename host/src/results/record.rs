//! The rows of a run, as they are measured and as they travel to the process that owns the results.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::job::{LoadInfo, Outcome};

/// One call of a measuring command with some of its rows; the same run may come several times with further ones.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    /// Unique: a batch that comes again, as after a lost answer, changes nothing.
    pub batch: String,
    pub run: Run,
    #[serde(default)]
    pub attempts: Vec<Attempt>,
    #[serde(default)]
    pub designs: Vec<Design>,
    #[serde(default)]
    pub conclusions: Vec<Conclusion>,
    #[serde(default)]
    pub set_aside: Vec<SetAside>,
}

impl Record {
    /// A batch of `run` with no rows yet.
    pub fn new(run: &Run) -> Record {
        Record {
            batch: unique(),
            run: run.clone(),
            attempts: Vec::new(),
            designs: Vec::new(),
            conclusions: Vec::new(),
            set_aside: Vec::new(),
        }
    }
}

/// What ran, where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Unique.
    pub run: String,
    /// Microseconds since 1970-01-01 UTC.
    pub started_us: i64,
    /// `bench`, `verify`, `matrix` or `import`.
    pub command: String,
    pub arguments: Vec<String>,
    pub fewbit: String,
    pub commit_id: Option<String>,
    pub machine: Option<String>,
    pub os: Option<String>,
    pub cpu: Option<String>,
    pub cores: Option<i64>,
    pub memory: Option<i64>,
}

/// One process that ran, or tried to run, one model and task on one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Attempt {
    /// A UUID.
    pub attempt: String,
    /// Microseconds since 1970-01-01 UTC.
    pub started_us: i64,
    #[serde(default)]
    pub finished_us: Option<i64>,
    pub target: String,
    pub model: String,
    pub task: String,
    /// As asked for; [`STORED`] leaves a model as its files have it.
    pub format: String,
    pub batch: u32,
    /// Tokens of a prompt or text, where the task has one.
    pub sequence: Option<u32>,
    /// Which of the design's processes this is, and which try of it; from 1.
    pub process: u32,
    pub r#try: u32,
    /// Attempts of one block ran in turn.
    #[serde(default)]
    pub block: Option<String>,
    pub outcome: Outcome,
    /// `valid`, `disturbed` or `timed out`.
    pub validity: Option<String>,
    pub reason: Option<String>,
    pub info: Option<LoadInfo>,
    /// Of the model's files, where it is known.
    #[serde(default)]
    pub model_sha256: Option<String>,
    pub parity_max_abs: Option<f64>,
    pub parity_max_rel: Option<f64>,
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    #[serde(default)]
    pub tensors: Vec<TensorRow>,
    /// What a failed attempt left.
    #[serde(default)]
    pub evidence: Vec<Evidence>,
    /// What the attempt depended on, by name; see `fewbit matrix`.
    #[serde(default)]
    pub depends: BTreeMap<String, String>,
    /// The file it was imported from.
    #[serde(default)]
    pub source: Option<String>,
}

/// The format of a model that is run as its files have it.
pub const STORED: &str = "stored";

impl Attempt {
    /// An attempt that begins now and has come to nothing yet: outcome `error`, one process, first try, batch 1.
    pub fn begin(target: &str, model: &str, task: &str) -> Attempt {
        Attempt {
            attempt: unique_uuid(),
            started_us: now_us(),
            finished_us: None,
            target: target.into(),
            model: model.into(),
            task: task.into(),
            format: STORED.into(),
            batch: 1,
            sequence: None,
            process: 1,
            r#try: 1,
            block: None,
            outcome: Outcome::Error,
            validity: None,
            reason: None,
            info: None,
            model_sha256: None,
            parity_max_abs: None,
            parity_max_rel: None,
            measurements: Vec::new(),
            tensors: Vec::new(),
            evidence: Vec::new(),
            depends: BTreeMap::new(),
            source: None,
        }
    }

    /// The cell's name: what is measured where, the same on every day and machine.
    pub fn cell(&self) -> String {
        cell_name(
            &self.model,
            &self.format,
            &self.task,
            self.batch,
            self.sequence,
            &self.target,
        )
    }
}

/// `MODEL/FORMAT/TASK/bBATCH[/sSEQUENCE]@TARGET`.
pub fn cell_name(
    model: &str,
    format: &str,
    task: &str,
    batch: u32,
    sequence: Option<u32>,
    target: &str,
) -> String {
    let sequence = sequence.map_or(String::new(), |s| format!("/s{s}"));
    format!("{model}/{format}/{task}/b{batch}{sequence}@{target}")
}

/// What was to be measured in a cell, declared before it began.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Design {
    pub cell: String,
    /// Microseconds since 1970-01-01 UTC.
    pub declared_us: i64,
    /// `fixed` or `sequential`.
    pub kind: String,
    pub processes: u32,
    pub repeats: u32,
    pub warm_up: u32,
    /// When to stop, in words.
    pub rule: String,
}

/// Why a cell is done.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Conclusion {
    pub cell: String,
    /// Microseconds since 1970-01-01 UTC.
    pub finished_us: i64,
    pub stop_reason: String,
    /// `expected` or `unexpected`, where something was expected.
    pub expectation: Option<String>,
}

/// A message or a picture's path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Evidence {
    /// `console`, `host`, `driver` or `screenshot`.
    pub kind: String,
    pub text: String,
}

/// A record of an imported file that could not be read.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SetAside {
    pub source: String,
    /// Counted from 1.
    pub position: u64,
    pub reason: String,
    /// As it was, cut off where it is long.
    pub record: String,
}

/// The repeats of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub metric: String,
    pub unit: String,
    /// What one sample is of: `request`, `token` or `process`.
    #[serde(default = "request")]
    pub observation: String,
    pub samples: Vec<f64>,
}

fn request() -> String {
    "request".into()
}

/// How one output compared with its reference.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TensorRow {
    pub tensor: String,
    /// Elements compared; masked ones are left out.
    pub compared: u64,
    pub max_abs: Option<f64>,
    pub max_rel: Option<f64>,
    pub atol: Option<f64>,
    pub rtol: Option<f64>,
    pub holds: bool,
    pub note: Option<String>,
}

impl Measurement {
    pub fn new(metric: &str, unit: &str, samples: Vec<f64>) -> Measurement {
        Measurement {
            metric: metric.into(),
            unit: unit.into(),
            observation: request(),
            samples,
        }
    }

    /// With one sample a process: what happens once in each, such as loading.
    pub fn of_process(metric: &str, unit: &str, sample: f64) -> Measurement {
        Measurement {
            observation: "process".into(),
            ..Measurement::new(metric, unit, vec![sample])
        }
    }

    /// The value below which a share `q` of the samples lies, linear between neighbours (type 7 of Hyndman and Fan 1996);
    /// `None` without samples.
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let mut sorted = self.samples.clone();
        sorted.sort_by(f64::total_cmp);
        let at = q.clamp(0.0, 1.0) * (sorted.len().checked_sub(1)? as f64);
        let below = sorted[at.floor() as usize];
        let above = sorted[at.ceil() as usize];
        Some(below + (above - below) * at.fract())
    }

    /// Below 100 samples it would be no more than the largest, and so is `None`.
    pub fn p99(&self) -> Option<f64> {
        (self.samples.len() >= 100).then(|| self.quantile(0.99))?
    }

    pub fn mean(&self) -> Option<f64> {
        let n = self.samples.len();
        (n > 0).then(|| self.samples.iter().sum::<f64>() / n as f64)
    }
}

/// A name no other run or cell has: the time and 64 random bits.
pub fn unique() -> String {
    format!("{:x}-{:016x}", now_us(), rand::random::<u64>())
}

/// A UUID of version 7 (RFC 9562, section 5.7): the time, then random bits.
pub fn unique_uuid() -> String {
    let milliseconds = (now_us() / 1000) as u128;
    let random = rand::random::<u128>() & ((1 << 80) - 1);
    let version = !(0xf << 76) & !(0x3 << 62);
    uuid((milliseconds << 80) | (random & version) | (7 << 76) | (2 << 62))
}

/// 128 bits as a UUID is written.
pub(super) fn uuid(bits: u128) -> String {
    let digits = format!("{bits:032x}");
    let part = |from: usize, to: usize| &digits[from..to];
    [
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32),
    ]
    .join("-")
}

/// Microseconds since 1970-01-01 UTC.
pub fn now_us() -> i64 {
    std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |d| i64::try_from(d.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let m = Measurement::new("x", "ms", vec![4.0, 1.0, 3.0, 2.0]);
        assert_eq!(m.quantile(0.5), Some(2.5));
        assert_eq!(m.quantile(0.0), Some(1.0));
        assert_eq!(m.quantile(1.0), Some(4.0));
        assert!((m.quantile(0.9).unwrap() - 3.7).abs() < 1e-12);
        assert_eq!(m.mean(), Some(2.5));
        let one = Measurement::new("x", "ms", vec![7.0]);
        assert_eq!(one.quantile(0.99), Some(7.0));
        assert_eq!(Measurement::new("x", "ms", vec![]).quantile(0.5), None);
    }
}
