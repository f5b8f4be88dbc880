//! What is to run, why, in which order, and how long it will take.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::cell::{Cell, Task};
use super::depends::Depends;
use super::known::{History, Known};
use super::settings::{Profile, Settings};
use super::subject::Subject;
use crate::job::Outcome;
use crate::target::Target;

/// What is known of a cell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// Never measured, or not to its end.
    Missing,
    /// Measured under other circumstances, or too long ago.
    Stale,
    /// The last run gave wrong numbers or an error.
    Failed,
    /// The last run's attempts ended differently.
    Flaky,
    Fresh,
}

impl State {
    pub const fn name(self) -> &'static str {
        match self {
            State::Missing => "missing",
            State::Stale => "stale",
            State::Failed => "failed",
            State::Flaky => "flaky",
            State::Fresh => "fresh",
        }
    }

    /// How much one more measurement tells.
    const fn worth(self) -> u32 {
        match self {
            State::Missing => 4,
            State::Flaky => 3,
            State::Failed => 2,
            State::Stale => 1,
            State::Fresh => 0,
        }
    }
}

/// A cell with what is to be done about it.
#[derive(Clone, Debug)]
pub struct Planned {
    pub cell: Cell,
    /// What the store resolves.
    pub model: String,
    pub depends: Depends,
    pub state: State,
    /// Why it is stale, or what failed.
    pub why: Option<String>,
    pub estimate: Duration,
    /// Nothing where the cell is not to run, else its place in the order.
    pub run: bool,
}

/// What decides which cells run.
#[derive(Clone, Debug, Default)]
pub struct Choice {
    pub priority_only: bool,
    /// Only cells that were never measured.
    pub missing_only: bool,
    /// Fresh ones too.
    pub force: bool,
    /// Older results are stale.
    pub older_than: Option<Duration>,
    /// The most informative cells that fit in here.
    pub budget: Option<Duration>,
    /// The first of these many parts is 1.
    pub shard: Option<(u32, u32)>,
}

/// Every cell that the given models, targets and sizes make, subject by subject.
pub fn cells(
    subjects: &[Subject],
    targets: &[Target],
    formats: &[String],
    batch: &[u32],
    sequence: &[u32],
) -> Vec<Cell> {
    let mut cells = Vec::new();
    for subject in subjects {
        for format in formats {
            for &target in targets {
                let cell = |batch, sequence| Cell {
                    model: subject.name.clone(),
                    format: format.clone(),
                    task: subject.task,
                    batch,
                    sequence,
                    target,
                };
                if subject.task.has_sizes() {
                    for &batch in batch {
                        cells.extend(sequence.iter().map(|&s| cell(batch, Some(s))));
                    }
                } else {
                    cells.push(cell(1, None));
                }
            }
        }
    }
    cells
}

/// The state of a cell of which `known` was kept, and why it is not fresh.
pub fn state(
    known: Option<&Known>,
    changed: impl FnOnce(&Depends) -> Option<String>,
    older_than: Option<Duration>,
    now_us: i64,
) -> (State, Option<String>) {
    let Some(known) = known else {
        return (State::Missing, None);
    };
    if known.stop_reason.is_none() {
        let why = "the run that measured it was stopped";
        return (State::Missing, Some(why.into()));
    }
    if known.outcomes > 1 {
        return (State::Flaky, Some("its attempts ended differently".into()));
    }
    if matches!(known.outcome, Outcome::Error | Outcome::Mismatch) {
        let why = format!("it ended as {}", known.outcome.name());
        return (State::Failed, Some(why));
    }
    if let Some(why) = changed(&known.depends()) {
        return (State::Stale, Some(why));
    }
    let age = u64::try_from(now_us.saturating_sub(known.finished_us)).unwrap_or(0);
    if let Some(limit) = older_than
        && Duration::from_micros(age) > limit
    {
        let days = age as f64 / 86_400e6;
        return (State::Stale, Some(format!("measured {days:.1} days ago")));
    }
    (State::Fresh, None)
}

