//! The rows of a run, as they are measured and as they travel to the process that owns the results.

use serde::{Deserialize, Serialize};

use crate::job::{LoadInfo, Outcome};

/// One call of a measuring command with the cells it has finished; the same run may come several times with further cells.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Record {
    pub run: Run,
    pub cells: Vec<Cell>,
}

/// What ran, where.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Run {
    /// Unique.
    pub run: String,
    /// Microseconds since 1970-01-01 UTC.
    pub started_us: i64,
    /// `bench` or `verify`.
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

/// One model and task on one target.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Cell {
    /// Unique.
    pub cell: String,
    pub started_us: i64,
    pub target: String,
    pub outcome: Outcome,
    /// `stable` or `flaky`, where that was tried.
    pub stability: Option<String>,
    /// `valid`, `disturbed` or `timed out`.
    pub validity: Option<String>,
    pub reason: Option<String>,
    pub model: String,
    pub task: String,
    pub info: Option<LoadInfo>,
    pub parity_max_abs: Option<f64>,
    pub parity_max_rel: Option<f64>,
    #[serde(default)]
    pub measurements: Vec<Measurement>,
    #[serde(default)]
    pub tensors: Vec<TensorRow>,
}

/// The repeats of one metric.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Measurement {
    pub metric: String,
    pub unit: String,
    pub samples: Vec<f64>,
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
            samples,
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

    pub fn mean(&self) -> Option<f64> {
        let n = self.samples.len();
        (n > 0).then(|| self.samples.iter().sum::<f64>() / n as f64)
    }
}

/// A name no other run or cell has: the time and 64 random bits.
pub fn unique() -> String {
    format!("{:x}-{:016x}", now_us(), rand::random::<u64>())
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
