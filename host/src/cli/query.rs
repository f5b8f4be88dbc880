//! `fewbit query`: SQL over the results.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use serde_json::Value;

use crate::results::{Results, default_path};

/// Run one SELECT over the results. Tables: runs, cells, measurements, tensors; and results, one line a cell.
///
/// The statement can read nothing but the results and write nothing; DESCRIBE results shows the columns. When another
/// fewbit holds the file, it answers.
#[derive(Args)]
pub(crate) struct Query {
    /// For example: "SELECT target, decode_tokens_per_second FROM results ORDER BY started DESC LIMIT 10"
    sql: String,
    /// A JSON array with an object a row.
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Comma-separated values with a header line.
    #[arg(long)]
    csv: bool,
    /// The results file; otherwise FEWBIT_DB or results.duckdb in the store's folder.
    #[arg(long, value_name = "FILE")]
    db: Option<PathBuf>,
}

impl Query {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let path = match self.db {
            Some(path) => path,
            None => default_path()?,
        };
        let answer = Results::open(&path)?.query(&self.sql)?;
        let names: Vec<&str> = list(&answer["columns"])
            .iter()
            .map(|column| column["name"].as_str().unwrap_or_default())
            .collect();
        let rows = list(&answer["rows"]);
        let mut out = std::io::stdout().lock();
        if self.json {
            let objects: Vec<Value> = rows
                .iter()
                .map(|row| {
                    let cells = names
                        .iter()
                        .map(|n| (*n).to_string())
                        .zip(list(row).iter().cloned());
                    Value::Object(cells.collect())
                })
                .collect();
            writeln!(out, "{}", serde_json::to_string_pretty(&objects)?)?;
        } else if self.csv {
            let header: Vec<String> = names.iter().map(|name| quoted(name)).collect();
            writeln!(out, "{}", header.join(","))?;
            for row in rows {
                let cells: Vec<String> = list(row).iter().map(|cell| quoted(&text(cell))).collect();
                writeln!(out, "{}", cells.join(","))?;
            }
        } else {
            table(&mut out, &names, rows)?;
        }
        if answer["truncated"] == true {
            eprintln!(
                "fewbit: only the first {} rows; add a LIMIT or a WHERE",
                rows.len()
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn text(cell: &Value) -> String {
    match cell {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// As RFC 4180 wants it.
fn quoted(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_string()
    }
}

fn table(out: &mut impl Write, names: &[&str], rows: &[Value]) -> std::io::Result<()> {
    // Results hold text from browsers and adapters: control characters stay out of the terminal.
    let shown = |cell: &Value| -> String {
        let text = match cell {
            Value::Number(n) if n.is_f64() => format!("{:.4}", n.as_f64().unwrap_or_default()),
            other => text(other),
        };
        text.chars()
            .map(|c| if c.is_control() { ' ' } else { c })
            .take(80)
            .collect()
    };
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| list(row).iter().map(shown).collect())
        .collect();
    let widths: Vec<usize> = (0..names.len())
        .map(|i| {
            let column = cells.iter().map(|row| row[i].chars().count());
            column.chain([names[i].chars().count()]).max().unwrap_or(0)
        })
        .collect();
    let mut line = |row: &mut dyn Iterator<Item = &str>| -> std::io::Result<()> {
        let padded: Vec<String> = row
            .zip(&widths)
            .map(|(cell, &width)| format!("{cell:width$}"))
            .collect();
        writeln!(out, "{}", padded.join("  ").trim_end())
    };
    line(&mut names.iter().copied())?;
    for row in &cells {
        line(&mut row.iter().map(String::as_str))?;
    }
    Ok(())
}
