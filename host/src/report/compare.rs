//! A against B, cell by cell: two targets, commits, browser versions or formats, or the browsers against native targets.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::ReportError;
use super::bootstrap::{Process, Ratio, paired, unpaired};
use crate::results::objects;

/// What A and B are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum By {
    Target,
    Commit,
    /// Versions of browsers.
    Browser,
    Format,
}

impl By {
    const ALL: [By; 4] = [By::Target, By::Commit, By::Browser, By::Format];

    const fn column(self) -> &'static str {
        match self {
            By::Target => "target",
            By::Commit => "commit_id",
            By::Browser => "browser_version",
            By::Format => "format",
        }
    }
}

/// One process of a cell, with what decides whether it may be compared.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    pub model: String,
    pub format: String,
    pub task: String,
    pub batch: u32,
    pub sequence: Option<u32>,
    pub target: String,
    pub machine: Option<String>,
    pub metric: String,
    pub unit: String,
    pub commit_id: Option<String>,
    pub browser_version: Option<String>,
    pub adapter: Option<String>,
    pub adapter_software: Option<bool>,
    pub block: Option<String>,
    /// Microseconds since 1970-01-01 UTC.
    pub started_us: i64,
    /// JSON.
    pub samples: String,
}

/// The statement whose rows are [`Row`]s, of one metric.
pub fn sql(metric: &str, model: Option<&str>) -> String {
    let literal = |text: &str| format!("'{}'", text.replace('\'', "''"));
    let model = model.map_or("true".into(), |m| format!("mo.name = {}", literal(m)));
    format!(
        "SELECT mo.name AS model, a.format, a.task, a.batch, a.sequence, a.target, p.machine, x.metric, x.unit, r.commit_id,
           b.version AS browser_version, d.name AS adapter, d.software AS adapter_software, a.block,
           epoch_us(a.started) AS started_us, to_json(x.samples)::VARCHAR AS samples
         FROM measurements x JOIN attempts a ON a.attempt = x.attempt JOIN runs r ON r.run = a.run
         JOIN platforms p ON p.platform_id = r.platform_id JOIN models mo ON mo.model_id = a.model_id
         LEFT JOIN browsers b ON b.browser_id = a.browser_id LEFT JOIN adapters d ON d.adapter_id = a.adapter_id
         WHERE a.outcome = 'pass' AND a.task <> 'verify' AND coalesce(a.validity, 'valid') <> 'timed out'
           AND x.metric = {} AND {model}
         ORDER BY a.started",
        literal(metric)
    )
}

/// Reads an answer to [`sql`].
pub fn rows(answer: &Value) -> Vec<Row> {
    let rows = objects(answer).into_iter();
    rows.filter_map(|row| serde_json::from_value(row).ok())
        .collect()
}

/// One line of a comparison.
#[derive(Clone, Debug, Serialize)]
pub struct Compared {
    /// The cell less what differs.
    pub cell: String,
    pub a: String,
    pub b: String,
    pub metric: String,
    pub unit: String,
    /// A over B.
    pub ratio: Option<f64>,
    pub low: Option<f64>,
    pub high: Option<f64>,
    pub processes_a: usize,
    pub processes_b: usize,
    /// `paired` where both were measured in one block, else `unpaired`.
    pub how: &'static str,
    /// Why there is no ratio, or no interval.
    pub note: Option<String>,
}

/// What A and B are, found in the rows.
///
/// # Errors
/// Where no kind of thing has both.
pub fn kind(rows: &[Row], a: &str, b: &str) -> Result<By, ReportError> {
    let has = |by: By, name: &str| rows.iter().any(|row| value(row, by) == Some(name));
    let found = By::ALL.into_iter().find(|by| has(*by, a) && has(*by, b));
    found.ok_or_else(|| {
        let mut known: Vec<String> = Vec::new();
        for by in By::ALL {
            let mut values: Vec<&str> = rows.iter().filter_map(|row| value(row, by)).collect();
            values.sort_unstable();
            values.dedup();
            values.truncate(12);
            if !values.is_empty() {
                known.push(format!("{}: {}", by.column(), values.join(", ")));
            }
        }
        ReportError::Unknown {
            what: "pair of targets, commits, browser versions or formats",
            given: format!("{a}, {b}"),
            known: if known.is_empty() {
                "none".into()
            } else {
                known.join("; ")
            },
        }
    })
}

