//! `fewbit run`: one prompt (or text to embed) on one target.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::launch::{self, LoadArgs, Loaded, Status};
use crate::job::{EmbedJob, GenerateJob, Message, Prompt, RunError, Sampling};
use crate::runner::Progress;
use crate::store::Store;
use crate::target::Target;

/// Run a model on a target: continue a prompt, answer a chat, or embed a text.
///
/// A plain prompt is continued as it stands; --chat goes through the model's chat template. With --json one object is
/// printed: target, outcome (pass, error, unsupported, unavailable), prompt_ids, ids, text, finish_reason,
/// prefill_tokens_per_second, decode_tokens_per_second, time_to_first_token_ms, adapter and more; for --task embed
/// input_ids and embedding.
#[derive(Args)]
pub(crate) struct Run {
    /// A name from `fewbit models list`, a folder or a file.
    model: String,
    /// The text to continue or embed.
    #[arg(required_unless_present = "chat", conflicts_with = "chat")]
    prompt: Option<String>,
    /// OpenAI-style messages, [{"role": "user", "content": "…"}], as JSON or a file of it.
    #[arg(long, value_name = "JSON|FILE")]
    chat: Option<String>,
    /// Where to run: native:cpu, native:wgpu, or chrome, firefox, safari, edge with :webgpu or :wasm.
    #[arg(long, default_value = "native:cpu")]
    target: Target,
    #[arg(long, value_enum, default_value_t = Task::Generate)]
    task: Task,
    /// Tokens to generate at most.
    #[arg(long, default_value_t = 128)]
    max_tokens: usize,
    /// Take the best token each time. A plain prompt then goes on over end-of-text tokens to --max-tokens, as references do.
    #[arg(long)]
    greedy: bool,
    /// End at the model's end-of-text token, even with --greedy and a plain prompt.
    #[arg(long, conflicts_with = "ignore_eos")]
    stop_at_eos: bool,
    /// Go on over end-of-text tokens.
    #[arg(long)]
    ignore_eos: bool,
    #[arg(long)]
    temperature: Option<f32>,
    #[arg(long)]
    top_k: Option<usize>,
    #[arg(long)]
    top_p: Option<f32>,
    #[arg(long)]
    min_p: Option<f32>,
    #[arg(long)]
    repetition_penalty: Option<f32>,
    #[arg(long)]
    seed: Option<u64>,
    /// A text that ends the generation; may be given several times.
    #[arg(long)]
    stop: Vec<String>,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Task {
    Generate,
    Embed,
}

impl Run {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let prompt = self.prompt()?;
        let store = Store::open()?;
        let files = launch::resolve(&store, &self.model)?;
        let pages = launch::pages_for(&[self.target], &store).await?;
        let result = match launch::load(self.target, pages.as_ref(), &files, &self.load).await {
            Ok(mut loaded) => {
                let result = match self.task {
                    Task::Generate => self.generate(prompt, &mut loaded).await,
                    Task::Embed => self.embed(&mut loaded).await,
                };
                let head = launch::head(self.target, &files.name, &loaded.info);
                // Ends a browser; the answer is there already.
                let _ = loaded.runner.dispose().await;
                result.map(|answer| launch::merged(head, answer))
            }
            Err(error) => Err(error),
        };
        let failed = result.is_err();
        match result {
            Ok(answer) if self.json => println!("{answer}"),
            Ok(answer) => self.tell(&answer),
            Err(error) => {
                if self.json {
                    println!("{}", launch::failure(self.target, &files.name, &error));
                } else {
                    eprintln!("fewbit: {}: {}: {error}", self.target, error.outcome.name());
                }
            }
        }
        Ok(ExitCode::from(u8::from(failed)))
    }

    fn prompt(&self) -> anyhow::Result<Prompt> {
        match (&self.prompt, &self.chat) {
            (Some(text), None) => Ok(Prompt::Text(text.clone())),
            (None, Some(_)) if self.task == Task::Embed => bail!("--task embed wants a text"),
            (None, Some(chat)) => Ok(Prompt::Messages(messages(chat)?)),
            _ => bail!("give a prompt or --chat"),
        }
    }

