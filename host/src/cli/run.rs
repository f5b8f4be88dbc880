//! `fewbit run`: one input on one target.

use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::launch::{self, LoadArgs, Loaded, Status};
use super::transcribe::{self, Speech};
use super::turn;
use crate::job::{
    AnswerJob, EmbedJob, GenerateJob, InputFile, Instruct, Message, Prompt, RunError, Sampling,
};
use crate::runner::Progress;
use crate::store::Store;
use crate::target::Target;

/// Run a model on a target: continue a prompt, answer a chat, or do another task with a text, a picture or a recording.
///
/// A plain prompt is continued as it stands; --chat, or --task chat with one message as INPUT, goes through the model's chat template.
/// --task says what else to do: embed (a text, picture or recording), classify (the same), detect (things in a picture), zero-shot (which of
/// --labels fits a picture or recording), fill-mask (a text with a mask), transcribe (a recording), turn (a recording: whether the speaker has finished), translate and summarize (a text).
///
/// With --json one object is printed: target, outcome (pass, error, unsupported, unavailable), adapter and more; and for
/// generate, translate and summarize prompt_ids, ids, text, finish_reason, prefill_tokens_per_second,
/// decode_tokens_per_second, time_to_first_token_ms; for embed input_ids and embedding; for transcribe text, ids, segments (start and end in seconds,
/// text, ids) and real_time_factor; for the others answer, a list of
/// {class, label, score}, with box {xmin, ymin, xmax, ymax} in pixels for detect, or for fill-mask a list for each
/// mask of {token, id, score, sequence}.
#[derive(Args)]
pub(crate) struct Run {
    /// A name from `fewbit models list`, a folder or a file.
    model: String,
    /// A text; or a file of a picture or a recording, where the task is about one.
    #[arg(required_unless_present = "chat", conflicts_with = "chat")]
    input: Option<String>,
    /// OpenAI-style messages, [{"role": "user", "content": "…"}], as JSON or a file of it.
    #[arg(long, value_name = "JSON|FILE")]
    chat: Option<String>,
    /// Where to run: native:cpu, native:wgpu, native:ort-cpu and other providers of ONNX Runtime (see `fewbit backends list`), or chrome, shell, firefox, safari, edge with :webgpu, :webnn, :wasm or, WebNN and wasm for what the browser refuses, :webnn+wasm.
    #[arg(long, default_value = "native:cpu")]
    target: Target,
    /// What to do.
    #[arg(long, value_enum, default_value_t = Task::Generate)]
    task: Task,
    #[command(flatten)]
    asked: Asked,
    #[command(flatten)]
    speech: Speech,
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
    /// Tokens to draw from; for classify and fill-mask, answers to give (5 without it).
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
    Chat,
    Embed,
    Classify,
    Detect,
    #[value(alias = "zeroShot")]
    ZeroShot,
    #[value(alias = "fillMask")]
    FillMask,
    Transcribe,
    Translate,
    Summarize,
    /// Whether a speaker has finished.
    Turn,
}

impl Task {
    /// As the JavaScript API calls it.
    fn name(self) -> &'static str {
        match self {
            Task::Generate => "generate",
            Task::Chat => "chat",
            Task::Embed => "embed",
            Task::Classify => "classify",
            Task::Detect => "detect",
            Task::ZeroShot => "zeroShot",
            Task::FillMask => "fillMask",
            Task::Transcribe => "transcribe",
            Task::Translate => "translate",
            Task::Summarize => "summarize",
            Task::Turn => "turn",
        }
    }

    fn makes_text(self) -> bool {
        matches!(
            self,
            Task::Generate | Task::Chat | Task::Translate | Task::Summarize
        )
    }
}

/// What some tasks may be told beside their input.
#[derive(Args, Default)]
struct Asked {
    /// For zero-shot: what the input may be, with commas between.
    #[arg(long, value_delimiter = ',')]
    labels: Vec<String>,
    /// For zero-shot: a text with {} in a label's place.
    #[arg(long, value_name = "TEXT")]
    template: Option<String>,
    /// For detect: the least certainty, 0 to 1 (0.5 without it).
    #[arg(long)]
    threshold: Option<f32>,
    /// For translate: the language of the text, as the model's config names it.
    #[arg(long, value_name = "LANGUAGE")]
    from: Option<String>,
    /// For translate: the language to translate to.
    #[arg(long, value_name = "LANGUAGE")]
    to: Option<String>,
    /// For translate and summarize: what to tell the model before the text, instead of what its config says.
    #[arg(long)]
    prefix: Option<String>,
}

impl Asked {
    fn instruct(&self, task: Task) -> Option<Instruct> {
        matches!(task, Task::Translate | Task::Summarize).then(|| Instruct {
            task: task.name().to_owned(),
            from: self.from.clone(),
            to: self.to.clone(),
            prefix: self.prefix.clone(),
        })
    }

    fn question(&self) -> AnswerJob {
        AnswerJob {
            labels: self.labels.clone(),
            template: self.template.clone(),
            threshold: self.threshold,
            ..AnswerJob::default()
        }
    }
}