fn value(row: &Row, by: By) -> Option<&str> {
    match by {
        By::Target => Some(&row.target),
        By::Commit => row.commit_id.as_deref(),
        By::Browser => row.browser_version.as_deref(),
        By::Format => Some(&row.format),
    }
}

/// Compares all cells that both have.
pub fn compare(rows: &[Row], by: By, a: &str, b: &str) -> Vec<Compared> {
    let mut cells: BTreeMap<String, [Vec<&Row>; 2]> = BTreeMap::new();
    for row in rows {
        let side = match value(row, by) {
            Some(name) if name == a => 0,
            Some(name) if name == b => 1,
            _ => continue,
        };
        cells.entry(cell(row, by)).or_default()[side].push(row);
    }
    let both = cells
        .into_iter()
        .filter(|(_, [a, b])| !a.is_empty() && !b.is_empty());
    both.map(|(cell, sides)| one(cell, a, b, by, sides))
        .collect()
}

/// Every browser's wasm against `native:cpu`, its WebGPU against `native:wgpu`.
pub fn browsers_and_native(rows: &[Row]) -> Vec<Compared> {
    let mut targets: Vec<&str> = rows.iter().map(|row| row.target.as_str()).collect();
    targets.sort_unstable();
    targets.dedup();
    let native = |target: &str| match target.split_once(':') {
        Some((place, "wasm")) if place != "native" && place != "imported" => Some("native:cpu"),
        Some((place, "webgpu")) if place != "native" && place != "imported" => Some("native:wgpu"),
        _ => None,
    };
    targets
        .iter()
        .filter_map(|target| Some((target, native(target)?)))
        .flat_map(|(target, native)| compare(rows, By::Target, target, native))
        .collect()
}

fn cell(row: &Row, by: By) -> String {
    let sequence = row.sequence.map_or(String::new(), |s| format!("/s{s}"));
    let format = if by == By::Format { "*" } else { &row.format };
    let target = if by == By::Target { "*" } else { &row.target };
    let machine = row.machine.as_deref().unwrap_or("an unnamed machine");
    format!(
        "{}/{format}/{}/b{}{sequence}@{target} on {machine}",
        row.model, row.task, row.batch
    )
}

fn one(cell: String, a: &str, b: &str, by: By, sides: [Vec<&Row>; 2]) -> Compared {
    // Of a side, the attempts of its newest surroundings: other builds are another thing.
    let newest = sides.map(|rows| {
        let last = rows.iter().max_by_key(|row| row.started_us).copied();
        let same = |row: &&&Row| {
            last.is_some_and(|last| {
                (&row.browser_version, &row.adapter, row.adapter_software)
                    == (&last.browser_version, &last.adapter, last.adapter_software)
                    && (by == By::Browser || row.commit_id == last.commit_id)
            })
        };
        rows.iter().filter(same).copied().collect::<Vec<&Row>>()
    });
    let software = |rows: &[&Row]| rows.first().and_then(|row| row.adapter_software);
    let first = newest[0].first().copied();
    let mut compared = Compared {
        cell,
        a: a.into(),
        b: b.into(),
        metric: first.map_or_else(String::new, |row| row.metric.clone()),
        unit: first.map_or_else(String::new, |row| row.unit.clone()),
        ratio: None,
        low: None,
        high: None,
        processes_a: newest[0].len(),
        processes_b: newest[1].len(),
        how: "unpaired",
        note: None,
    };
    if let (Some(a), Some(b)) = (software(&newest[0]), software(&newest[1]))
        && a != b
    {
        compared.note = Some("a software adapter and hardware are not compared".into());
        return compared;
    }
    let blocks = blocks(&newest);
    let ratio: Option<Ratio> = match blocks.is_empty() {
        false => {
            compared.how = "paired";
            compared.processes_a = blocks.iter().map(|(a, _)| a.len()).sum();
            compared.processes_b = blocks.iter().map(|(_, b)| b.len()).sum();
            paired(&blocks)
        }
        true => {
            let all = |rows: &[&Row]| {
                rows.iter()
                    .filter_map(|row| process(row))
                    .collect::<Vec<_>>()
            };
            unpaired(&all(&newest[0]), &all(&newest[1]))
        }
    };
    compared.ratio = ratio.map(|r| r.ratio);
    if let Some((low, high)) = ratio.and_then(|r| r.interval) {
        (compared.low, compared.high) = (Some(low), Some(high));
    } else {
        compared.note = Some("no interval: it takes two processes (or blocks) of each".into());
    }
    compared
}

