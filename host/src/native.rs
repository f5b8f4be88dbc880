//! Native targets: jobs on the engine in this process.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fewbit_engine::backend::NumericPolicy;
use fewbit_engine::model::BuildOptions;
use fewbit_engine::task::answer::Question;
use fewbit_engine::task::chat::Message as ChatMessage;
use fewbit_engine::task::chat::messages_from_json;
use fewbit_engine::task::forward::Named;
use fewbit_engine::task::generate::GenerateOptions;
use fewbit_engine::task::sampling::SamplingParams;
use fewbit_engine::task::score::mean_nll;
use fewbit_engine::task::{Instruction, Model, Task};
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_native_backends::{
    Generated, Loaded, NativeError, NativeModel, NativeOptions, NativeTarget,
    Progress as NativeProgress,
};

use crate::job::{
    Activations, AdapterInfo, AnswerJob, AnswerResult, Beside, EmbedJob, EmbedResult, Embedding,
    ForwardJob, ForwardResult, GenerateJob, GenerateResult, InputFile, Instruct, LoadInfo,
    LoadOptions, MemoryFacts, ModelFacts, Outcome, Prompt, RunError, Sampling, ScoreJob,
    ScoreResult, TensorData,
};
use crate::runner::{OnProgress, Progress, RunFuture, Runner};
use crate::speech::{self, TranscribeJob, TranscribeResult};
use crate::store::ModelFiles;

/// Runs jobs on a native target.
pub struct NativeRunner {
    target: NativeTarget,
    model: Option<Arc<NativeModel>>,
    /// Where its files are, one of which says how pictures or sound are made its input.
    folder: PathBuf,
}

impl NativeRunner {
    pub fn new(target: NativeTarget) -> NativeRunner {
        NativeRunner {
            target,
            model: None,
            folder: PathBuf::new(),
        }
    }

    fn model(&self) -> Result<Arc<NativeModel>, RunError> {
        self.model
            .clone()
            .ok_or_else(|| RunError::error("not_loaded", "no model is loaded"))
    }
}

