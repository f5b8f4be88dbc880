//! The self-contained HTML report: what ran, how it ended, how fast, and where each number is from.
//!
//! The page asks nothing of a network and has no script: bars are SVG made here, details unfold by the browser's own means.
//! Whatever comes from models, adapters or consoles goes through the template's escaping.

use std::collections::{BTreeMap, HashMap};

use minijinja::{AutoEscape, Environment, context};
use serde::Serialize;
use serde_json::{Value, json};

use super::ReportError;

/// What the page is made of: rows as objects, by the names of the statements below.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Facts {
    /// Of [`CELLS`].
    pub cells: Vec<Value>,
    /// Of [`TIMES`].
    pub times: Vec<Value>,
    /// Of [`RUNS`].
    pub runs: Vec<Value>,
    /// Of [`EVIDENCE`].
    pub evidence: Vec<Value>,
    /// Each browser's times beside native ones, as `fewbit compare browsers native` has them.
    pub versus: Vec<Value>,
    /// What is left out because there is too much of it, in words.
    pub cut: Option<String>,
    /// When the page is made, in words.
    pub made: String,
}

/// The newest state of each cell.
pub const CELLS: &str = "SELECT cell, model, architecture, format, task, batch, sequence, target, outcome, stability, validity, \
reason, browser_name, browser_version, adapter, adapter_software, machine, run, attempt::VARCHAR AS attempt, \
strftime(finished, '%Y-%m-%d %H:%M') AS finished, attempts, stop_reason, expectation, parity_max_abs \
FROM cells ORDER BY model, target, cell";

/// Medians of the attempts of each cell's newest run.
pub const TIMES: &str = "SELECT c.cell, c.model, c.format, c.task, c.target, c.machine, c.adapter_software, x.metric, x.unit, \
quantile_cont(x.p50, 0.5) AS median, min(x.p50) AS lowest, max(x.p50) AS highest, count(*) AS processes, \
sum(x.repeats)::BIGINT AS repeats, any_value(c.run) AS run, count(*) FILTER (a.validity = 'disturbed') AS disturbed \
FROM cells c JOIN attempts a ON a.run = c.run AND a.cell = c.cell JOIN measurements x ON x.attempt = a.attempt \
WHERE c.outcome = 'pass' AND c.task <> 'verify' AND a.outcome = 'pass' AND x.metric IN ('prefill_tokens_per_second', \
'decode_tokens_per_second', 'time_to_first_token_ms', 'embed_ms', 'transcribe_ms', 'real_time_factor', 'load_ms') \
GROUP BY ALL ORDER BY c.model, c.format, x.metric, c.machine, c.cell";

pub const RUNS: &str = "SELECT r.run, strftime(r.started, '%Y-%m-%d %H:%M') AS started, r.command, \
array_to_string(r.arguments, ' ') AS arguments, r.fewbit, r.commit_id, p.machine, p.os, p.cpu, p.cores, p.memory \
FROM runs r JOIN platforms p ON p.platform_id = r.platform_id \
WHERE r.run IN (SELECT run FROM cells) ORDER BY r.started DESC LIMIT 500";

/// What failed cells left.
pub const EVIDENCE: &str = "SELECT c.cell, e.kind, e.text FROM cells c JOIN evidence e ON e.attempt = c.attempt \
ORDER BY c.cell, e.kind LIMIT 2000";

/// How an outcome is marked beside its colour.
fn mark(outcome: &str) -> &'static str {
    match outcome {
        "pass" => "✓",
        "mismatch" => "≠",
        "error" => "✗",
        "unsupported" => "–",
        "unavailable" => "·",
        _ => "?",
    }
}

/// Writes the page.
///
/// # Errors
/// A template that does not fit, which a test would find.
pub fn page(facts: &Facts) -> Result<String, ReportError> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let mut targets: Vec<String> = facts.cells.iter().map(|c| text(c, "target")).collect();
    targets.sort();
    targets.dedup();
    // A row of the map is what differs from cell to cell beside the target.
    let row_of = |cell: &Value| {
        let name = text(cell, "cell");
        let row = name
            .rsplit_once('@')
            .map_or(name.clone(), |(row, _)| row.to_owned());
        match cell["machine"].as_str() {
            Some(machine) => format!("{row} on {machine}"),
            None => row,
        }
    };
    let mut names: Vec<String> = facts.cells.iter().map(row_of).collect();
    names.sort();
    names.dedup();
    let places: HashMap<(String, String), usize> = facts
        .cells
        .iter()
        .enumerate()
        .map(|(i, cell)| ((row_of(cell), text(cell, "target")), i))
        .collect();
    let mark_of = |i: usize| {
        let cell = &facts.cells[i];
        let outcome = text(cell, "outcome");
        json!({
            "index": i, "mark": mark(&outcome), "flaky": cell["stability"] == "flaky", "outcome": outcome,
        })
    };
    let map: Vec<Value> = names
        .iter()
        .map(|name| {
            let found = targets
                .iter()
                .map(|target| places.get(&(name.clone(), target.clone())));
            let cells: Vec<Value> = found
                .map(|i| i.map_or(Value::Null, |&i| mark_of(i)))
                .collect();
            json!({"name": name, "cells": cells})
        })
        .collect();
    let mut left: HashMap<String, Vec<&Value>> = HashMap::new();
    for row in &facts.evidence {
        left.entry(text(row, "cell")).or_default().push(row);
    }
    let cells: Vec<Value> = facts
        .cells
        .iter()
        .map(|cell| {
            let mut cell = cell.clone();
            let evidence = left.get(&text(&cell, "cell"));
            cell["evidence"] = json!(evidence.cloned().unwrap_or_default());
            cell
        })
        .collect();
    let mut environment = Environment::new();
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    environment
        .add_template("page", include_str!("page.html"))
        .map_err(|e| ReportError::Page(e.to_string()))?;
    let template = environment
        .get_template("page")
        .map_err(|e| ReportError::Page(e.to_string()))?;
    let outcomes = ["pass", "mismatch", "error", "unsupported", "unavailable"].map(|outcome| {
        let count = facts
            .cells
            .iter()
            .filter(|c| c["outcome"] == outcome)
            .count();
        json!({"name": outcome, "mark": mark(outcome), "count": count})
    });
    template
        .render(context! {
            targets, map, outcomes,
            cells,
            charts => charts(&facts.times),
            runs => facts.runs,
            versus => facts.versus,
            cut => facts.cut,
            made => facts.made,
            version => env!("CARGO_PKG_VERSION"),
        })
        .map_err(|e| ReportError::Page(format!("{e:#}")))
}

