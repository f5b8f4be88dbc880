//! The SQL of the ready reports. Software adapters and hardware, and different browser builds, never share a row; attempts for
//! parity only have no times and so are in no report of times.

use serde_json::Value;

use super::ReportError;
use crate::pattern::matches;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Question {
    /// The median of each metric, by model and target.
    Performance,
    /// The same by machine and adapter.
    Hardware,
    /// The newest outcome of each cell, and why.
    Compatibility,
    /// How far from its reference each cell was.
    Parity,
    /// Speed and parity by format of the weights.
    Formats,
    /// Ten architectures on eight platforms.
    Coverage,
}

/// What of the results counts; patterns with `*`.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Filter {
    /// Only models of this name or pattern.
    #[arg(long)]
    pub model: Option<String>,
    /// Only this target or pattern, such as chrome:*.
    #[arg(long)]
    pub target: Option<String>,
    /// Only this metric.
    #[arg(long)]
    pub metric: Option<String>,
    /// Only models of this architecture.
    #[arg(long)]
    pub family: Option<String>,
    /// Only what was measured since this day, such as 2026-11-30.
    #[arg(long, value_name = "DATE")]
    pub since: Option<String>,
}

/// Metrics that a user asks about; the others tell how a measurement went.
const METRICS: &str = "'prefill_tokens_per_second', 'decode_tokens_per_second', 'time_to_first_token_ms', 'embed_ms', \
'texts_per_second', 'transcribe_ms', 'real_time_factor', 'load_ms', 'first_run_ms'";

/// Ten architectures and, by platform, the targets that count for it.
pub const ARCHITECTURES: [&str; 10] = [
    "bert", "t5", "llama", "qwen2", "vit", "detr", "whisper", "wav2vec2", "clap", "clip",
];

/// Platforms as people name them, and which cells count: a condition over `cells c`.
const PLATFORMS: [(&str, &str); 8] = [
    ("CPU", "c.target IN ('native:cpu', 'native:ort-cpu')"),
    (
        "CUDA",
        "c.target IN ('native:ort-cuda', 'native:ort-tensorrt') OR c.target = 'native:wgpu' AND c.adapter ILIKE '%nvidia%'",
    ),
    (
        "ROCm",
        "c.target = 'native:ort-migraphx' OR c.target = 'native:wgpu' AND NOT c.adapter_software \
         AND (c.adapter ILIKE '%amd%' OR c.adapter ILIKE '%radeon%')",
    ),
    (
        "MPS",
        "c.target = 'native:ort-coreml' OR c.target = 'native:wgpu' AND c.adapter ILIKE 'apple%'",
    ),
    ("OpenVINO", "c.target = 'native:ort-openvino'"),
    ("Qualcomm", "c.target = 'native:ort-qnn'"),
    ("WebNN", "c.target LIKE '%:webnn'"),
    ("WebGPU", "c.target LIKE '%:webgpu'"),
];

impl Question {
    /// The statement for a report.
    ///
    /// # Errors
    /// A date that is none.
    pub fn sql(self, filter: &Filter) -> Result<String, ReportError> {
        let of_cells = filter.conditions("c.model", "c.architecture", "c.target", "c.finished")?;
        Ok(match self {
            Question::Performance => times(
                filter,
                "p.machine, m.name AS model, a.format, a.task, a.batch, a.sequence, a.target, b.name AS browser_name, \
                 b.version AS browser_version, d.name AS adapter, d.software AS adapter_software",
            )?,
            Question::Hardware => times(
                filter,
                "p.machine, p.cpu, p.cores, d.name AS adapter, d.software AS adapter_software, a.target, \
                 b.name AS browser_name, b.version AS browser_version, m.name AS model, a.format, a.task, a.batch, \
                 a.sequence",
            )?,
            Question::Formats => times(
                filter,
                "m.name AS model, a.format, m.block_format, m.bits_per_weight, p.machine, a.task, a.batch, a.sequence, a.target, \
                 b.name AS browser_name, b.version AS browser_version, d.name AS adapter, \
                 d.software AS adapter_software, max(a.parity_max_abs) AS parity_max_abs",
            )?,
            Question::Compatibility => format!(
                "SELECT c.model, c.format, c.task, c.target, c.browser_version, c.outcome, c.stability, c.validity, c.reason
                 FROM cells c WHERE {of_cells} ORDER BY ALL"
            ),
            Question::Parity => format!(
                "SELECT c.model, c.format, c.task, c.target, c.browser_version, c.adapter, c.adapter_software, c.outcome,
                   c.parity_max_abs, c.parity_max_rel, t.compared, t.tensors, t.failed
                 FROM cells c LEFT JOIN (
                   SELECT attempt, sum(compared) AS compared, count(*) AS tensors, count(*) FILTER (NOT holds) AS failed
                   FROM parity GROUP BY attempt
                 ) t ON t.attempt = c.attempt
                 WHERE {of_cells} ORDER BY ALL"
            ),
            Question::Coverage => coverage(&of_cells),
        })
    }
}