impl Runner for NativeRunner {
    fn load<'a>(
        &'a mut self,
        model: &'a ModelFiles,
        options: &'a LoadOptions,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, LoadInfo> {
        Box::pin(async move {
            self.model = None;
            self.folder = model.folder.clone();
            forget_peak_resident();
            let files = model
                .files
                .iter()
                .map(|file| (file.name.clone(), file.path.clone()))
                .collect();
            let native = NativeOptions {
                policy: NumericPolicy {
                    activations: match options.activations {
                        Some(Activations::Float) => fewbit_engine::backend::Activations::Float,
                        Some(Activations::Q8) | None => fewbit_engine::backend::Activations::Int8,
                    },
                    half: false,
                },
                threads: options.threads,
                build: BuildOptions {
                    context_length: options.context,
                    ..BuildOptions::default()
                },
            };
            let target = self.target;
            let (report, arriving) = reports();
            let load = tokio::task::spawn_blocking(move || {
                NativeModel::load(target, files, native, report)
            });
            let (model, loaded) = follow(load, arriving, progress).await?;
            self.model = Some(Arc::new(model));
            Ok(load_info(target, options, loaded))
        })
    }

    fn generate<'a>(
        &'a mut self,
        job: &'a GenerateJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, GenerateResult> {
        Box::pin(async move {
            let model = self.model()?;
            let (prompt, instruct) = (job.prompt.clone(), job.instruct.clone());
            let options = GenerateOptions {
                max_tokens: job.max_tokens,
                sampling: sampling(&job.sampling),
                stop: job.stop.clone(),
                ignore_eos: job.ignore_eos,
            };
            let source = tensors(&job.source)?;
            let gpu = self.target == NativeTarget::Wgpu;
            if !job.beside.is_empty() {
                let mut prompts = vec![prompt];
                prompts.extend(job.beside.iter().cloned());
                let prompts = move |model: &Model| {
                    let prompts = prompts.into_iter();
                    let ids = prompts.map(|prompt| prompt_ids(model, prompt, instruct.clone()));
                    ids.collect()
                };
                let answers = blocking(move || model.generate_batch(prompts, options)).await?;
                return Ok(batch_result(gpu, answers));
            }
            let (report, arriving) = reports();
            let work = tokio::task::spawn_blocking(move || {
                let prompt = move |model: &Model| prompt_ids(model, prompt, instruct);
                model.generate(prompt, source, options, report)
            });
            Ok(generate_result(
                gpu,
                follow(work, arriving, progress).await?,
            ))
        })
    }

    fn score<'a>(&'a mut self, job: &'a ScoreJob) -> RunFuture<'a, ScoreResult> {
        Box::pin(async move {
            let model = self.model()?;
            let (text, ids) = (job.text.clone(), job.ids.clone());
            let ids = move |model: &Model| match (ids, text) {
                (Some(ids), _) => Ok(ids),
                (None, Some(text)) => Ok(model.encode(&text)?),
                (None, None) => Ok(Vec::new()),
            };
            let (ids, scores, elapsed) = blocking(move || model.score(ids)).await?;
            Ok(ScoreResult {
                ids,
                nll: scores.iter().map(|score| score.nll).collect(),
                best: scores.iter().map(|score| score.best).collect(),
                mean_nll: mean_nll(&scores).unwrap_or(0.0),
                elapsed_ms: Some(milliseconds(elapsed)),
            })
        })
    }

    fn embed<'a>(&'a mut self, job: &'a EmbedJob) -> RunFuture<'a, EmbedResult> {
        Box::pin(async move {
            let model = self.model()?;
            let texts = job.texts.clone();
            let (embeddings, elapsed) = if job.files.is_empty() {
                let (texts, elapsed) = blocking(move || model.embed(texts)).await?;
                let texts = texts.into_iter().map(|text| Embedding {
                    input_ids: text.input_ids,
                    embedding: text.vector,
                });
                (texts.collect(), elapsed)
            } else {
                let inputs = prepared(&self.folder, &job.files).await?.0;
                let (vectors, elapsed) = blocking(move || model.embed_tensors(inputs)).await?;
                let vectors = vectors.into_iter().map(|embedding| Embedding {
                    input_ids: Vec::new(),
                    embedding,
                });
                (vectors.collect(), elapsed)
            };
            Ok(EmbedResult {
                embeddings,
                elapsed_ms: Some(milliseconds(elapsed)),
                memory: MemoryFacts {
                    peak_resident: peak_resident(),
                    ..MemoryFacts::default()
                },
            })
        })
    }

    fn answer<'a>(&'a mut self, job: &'a AnswerJob) -> RunFuture<'a, AnswerResult> {
        Box::pin(async move {
            let model = self.model()?;
            let task = Task::named(&job.task)
                .ok_or_else(|| RunError::error("bad_job", format!("no task {}", job.task)))?;
            let mut question = Question {
                texts: job.texts.clone(),
                labels: job.labels.clone(),
                template: job.template.clone(),
                threshold: job.threshold,
                top_k: job.top_k,
                ..Question::new(task)
            };
            let mut inputs = Named::new();
            if !job.files.is_empty() {
                (inputs, question.sizes) = prepared(&self.folder, &job.files).await?;
            }
            let (answer, elapsed) = blocking(move || model.answer(question, inputs)).await?;
            let answers = match serde_json::to_value(answer) {
                Ok(serde_json::Value::Array(answers)) => answers,
                Ok(other) => vec![other],
                Err(error) => return Err(RunError::error("json", error.to_string())),
            };
            Ok(AnswerResult {
                answers,
                elapsed_ms: Some(milliseconds(elapsed)),
            })
        })
    }

    fn forward<'a>(&'a mut self, job: &'a ForwardJob) -> RunFuture<'a, ForwardResult> {
        Box::pin(async move {
            let model = self.model()?;
            let inputs = tensors(&job.inputs)?;
            let outputs = job.outputs.clone();
            let (outputs, elapsed) = blocking(move || model.forward(inputs, outputs)).await?;
            let outputs = outputs.into_iter().map(|(name, tensor)| {
                let data = TensorData {
                    data_type: tensor.data_type().name().to_owned(),
                    shape: tensor.shape().to_vec(),
                    data: tensor.bytes().to_vec(),
                };
                (name, data)
            });
            Ok(ForwardResult {
                outputs: outputs.collect(),
                elapsed_ms: Some(milliseconds(elapsed)),
            })
        })
    }

    fn transcribe<'a>(
        &'a mut self,
        job: &'a TranscribeJob,
        progress: OnProgress<'a>,
    ) -> RunFuture<'a, TranscribeResult> {
        Box::pin(async move {
            let model = self.model()?;
            let work = speech::native(model, job.clone(), progress);
            let (result, used) = settled(work.await)?;
            let memory = memory(self.target == NativeTarget::Wgpu, used);
            Ok(TranscribeResult { memory, ..result })
        })
    }

    fn dispose<'a>(&'a mut self) -> RunFuture<'a, ()> {
        Box::pin(async move {
            if let Some(model) = self.model.take() {
                // The last handle joins the model's thread.
                let _ = tokio::task::spawn_blocking(move || drop(model)).await;
            }
            Ok(())
        })
    }
}

