//! Writing rows: aligned text, CSV, JSON, Markdown, HTML, bars.

use serde_json::Value;

use crate::results::objects;

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Format {
    /// Columns of text.
    Table,
    /// Comma-separated values with a header line.
    Csv,
    /// An array with an object a row.
    Json,
    Markdown,
    /// A table, to be put into a page.
    Html,
    /// A bar a row, of the last column of numbers that is a measure.
    Chart,
}

/// Rows with the names of their columns.
#[derive(Clone, Debug)]
pub struct Rows {
    names: Vec<String>,
    rows: Vec<Vec<Value>>,
    objects: Vec<Value>,
}

impl Rows {
    /// Of an answer of `Results::query`.
    pub fn of(answer: &Value) -> Rows {
        let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
        let columns = list(&answer["columns"]);
        let names = columns
            .iter()
            .map(|c| c["name"].as_str().unwrap_or_default().to_owned());
        Rows {
            names: names.collect(),
            rows: list(&answer["rows"]).iter().map(list).collect(),
            objects: objects(answer),
        }
    }

    /// The rows by the names of their columns.
    pub fn objects(&self) -> &[Value] {
        &self.objects
    }

    pub fn write(&self, format: Format) -> String {
        match format {
            Format::Table => self.table(),
            Format::Csv => self.csv(),
            Format::Json => format!(
                "{}\n",
                serde_json::to_string_pretty(&self.objects).unwrap_or_default()
            ),
            Format::Markdown => self.markdown(),
            Format::Html => self.html(),
            Format::Chart => self.chart(),
        }
    }

    fn table(&self) -> String {
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(|cell| cut(&text(cell))).collect())
            .collect();
        let width = |i: usize| {
            let cells = rows.iter().filter_map(|row| row.get(i));
            let longest = cells.map(|cell| cell.chars().count()).max().unwrap_or(0);
            longest.max(self.names[i].chars().count())
        };
        let widths: Vec<usize> = (0..self.names.len()).map(width).collect();
        let line = |cells: &[String]| {
            let padded = cells
                .iter()
                .zip(&widths)
                .map(|(cell, width)| format!("{cell:width$}"));
            let line = padded.collect::<Vec<String>>().join("  ");
            format!("{}\n", line.trim_end())
        };
        let mut all = line(&self.names);
        all.extend(rows.iter().map(|row| line(row)));
        all
    }

    fn csv(&self) -> String {
        let quoted = |text: &str| match text.contains([',', '"', '\n', '\r']) {
            true => format!("\"{}\"", text.replace('"', "\"\"")),
            false => text.to_owned(),
        };
        let line = |cells: Vec<String>| {
            let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
            format!("{}\n", cells.join(","))
        };
        let mut all = line(self.names.clone());
        for row in &self.rows {
            all += &line(row.iter().map(exact).collect());
        }
        all
    }

    fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let escaped = cells.iter().map(|cell| {
                let one = plain(cell)
                    .replace('\\', "\\\\")
                    .replace('|', "\\|")
                    .replace('<', "&lt;");
                one.replace(['\n', '\r'], " ")
            });
            format!("| {} |\n", escaped.collect::<Vec<String>>().join(" | "))
        };
        let mut all = line(&self.names);
        all += &format!("|{}\n", " --- |".repeat(self.names.len()));
        for row in &self.rows {
            all += &line(&row.iter().map(text).collect::<Vec<String>>());
        }
        all
    }

    fn html(&self) -> String {
        let mut all = String::from("<table>\n<thead><tr>");
        for name in &self.names {
            all += &format!("<th scope=\"col\">{}</th>", escaped(name));
        }
        all += "</tr></thead>\n<tbody>\n";
        for row in &self.rows {
            all += "<tr>";
            for cell in row {
                all += &format!("<td>{}</td>", escaped(&text(cell)));
            }
            all += "</tr>\n";
        }
        all + "</tbody>\n</table>\n"
    }

    /// Bars of `median`, or of the last column that has numbers only, named by the columns of text before it.
    fn chart(&self) -> String {
        const WIDTH: f64 = 40.0;
        let numbers = |i: &usize| {
            let mut cells = self.rows.iter().map(|row| &row[*i]);
            !self.rows.is_empty() && cells.all(|c| c.is_number() || c.is_null())
        };
        let median = self.names.iter().position(|name| name == "median");
        let Some(measure) = median.or_else(|| (0..self.names.len()).rev().find(numbers)) else {
            return "no column of these rows has numbers to draw\n".into();
        };
        let label = |row: &[Value]| {
            let words = row[..measure].iter().filter(|c| c.is_string());
            words.map(text).collect::<Vec<String>>().join(" ")
        };
        let value = |row: &[Value]| row[measure].as_f64().unwrap_or(0.0);
        // Bars of one metric have one scale.
        let metric = self.names.iter().position(|name| name == "metric");
        let group = |row: &[Value]| metric.map_or(String::new(), |i| text(&row[i]));
        let longest = self
            .rows
            .iter()
            .map(|row| label(row).chars().count())
            .max()
            .unwrap_or(0);
        let mut all = String::new();
        for row in &self.rows {
            let same = self.rows.iter().filter(|other| group(other) == group(row));
            let most = same.map(|other| value(other)).fold(0.0, f64::max);
            let share = if most > 0.0 {
                value(row).max(0.0) / most
            } else {
                0.0
            };
            let bar = "█".repeat((share * WIDTH).round() as usize);
            all += &format!("{:longest$}  {bar} {:.4}\n", plain(&label(row)), value(row));
        }
        all
    }
}

