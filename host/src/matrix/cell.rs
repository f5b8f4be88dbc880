//! One cell: a model in a format, a task with its sizes, a target.

use serde::{Deserialize, Serialize};

use crate::results::record::cell_name;
use crate::target::Target;

/// What a cell measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Task {
    /// Prompts are read and tokens decoded.
    Generate,
    Embed,
    Transcribe,
    /// Parity only: nothing is timed.
    Verify,
}

impl Task {
    pub const fn name(self) -> &'static str {
        match self {
            Task::Generate => "generate",
            Task::Embed => "embed",
            Task::Transcribe => "transcribe",
            Task::Verify => "verify",
        }
    }

    /// What a model of the manifest with this task is measured by.
    pub fn of_manifest(task: &str) -> Task {
        match task {
            "generate" => Task::Generate,
            "embed" => Task::Embed,
            "transcribe" => Task::Transcribe,
            _ => Task::Verify,
        }
    }

    /// The number that tells most of it, by which a sequential design stops.
    pub const fn main_metric(self) -> Option<&'static str> {
        match self {
            Task::Generate => Some("decode_tokens_per_second"),
            Task::Embed => Some("embed_ms"),
            Task::Transcribe => Some("real_time_factor"),
            Task::Verify => None,
        }
    }

    /// Whether the sizes of `--batch` and `--sequence` mean something.
    pub const fn has_sizes(self) -> bool {
        matches!(self, Task::Generate | Task::Embed)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Cell {
    pub model: String,
    pub format: String,
    pub task: Task,
    pub batch: u32,
    /// Tokens of the prompt or of each text.
    pub sequence: Option<u32>,
    pub target: Target,
}

impl Cell {
    pub fn name(&self) -> String {
        cell_name(
            &self.model,
            &self.format,
            self.task.name(),
            self.batch,
            self.sequence,
            &self.target.to_string(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_cell() {
        let cell = Cell {
            model: "m".into(),
            format: "stored".into(),
            task: Task::Generate,
            batch: 1,
            sequence: Some(128),
            target: "chrome:wasm".parse().unwrap(),
        };
        assert_eq!(cell.name(), "m/stored/generate/b1/s128@chrome:wasm");
    }
}