/// Pictures or recordings as the input of the model in `folder`, and the pictures' sizes.
#[cfg(feature = "media")]
async fn prepared(
    folder: &Path,
    files: &[InputFile],
) -> Result<(Named, Vec<[usize; 2]>), RunError> {
    let (folder, files) = (folder.to_path_buf(), files.to_vec());
    let work = tokio::task::spawn_blocking(move || {
        let preprocessor = crate::input::preprocessor(&folder)?;
        crate::input::prepare(&preprocessor, &files, 0)
    });
    match work.await {
        Ok(Ok(prepared)) => Ok((prepared.tensors, prepared.sizes)),
        Ok(Err(error)) => Err(RunError::error("input", error.to_string())),
        Err(error) => Err(RunError::error("internal", error.to_string())),
    }
}

#[cfg(not(feature = "media"))]
async fn prepared(_: &Path, _: &[InputFile]) -> Result<(Named, Vec<[usize; 2]>), RunError> {
    Err(RunError::unavailable(
        "not_built",
        "pictures and sound are not in this build of fewbit (feature `media`)",
    ))
}

type Report = Box<dyn Fn(NativeProgress) -> ControlFlow<()> + Send>;

type Reports = tokio::sync::mpsc::UnboundedReceiver<NativeProgress>;

/// A callback for the model's thread, and where its calls arrive. When the receiver is dropped, the work stops at its
/// next report.
fn reports() -> (Report, Reports) {
    let (sender, receiver) = tokio::sync::mpsc::unbounded_channel();
    let report: Report = Box::new(move |progress| match sender.send(progress) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
    (report, receiver)
}

/// Waits for `work` and forwards its reports to `progress`.
async fn follow<T: Send + 'static>(
    mut work: tokio::task::JoinHandle<Result<T, NativeError>>,
    mut reports: Reports,
    progress: OnProgress<'_>,
) -> Result<T, RunError> {
    loop {
        tokio::select! {
            biased;
            Some(event) = reports.recv() => progress(forwarded(event)),
            result = &mut work => {
                while let Ok(event) = reports.try_recv() {
                    progress(forwarded(event));
                }
                return settled(result);
            }
        }
    }
}

fn forwarded(progress: NativeProgress) -> Progress {
    match progress {
        NativeProgress::Loaded { bytes, of } => Progress::Loaded { bytes, of },
        NativeProgress::Prefill { tokens, of } => Progress::Prefill { tokens, of },
        NativeProgress::Token(token) => Progress::Token {
            text: token.text,
            count: token.count,
        },
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, NativeError> + Send + 'static,
) -> Result<T, RunError> {
    settled(tokio::task::spawn_blocking(work).await)
}

fn settled<T>(
    result: Result<Result<T, NativeError>, tokio::task::JoinError>,
) -> Result<T, RunError> {
    match result {
        Ok(result) => result.map_err(|error| failure(&error)),
        Err(error) => Err(RunError::error("internal", error.to_string())),
    }
}

fn failure(error: &NativeError) -> RunError {
    if let Some(reason) = error.unavailable() {
        return RunError::unavailable("no_device", reason);
    }
    let code = match error {
        _ if error.is_unsupported() => "unsupported",
        NativeError::File { .. } => "file",
        NativeError::NotBuilt => "not_built",
        NativeError::Load(_) => "load",
        NativeError::Onnx(_) => "load",
        NativeError::Task(_) | NativeError::Transcription(_) => "task",
        NativeError::Sound(_) => "sound",
        NativeError::Aborted => "aborted",
        NativeError::Thread(_) | NativeError::Gone => "internal",
    };
    let mut message = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !message.contains(&cause_text) {
            message = format!("{message}: {cause_text}");
        }
        source = cause.source();
    }
    let outcome = match error.is_unsupported() {
        true => Outcome::Unsupported,
        false => Outcome::Error,
    };
    RunError::new(outcome, code, message)
}

