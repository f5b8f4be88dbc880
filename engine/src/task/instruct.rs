//! What an instructed encoder-decoder such as T5 is told before a text: the prefixes of its `config.json`.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use super::answer::AnswerError;
use super::can::Task;
use super::model::{Model, TaskError};

/// What to do with a text: translate it `from` one language `to` another, or summarize it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Instruction {
    pub task: Task,
    /// A language by its code in the config, such as `en`, or its name in the prefix, such as `English`.
    pub from: Option<String>,
    pub to: Option<String>,
    /// What to put before the text, instead of what the config says.
    pub prefix: Option<String>,
}

/// A text with its instruction, ready to generate from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instructed {
    pub text: String,
    /// The most tokens of an answer, where the config says.
    pub max_tokens: Option<usize>,
}

/// The instructions that a config knows: `task_specific_params`.
#[derive(Clone, Debug, Default)]
pub(super) struct Instructions(BTreeMap<String, Known>);

#[derive(Clone, Debug)]
struct Known {
    prefix: String,
    max_tokens: Option<usize>,
}

const TRANSLATION: &str = "translation_";
const SUMMARY: &str = "summarization";

impl Instructions {
    /// From a `config.json`; one without instructions, or that is no JSON, gives none.
    pub(super) fn from_config(json: &[u8]) -> Instructions {
        let config: Value = serde_json::from_slice(json).unwrap_or(Value::Null);
        let params = config["task_specific_params"].as_object();
        let known = params.into_iter().flatten().filter_map(|(key, params)| {
            let known = Known {
                prefix: params["prefix"].as_str()?.to_owned(),
                max_tokens: params["max_length"].as_u64().map(|most| most as usize),
            };
            Some((key.clone(), known))
        });
        Instructions(known.collect())
    }

    pub(super) fn knows(&self, task: Task) -> bool {
        self.0.keys().any(|key| is_for(task, key))
    }

    fn find(&self, instruction: &Instruction) -> Option<&Known> {
        let fits = |key: &str, known: &Known| {
            let Some(languages) = key.strip_prefix(TRANSLATION) else {
                return true;
            };
            let (from, to) = languages.split_once("_to_").unwrap_or((languages, ""));
            let is = |wanted: &Option<String>, code: &str| {
                // A code is too short to be looked for in a text.
                let named = |wanted: &str| wanted.len() > 3 && known.prefix.contains(wanted);
                wanted
                    .as_ref()
                    .is_none_or(|wanted| wanted == code || named(wanted))
            };
            is(&instruction.from, from) && is(&instruction.to, to)
        };
        let all = self.0.iter();
        let mut all = all.filter(|(key, known)| is_for(instruction.task, key) && fits(key, known));
        // Two that fit are none: the languages were left open.
        match (all.next(), all.next()) {
            (Some((_, known)), None) => Some(known),
            _ => None,
        }
    }
}

fn is_for(task: Task, key: &str) -> bool {
    match task {
        Task::Translate => key.starts_with(TRANSLATION),
        Task::Summarize => key == SUMMARY,
        _ => false,
    }
}

impl Model {
    /// The text to generate from that has the model do what `instruction` says.
    ///
    /// # Errors
    /// The config knows no such instruction, or several and the languages do not say which; the model reads no texts.
    pub fn instruct(&self, text: &str, instruction: &Instruction) -> Result<Instructed, TaskError> {
        if !self.can_generate() {
            return Err(self.wrong_kind(instruction.task.name()));
        }
        let known = self.instructions.find(instruction);
        let prefix = match (&instruction.prefix, known) {
            (Some(prefix), _) => prefix,
            (None, Some(known)) => &known.prefix,
            (None, None) => {
                let keys = self.instructions.0.keys().cloned().collect::<Vec<_>>();
                return Err(AnswerError::Instruction(keys.join(", ")).into());
            }
        };
        Ok(Instructed {
            text: format!("{prefix}{text}"),
            max_tokens: known.and_then(|known| known.max_tokens),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(task: Task, from: Option<&str>, to: Option<&str>) -> Instruction {
        Instruction {
            task,
            from: from.map(str::to_owned),
            to: to.map(str::to_owned),
            prefix: None,
        }
    }

    #[test]
    fn t5_s_config_says_what_stands_before_a_text() {
        let known = Instructions::from_config(
            br#"{"task_specific_params": {
                "summarization": {"max_length": 200, "prefix": "summarize: "},
                "translation_en_to_de": {"max_length": 300, "prefix": "translate English to German: "},
                "translation_en_to_fr": {"prefix": "translate English to French: "},
                "other": {"max_length": 3}}}"#,
        );
        let prefix = |task, from, to| {
            let known = known.find(&asked(task, from, to));
            known.map(|known| (known.prefix.as_str(), known.max_tokens))
        };
        let german = Some(("translate English to German: ", Some(300)));
        assert_eq!(prefix(Task::Translate, Some("en"), Some("de")), german);
        assert_eq!(prefix(Task::Translate, None, Some("de")), german);
        assert_eq!(
            prefix(Task::Translate, Some("English"), Some("German")),
            german
        );
        assert_eq!(
            prefix(Task::Summarize, None, None),
            Some(("summarize: ", Some(200)))
        );
        // Which of the two languages is not said; nor is there any to Spanish.
        assert_eq!(prefix(Task::Translate, Some("en"), None), None);
        assert_eq!(prefix(Task::Translate, Some("en"), Some("es")), None);
        assert!(known.knows(Task::Translate) && known.knows(Task::Summarize));
        assert!(!known.knows(Task::Chat));
        assert!(!Instructions::from_config(b"{}").knows(Task::Summarize));
        assert!(!Instructions::from_config(b"[").knows(Task::Summarize));
    }
}