/// Decides which of `all` run and puts those first, the most informative foremost.
pub fn choose(all: &mut [Planned], choice: &Choice, settings: &Settings) {
    for planned in all.iter_mut() {
        let wanted = match (choice.force, choice.missing_only) {
            (true, _) => true,
            (_, true) => planned.state == State::Missing,
            _ => planned.state != State::Fresh,
        };
        planned.run = wanted
            && (!choice.priority_only || settings.is_priority(&planned.cell))
            && choice
                .shard
                .is_none_or(|shard| in_shard(&planned.cell, shard));
    }
    // How little is known of the model, and of the target.
    let mut unknown: HashMap<String, u32> = HashMap::new();
    for planned in all.iter().filter(|p| p.state == State::Missing) {
        *unknown.entry(planned.cell.model.clone()).or_default() += 1;
        *unknown.entry(planned.cell.target.to_string()).or_default() += 1;
    }
    let novelty = |cell: &Cell| {
        let of = |name: &str| unknown.get(name).copied().unwrap_or(0);
        of(&cell.model) + of(&cell.target.to_string())
    };
    match choice.budget {
        None => {
            // Subjects stay together: their files are then in the system's cache.
            all.sort_by_key(|p| !p.run);
        }
        Some(budget) => {
            all.sort_by_key(|p| {
                let worth = (p.state.worth(), u32::from(settings.is_priority(&p.cell)));
                let worth = (worth, novelty(&p.cell));
                (!p.run, std::cmp::Reverse(worth), p.estimate)
            });
            let mut spent = Duration::ZERO;
            for planned in all.iter_mut().filter(|p| p.run) {
                if spent + planned.estimate > budget {
                    planned.run = false;
                } else {
                    spent += planned.estimate;
                }
            }
            all.sort_by_key(|p| !p.run);
        }
    }
}

fn in_shard(cell: &Cell, (part, of): (u32, u32)) -> bool {
    let sum = Sha256::digest(cell.name());
    let number = u32::from_be_bytes([sum[0], sum[1], sum[2], sum[3]]);
    number % of.max(1) == part - 1
}

/// How long a cell will take: as its attempts took before, or those of its task on its target, or a guess.
pub fn estimate(cell: &Cell, history: &History, profile: &Profile) -> Duration {
    let kind = format!("{}@{}", cell.task.name(), cell.target);
    let known = history
        .seconds
        .get(&cell.name())
        .or(history.seconds.get(&kind));
    let processes = match cell.task {
        Task::Verify => 1,
        _ => profile.processes,
    };
    let guess = match (cell.task, cell.target) {
        (Task::Verify, Target::Native(_)) => 2.0,
        (Task::Verify, Target::Browser(..)) => 8.0,
        (_, Target::Native(_)) => 10.0,
        (_, Target::Browser(..)) => 30.0,
    };
    let seconds = known.copied().unwrap_or(guess).clamp(0.0, 86_400.0);
    // As many as begin in time.
    let fit = (profile.cell_seconds as f64 / seconds.max(1e-3)).floor() + 1.0;
    Duration::from_secs_f64(seconds * f64::from(processes).min(fit))
}

