//! `fewbit run --task transcribe`: what is said in a recording.

use std::io::Write;

use clap::Args;
use serde_json::Value;

use super::launch::{Loaded, Status};
use super::run::shown;
use crate::job::RunError;
use crate::runner::Progress;
use crate::speech::TranscribeJob;
use crate::target::Target;

/// What a transcription may be told beside the recording.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct Speech {
    /// For transcribe: the language spoken, a code such as en. Without it the model hears which it is.
    #[arg(long, value_name = "CODE")]
    language: Option<String>,
    /// For transcribe: translate into English.
    #[arg(long)]
    into_english: bool,
    /// For transcribe: let the model say when something is said. So it does anyway where the recording is longer than
    /// the half minute that it hears at a time.
    #[arg(long, conflicts_with = "no_timestamps")]
    timestamps: bool,
    /// For transcribe: segments as long as what the model hears at a time, without times of its own.
    #[arg(long)]
    no_timestamps: bool,
    /// For transcribe: go on from the text of the window before.
    #[arg(long)]
    condition_on_previous: bool,
}

impl Speech {
    /// Transcribes the file `input`. Unless `quiet`, the text is printed as it comes.
    pub(super) async fn transcribe(
        &self,
        input: &str,
        target: Target,
        quiet: bool,
        loaded: &mut Loaded<'_>,
    ) -> Result<Value, RunError> {
        let data = std::fs::read(input);
        let data = data.map_err(|error| RunError::error("input", format!("{input}: {error}")))?;
        let job = TranscribeJob {
            name: input.to_owned(),
            data,
            language: self.language.clone(),
            translate: self.into_english,
            timestamps: match self.no_timestamps {
                true => Some(false),
                false => self.timestamps.then_some(true),
            },
            condition_on_previous: self.condition_on_previous,
        };
        let status = Status::new(target);
        let result = loaded
            .runner
            .transcribe(&job, &|progress| match &progress {
                Progress::Token { text, .. } if !quiet => {
                    status.clear();
                    print!("{}", shown(text));
                    let _ = std::io::stdout().flush();
                }
                Progress::Token { .. } => {}
                progress => status.on(progress),
            })
            .await;
        status.clear();
        serde_json::to_value(result?).map_err(|e| RunError::error("json", e.to_string()))
    }
}

/// When what was said, and how long it took.
pub(super) fn tell(answer: &Value) {
    println!();
    for segment in answer["segments"].as_array().into_iter().flatten() {
        let at = |name: &str| segment[name].as_f64().unwrap_or(0.0);
        let text = segment["text"].as_str().unwrap_or_default();
        eprintln!("{:8.2} {:8.2}  {}", at("start"), at("end"), shown(text));
    }
    let number = |name: &str| answer[name].as_f64().unwrap_or(0.0);
    let elapsed = number("elapsed_ms") / 1e3;
    eprintln!("{:.1} s of sound in {elapsed:.1} s", number("seconds"));
}
