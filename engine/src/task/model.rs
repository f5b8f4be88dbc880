//! A loaded model and what can be asked of it.

use std::rc::Rc;

use super::answer::AnswerError;
use super::batch::BatchGeneration;
use super::chat::{Message, MessagesError};
use super::checkpoint::{self, CheckpointError, ModelFiles, OpenModel};
use super::decoder::{Advance, DecodeError, Decoder};
use super::encoder::{EncodeError, EncoderRunner};
use super::feedforward::FeedforwardRunner;
use super::forward::{self, Forward, ForwardError, Named};
use super::generate::{Event, GenerateError, GenerateOptions, Generation};
use super::instruct::Instructions;
use super::labels::Labels;
use super::load::{ModelFacts, facts, read_pooling, read_tokenizer};
use super::pooling::{Pooling, PoolingError};
use super::score::{ScoreError, Scoring, TokenScore};
use super::source::Source;
use crate::backend::{BackendInfo, Device, MemoryUse};
use crate::input::chat_template::{ChatOptions, ChatTemplate, ChatTemplateError};
use crate::input::tokenizer::{Tokenizer, TokenizerError};
use crate::model::{BuildOptions, ModelKind, SourceKind};
use crate::session::{OnUpload, Session, SessionError};

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Template(#[from] ChatTemplateError),
    #[error(transparent)]
    Pooling(#[from] PoolingError),
}

impl From<crate::source::SourceError> for LoadError {
    fn from(error: crate::source::SourceError) -> LoadError {
        LoadError::Checkpoint(error.into())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    #[error("{architecture} is no model to {task} with")]
    WrongKind {
        architecture: &'static str,
        task: &'static str,
    },
    #[error("the model's files have no tokenizer")]
    NoTokenizer,
    #[error("the model's files have no chat template")]
    NoTemplate,
    #[error("the model's config names no token that a text begins with")]
    NoStart,
    #[error("one source at a time can be gone on from")]
    OneSource,
    #[error("the prompt's {tokens} tokens leave no room in the context of {limit}")]
    ContextFull { tokens: usize, limit: usize },
    #[error(transparent)]
    Messages(#[from] MessagesError),
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    #[error(transparent)]
    Template(#[from] ChatTemplateError),
    #[error(transparent)]
    Generate(#[from] GenerateError),
    #[error(transparent)]
    Score(#[from] ScoreError),
    #[error(transparent)]
    Encode(#[from] EncodeError),
    #[error(transparent)]
    Pooling(#[from] PoolingError),
    #[error(transparent)]
    Forward(#[from] ForwardError),
    #[error(transparent)]
    Answer(#[from] AnswerError),
}

pub(super) enum Runner {
    /// An encoder-decoder's too, whose decoder reads a source.
    Causal(Box<Decoder>),
    Encoder(Box<EncoderRunner>),
    Feedforward(Box<FeedforwardRunner>),
}

/// A model on a device, with its tokenizer and templates.
pub struct Model {
    /// The token that an encoder-decoder's texts begin with.
    start_id: Option<u32>,
    facts: ModelFacts,
    pub(super) tokenizer: Option<Tokenizer>,
    pub(super) template: Option<ChatTemplate>,
    pub(super) pooling: Pooling,
    pub(super) labels: Labels,
    pub(super) instructions: Instructions,
    pub(super) runner: Runner,
    files: ModelFiles,
}

impl Model {
    /// Reads headers, configuration and tokenizer, opens the device and streams the weights to it.
    ///
    /// # Errors
    /// Whatever is wrong with the files, named; an abort by `on_upload`; what the device says.
    pub async fn load(
        files: &ModelFiles,
        device: Box<dyn Device>,
        options: BuildOptions,
        on_upload: OnUpload<'_>,
    ) -> Result<Model, LoadError> {
        let open = checkpoint::open(files, options).await?;
        Model::open(files, open, device, on_upload).await
    }

    /// The same of a model that was opened already; `files` are what lies beside its weights.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub async fn open(
        files: &ModelFiles,
        open: OpenModel,
        device: Box<dyn Device>,
        on_upload: OnUpload<'_>,
    ) -> Result<Model, LoadError> {
        let tokenizer = read_tokenizer(files, open.gguf.as_ref()).await?;
        let source = tokenizer.as_ref().and_then(Tokenizer::chat_template);
        let template = source.map(ChatTemplate::new).transpose()?;
        let pooling = read_pooling(files, open.gguf.as_ref()).await?;
        let config = files.read("config.json").await?.unwrap_or_default();
        let facts = facts(
            &open.source.checkpoint,
            open.built.architecture,
            &open.built.kind,
        );
        let mut kind = open.built.kind;
        let mut parts = vec![open.built.graph];
        let mut start_id = None;
        if let ModelKind::EncoderDecoder(model) = &mut kind {
            parts.push(std::mem::take(&mut model.encoder));
            start_id = model.start_id;
        }
        let session = Session::open_parts(device, parts, open.source, on_upload).await?;
        let runner = match kind {
            ModelKind::CausalLm(model) => Runner::Causal(Box::new(Decoder::new(session, model))),
            ModelKind::EncoderDecoder(model) => {
                let decoder = Decoder::reading(session, model.decoder, model.source);
                Runner::Causal(Box::new(decoder))
            }
            ModelKind::Encoder(model) => {
                Runner::Encoder(Box::new(EncoderRunner::new(session, model)))
            }
            ModelKind::Feedforward(model) => {
                Runner::Feedforward(Box::new(FeedforwardRunner::new(session, model)))
            }
        };
        Ok(Model {
            start_id,
            facts,
            tokenizer,
            template,
            pooling,
            labels: Labels::from_config(&config),
            instructions: Instructions::from_config(&config),
            runner,
            files: files.clone(),
        })
    }

    /// Adds a graph of the same model for other numbers in its inputs ([`Feedforward::goes_by`](crate::model::Feedforward::goes_by)),
    /// over the weights that there are.
    ///
    /// # Errors
    /// A model of another kind; what a session says of its weights.
    pub async fn add(&mut self, open: OpenModel) -> Result<(), TaskError> {
        match (&mut self.runner, open.built.kind) {
            (Runner::Feedforward(runner), ModelKind::Feedforward(model)) => {
                let added = runner.add((open.built.graph, model), &open.source).await;
                Ok(added.map_err(ForwardError::from)?)
            }
            _ => Err(self.wrong_kind("run for other numbers")),
        }
    }

    /// The inputs whose numbers the graph of a model that runs once goes by.
    pub fn goes_by(&self) -> Vec<&str> {
        match &self.runner {
            Runner::Feedforward(runner) => runner.model().goes_by().collect(),
            _ => Vec::new(),
        }
    }

    /// What it was loaded from.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    pub fn facts(&self) -> &ModelFacts {
        &self.facts
    }

    pub fn backend(&self) -> BackendInfo {
        self.session().info()
    }

    pub fn memory(&self) -> MemoryUse {
        self.session().memory()
    }

    pub fn session(&self) -> &Session {
        match &self.runner {
            Runner::Causal(decoder) => decoder.session(),
            Runner::Encoder(runner) => runner.session(),
            Runner::Feedforward(runner) => runner.session(),
        }
    }

    /// Destroys the device as a failing driver would; for tests of recovery. False where there is none to lose.
    pub fn lose_device(&mut self) -> bool {
        match &mut self.runner {
            Runner::Causal(decoder) => decoder.session_mut().lose_device(),
            Runner::Encoder(runner) => runner.session_mut().lose_device(),
            Runner::Feedforward(runner) => runner.session_mut().lose_device(),
        }
    }

    pub fn tokenizer(&self) -> Result<&Tokenizer, TaskError> {
        self.tokenizer.as_ref().ok_or(TaskError::NoTokenizer)
    }

    /// The ids of a text as the model expects it, with the tokens that stand around one.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TaskError> {
        Ok(self.tokenizer()?.encode(text, true)?)
    }

    /// The ids of a conversation through the model's chat template, ending where the assistant begins.
    /// `now` is the time in seconds since 1970 for templates that state the date.
    pub fn encode_chat(
        &self,
        messages: &[Message],
        now: Option<i64>,
    ) -> Result<Vec<u32>, TaskError> {
        let template = self.template.as_ref().ok_or(TaskError::NoTemplate)?;
        let tokenizer = self.tokenizer()?;
        let special = tokenizer.special();
        let text = template.render(
            messages,
            &ChatOptions {
                add_generation_prompt: true,
                bos_token: special.bos.and_then(|id| tokenizer.token(id)),
                eos_token: special.eos.and_then(|id| tokenizer.token(id)),
                tools: None,
                now,
            },
        )?;
        Ok(tokenizer.encode(&text, false)?)
    }

    /// Prepares a generation that goes on from `prompt`; [`Model::step`] drives it. An encoder-decoder reads
    /// the prompt and begins a text of its own.
    pub fn generate(
        &self,
        prompt: Vec<u32>,
        options: &GenerateOptions,
    ) -> Result<Generation, TaskError> {
        let Runner::Causal(decoder) = &self.runner else {
            return Err(self.wrong_kind("generate"));
        };
        match decoder.source_kind() {
            None => Ok(Generation::new(decoder, prompt, options)?),
            Some(SourceKind::Features { .. }) => Err(self.wrong_kind("generate")),
            Some(SourceKind::Tokens { max_tokens }) => {
                if prompt.is_empty() {
                    return Err(GenerateError::from(DecodeError::Empty).into());
                }
                if prompt.len() > max_tokens {
                    return Err(TaskError::ContextFull {
                        tokens: prompt.len(),
                        limit: max_tokens,
                    });
                }
                let start = self.start_id.ok_or(TaskError::NoStart)?;
                let source = Source::tokens(&prompt);
                Ok(Generation::after(decoder, source, vec![start], options)?)
            }
        }
    }

    /// Prepares a generation of an encoder-decoder over its encoder's inputs by name, of one batch row, that goes on
    /// from `prompt` (the model's own beginning, if that is empty).
    pub fn generate_from(
        &self,
        source: &Named,
        prompt: Vec<u32>,
        options: &GenerateOptions,
    ) -> Result<Generation, TaskError> {
        let (decoder, kind) = match &self.runner {
            Runner::Causal(decoder) => (decoder, decoder.source_kind()),
            _ => return Err(self.wrong_kind("generate from a source")),
        };
        let kind = kind.ok_or_else(|| self.wrong_kind("generate from a source"))?;
        let mut rows = Source::rows(kind, source)?;
        let (Some(source), true) = (rows.pop(), rows.is_empty()) else {
            return Err(TaskError::OneSource);
        };
        let prompt = match prompt.is_empty() {
            true => vec![self.start_id.ok_or(TaskError::NoStart)?],
            false => prompt,
        };
        Ok(Generation::after(decoder, source, prompt, options)?)
    }

    /// The mel bands and frames that an encoder-decoder of sound reads.
    pub fn reads_features(&self) -> Option<(usize, usize)> {
        match &self.runner {
            Runner::Causal(decoder) => match decoder.source_kind() {
                Some(SourceKind::Features { channels, frames }) => Some((channels, frames)),
                _ => None,
            },
            _ => None,
        }
    }

    /// Whether the model makes text of sound.
    pub fn can_transcribe(&self) -> bool {
        // Logits of each moment are of a connectionist temporal classification.
        let is_ctc = self.rank("logits") == 3 && self.rank("pred_boxes") == 0;
        match self.reads_features() {
            Some(_) => self.tokenizer.is_some(),
            None => is_ctc,
        }
    }

    /// Gives an encoder-decoder another source, of one batch row, for [`Model::advance`].
    pub fn listen(&mut self, source: &Named) -> Result<(), TaskError> {
        let kind = match &self.runner {
            Runner::Causal(decoder) => decoder.source_kind(),
            _ => None,
        };
        let kind = kind.ok_or_else(|| self.wrong_kind("read a source"))?;
        let mut rows = Source::rows(kind, source)?;
        match (rows.pop(), &mut self.runner) {
            (Some(source), Runner::Causal(decoder)) if rows.is_empty() => {
                decoder.set_source(&Rc::new(source));
                Ok(())
            }
            _ => Err(TaskError::OneSource),
        }
    }

    /// Does one run towards `context`, or gives the logits after it, as [`Decoder::advance`]; for who chooses the tokens.
    pub async fn advance(&mut self, context: &[u32]) -> Result<Advance, TaskError> {
        match &mut self.runner {
            Runner::Causal(decoder) => {
                let advance = decoder.advance(context).await;
                Ok(advance.map_err(GenerateError::from)?)
            }
            _ => Err(self.wrong_kind("generate")),
        }
    }

    /// Does one chunk of a generation's prompt or one of its tokens.
    pub async fn step(&mut self, generation: &mut Generation) -> Result<Event, TaskError> {
        let tokenizer = self.tokenizer.as_ref();
        match &mut self.runner {
            Runner::Causal(decoder) => Ok(generation.next(decoder, tokenizer).await?),
            _ => Err(self.wrong_kind("generate")),
        }
    }

    /// Prepares generations that go on from each of `prompts` side by side; [`Model::step_batch`] drives them.
    pub fn generate_batch(
        &self,
        prompts: Vec<Vec<u32>>,
        options: &GenerateOptions,
    ) -> Result<BatchGeneration, TaskError> {
        match &self.runner {
            Runner::Causal(decoder) if decoder.source_kind().is_none() => {
                Ok(BatchGeneration::new(decoder, prompts, options)?)
            }
            _ => Err(self.wrong_kind("generate from several prompts at once")),
        }
    }

    /// Does one run for all rows of a batch; gives what it did to each row that has not finished.
    pub async fn step_batch(
        &mut self,
        batch: &mut BatchGeneration,
    ) -> Result<Vec<(usize, Event)>, TaskError> {
        let tokenizer = self.tokenizer.as_ref();
        match &mut self.runner {
            Runner::Causal(decoder) => Ok(batch.next(decoder, tokenizer).await?),
            _ => Err(self.wrong_kind("generate")),
        }
    }

    /// Negative log-likelihoods of `ids[1..]`, each after the ids before it.
    pub async fn score(&mut self, ids: &[u32]) -> Result<Vec<TokenScore>, TaskError> {
        let mut scoring = Scoring::new(ids.to_vec());
        while !self.step_score(&mut scoring).await? {}
        Ok(scoring.scores().to_vec())
    }

    /// Does one run of a scoring; true when it was the last.
    pub async fn step_score(&mut self, scoring: &mut Scoring) -> Result<bool, TaskError> {
        match &mut self.runner {
            Runner::Causal(decoder) if decoder.source_kind().is_none() => {
                Ok(scoring.next(decoder).await?)
            }
            _ => Err(self.wrong_kind("score")),
        }
    }

    /// Runs the model's graph on named tensors; `outputs` empty means all.
    pub async fn forward(
        &mut self,
        inputs: &Named,
        outputs: &[String],
    ) -> Result<Named, TaskError> {
        let mut forward = Forward::new(inputs.clone(), outputs.to_vec());
        loop {
            if let Some(outputs) = self.step_forward(&mut forward).await? {
                return Ok(outputs);
            }
        }
    }

    /// Does one step of a forward; the outputs come with the last.
    pub async fn step_forward(
        &mut self,
        forward: &mut Forward,
    ) -> Result<Option<Named>, TaskError> {
        let (inputs, outputs) = (&forward.inputs, &forward.outputs);
        Ok(match &mut self.runner {
            Runner::Causal(decoder) => match decoder.source_kind() {
                None => forward.causal(decoder).await?,
                Some(kind) => Some(forward::reading(decoder, kind, inputs, outputs).await?),
            },
            Runner::Encoder(runner) => Some(forward::encoder(runner, inputs, outputs).await?),
            Runner::Feedforward(runner) => Some(runner.run(inputs, outputs).await?),
        })
    }

    pub(super) fn wrong_kind(&self, task: &'static str) -> TaskError {
        TaskError::WrongKind {
            architecture: self.facts.architecture,
            task,
        }
    }
}
