//! How many cases pass, by operator and target.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::job::Outcome;

/// Passed, failed, unsupported (or not to be had there).
type Counts = [usize; 3];

/// Counts of cases by operator, a column each target. A case counts for every operator it has.
#[derive(Clone, Debug, Default)]
pub struct Table {
    columns: Vec<Column>,
}

#[derive(Clone, Debug, Default)]
struct Column {
    target: String,
    operators: BTreeMap<String, Counts>,
    all: Counts,
}

impl Table {
    /// Begins the column of a target.
    pub fn begin(&mut self, target: &str) {
        self.columns.push(Column {
            target: target.to_owned(),
            ..Column::default()
        });
    }

    /// Counts a case in the last column.
    pub fn count(&mut self, operators: &[String], outcome: Outcome) {
        let Some(column) = self.columns.last_mut() else {
            return;
        };
        let at = match outcome {
            Outcome::Pass => 0,
            Outcome::Mismatch | Outcome::Error => 1,
            Outcome::Unsupported | Outcome::Unavailable => 2,
        };
        column.all[at] += 1;
        for operator in operators {
            column.operators.entry(operator.clone()).or_default()[at] += 1;
        }
    }

    /// As a page in Markdown, `heading` first.
    pub fn markdown(&self, heading: &str) -> String {
        let mut page = format!("{heading}\n\n| operator |");
        let mut rule = String::from("| --- |");
        for column in &self.columns {
            let _ = write!(page, " {} |", column.target);
            rule.push_str(" --- |");
        }
        let _ = writeln!(page, "\n{rule}");
        let cell = |[passed, failed, unsupported]: Counts| {
            let all = passed + failed + unsupported;
            match failed {
                0 => format!("{passed} of {all}"),
                _ => format!("{passed} of {all}, {failed} failed"),
            }
        };
        let names = self
            .columns
            .iter()
            .flat_map(|column| column.operators.keys());
        let names: std::collections::BTreeSet<&String> = names.collect();
        for name in names {
            let _ = write!(page, "| {name} |");
            for column in &self.columns {
                let counts = column.operators.get(name).copied().unwrap_or_default();
                let _ = write!(page, " {} |", cell(counts));
            }
            page.push('\n');
        }
        page.push_str("| **all cases** |");
        for column in &self.columns {
            let _ = write!(page, " {} |", cell(column.all));
        }
        page.push('\n');
        page
    }

    /// The last column for a terminal.
    pub fn text(&self) -> String {
        let [name, passed, failed, unsupported] = ["operator", "passed", "failed", "unsupported"];
        let mut text = format!("{name:<28}{passed:>8}{failed:>8}{unsupported:>13}\n");
        let operators = self.columns.last().map(|column| &column.operators);
        for (name, [passed, failed, unsupported]) in operators.into_iter().flatten() {
            let _ = writeln!(text, "{name:<28}{passed:>8}{failed:>8}{unsupported:>13}");
        }
        text
    }
}
