//! Tasks on a [`NativeModel`], with their times.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use fewbit_engine::backend::MemoryUse;
use fewbit_engine::task::answer::{Answer, Question};
use fewbit_engine::task::batch::BatchGeneration;
use fewbit_engine::task::forward::{ForwardError, Named};
use fewbit_engine::task::generate::{Event, FinishReason, GenerateOptions, Generation};
use fewbit_engine::task::score::TokenScore;
use fewbit_engine::task::{Embedding, Model, TaskError};
use fewbit_onnx::ImportOptions;

use crate::model::{NativeError, NativeModel};

/// Told while something goes on.
#[derive(Clone, Debug, PartialEq)]
pub enum Progress {
    /// Bytes of weights that are where they are computed with.
    Loaded {
        bytes: u64,
        of: u64,
    },
    /// Prompt tokens computed.
    Prefill {
        tokens: usize,
        of: usize,
    },
    Token(GeneratedToken),
}

#[derive(Clone, Debug, PartialEq)]
pub struct GeneratedToken {
    pub id: u32,
    /// The text that the token completes; may be empty.
    pub text: String,
    /// How many tokens there are now.
    pub count: usize,
    pub logprob: f32,
}

/// What a generation took.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    /// From the call to the first token.
    pub time_to_first_token: Option<Duration>,
    /// For the tokens after the first.
    pub decode: Option<Duration>,
}

#[derive(Clone, Debug)]
pub struct Generated {
    pub prompt_ids: Vec<u32>,
    pub ids: Vec<u32>,
    pub text: String,
    /// Absent where it was aborted.
    pub finish: Option<FinishReason>,
    pub cached_tokens: usize,
    pub timings: Timings,
    pub memory: MemoryUse,
}

impl NativeModel {
    /// Generates after the ids that `prompt` makes of the model; `on_progress` may stop it, upon which what there is comes
    /// back. `source` is what an encoder-decoder reads before, by the names of its encoder's inputs; without it,
    /// that model reads the prompt.
    pub fn generate(
        &self,
        prompt: impl FnOnce(&Model) -> Result<Vec<u32>, NativeError> + Send + 'static,
        source: Named,
        options: GenerateOptions,
        on_progress: impl Fn(Progress) -> ControlFlow<()> + Send + 'static,
    ) -> Result<Generated, NativeError> {
        self.call(move |model| {
            let prompt = prompt(model)?;
            let start = Instant::now();
            let generation = match source.is_empty() {
                true => model.generate(prompt, &options)?,
                false => model.generate_from(&source, prompt, &options)?,
            };
            pollster::block_on(drive(model, generation, start, &on_progress))
        })?
    }

    /// Generates after the ids that `prompts` makes of the model, side by side; the answers come in their order. Their times
    /// begin together.
    pub fn generate_batch(
        &self,
        prompts: impl FnOnce(&Model) -> Result<Vec<Vec<u32>>, NativeError> + Send + 'static,
        options: GenerateOptions,
    ) -> Result<Vec<Generated>, NativeError> {
        self.call(move |model| {
            let prompts = prompts(model)?;
            let start = Instant::now();
            let batch = model.generate_batch(prompts, &options)?;
            pollster::block_on(drive_batch(model, batch, start))
        })?
    }

    /// Scores of `ids[1..]`, with the time it took.
    pub fn score(
        &self,
        ids: impl FnOnce(&Model) -> Result<Vec<u32>, NativeError> + Send + 'static,
    ) -> Result<(Vec<u32>, Vec<TokenScore>, Duration), NativeError> {
        self.call(move |model| {
            let ids = ids(model)?;
            let start = Instant::now();
            let scores = pollster::block_on(model.score(&ids))?;
            Ok((ids, scores, start.elapsed()))
        })?
    }

    pub fn embed(&self, texts: Vec<String>) -> Result<(Vec<Embedding>, Duration), NativeError> {
        self.call(move |model| {
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            let start = Instant::now();
            let embeddings = pollster::block_on(model.embed(&texts))?;
            Ok((embeddings, start.elapsed()))
        })?
    }

    /// Vectors of a batch of pictures or sounds, given as the model's input.
    pub fn embed_tensors(&self, inputs: Named) -> Result<(Vec<Vec<f32>>, Duration), NativeError> {
        self.call(move |model| {
            let start = Instant::now();
            let vectors = pollster::block_on(model.embed_tensors(&inputs))?;
            Ok((vectors, start.elapsed()))
        })?
    }

    /// Answers a question about its texts or about tensors, the model's input.
    pub fn answer(
        &self,
        question: Question,
        inputs: Named,
    ) -> Result<(Answer, Duration), NativeError> {
        self.call(move |model| {
            let start = Instant::now();
            let answer = pollster::block_on(model.answer(&question, &inputs))?;
            Ok((answer, start.elapsed()))
        })?
    }