/// One chart for each metric of what differs by its target only, on one machine: targets as bars of one scale.
fn charts(times: &[Value]) -> Vec<Value> {
    let text = |value: &Value, name: &str| value[name].as_str().unwrap_or_default().to_owned();
    let key = |row: &Value| {
        let cell = text(row, "cell");
        let same = cell
            .rsplit_once('@')
            .map_or(cell.clone(), |(same, _)| same.to_owned());
        (same, text(row, "metric"), text(row, "machine"))
    };
    let mut groups: BTreeMap<_, Vec<&Value>> = BTreeMap::new();
    for row in times {
        groups.entry(key(row)).or_default().push(row);
    }
    groups
        .into_iter()
        .map(|(of, mut rows)| {
            let lower_is_better = of.1.ends_with("_ms") || of.1 == "real_time_factor";
            let median = |row: &Value| row["median"].as_f64().unwrap_or(0.0);
            rows.sort_by(|a, b| match lower_is_better {
                true => median(a).total_cmp(&median(b)),
                false => median(b).total_cmp(&median(a)),
            });
            let most = rows
                .iter()
                .map(|row| row["highest"].as_f64().unwrap_or(0.0))
                .fold(0.0, f64::max);
            let at = |value: f64| {
                if most > 0.0 {
                    (value / most * 320.0).clamp(0.0, 320.0)
                } else {
                    0.0
                }
            };
            let bars: Vec<Value> = rows
                .iter()
                .map(|row| {
                    let number = |name: &str| row[name].as_f64().unwrap_or(0.0);
                    json!({
                        "row": row,
                        "native": text(row, "target").starts_with("native:"),
                        "width": at(number("median")),
                        "from": at(number("lowest")),
                        "to": at(number("highest")),
                    })
                })
                .collect();
            let unit = rows.first().map_or(String::new(), |row| text(row, "unit"));
            json!({
                "name": of.0, "metric": of.1, "machine": of.2, "unit": unit,
                "better": if lower_is_better { "less is better" } else { "more is better" },
                "bars": bars,
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOSTILE: &str = "</script><img src=x onerror=alert(1)>";

    #[test]
    fn text_of_others_is_text_and_the_page_asks_for_nothing() {
        let cell = |target: &str, outcome: &str| {
            json!({
                "cell": format!("{HOSTILE}/stored/generate/b1@{target}"), "model": HOSTILE, "target": target, "outcome": outcome,
                "format": "stored", "task": "generate", "batch": 1, "reason": HOSTILE, "adapter": HOSTILE, "machine": "here",
                "run": "r", "attempt": "a", "finished": "2026-12-01 00:00", "attempts": 2, "stability": "flaky",
            })
        };
        let time = json!({
            "cell": "c", "model": HOSTILE, "format": "stored", "target": "native:cpu", "machine": "here",
            "metric": "decode_tokens_per_second", "unit": "tokens/s", "median": 3.0, "lowest": 2.0, "highest": 4.0,
            "processes": 2, "repeats": 6, "run": "r", "disturbed": 0,
        });
        let facts = Facts {
            cells: vec![cell("native:cpu", "pass"), cell("chrome:wasm", "error")],
            times: vec![time],
            runs: vec![
                json!({"run": "r", "command": "matrix", "arguments": HOSTILE, "machine": HOSTILE}),
            ],
            evidence: vec![json!({"cell": "c", "kind": "console", "text": HOSTILE})],
            made: "today".into(),
            ..Facts::default()
        };
        let html = page(&facts).unwrap();
        assert!(
            !html.contains("<img") && !html.contains("<script"),
            "{html}"
        );
        assert!(html.contains("&lt;&#x2f;script&gt;") || html.contains("&lt;/script&gt;"));
        for outward in ["http://", "https://", "src=", "@import", "url("] {
            assert!(!html.replace("src=x", "").contains(outward), "{outward}");
        }
        assert!(html.contains("class=\"error\"") && html.contains("✗"));
        assert!(
            page(&Facts::default())
                .unwrap()
                .contains("Nothing was measured")
        );
    }
}