fn prompt_ids(
    model: &Model,
    prompt: Prompt,
    instruct: Option<Instruct>,
) -> Result<Vec<u32>, NativeError> {
    Ok(match prompt {
        Prompt::Text(text) => match instruct.and_then(instruction) {
            Some(instruction) => model.encode(&model.instruct(&text, &instruction)?.text)?,
            None => model.encode(&text)?,
        },
        Prompt::Ids(ids) => ids,
        Prompt::Messages(messages) => {
            let json = serde_json::to_string(&messages).unwrap_or_default();
            let messages: Vec<ChatMessage> = messages_from_json(&json).map_err(|error| {
                NativeError::Task(fewbit_engine::task::TaskError::Messages(error))
            })?;
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
            model.encode_chat(&messages, now.ok().map(|now| now.as_secs() as i64))?
        }
    })
}

fn instruction(instruct: Instruct) -> Option<Instruction> {
    Some(Instruction {
        task: Task::named(&instruct.task)?,
        from: instruct.from,
        to: instruct.to,
        prefix: instruct.prefix,
    })
}

fn sampling(sampling: &Sampling) -> SamplingParams {
    let defaults = SamplingParams::default();
    if sampling.greedy {
        return SamplingParams {
            temperature: 0.0,
            ..defaults
        };
    }
    SamplingParams {
        temperature: sampling.temperature,
        top_k: sampling.top_k.unwrap_or(defaults.top_k),
        top_p: sampling.top_p.unwrap_or(defaults.top_p),
        min_p: sampling.min_p.unwrap_or(defaults.min_p),
        repetition_penalty: sampling
            .repetition_penalty
            .unwrap_or(defaults.repetition_penalty),
        // Without a seed every run is another one.
        seed: sampling.seed.unwrap_or_else(rand::random),
        ..defaults
    }
}

fn load_info(target: NativeTarget, options: &LoadOptions, loaded: Loaded) -> LoadInfo {
    let backend = loaded.backend;
    let gpu = backend.name == "gpu";
    let ort = backend.name == "ort";
    let int8 = backend.activations == fewbit_engine::backend::Activations::Int8;
    LoadInfo {
        backend: target.name().to_owned(),
        variant: (!gpu).then(|| backend.adapter.clone()),
        adapter: match (gpu, &backend.driver) {
            (true, _) => Some(AdapterInfo {
                name: backend.adapter.clone(),
                driver: backend.driver.clone(),
                software: Some(backend.software),
                ..AdapterInfo::default()
            }),
            // A device that ONNX Runtime names.
            (false, Some(device)) => Some(AdapterInfo {
                name: device.clone(),
                ..AdapterInfo::default()
            }),
            (false, None) => None,
        },
        // Of ONNX Runtime they are a session's options.
        features: if ort {
            Vec::new()
        } else {
            backend.features.clone()
        },
        flags: if ort { backend.features } else { Vec::new() },
        threads_asked: options.threads,
        threads: (!gpu).then_some(backend.threads),
        activations: Some(if int8 { "q8" } else { "float" }.to_owned()),
        model: Some(ModelFacts {
            architecture: loaded.facts.architecture.to_owned(),
            block_format: Some(loaded.facts.block_format),
            bits_per_weight: Some(loaded.facts.bits_per_weight),
            parameters: Some(loaded.facts.parameters),
            context: Some(loaded.facts.context_length),
            vocabulary: Some(loaded.facts.vocabulary),
        }),
        load_ms: Some(milliseconds(loaded.elapsed)),
        compile_ms: loaded.compile.map(milliseconds),
        memory: memory(gpu, loaded.memory),
        ..LoadInfo::default()
    }
}