/// Medians over the attempts of rows that have all of `by` in common.
fn times(filter: &Filter, by: &str) -> Result<String, ReportError> {
    let conditions = filter.conditions("m.name", "m.architecture", "a.target", "a.started")?;
    let metrics = match &filter.metric {
        Some(metric) => like("x.metric", metric),
        None => format!("x.metric IN ({METRICS})"),
    };
    Ok(format!(
        "SELECT {by}, x.metric, x.unit, count(*) AS attempts, sum(x.repeats)::BIGINT AS repeats,
           quantile_cont(x.p50, 0.5) AS median, min(x.p50) AS lowest, max(x.p50) AS highest,
           count(*) FILTER (a.validity = 'disturbed') AS disturbed, max(a.started) AS newest
         FROM measurements x
         JOIN attempts a ON a.attempt = x.attempt
         JOIN models m ON m.model_id = a.model_id
         JOIN runs r ON r.run = a.run
         JOIN platforms p ON p.platform_id = r.platform_id
         LEFT JOIN browsers b ON b.browser_id = a.browser_id
         LEFT JOIN adapters d ON d.adapter_id = a.adapter_id
         WHERE a.outcome = 'pass' AND a.task <> 'verify' AND {metrics} AND {conditions}
         GROUP BY ALL ORDER BY ALL"
    ))
}

fn coverage(conditions: &str) -> String {
    let rows: Vec<String> = ARCHITECTURES
        .iter()
        .map(|a| format!("({})", literal(a)))
        .collect();
    let columns: Vec<String> = PLATFORMS
        .iter()
        .map(|(name, counts)| {
            format!(
                "coalesce(arg_max(c.outcome || ' (' || c.target || ')', \
                 (c.outcome = 'pass', c.outcome <> 'unavailable', c.finished)) FILTER ({counts}), \
                 'not measured') AS \"{name}\""
            )
        })
        .collect();
    format!(
        "SELECT f.architecture, {} FROM (VALUES {}) f(architecture)
         LEFT JOIN cells c ON c.architecture = f.architecture AND {conditions}
         GROUP BY f.architecture ORDER BY f.architecture",
        columns.join(", "),
        rows.join(", ")
    )
}

impl Filter {
    fn conditions(
        &self,
        model: &str,
        family: &str,
        target: &str,
        when: &str,
    ) -> Result<String, ReportError> {
        let mut all = vec!["true".to_owned()];
        if let Some(pattern) = &self.model {
            all.push(like(model, pattern));
        }
        if let Some(family_given) = &self.family {
            all.push(like(family, family_given));
        }
        if let Some(pattern) = &self.target {
            all.push(like(target, pattern));
        }
        if let Some(since) = &self.since {
            if !is_date(since) {
                return Err(ReportError::Since(since.clone()));
            }
            all.push(format!("{when} >= DATE {}", literal(since)));
        }
        Ok(all.join(" AND "))
    }

    /// Says so where a filter names what is not in the results. `ask` answers a statement as `Results::query` does.
    ///
    /// # Errors
    /// [`ReportError::Unknown`] with what is there.
    pub fn check<E>(
        &self,
        ask: impl Fn(&str) -> Result<Value, E>,
    ) -> Result<Result<(), ReportError>, E> {
        let known = [
            (
                &self.model,
                "model",
                "SELECT DISTINCT name FROM models ORDER BY 1",
            ),
            (
                &self.target,
                "target",
                "SELECT DISTINCT target FROM attempts ORDER BY 1",
            ),
            (
                &self.metric,
                "metric",
                "SELECT DISTINCT metric FROM measurements ORDER BY 1",
            ),
            (
                &self.family,
                "family",
                "SELECT DISTINCT architecture FROM models WHERE architecture IS NOT NULL ORDER BY 1",
            ),
        ];
        for (given, what, sql) in known {
            let Some(given) = given else { continue };
            let answer = ask(sql)?;
            let names: Vec<String> = answer["rows"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|row| Some(row[0].as_str()?.to_owned()))
                .collect();
            if !names.iter().any(|name| matches(given, name)) {
                let mut some = names
                    .iter()
                    .take(20)
                    .cloned()
                    .collect::<Vec<String>>()
                    .join(", ");
                if names.len() > 20 {
                    some += ", …";
                }
                return Ok(Err(ReportError::Unknown {
                    what,
                    given: given.clone(),
                    known: if some.is_empty() { "none".into() } else { some },
                }));
            }
        }
        Ok(Ok(()))
    }
}

/// `YYYY-MM-DD`.
fn is_date(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    let digits = |part: &str, n: usize| part.len() == n && part.bytes().all(|b| b.is_ascii_digit());
    let number = |part: &str| part.parse::<u32>().unwrap_or(0);
    match parts[..] {
        [y, m, d] => {
            digits(y, 4)
                && digits(m, 2)
                && digits(d, 2)
                && (1..=12).contains(&number(m))
                && (1..=31).contains(&number(d))
        }
        _ => false,
    }
}

/// A pattern with `*` as SQL has it.
fn like(column: &str, pattern: &str) -> String {
    let escaped = pattern
        .replace('\\', "\\\\")
        .replace('%', "\\%")
        .replace('_', "\\_");
    format!(
        "{column} LIKE {} ESCAPE '\\'",
        literal(&escaped.replace('*', "%"))
    )
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_text_and_dates_are_dates() {
        let hostile = Filter {
            model: Some("x' OR 1=1 --".into()),
            target: Some("chrome:%_*".into()),
            ..Filter::default()
        };
        let sql = Question::Performance.sql(&hostile).unwrap();
        assert!(sql.contains("m.name LIKE 'x'' OR 1=1 --'"), "{sql}");
        assert!(
            sql.contains(r"a.target LIKE 'chrome:\%\_%' ESCAPE '\'"),
            "{sql}"
        );
        for wrong in ["yesterday", "2026-13-01", "2026-1-1", "2026-01-01'"] {
            let filter = Filter {
                since: Some(wrong.into()),
                ..Filter::default()
            };
            assert!(Question::Parity.sql(&filter).is_err(), "{wrong}");
        }
    }
}
