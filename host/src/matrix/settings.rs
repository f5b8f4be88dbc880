//! Profiles, priorities and expectations: data beside the models, in `matrix.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::cell::Cell;
use crate::job::Outcome;
use crate::pattern::matches;

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    pub profiles: BTreeMap<String, Profile>,
    pub priority: Priority,
    pub expectations: Vec<Expectation>,
}

/// How much is measured.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// A cell measured by a profile of a lower rank is stale for this one.
    pub rank: u32,
    /// Fresh processes of each cell.
    pub processes: u32,
    /// In each process.
    pub repeats: u32,
    pub warm_up: u32,
    /// Tokens decoded in each repeat.
    pub decode: usize,
    /// Used where the command line names none.
    pub batch: Vec<u32>,
    pub sequence: Vec<u32>,
    /// No repeat begins later than this after the first.
    pub seconds: u64,
    /// No further process of a cell begins later than this after its first one.
    pub cell_seconds: u64,
    /// A process that takes longer is ended.
    pub limit_seconds: u64,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Priority {
    pub targets: Vec<String>,
    pub models: Vec<String>,
}

/// What is known to happen in some cells, and why.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expectation {
    /// Patterns of names.
    pub models: Vec<String>,
    pub targets: Vec<String>,
    pub outcome: Outcome,
    #[serde(default)]
    pub r#where: Where,
    pub because: String,
}

/// Where an expectation holds; what is left out does not matter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Where {
    /// As Rust names operating systems.
    pub os: Option<String>,
    /// Browsers whose major version is lower.
    pub version_below: Option<u32>,
}

/// How a cell's outcome compares with what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// As expected, or a pass or an absence where nothing was.
    Fine,
    Expected,
    Unexpected,
}

impl Settings {
    /// The settings that the program carries.
    ///
    /// # Errors
    /// A file that does not parse.
    pub fn built_in() -> Result<Settings, serde_json::Error> {
        serde_json::from_str(include_str!("../../matrix.json"))
    }

    pub fn is_priority(&self, cell: &Cell) -> bool {
        let target = cell.target.to_string();
        let named = |list: &[String], name: &str| list.iter().any(|p| matches(p, name));
        named(&self.priority.targets, &target) && named(&self.priority.models, &cell.model)
    }

    /// The expectation of a cell in a browser of this version, if there is one.
    pub fn expectation(&self, cell: &Cell, version: Option<&str>) -> Option<&Expectation> {
        let target = cell.target.to_string();
        self.expectations.iter().find(|e| {
            let named = |list: &[String], name: &str| list.iter().any(|p| matches(p, name));
            let os = e.r#where.os.as_ref();
            let below = e.r#where.version_below;
            named(&e.models, &cell.model)
                && named(&e.targets, &target)
                && os.is_none_or(|os| os == std::env::consts::OS)
                && below
                    .is_none_or(|below| version.and_then(major).is_some_and(|major| major < below))
        })
    }

    /// Whether an outcome is what it should be. Where nothing is expected, wrong numbers, errors and features that are
    /// missing are not; a browser or library that is not there is, as nobody asked for it to be.
    pub fn verdict(&self, cell: &Cell, version: Option<&str>, outcome: Outcome) -> Verdict {
        match (self.expectation(cell, version), outcome) {
            (_, Outcome::Unavailable) => Verdict::Fine,
            (Some(e), outcome) if e.outcome == outcome => Verdict::Expected,
            (Some(_), _) => Verdict::Unexpected,
            (None, Outcome::Pass) => Verdict::Fine,
            (None, _) => Verdict::Unexpected,
        }
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matrix::cell::Task;

    fn cell(target: &str) -> Cell {
        Cell {
            model: "m".into(),
            format: "stored".into(),
            task: Task::Verify,
            batch: 1,
            sequence: None,
            target: target.parse().unwrap(),
        }
    }

    #[test]
    fn the_built_in_settings_hold_together() {
        let settings = Settings::built_in().unwrap();
        for name in ["smoke", "quick", "full"] {
            let profile = &settings.profiles[name];
            assert!(profile.processes > 0 && profile.repeats > 0, "{name}");
        }
        for pattern in settings.expectations.iter().flat_map(|e| &e.targets) {
            let any = crate::target::Target::all();
            assert!(
                any.iter().any(|t| matches(pattern, &t.to_string())),
                "{pattern}"
            );
        }
        assert!(settings.expectations.iter().all(|e| !e.because.is_empty()));
    }

    #[test]
    fn only_the_unexpected_fails() {
        let settings = Settings::built_in().unwrap();
        let verdict = |target, version, outcome| settings.verdict(&cell(target), version, outcome);
        use Outcome::*;
        assert_eq!(verdict("native:cpu", None, Pass), Verdict::Fine);
        assert_eq!(verdict("native:cpu", None, Mismatch), Verdict::Unexpected);
        assert_eq!(verdict("edge:wasm", None, Unavailable), Verdict::Fine);
        assert_eq!(
            verdict("firefox:webnn", Some("153.0"), Unsupported),
            Verdict::Expected
        );
        assert_eq!(
            verdict("firefox:webnn", Some("153.0"), Pass),
            Verdict::Unexpected
        );
        assert_eq!(
            verdict("firefox:webgpu", Some("140.0"), Unsupported),
            Verdict::Expected
        );
        assert_eq!(
            verdict("firefox:webgpu", Some("153.0"), Unsupported),
            Verdict::Unexpected
        );
    }
}