fn memory(gpu: bool, used: fewbit_engine::backend::MemoryUse) -> MemoryFacts {
    MemoryFacts {
        wasm: None,
        gpu: gpu.then(|| bytes(used)),
        peak_resident: peak_resident(),
    }
}

fn bytes(used: fewbit_engine::backend::MemoryUse) -> u64 {
    used.weights + used.states + used.plans
}

/// Begins the largest resident set anew, as it is of the process and an earlier target may have been in it. Where the
/// system does not do that, the later number is the largest of all so far.
fn forget_peak_resident() {
    // proc(5): 5 resets VmHWM; only Linux has it.
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The largest resident set of this process since its model was loaded.
fn peak_resident() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|line| line.starts_with("VmHWM:"))?;
    let kibibytes: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn generate_result(gpu: bool, generated: Generated) -> GenerateResult {
    let computed = generated.prompt_ids.len() - generated.cached_tokens;
    let timings = generated.timings;
    let rate = |tokens: usize, time: Option<Duration>| {
        time.filter(|time| !time.is_zero() && tokens > 0)
            .map(|time| tokens as f64 / time.as_secs_f64())
    };
    GenerateResult {
        beside: Vec::new(),
        finish_reason: generated
            .finish
            .map_or("aborted", |reason| reason.name())
            .to_owned(),
        cached_tokens: generated.cached_tokens,
        time_to_first_token_ms: timings.time_to_first_token.map(milliseconds),
        prefill_ms: timings.time_to_first_token.map(milliseconds),
        decode_ms: timings.decode.map(milliseconds),
        prefill_tokens_per_second: rate(computed, timings.time_to_first_token),
        decode_tokens_per_second: rate(generated.ids.len().saturating_sub(1), timings.decode),
        memory: MemoryFacts {
            gpu: gpu.then(|| bytes(generated.memory)),
            peak_resident: peak_resident(),
            ..MemoryFacts::default()
        },
        prompt_ids: generated.prompt_ids,
        ids: generated.ids,
        text: generated.text,
    }
}

/// The first answer, with the others beside it and the times and rates of all.
fn batch_result(gpu: bool, answers: Vec<Generated>) -> GenerateResult {
    let most = |time: fn(&Generated) -> Option<Duration>| answers.iter().filter_map(time).max();
    let first = most(|answer| answer.timings.time_to_first_token);
    let last = most(|answer| {
        let timings = answer.timings;
        Some(timings.time_to_first_token? + timings.decode.unwrap_or_default())
    });
    let decode = first.zip(last).map(|(first, last)| last - first);
    let sum = |count: fn(&Generated) -> usize| answers.iter().map(count).sum::<usize>();
    let rate = |tokens: usize, time: Option<Duration>| {
        time.filter(|time| !time.is_zero() && tokens > 0)
            .map(|time| tokens as f64 / time.as_secs_f64())
    };
    let computed = sum(|answer| answer.prompt_ids.len() - answer.cached_tokens);
    let after = sum(|answer| answer.ids.len().saturating_sub(1));
    let mut answers = answers.into_iter();
    let Some(own) = answers.next() else {
        return GenerateResult::default();
    };
    GenerateResult {
        beside: answers
            .map(|answer| Beside {
                ids: answer.ids,
                text: answer.text,
            })
            .collect(),
        time_to_first_token_ms: first.map(milliseconds),
        prefill_ms: first.map(milliseconds),
        decode_ms: decode.map(milliseconds),
        prefill_tokens_per_second: rate(computed, first),
        decode_tokens_per_second: rate(after, decode),
        ..generate_result(gpu, own)
    }
}

fn tensors(given: &BTreeMap<String, TensorData>) -> Result<BTreeMap<String, Tensor>, RunError> {
    let tensors = given.iter();
    let tensors = tensors.map(|(name, data)| Ok((name.clone(), tensor(name, data)?)));
    tensors.collect()
}

fn tensor(name: &str, data: &TensorData) -> Result<Tensor, RunError> {
    let data_type = DataType::named(&data.data_type).ok_or_else(|| {
        RunError::error(
            "input",
            format!("{name}: unknown data type {}", data.data_type),
        )
    })?;
    Tensor::from_bytes(data_type, &data.shape, &data.data)
        .map_err(|error| RunError::error("input", format!("{name}: {error}")))
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