/// The plan as `--dry-run --json` prints it.
pub fn as_json(all: &[Planned], settings: &Settings) -> Value {
    let running = all.iter().filter(|p| p.run);
    let seconds: f64 = running.clone().map(|p| p.estimate.as_secs_f64()).sum();
    let cells: Vec<Value> = all
        .iter()
        .map(|p| {
            json!({
                "cell": p.cell.name(),
                "model": p.cell.model,
                "format": p.cell.format,
                "task": p.cell.task,
                "batch": p.cell.batch,
                "sequence": p.cell.sequence,
                "target": p.cell.target,
                "state": p.state,
                "why": p.why,
                "run": p.run,
                "estimated_seconds": p.estimate.as_secs_f64(),
                "expected": settings.expectation(&p.cell, p.depends.get("browser").map(String::as_str))
                    .map(|e| json!({"outcome": e.outcome, "because": e.because})),
            })
        })
        .collect();
    json!({
        "to_run": running.count(),
        "estimated_seconds": seconds,
        "cells": cells,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(outcome: Outcome) -> Known {
        Known {
            cell: "c".into(),
            outcome,
            outcomes: 1,
            finished_us: 1_000_000,
            depends: Some(r#"{"code": "a"}"#.into()),
            stop_reason: Some("2 of 2 processes".into()),
        }
    }

    #[test]
    fn states() {
        let same = |_: &Depends| None;
        let day = Some(Duration::from_secs(86_400));
        let of = |known: Option<&Known>| state(known, same, day, 2_000_000).0;
        assert_eq!(of(None), State::Missing);
        for outcome in [Outcome::Pass, Outcome::Unsupported, Outcome::Unavailable] {
            assert_eq!(of(Some(&known(outcome))), State::Fresh, "{outcome:?}");
        }
        for outcome in [Outcome::Error, Outcome::Mismatch] {
            assert_eq!(of(Some(&known(outcome))), State::Failed, "{outcome:?}");
        }
        let pass = known(Outcome::Pass);
        let flaky = Known {
            outcomes: 2,
            ..pass.clone()
        };
        assert_eq!(of(Some(&flaky)), State::Flaky);
        let stopped = Known {
            stop_reason: None,
            ..pass.clone()
        };
        assert_eq!(of(Some(&stopped)), State::Missing);
        let old = state(Some(&pass), same, day, 200_000_000_000);
        assert_eq!(old.0, State::Stale);
        assert!(old.1.unwrap().contains("2.3 days"));
        let other = state(Some(&pass), |then| then.get("code").cloned(), None, 0);
        assert_eq!(other, (State::Stale, Some("a".into())));
    }

    fn planned(model: &str, target: &str, state: State, seconds: u64) -> Planned {
        Planned {
            cell: Cell {
                model: model.into(),
                format: "stored".into(),
                task: Task::Verify,
                batch: 1,
                sequence: None,
                target: target.parse().unwrap(),
            },
            model: model.into(),
            depends: Depends::new(),
            state,
            why: None,
            estimate: Duration::from_secs(seconds),
            run: false,
        }
    }

    fn plan() -> Vec<Planned> {
        vec![
            planned("a", "native:cpu", State::Fresh, 1),
            planned("a", "chrome:wasm", State::Stale, 10),
            planned("a", "edge:wasm", State::Missing, 10),
            planned("b", "native:cpu", State::Failed, 1),
            planned("smollm2-135m-instruct", "native:cpu", State::Missing, 100),
        ]
    }

    fn runs(choice: Choice) -> Vec<String> {
        let mut all = plan();
        choose(&mut all, &choice, &Settings::built_in().unwrap());
        let first = all.iter().position(|p| !p.run).unwrap_or(all.len());
        assert!(all[first..].iter().all(|p| !p.run), "what runs comes first");
        let running = all.iter().filter(|p| p.run);
        running
            .map(|p| format!("{}@{}", p.cell.model, p.cell.target))
            .collect()
    }

    #[test]
    fn what_runs() {
        assert_eq!(runs(Choice::default()).len(), 4);
        assert_eq!(
            runs(Choice {
                force: true,
                ..Choice::default()
            })
            .len(),
            5
        );
        let missing = Choice {
            missing_only: true,
            ..Choice::default()
        };
        assert_eq!(runs(missing).len(), 2);
        let priority = Choice {
            priority_only: true,
            ..Choice::default()
        };
        assert_eq!(runs(priority), ["smollm2-135m-instruct@native:cpu"]);
        let budget = |seconds| Choice {
            budget: Some(Duration::from_secs(seconds)),
            ..Choice::default()
        };
        // The priority one is too long; of the others what is not known at all comes first.
        assert_eq!(runs(budget(12)), ["a@edge:wasm", "b@native:cpu"]);
        assert_eq!(runs(budget(1000))[0], "smollm2-135m-instruct@native:cpu");
        let parts: Vec<String> = (1..=3)
            .flat_map(|part| {
                runs(Choice {
                    shard: Some((part, 3)),
                    ..Choice::default()
                })
            })
            .collect();
        assert_eq!(parts.len(), 4, "each cell is in one part: {parts:?}");
    }

    #[test]
    fn cells_have_sizes_where_the_task_has() {
        let subject = |name: &str, task| Subject {
            name: name.into(),
            model: name.into(),
            task,
        };
        let subjects = [subject("g", Task::Generate), subject("v", Task::Verify)];
        let targets = [
            "native:cpu".parse().unwrap(),
            "chrome:wasm".parse().unwrap(),
        ];
        let all = cells(&subjects, &targets, &["stored".into()], &[1, 4], &[32, 128]);
        assert_eq!(all.len(), 2 * 4 + 2);
        assert_eq!(all.iter().filter(|c| c.sequence.is_none()).count(), 2);
    }

    #[test]
    fn estimates_come_from_history() {
        let settings = Settings::built_in().unwrap();
        let profile = &settings.profiles["quick"];
        let cell = planned("m", "chrome:wasm", State::Missing, 0).cell;
        let mut history = History::default();
        assert_eq!(estimate(&cell, &history, profile), Duration::from_secs(8));
        history.seconds.insert("verify@chrome:wasm".into(), 5.0);
        assert_eq!(estimate(&cell, &history, profile), Duration::from_secs(5));
        history.seconds.insert(cell.name(), 3.0);
        assert_eq!(estimate(&cell, &history, profile), Duration::from_secs(3));
    }
}
