//! What a model can do.

use serde::{Deserialize, Serialize};

use super::model::{Model, Runner};
use crate::graph::Source;
use crate::model::{SourceKind, TextHead};

/// What users ask of models, by the names that the JavaScript API and the command line have for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Task {
    Generate,
    Chat,
    Embed,
    Classify,
    Detect,
    Transcribe,
    Translate,
    Summarize,
    ZeroShot,
    FillMask,
}

impl Task {
    pub const ALL: [Task; 10] = [
        Task::Generate,
        Task::Chat,
        Task::Embed,
        Task::Classify,
        Task::Detect,
        Task::Transcribe,
        Task::Translate,
        Task::Summarize,
        Task::ZeroShot,
        Task::FillMask,
    ];

    pub const fn name(self) -> &'static str {
        match self {
            Task::Generate => "generate",
            Task::Chat => "chat",
            Task::Embed => "embed",
            Task::Classify => "classify",
            Task::Detect => "detect",
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
            Task::Summarize => "summarize",
            Task::ZeroShot => "zeroShot",
            Task::FillMask => "fillMask",
        }
    }

    /// The task of this name.
    pub fn named(name: &str) -> Option<Task> {
        Task::ALL.into_iter().find(|task| task.name() == name)
    }
}

impl Model {
    /// What the model can do with the files that came with it, in the order of [`Task::ALL`].
    pub fn tasks(&self) -> Vec<Task> {
        let mut tasks = Task::ALL.to_vec();
        tasks.retain(|&task| self.can(task));
        tasks
    }

    /// What the model takes: `text`, `image`, `audio`.
    pub fn inputs(&self) -> Vec<&'static str> {
        let reads = |name: &str| match &self.runner {
            Runner::Feedforward(runner) => {
                let graph = runner.session().graph();
                let mut named = graph.inputs.iter().map(|&id| &graph.value(id).source);
                named.any(|source| matches!(source, Source::Input(known) if known == name))
            }
            Runner::Causal(_) if !self.can_generate() => name == "input_features",
            _ => name == "input_ids",
        };
        let kinds = [
            ("text", ["input_ids", ""]),
            ("image", ["pixel_values", ""]),
            ("audio", ["input_features", "input_values"]),
        ];
        let taken = kinds
            .into_iter()
            .filter(|(_, names)| names.iter().any(|name| reads(name)));
        taken.map(|(kind, _)| kind).collect()
    }

    fn can(&self, task: Task) -> bool {
        let has_text = self.tokenizer.is_some();
        let source = match &self.runner {
            Runner::Causal(decoder) => decoder.source_kind(),
            _ => None,
        };
        let head = match &self.runner {
            Runner::Encoder(runner) if has_text => runner.model().head,
            _ => None,
        };
        match task {
            Task::Generate => self.can_generate(),
            Task::Chat => self.can_chat(),
            Task::Embed => self.can_embed(),
            Task::Classify => {
                matches!(head, Some(TextHead::Text | TextHead::Tokens)) || self.rank("logits") == 2
            }
            Task::Detect => self.rank("pred_boxes") == 3,
            Task::Transcribe => self.can_transcribe(),
            Task::Translate | Task::Summarize => {
                let reads = matches!(source, Some(SourceKind::Tokens { .. }));
                has_text && reads && self.instructions.knows(task)
            }
            Task::ZeroShot => has_text && self.likenesses().is_some(),
            Task::FillMask => head == Some(TextHead::Masked),
        }
    }

    /// Whether the model can chat: it predicts tokens and its files have a template.
    pub fn can_chat(&self) -> bool {
        self.template.is_some() && self.can_generate()
    }

    /// Whether the model makes text of text.
    pub fn can_generate(&self) -> bool {
        let Runner::Causal(decoder) = &self.runner else {
            return false;
        };
        !matches!(decoder.source_kind(), Some(SourceKind::Features { .. }))
    }

    /// Whether the model makes vectors of texts.
    pub fn can_embed(&self) -> bool {
        let embeds = matches!(self.runner, Runner::Encoder(_)) || self.likenesses().is_some();
        embeds && self.tokenizer.is_some()
    }

    /// The dimensions of an output of a model that runs once, 0 if there is none of this name.
    pub(super) fn rank(&self, output: &str) -> usize {
        let Runner::Feedforward(runner) = &self.runner else {
            return 0;
        };
        let graph = runner.session().graph();
        let found = graph.outputs.iter().find(|(name, _)| name == output);
        found.map_or(0, |(_, id)| graph.value(*id).shape.len())
    }

    /// What a model of texts and something else calls its logits of the one by the other, and the other's vectors.
    pub(super) fn likenesses(&self) -> Option<[&'static str; 2]> {
        [
            ["logits_per_image", "image_embeds"],
            ["logits_per_audio", "audio_embeds"],
        ]
        .into_iter()
        .find(|[logits, _]| self.rank(logits) == 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_what_json_calls_the_tasks() {
        for task in Task::ALL {
            let json = format!("\"{}\"", task.name());
            assert_eq!(serde_json::to_string(&task).unwrap(), json);
            assert_eq!(serde_json::from_str::<Task>(&json).unwrap(), task);
            assert_eq!(Task::named(task.name()), Some(task));
        }
        assert_eq!(Task::named("paint"), None);
    }
}