/// As HTML has text.
pub fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

/// A value as people read it.
fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Number(n) if n.is_f64() => {
            let x = n.as_f64().unwrap_or_default();
            match x.abs() {
                a if a != 0.0 && !(1e-3..1e7).contains(&a) => format!("{x:.3e}"),
                _ => format!("{x:.4}"),
            }
        }
        other => other.to_string(),
    }
}

/// A value with all of its digits.
fn exact(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Text of others as a terminal may have it: control characters, which it would obey, are marks.
pub fn plain(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '␣' } else { c })
        .collect()
}

/// The same, cut where it is long.
fn cut(text: &str) -> String {
    const MOST: usize = 80;
    let mut short: String = plain(text).chars().take(MOST).collect();
    if text.chars().count() > MOST {
        short.pop();
        short.push('…');
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rows() -> Rows {
        Rows::of(&json!({
            "columns": [{"name": "model"}, {"name": "metric"}, {"name": "median"}],
            "rows": [["a|b", "x", 1.0], ["</script><img src=x onerror=1>", "x", 2.0], ["c,\"d\"", "y", null]],
        }))
    }

    #[test]
    fn each_format_keeps_text_text() {
        let rows = rows();
        assert!(rows.write(Format::Table).contains("a|b"));
        assert!(rows.write(Format::Csv).contains("\"c,\"\"d\"\"\",y,\n"));
        assert!(
            rows.write(Format::Markdown)
                .contains("| a\\|b | x | 1.0000 |")
        );
        assert!(!rows.write(Format::Markdown).contains("<img"));
        let html = rows.write(Format::Html);
        assert!(html.contains("&lt;/script&gt;") && !html.contains("<img"));
        let json: Vec<Value> = serde_json::from_str(&rows.write(Format::Json)).unwrap();
        assert_eq!(json[1]["median"], 2.0);
        let chart = rows.write(Format::Chart);
        let bars: Vec<usize> = chart.lines().map(|l| l.matches('█').count()).collect();
        assert_eq!(bars, [20, 40, 0]);
    }

    #[test]
    fn a_terminal_is_told_nothing() {
        assert_eq!(cut("a\u{1b}[31mb"), "a␣[31mb");
        assert_eq!(cut(&"x".repeat(100)).chars().count(), 80);
    }
}