    async fn generate(&self, prompt: Prompt, loaded: &mut Loaded<'_>) -> Result<Value, RunError> {
        let plain = matches!(prompt, Prompt::Text(_));
        let default = Sampling::default();
        let job = GenerateJob {
            prompt,
            source: Default::default(),
            max_tokens: self.max_tokens,
            sampling: Sampling {
                greedy: self.greedy || self.temperature == Some(0.0),
                temperature: self.temperature.unwrap_or(default.temperature),
                top_k: self.top_k.or(default.top_k),
                top_p: self.top_p.or(default.top_p),
                min_p: self.min_p,
                repetition_penalty: self.repetition_penalty,
                seed: self.seed,
            },
            stop: self.stop.clone(),
            ignore_eos: self.ignore_eos || (self.greedy && plain && !self.stop_at_eos),
        };
        let status = Status::new(self.target);
        let json = self.json;
        let result = loaded
            .runner
            .generate(&job, &|progress| match &progress {
                Progress::Token { text, .. } if !json => {
                    status.clear();
                    print!("{}", shown(text));
                    let _ = std::io::stdout().flush();
                }
                progress => status.on(progress),
            })
            .await;
        status.clear();
        serde_json::to_value(result?).map_err(|e| RunError::error("json", e.to_string()))
    }

    async fn embed(&self, loaded: &mut Loaded<'_>) -> Result<Value, RunError> {
        let texts = vec![self.prompt.clone().unwrap_or_default()];
        let answer = loaded.runner.embed(&EmbedJob { texts }).await?;
        let elapsed = answer.elapsed_ms;
        match answer.embeddings.into_iter().next() {
            Some(one) => Ok(json!({
                "input_ids": one.input_ids,
                "embedding": one.embedding,
                "elapsed_ms": elapsed,
            })),
            None => Err(RunError::error(
                "no_embedding",
                "the target gave no embedding",
            )),
        }
    }

    /// What a person wants to know after the text: where it ran and how fast.
    fn tell(&self, answer: &Value) {
        if self.task == Task::Embed {
            println!("{}", answer["embedding"]);
            return;
        }
        println!();
        let number = |name: &str| {
            answer[name]
                .as_f64()
                .map_or("–".into(), |x| format!("{x:.1}"))
        };
        let adapter = answer["adapter"].as_str().unwrap_or_default();
        let software = answer["adapter_software"].as_bool() == Some(true);
        eprintln!(
            "{} {}{}: prefill {} tokens/s, decode {} tokens/s, first token after {} ms",
            self.target,
            shown(adapter),
            if software { " (software)" } else { "" },
            number("prefill_tokens_per_second"),
            number("decode_tokens_per_second"),
            number("time_to_first_token_ms"),
        );
    }
}

/// Messages as JSON, or a file of it.
fn messages(text: &str) -> anyhow::Result<Vec<Message>> {
    let json = if text.trim_start().starts_with('[') {
        text.to_string()
    } else {
        std::fs::read_to_string(Path::new(text)).with_context(|| format!("--chat {text}"))?
    };
    serde_json::from_str(&json)
        .context("--chat wants [{\"role\": \"user\", \"content\": \"…\"}, …]")
}

/// A model's text without what a terminal would obey.
fn shown(text: &str) -> String {
    text.chars()
        .filter(|c| !c.is_control() || matches!(c, '\n' | '\t'))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chat_as_json_or_file() {
        let json = r#"[{"role": "user", "content": "Hi"}]"#;
        assert_eq!(messages(json).unwrap()[0].content, "Hi");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), json).unwrap();
        assert_eq!(
            messages(file.path().to_str().unwrap()).unwrap()[0].role,
            "user"
        );
        assert!(messages("[1]").is_err());
        assert!(messages("/no/such/file").is_err());
    }

    #[test]
    fn terminals_get_no_escapes() {
        assert_eq!(shown("a\u{1b}[2Jb\nc"), "a[2Jb\nc");
    }
}
