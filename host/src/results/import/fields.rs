//! One record of an older tool, whatever it calls things.

use std::collections::BTreeMap;

use chrono::{DateTime, NaiveDate, NaiveDateTime};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::job::{AdapterInfo, BrowserFacts, LoadInfo, MemoryFacts, Outcome};
use crate::results::record::{Attempt, Measurement, STORED, uuid};
use crate::target::Target;

/// Names of a metric with its own and its unit.
const METRICS: &[(&[&str], &str, &str)] = &[
    (
        &[
            "average_latency_ms",
            "avg_latency_ms",
            "mean_latency_ms",
            "latency_ms",
            "inference_time_ms",
        ],
        "latency_ms",
        "ms",
    ),
    (
        &[
            "throughput_items_per_second",
            "throughput",
            "items_per_second",
        ],
        "items_per_second",
        "items/s",
    ),
    (
        &["tokens_per_second", "decode_tokens_per_second"],
        "decode_tokens_per_second",
        "tokens/s",
    ),
    (
        &["prefill_tokens_per_second"],
        "prefill_tokens_per_second",
        "tokens/s",
    ),
    (
        &["time_to_first_token_ms", "first_token_ms", "ttft_ms"],
        "time_to_first_token_ms",
        "ms",
    ),
    (&["embed_ms"], "embed_ms", "ms"),
    (&["transcribe_ms"], "transcribe_ms", "ms"),
    (&["real_time_factor", "rtf"], "real_time_factor", "s/s"),
    (
        &[
            "load_ms",
            "load_time_ms",
            "model_load_time_ms",
            "initialization_time_ms",
        ],
        "load_ms",
        "ms",
    ),
    (
        &["first_run_ms", "first_inference_time_ms", "warmup_time_ms"],
        "first_run_ms",
        "ms",
    ),
    (
        &[
            "compile_ms",
            "compilation_time_ms",
            "shader_compilation_time_ms",
        ],
        "compile_ms",
        "ms",
    ),
];
const MEMORY: &[&str] = &["memory_peak_mb", "peak_memory_mb", "memory_usage_mb"];

/// A record as an attempt of our own.
///
/// # Errors
/// Why it cannot be one: no model, no place where it ran, nothing measured and no outcome, or a number that is none.
pub(super) fn attempt(record: &Value, source: &str) -> Result<Attempt, String> {
    let Value::Object(_) = record else {
        return Err("it is no object".into());
    };
    let mut fields = BTreeMap::new();
    flatten(record, "", 0, &mut fields);
    let fields = Fields(fields);
    let model = fields.text(&["model_name", "model", "model_id", "model_key"]);
    let model = model.ok_or("it names no model")?;
    let target = target(&fields)?;
    let mut attempt = Attempt::begin(&target, &model, "unknown");
    // What was exported comes back as what it was.
    attempt.attempt = match fields.text(&["attempt"]) {
        Some(own) if is_uuid(&own) => own,
        _ => id(record),
    };
    attempt.source = Some(source.into());
    attempt.started_us = fields
        .first(&["started", "timestamp", "created_at", "run_date", "date"])
        .map(moment)
        .transpose()?
        .unwrap_or(0);
    if let Some(task) = fields.text(&["task", "test_type", "mode"]) {
        attempt.task = task;
    }
    if let Some(format) = fields.text(&["format", "precision", "quantization", "dtype"]) {
        attempt.format = format;
    } else {
        attempt.format = STORED.into();
    }
    attempt.batch = fields.count(&["batch_size", "batch"])?.unwrap_or(1);
    attempt.sequence = fields.count(&["sequence_length", "seq_length", "seq_len", "sequence"])?;
    attempt.measurements = measurements(&fields)?;
    let said = outcome(&fields)?;
    if attempt.measurements.is_empty() && said.is_none() {
        return Err("it has no metric that is known and no outcome".into());
    }
    attempt.outcome = said.unwrap_or(Outcome::Pass);
    attempt.reason = fields.text(&["reason", "error_message", "error"]);
    if attempt.started_us == 0 && attempt.reason.is_none() {
        attempt.reason = Some("its source tells no time".into());
    }
    attempt.parity_max_abs = fields.number(&["parity_max_abs", "max_abs", "max_error"])?;
    attempt.validity = fields.text(&["validity"]);
    let name = fields.text(&["browser_name", "browser"]);
    let browser = name.map(|name| BrowserFacts {
        name,
        version: fields
            .text(&["browser_version"])
            .unwrap_or_else(|| "unknown".into()),
        ..BrowserFacts::default()
    });
    let adapter = fields.text(&["adapter", "adapter_name", "gpu_name", "gpu"]);
    let megabytes = fields.number(MEMORY)?;
    attempt.info = Some(LoadInfo {
        browser,
        adapter: adapter.map(|name| AdapterInfo {
            name,
            ..AdapterInfo::default()
        }),
        memory: MemoryFacts {
            peak_resident: megabytes.map(|mb| (mb.max(0.0) * 1e6) as u64),
            ..MemoryFacts::default()
        },
        ..LoadInfo::default()
    });
    Ok(attempt)
}

fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let lengths: Vec<usize> = parts.iter().map(|part| part.len()).collect();
    let hex = parts
        .iter()
        .all(|part| part.bytes().all(|b| b.is_ascii_hexdigit()));
    lengths == [8, 4, 4, 4, 12] && hex
}

/// The same record has the same id, in whatever order its fields stand.
fn id(record: &Value) -> String {
    let mut text = String::new();
    canonical(record, &mut text);
    let sum = Sha256::digest(text);
    let mut bits = [0; 16];
    bits.copy_from_slice(&sum[..16]);
    // Version 8 of RFC 9562: an id of one's own making.
    let bits = u128::from_be_bytes(bits) & !(0xf << 76) & !(0x3 << 62);
    uuid(bits | (8 << 76) | (2 << 62))
}

fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(object) => {
            let mut names: Vec<&String> = object.keys().collect();
            names.sort();
            text.push('{');
            for name in names {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(&object[name], text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(list) => {
            text.push('[');
            for value in list {
                canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

/// Columns of our own whose maps say things about fields.
const NO_FIELDS: [&str; 2] = ["absent", "depends"];

/// Fields by their own names, however deep they stand; of two with one name the outer.
struct Fields(BTreeMap<String, (usize, Value)>);

fn flatten(value: &Value, name: &str, depth: usize, into: &mut BTreeMap<String, (usize, Value)>) {
    const DEEPEST: usize = 8;
    match value {
        Value::Object(object) if depth < DEEPEST => {
            // `{"model": {"name": …}}`, `{"browser": {"name": …, "version": …}}`
            for part in ["name", "version", "type"] {
                if let (false, Some(inner @ Value::String(_))) = (name.is_empty(), object.get(part))
                {
                    let whole = if part == "name" {
                        name.to_owned()
                    } else {
                        format!("{name}_{part}")
                    };
                    into.entry(whole).or_insert((depth, inner.clone()));
                }
            }
            // `{"latency_ms": {"mean": …}}`
            let mean = ["mean", "average", "avg"]
                .iter()
                .find_map(|part| object.get(*part));
            if let (false, Some(mean @ Value::Number(_))) = (name.is_empty(), mean) {
                into.entry(name.to_owned()).or_insert((depth, mean.clone()));
            }
            for (name, value) in object {
                if NO_FIELDS.contains(&name.as_str()) {
                    continue;
                }
                flatten(value, &name.to_lowercase(), depth + 1, into);
            }
        }
        Value::Object(_) | Value::Null => {}
        other => {
            let better = into.get(name).is_none_or(|(known, _)| depth < *known);
            if better {
                into.insert(name.to_owned(), (depth, other.clone()));
            }
        }
    }
}

impl Fields {
    fn first(&self, names: &[&str]) -> Option<&Value> {
        names.iter().find_map(|name| Some(&self.0.get(*name)?.1))
    }

    /// Text that is not empty.
    fn text(&self, names: &[&str]) -> Option<String> {
        names.iter().find_map(|name| match &self.0.get(*name)?.1 {
            Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
            _ => None,
        })
    }

    fn number(&self, names: &[&str]) -> Result<Option<f64>, String> {
        let Some((name, value)) = names.iter().find_map(|n| Some((n, &self.0.get(*n)?.1))) else {
            return Ok(None);
        };
        number(value)
            .map(Some)
            .ok_or(format!("`{name}` is no number: {value}"))
    }

    fn count(&self, names: &[&str]) -> Result<Option<u32>, String> {
        match self.number(names)? {
            None => Ok(None),
            Some(n) if n >= 0.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) => {
                Ok(Some(n as u32))
            }
            Some(n) => Err(format!("`{}` is no count: {n}", names[0])),
        }
    }
}

fn number(value: &Value) -> Option<f64> {
    match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
    .filter(|number| number.is_finite())
}

/// Our own targets as they are; what an older tool calls its hardware is `imported:NAME`, as that need not have been any of ours.
fn target(fields: &Fields) -> Result<String, String> {
    if let Some(target) = fields.text(&["target"]) {
        let ours = target.parse::<Target>().is_ok() || target.starts_with("imported:");
        return Ok(if ours {
            target
        } else {
            format!("imported:{target}")
        });
    }
    let hardware = fields.text(&["hardware_type", "hardware", "platform", "backend", "device"]);
    let browser = fields.text(&["browser_name", "browser"]);
    match (browser, hardware) {
        (Some(browser), Some(hardware)) => Ok(format!("imported:{browser}:{hardware}")),
        (Some(one), None) | (None, Some(one)) => Ok(format!("imported:{one}")),
        (None, None) => Err("it names no target, hardware or browser".into()),
    }
}

fn measurements(fields: &Fields) -> Result<Vec<Measurement>, String> {
    let mut found = Vec::new();
    for (names, metric, unit) in METRICS {
        let Some((name, value)) = names.iter().find_map(|n| Some((n, &fields.0.get(*n)?.1))) else {
            continue;
        };
        let samples = match value {
            Value::Array(list) => list.iter().map(number).collect(),
            one => number(one).map(|number| vec![number]),
        };
        let samples: Vec<f64> =
            samples.ok_or(format!("`{name}` has what is no number: {value}"))?;
        if let Some(wrong) = samples.iter().find(|sample| **sample < 0.0) {
            return Err(format!("`{name}` is negative: {wrong}"));
        }
        if !samples.is_empty() {
            found.push(Measurement::new(metric, unit, samples));
        }
    }
    Ok(found)
}

fn outcome(fields: &Fields) -> Result<Option<Outcome>, String> {
    match fields.first(&["outcome", "status", "success", "passed"]) {
        None => Ok(None),
        Some(Value::Bool(true)) => Ok(Some(Outcome::Pass)),
        Some(Value::Bool(false)) => Ok(Some(Outcome::Error)),
        Some(Value::String(text)) => match text.to_lowercase().as_str() {
            "pass" | "passed" | "success" | "successful" | "ok" | "completed" => {
                Ok(Some(Outcome::Pass))
            }
            "mismatch" => Ok(Some(Outcome::Mismatch)),
            "error" | "fail" | "failed" | "failure" | "crashed" | "timeout" => {
                Ok(Some(Outcome::Error))
            }
            "unsupported" => Ok(Some(Outcome::Unsupported)),
            "unavailable" => Ok(Some(Outcome::Unavailable)),
            _ => Err(format!("its outcome is not known: {text}")),
        },
        Some(other) => Err(format!("its outcome is not known: {other}")),
    }
}

/// Microseconds since 1970-01-01 UTC of a date, a time (UTC where it names no zone), or a number of seconds or milliseconds.
fn moment(value: &Value) -> Result<i64, String> {
    let wrong = || format!("its time cannot be read: {value}");
    if let Some(number) = number(value) {
        // From 1973 on, milliseconds are beyond what seconds will be for 3,000 years.
        let seconds = if number.abs() > 1e11 {
            number / 1e3
        } else {
            number
        };
        return Ok((seconds * 1e6) as i64);
    }
    let text = value.as_str().ok_or_else(wrong)?.trim();
    if let Ok(time) = DateTime::parse_from_rfc3339(text) {
        return Ok(time.timestamp_micros());
    }
    for form in [
        "%Y-%m-%dT%H:%M:%S%.f",
        "%Y-%m-%d %H:%M:%S%.f",
        "%Y-%m-%d %H:%M",
        "%Y%m%d_%H%M%S",
    ] {
        if let Ok(time) = NaiveDateTime::parse_from_str(text, form) {
            return Ok(time.and_utc().timestamp_micros());
        }
    }
    if let Ok(time) = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z") {
        return Ok(time.timestamp_micros());
    }
    let date = NaiveDate::parse_from_str(text, "%Y-%m-%d").map_err(|_| wrong())?;
    let midnight = date.and_hms_opt(0, 0, 0).ok_or_else(wrong)?;
    Ok(midnight.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_older_tool_flat_and_nested() {
        let flat = json!({
            "model_name": "bert-base", "hardware_type": "cuda", "batch_size": 4, "average_latency_ms": 12.5,
            "throughput_items_per_second": "320", "memory_peak_mb": 512, "timestamp": "2025-03-01T12:00:00",
            "precision": "fp16", "test_type": "inference",
        });
        let attempt = super::attempt(&flat, "old.json").unwrap();
        assert_eq!(
            (attempt.model.as_str(), attempt.target.as_str()),
            ("bert-base", "imported:cuda")
        );
        assert_eq!(
            (
                attempt.batch,
                attempt.format.as_str(),
                attempt.task.as_str()
            ),
            (4, "fp16", "inference")
        );
        assert_eq!(attempt.started_us, 1_740_830_400_000_000);
        let names: Vec<&str> = attempt
            .measurements
            .iter()
            .map(|m| m.metric.as_str())
            .collect();
        assert_eq!(names, ["latency_ms", "items_per_second"]);
        assert_eq!(
            attempt.info.unwrap().memory.peak_resident,
            Some(512_000_000)
        );

        let nested = json!({
            "model": {"name": "vit", "family": "vision"}, "browser": {"name": "firefox", "version": "130"},
            "hardware": {"type": "webgpu"}, "performance": {"latency_ms": [1, 2, 3]}, "success": true,
        });
        let attempt = super::attempt(&nested, "old.json").unwrap();
        assert_eq!(
            (attempt.model.as_str(), attempt.outcome),
            ("vit", Outcome::Pass)
        );
        assert!(
            attempt.target.starts_with("imported:firefox"),
            "{}",
            attempt.target
        );
        assert_eq!(attempt.measurements[0].samples, [1.0, 2.0, 3.0]);
        assert_eq!(attempt.info.unwrap().browser.unwrap().version, "130");
    }

    #[test]
    fn the_same_has_the_same_id_and_ours_stay_ours() {
        let id = |json: &str| {
            let value: Value = serde_json::from_str(json).unwrap();
            super::attempt(&value, "s").unwrap().attempt
        };
        let one = r#"{"model": "m", "target": "chrome:wasm", "latency_ms": 1}"#;
        assert_eq!(
            id(one),
            id(r#"{"latency_ms":1,"target":"chrome:wasm","model":"m"}"#)
        );
        assert_ne!(
            id(one),
            id(r#"{"model": "m", "target": "chrome:wasm", "latency_ms": 2}"#)
        );
        let value: Value = serde_json::from_str(one).unwrap();
        assert_eq!(super::attempt(&value, "s").unwrap().target, "chrome:wasm");
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        for (record, why) in [
            (json!([1]), "no object"),
            (json!({"target": "native:cpu", "latency_ms": 1}), "no model"),
            (json!({"model": "m", "latency_ms": 1}), "no target"),
            (json!({"model": "m", "hardware": "cpu"}), "no metric"),
            (
                json!({"model": "m", "hardware": "cpu", "latency_ms": -1}),
                "negative",
            ),
            (
                json!({"model": "m", "hardware": "cpu", "latency_ms": "fast"}),
                "no number",
            ),
            (
                json!({"model": "m", "hardware": "cpu", "latency_ms": 1, "batch_size": 1.5}),
                "no count",
            ),
            (
                json!({"model": "m", "hardware": "cpu", "latency_ms": 1, "timestamp": "soon"}),
                "time",
            ),
            (
                json!({"model": "m", "hardware": "cpu", "status": "simulated"}),
                "outcome",
            ),
        ] {
            let error = super::attempt(&record, "s").unwrap_err();
            assert!(error.contains(why), "{record}: {error}");
        }
    }
}