fn process(row: &Row) -> Option<Process> {
    let samples: Process = serde_json::from_str(&row.samples).ok()?;
    (!samples.is_empty()).then_some(samples)
}

/// The blocks that both sides have.
fn blocks(sides: &[Vec<&Row>; 2]) -> Vec<(Vec<Process>, Vec<Process>)> {
    let mut blocks: BTreeMap<&str, (Vec<Process>, Vec<Process>)> = BTreeMap::new();
    for (side, rows) in sides.iter().enumerate() {
        for row in rows {
            let (Some(block), Some(process)) = (&row.block, process(row)) else {
                continue;
            };
            let entry = blocks.entry(block).or_default();
            if side == 0 {
                entry.0.push(process)
            } else {
                entry.1.push(process)
            }
        }
    }
    let both = blocks
        .into_values()
        .filter(|(a, b)| !a.is_empty() && !b.is_empty());
    both.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(target: &str, block: Option<&str>, software: bool, samples: &str) -> Row {
        Row {
            model: "m".into(),
            format: "stored".into(),
            task: "generate".into(),
            batch: 1,
            sequence: Some(128),
            target: target.into(),
            machine: Some("here".into()),
            metric: "decode_tokens_per_second".into(),
            unit: "tokens/s".into(),
            commit_id: None,
            browser_version: None,
            adapter: Some("a".into()),
            adapter_software: Some(software),
            block: block.map(str::to_owned),
            started_us: 0,
            samples: samples.into(),
        }
    }

    #[test]
    fn blocks_make_pairs_and_software_is_no_hardware() {
        let (a, b) = ("chrome:webgpu", "native:wgpu");
        let apart = [
            row(a, None, true, "[4, 4]"),
            row(a, None, true, "[4, 4]"),
            row(b, None, true, "[2]"),
            row(b, None, true, "[2]"),
        ];
        let found = &compare(&apart, By::Target, a, b)[0];
        assert_eq!((found.ratio, found.how), (Some(2.0), "unpaired"));
        assert_eq!((found.low, found.high), (Some(2.0), Some(2.0)));
        let together = ["x", "y"]
            .map(|block| {
                [
                    row(a, Some(block), true, "[4]"),
                    row(b, Some(block), true, "[2]"),
                ]
            })
            .concat();
        assert_eq!(compare(&together, By::Target, a, b)[0].how, "paired");
        assert_eq!(browsers_and_native(&together).len(), 1);
        let mixed = [row(a, None, true, "[4]"), row(b, None, false, "[2]")];
        let found = &compare(&mixed, By::Target, a, b)[0];
        assert!(found.ratio.is_none() && found.note.as_ref().unwrap().contains("software"));
        assert_eq!(kind(&apart, a, b).unwrap(), By::Target);
        let error = kind(&apart, a, "opera:wasm").unwrap_err().to_string();
        assert!(error.contains("native:wgpu"), "{error}");
    }
}