impl Run {
    pub(crate) async fn run(self) -> anyhow::Result<ExitCode> {
        let prompt = self.prompt()?;
        let store = Store::open()?;
        let files = launch::resolve(&store, &self.model)?;
        let pages = launch::pages_for(&[self.target], &store).await?;
        let result = match launch::load(self.target, pages.as_ref(), &files, &self.load).await {
            Ok(mut loaded) => {
                let result = match (prompt, self.task) {
                    (Some(prompt), _) => self.generate(prompt, &mut loaded).await,
                    (None, Task::Embed) => self.embed(&mut loaded).await,
                    (None, Task::Transcribe) => {
                        let file = self.input.as_deref().unwrap_or_default();
                        let speech = &self.speech;
                        speech
                            .transcribe(file, self.target, self.json, &mut loaded)
                            .await
                    }
                    (None, Task::Turn) => self.turn(&mut loaded).await,
                    (None, _) => self.answer(&mut loaded).await,
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

    /// What to go on from, for tasks that make text.
    fn prompt(&self) -> anyhow::Result<Option<Prompt>> {
        match (&self.input, &self.chat) {
            (Some(_), None) if !self.task.makes_text() => Ok(None),
            (Some(text), None) if self.task == Task::Chat => {
                Ok(Some(Prompt::Messages(vec![Message {
                    role: "user".into(),
                    content: text.clone(),
                }])))
            }
            (Some(text), None) => Ok(Some(Prompt::Text(text.clone()))),
            (None, Some(chat)) if matches!(self.task, Task::Generate | Task::Chat) => {
                Ok(Some(Prompt::Messages(messages(chat)?)))
            }
            (None, Some(_)) => bail!("--chat is for --task generate or chat"),
            _ => bail!("give an input or --chat"),
        }
    }

    async fn generate(&self, prompt: Prompt, loaded: &mut Loaded<'_>) -> Result<Value, RunError> {
        // An answer to an instruction ends where the model says.
        let plain = matches!(prompt, Prompt::Text(_)) && self.task == Task::Generate;
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
            instruct: self.asked.instruct(self.task),
            beside: vec![],
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
        let (texts, files) = self.given(false)?;
        let answer = loaded.runner.embed(&EmbedJob { texts, files }).await?;
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

    async fn answer(&self, loaded: &mut Loaded<'_>) -> Result<Value, RunError> {
        let must_be_file = matches!(self.task, Task::Detect | Task::ZeroShot);
        let (texts, files) = self.given(must_be_file)?;
        let job = AnswerJob {
            task: self.task.name().to_owned(),
            texts,
            files,
            top_k: self.top_k,
            ..self.asked.question()
        };
        let result = loaded.runner.answer(&job).await?;
        let answer = result.answers.into_iter().next();
        Ok(json!({
            "answer": answer.unwrap_or_default(),
            "elapsed_ms": result.elapsed_ms,
        }))
    }

    async fn turn(&self, loaded: &mut Loaded<'_>) -> Result<Value, RunError> {
        let (_, files) = self.given(true)?;
        match files.first() {
            Some(file) => turn::turn(file, loaded.runner.as_mut()).await,
            None => Err(RunError::error("input", "no recording")),
        }
    }

    /// The input as a text or as a file.
    fn given(&self, must_be_file: bool) -> Result<(Vec<String>, Vec<InputFile>), RunError> {
        let input = self.input.clone().unwrap_or_default();
        let may_be_file = self.task != Task::FillMask;
        if must_be_file || may_be_file && Path::new(&input).is_file() {
            let data = std::fs::read(&input);
            let data = data.map_err(|error| RunError::error("input", format!("{input}: {error}")));
            return Ok((
                Vec::new(),
                vec![InputFile {
                    name: input,
                    data: data?,
                }],
            ));
        }
        Ok((vec![input], Vec::new()))
    }

    /// What a person wants to know after the text: where it ran and how fast.
    fn tell(&self, answer: &Value) {
        if self.task == Task::Transcribe {
            return transcribe::tell(answer);
        }
        if self.task == Task::Embed {
            println!("{}", answer["embedding"]);
            return;
        }
        if !self.task.makes_text() {
            return tell_answer(&answer["answer"], "");
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

/// A line for each thing that the answer says; indented within the answer to one of several masks.
fn tell_answer(answer: &Value, indent: &str) {
    for (number, one) in answer.as_array().into_iter().flatten().enumerate() {
        if one.is_array() {
            println!("mask {}:", number + 1);
            tell_answer(one, "  ");
            continue;
        }
        let text = |name: &str| one[name].as_str().map(shown);
        let name = match (text("label"), text("token")) {
            (Some(label), Some(token)) => format!("{token}: {label}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => continue,
        };
        let edges = ["xmin", "ymin", "xmax", "ymax"].map(|edge| one["box"][edge].as_f64());
        let place = match edges {
            [Some(left), Some(top), Some(right), Some(bottom)] => {
                format!(" at {left:.0},{top:.0} to {right:.0},{bottom:.0}")
            }
            _ => String::new(),
        };
        let score = one["score"].as_f64().unwrap_or(f64::NAN);
        println!("{indent}{score:.3} {name}{place}");
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
pub(super) fn shown(text: &str) -> String {
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