    /// Runs the graph on named tensors; `outputs` empty means all.
    pub fn forward(
        &self,
        inputs: Named,
        outputs: Vec<String>,
    ) -> Result<(Named, Duration), NativeError> {
        self.call(move |model| {
            let start = Instant::now();
            let outputs = pollster::block_on(forward(model, &inputs, &outputs))?;
            Ok((outputs, start.elapsed()))
        })?
    }
}

/// Runs the graph for these inputs: where their numbers decide shapes and no graph that there is is for them, one more is
/// made of the ONNX file.
async fn forward(
    model: &mut Model,
    inputs: &Named,
    outputs: &[String],
) -> Result<Named, NativeError> {
    match model.forward(inputs, outputs).await {
        Err(TaskError::Forward(ForwardError::OtherNumbers(_))) => {}
        result => return Ok(result?),
    }
    let names = model.goes_by().into_iter();
    let values = names.filter_map(|name| Some((name.to_owned(), inputs.get(name)?.clone())));
    let options = ImportOptions {
        values: values.collect(),
        ..ImportOptions::default()
    };
    let open = fewbit_onnx::open(model.files(), &options).await?;
    model.add(open).await?;
    Ok(model.forward(inputs, outputs).await?)
}

/// One token from nothing, as pages do it: pipelines are compiled while the model loads, not in the first answer.
pub(crate) async fn warm_up(model: &mut Model) -> Result<(), NativeError> {
    let options = GenerateOptions {
        max_tokens: 1,
        ignore_eos: true,
        ..GenerateOptions::default()
    };
    let mut generation = model.generate(vec![0], &options)?;
    while !matches!(model.step(&mut generation).await?, Event::Finished { .. }) {}
    Ok(())
}

async fn drive(
    model: &mut Model,
    mut generation: Generation,
    start: Instant,
    on_progress: &dyn Fn(Progress) -> ControlFlow<()>,
) -> Result<Generated, NativeError> {
    let mut text = String::new();
    let mut first: Option<Instant> = None;
    let mut last = start;
    let finish = loop {
        let (progress, token) = match model.step(&mut generation).await? {
            Event::Prefill { done, total } => (
                Progress::Prefill {
                    tokens: done,
                    of: total,
                },
                false,
            ),
            Event::Token { choice, text: new } => {
                text += &new;
                let token = GeneratedToken {
                    id: choice.id,
                    text: new,
                    count: generation.ids().len(),
                    logprob: choice.logprob,
                };
                (Progress::Token(token), true)
            }
            Event::Finished { reason, text: rest } => {
                text += &rest;
                break Some(reason);
            }
        };
        if token {
            last = Instant::now();
            first.get_or_insert(last);
        }
        if on_progress(progress).is_break() {
            break None;
        }
    };
    let answer = Answered {
        text,
        finish,
        first,
        last,
    };
    Ok(answer.of(&generation, start, model.memory()))
}

async fn drive_batch(
    model: &mut Model,
    mut batch: BatchGeneration,
    start: Instant,
) -> Result<Vec<Generated>, NativeError> {
    let mut answers: Vec<Answered> = (0..batch.rows().len())
        .map(|_| Answered {
            text: String::new(),
            finish: None,
            first: None,
            last: start,
        })
        .collect();
    while answers.iter().any(|answer| answer.finish.is_none()) {
        let events = model.step_batch(&mut batch).await?;
        let now = Instant::now();
        for (row, event) in events {
            let answer = &mut answers[row];
            match event {
                Event::Prefill { .. } => {}
                Event::Token { text, .. } => {
                    answer.text += &text;
                    answer.first.get_or_insert(now);
                    answer.last = now;
                }
                Event::Finished { reason, text } => {
                    answer.text += &text;
                    answer.finish = Some(reason);
                }
            }
        }
    }
    let memory = model.memory();
    let rows = answers.into_iter().zip(batch.rows());
    Ok(rows
        .map(|(answer, generation)| answer.of(generation, start, memory))
        .collect())
}

/// What is known of an answer beside its ids.
struct Answered {
    text: String,
    finish: Option<FinishReason>,
    /// When its first and its last token were there.
    first: Option<Instant>,
    last: Instant,
}

impl Answered {
    fn of(self, generation: &Generation, start: Instant, memory: MemoryUse) -> Generated {
        let (first, last) = (self.first, self.last);
        Generated {
            prompt_ids: generation.prompt_ids().to_vec(),
            ids: generation.ids().to_vec(),
            text: self.text,
            finish: self.finish,
            cached_tokens: generation.cached_tokens(),
            timings: Timings {
                time_to_first_token: first.map(|first| first - start),
                decode: first
                    .filter(|_| generation.ids().len() > 1)
                    .map(|first| last - first),
            },
            memory,
        }
    }
}
