//! What the results know of cells on this machine: the state that the last `fewbit matrix` left, and how long cells took.

use std::collections::HashMap;

use serde::Deserialize;

use super::depends::Depends;
use crate::job::Outcome;
use crate::results::record::Run;
use crate::results::{Results, ResultsError, objects};

/// The state of a cell after the last run that began it.
#[derive(Clone, Debug, Deserialize)]
pub struct Known {
    pub cell: String,
    pub outcome: Outcome,
    /// Outcomes that its attempts had, different ones.
    pub outcomes: u32,
    /// Microseconds since 1970-01-01 UTC.
    pub finished_us: i64,
    /// JSON of a [`Depends`].
    pub depends: Option<String>,
    /// Nothing if the run was stopped before the cell was done.
    pub stop_reason: Option<String>,
}

impl Known {
    pub fn depends(&self) -> Depends {
        let json = self.depends.as_deref().unwrap_or("{}");
        serde_json::from_str(json).unwrap_or_default()
    }
}

/// What was measured before.
#[derive(Clone, Debug, Default)]
pub struct History {
    pub cells: HashMap<String, Known>,
    /// Seconds of one attempt in the mean, by cell and by `TASK@TARGET`.
    pub seconds: HashMap<String, f64>,
}

impl History {
    /// Reads what the results have of the machine that `run` is on.
    ///
    /// # Errors
    /// Results that cannot be read.
    pub fn read(results: &Results, run: &Run) -> Result<History, ResultsError> {
        let machine = match &run.machine {
            Some(name) => format!("p.machine = {}", literal(name)),
            None => "p.machine IS NULL".into(),
        };
        let states = format!(
            "WITH mine AS (
               SELECT r.run FROM runs r JOIN platforms p ON p.platform_id = r.platform_id
               WHERE r.command = 'matrix' AND {machine}
             ), newest AS (
               SELECT d.cell, arg_max(d.run, d.declared) AS run FROM designs d JOIN mine m ON m.run = d.run
               WHERE EXISTS (SELECT 1 FROM attempts a WHERE a.run = d.run AND a.cell = d.cell)
               GROUP BY d.cell
             )
             SELECT n.cell, arg_max(a.outcome, a.started) AS outcome, count(DISTINCT a.outcome) AS outcomes,
               epoch_us(max(coalesce(a.finished, a.started))) AS finished_us, arg_max(a.depends, a.started) AS depends,
               max(c.stop_reason) AS stop_reason
             FROM newest n JOIN attempts a ON a.run = n.run AND a.cell = n.cell
             LEFT JOIN conclusions c ON c.run = n.run AND c.cell = n.cell
             GROUP BY n.cell"
        );
        let cells = objects(&results.query(&states)?)
            .into_iter()
            .filter_map(|row| serde_json::from_value::<Known>(row).ok())
            .map(|known| (known.cell.clone(), known))
            .collect();
        let times = format!(
            "SELECT coalesce(cell, task || '@' || target) AS cell, avg(seconds) AS seconds FROM (
               SELECT a.cell, a.task, a.target, epoch(a.finished - a.started) AS seconds
               FROM attempts a JOIN runs r ON r.run = a.run JOIN platforms p ON p.platform_id = r.platform_id
               WHERE r.command = 'matrix' AND {machine} AND a.finished IS NOT NULL
             ) GROUP BY GROUPING SETS ((cell), (task, target))"
        );
        let seconds = objects(&results.query(&times)?)
            .into_iter()
            .filter_map(|row| Some((row["cell"].as_str()?.to_owned(), row["seconds"].as_f64()?)))
            .collect();
        Ok(History { cells, seconds })
    }
}

fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}
