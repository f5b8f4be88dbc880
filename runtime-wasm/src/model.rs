//! A model as JavaScript holds it.

// The borrow of a model is its lock: whoever comes while a call waits is told that it is busy.
#![allow(clippy::await_holding_refcell_ref)]

use std::cell::{Cell, RefCell};
use std::ops::ControlFlow;
use std::rc::Rc;

use fewbit_engine::backend::Activations;
use fewbit_engine::model::BuildOptions;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::Model;
use fewbit_engine::task::batch::BatchGeneration;
use fewbit_engine::task::checkpoint::{CheckpointError, ModelFiles, OpenModel};
use fewbit_engine::task::forward::Forward;
use fewbit_engine::task::generate::{Event, GenerateOptions};
use fewbit_engine::task::score::{Scoring, mean_nll};
use fewbit_wasm_boundary::file::{FileSource, JsFile};
use fewbit_wasm_boundary::tensor::{self, JsTensor};
use js_sys::{Array, Float32Array, Function, Object, Promise, Reflect, Uint32Array};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::JsFuture;

use crate::device::device;
use crate::fault::Fault;
use crate::message::{self, Alternative, EmbedRequest, GenerateRequest, LoadRequest, Prompt};
use crate::prompt;

#[wasm_bindgen]
extern "C" {
    /// What the module calls while it loads.
    pub type JsHooks;

    /// Bytes of weights given to the back end; false aborts.
    #[wasm_bindgen(method)]
    fn upload(this: &JsHooks, done: f64, total: f64) -> bool;
}

/// The model and what is asked of it in between.
pub(crate) struct Shared {
    pub(crate) model: RefCell<Model>,
    /// A loss of the device that came while a step was under way.
    lose_device: Cell<bool>,
    /// Bytes on the GPU when that was last seen.
    gpu_bytes: Cell<Option<f64>>,
}

impl Shared {
    pub(crate) fn borrow_mut(&self) -> Result<std::cell::RefMut<'_, Model>, Fault> {
        let mut model = self.model.try_borrow_mut().map_err(|_| busy())?;
        if self.lose_device.take() {
            model.lose_device();
        }
        Ok(model)
    }
}

/// A loaded model. One call at a time: a second one fails while the first is under way.
#[wasm_bindgen(js_name = Model)]
pub struct JsModel {
    pub(crate) shared: Rc<Shared>,
}

/// Loads a model from its files. `options` is a `LoadRequest` as JSON; `opened` is what another module made of files that
/// this one does not read.
#[wasm_bindgen(js_name = loadModel)]
pub async fn load_model(
    files: Vec<JsFile>,
    options: String,
    hooks: JsHooks,
    opened: Option<Vec<u8>>,
) -> Result<JsModel, JsValue> {
    let request: LoadRequest = message::parse(&options)?;
    let files: Vec<Rc<dyn ByteSource>> = files
        .into_iter()
        .map(|file| Ok(Rc::new(FileSource::new(file)?) as Rc<dyn ByteSource>))
        .collect::<Result<_, Fault>>()?;
    let build = BuildOptions {
        context_length: request.context_length,
        ..BuildOptions::default()
    };
    let mut on_upload = |progress: fewbit_engine::session::UploadProgress| {
        if hooks.upload(progress.done as f64, progress.total as f64) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(())
        }
    };
    let files = ModelFiles::new(files);
    let device = device(&request)?;
    let model = match opened {
        None => Model::load(&files, device, build, &mut on_upload).await,
        Some(bytes) => {
            let open = OpenModel::from_bytes(bytes, &files).map_err(CheckpointError::from);
            let open = open.map_err(Fault::from)?;
            Model::open(&files, open, device, &mut on_upload).await
        }
    };
    let model = model.map_err(Fault::from)?;
    Ok(JsModel {
        shared: Rc::new(Shared {
            model: RefCell::new(model),
            lose_device: Cell::new(false),
            gpu_bytes: Cell::new(None),
        }),
    })
}

#[wasm_bindgen(js_class = Model)]
impl JsModel {
    /// What it is and where it runs, as JSON.
    pub fn info(&self) -> Result<String, JsValue> {
        let model = self.shared.model.try_borrow().map_err(|_| busy())?;
        let (facts, backend) = (model.facts(), model.backend());
        Ok(message::write(&message::Info {
            architecture: facts.architecture,
            block_format: &facts.block_format,
            bits_per_weight: facts.bits_per_weight,
            parameters: facts.parameters,
            weight_bytes: facts.weight_bytes,
            context_length: facts.context_length,
            vocabulary: facts.vocabulary,
            tasks: model.tasks(),
            inputs: model.inputs(),
            // Only products with block formats quantize their activations.
            activations: match backend.activations {
                Activations::Int8 if !is_plain(&facts.block_format) => "q8",
                _ => "float",
            },
            features: backend.features,
            device: backend.adapter,
            threads: backend.threads,
        })?)
    }

    /// Prepares an answer to each prompt; `request` is a `GenerateRequest` as JSON. `source` is what an encoder-decoder reads, by
    /// the names of its encoder's inputs; without tensors, that model reads the prompt.
    pub fn generate(&self, request: &str, source: Vec<JsTensor>) -> Result<JsGeneration, JsValue> {
        let source = tensor::from_js(source).map_err(Fault::from)?;
        let mut request: GenerateRequest = message::parse(request)?;
        let model = self.shared.model.try_borrow().map_err(|_| busy())?;
        if let Some(instruction) = &request.instruct {
            for prompt in &mut request.prompts {
                if let Prompt::Text { text } = prompt {
                    let instructed = model.instruct(text, instruction).map_err(Fault::from)?;
                    *text = instructed.text;
                    request.max_tokens = request.max_tokens.or(instructed.max_tokens);
                }
            }
        }
        let options = GenerateOptions {
            max_tokens: request
                .max_tokens
                .unwrap_or(GenerateOptions::default().max_tokens),
            sampling: request.sampling(),
            stop: request.stop_texts(),
            ignore_eos: request.ignore_eos,
        };
        let wants_logprobs = request.wants_logprobs();
        let policy = request.when_full.into();
        let mut prompts = Vec::new();
        for prompt in request.prompts {
            let ids =
                model.encode_prompt(&prompt.into(), policy, options.max_tokens, prompt::now());
            prompts.push(ids.map_err(Fault::from)?);
        }
        let rows = prompts.len();
        let batch = match (prompts.pop(), source.is_empty()) {
            (Some(ids), true) if rows == 1 => model.generate(ids, &options).map(Into::into),
            (Some(ids), false) if rows == 1 => {
                model.generate_from(&source, ids, &options).map(Into::into)
            }
            (last, _) => {
                prompts.extend(last);
                model.generate_batch(prompts, &options)
            }
        };
        Ok(JsGeneration {
            shared: self.shared.clone(),
            batch: batch.map_err(Fault::from)?,
            wants_logprobs,
            texts: vec![String::new(); rows],
            finish_reasons: vec![None; rows],
        })
    }

    /// Scores a prompt's tokens, each after those before it. `pause` is awaited between runs of the model.
    pub async fn score(&self, request: String, pause: Function) -> Result<String, JsValue> {
        let request: Prompt = message::parse(&request)?;
        let ids = prompt::encode(&*self.shared.borrow_mut()?, request)?;
        let mut scoring = Scoring::new(ids);
        loop {
            // Not borrowed while it waits: other messages may have work for the model.
            let step = self.shared.borrow_mut()?.step_score(&mut scoring).await;
            if step.map_err(Fault::from)? {
                break;
            }
            wait(&pause).await?;
        }
        let scores = scoring.scores();
        Ok(message::write(&message::ScoreAnswer {
            ids: scoring.ids(),
            mean_nll: mean_nll(scores).unwrap_or(0.0),
            scores: scores
                .iter()
                .map(|score| message::Score {
                    id: score.id,
                    nll: score.nll,
                    best: score.best,
                })
                .collect(),
        })?)
    }

    /// A vector a text: `{ vectors: Float32Array[], ids: Uint32Array[] }`.
    pub async fn embed(&self, request: String) -> Result<Object, JsValue> {
        let EmbedRequest { texts } = message::parse(&request)?;
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let embeddings = self.shared.borrow_mut()?.embed(&texts).await;
        let (vectors, ids) = (Array::new(), Array::new());
        for embedding in &embeddings.map_err(Fault::from)? {
            vectors.push(&Float32Array::from(embedding.vector.as_slice()));
            ids.push(&Uint32Array::from(embedding.input_ids.as_slice()));
        }
        let answer = Object::new();
        Reflect::set(&answer, &"vectors".into(), &vectors)?;
        Reflect::set(&answer, &"ids".into(), &ids)?;
        Ok(answer)
    }

    /// A `Float32Array` for each picture or sound of a batch.
    #[wasm_bindgen(js_name = embedTensors)]
    pub async fn embed_tensors(&self, tensors: Vec<JsTensor>) -> Result<Array, JsValue> {
        let tensors = tensor::from_js(tensors).map_err(Fault::from)?;
        let vectors = self.shared.borrow_mut()?.embed_tensors(&tensors).await;
        let vectors = vectors.map_err(Fault::from)?;
        Ok(vectors
            .iter()
            .map(|vector| Float32Array::from(vector.as_slice()))
            .collect())
    }

    /// Answers a `Question` as JSON about its texts or about tensors: an entry for each, as JSON.
    pub async fn answer(
        &self,
        question: String,
        tensors: Vec<JsTensor>,
    ) -> Result<String, JsValue> {
        let question = message::parse(&question)?;
        let tensors = tensor::from_js(tensors).map_err(Fault::from)?;
        let answer = self.shared.borrow_mut()?.answer(&question, &tensors).await;
        Ok(message::write(&answer.map_err(Fault::from)?)?)
    }

    /// Runs the graph on tensors by name, for these outputs or, if none is named, all. `pause` is awaited between runs
    /// of the model.
    pub async fn forward(
        &self,
        tensors: Vec<JsTensor>,
        outputs: Vec<String>,
        pause: Function,
    ) -> Result<Array, JsValue> {
        let mut forward = Forward::new(tensor::from_js(tensors).map_err(Fault::from)?, outputs);
        loop {
            let step = self.shared.borrow_mut()?.step_forward(&mut forward).await;
            if let Some(outputs) = step.map_err(Fault::from)? {
                return Ok(tensor::to_js(&outputs));
            }
            wait(&pause).await?;
        }
    }

    /// The inputs whose numbers decide shapes; [`JsModel::add_graph`] takes a graph for others.
    #[wasm_bindgen(js_name = goesBy)]
    pub fn goes_by(&self) -> Result<Vec<String>, JsValue> {
        let model = self.shared.model.try_borrow().map_err(|_| busy())?;
        Ok(model.goes_by().into_iter().map(str::to_owned).collect())
    }

    /// Adds a graph of the model for other numbers in its inputs, as bytes like those that [`load_model`] takes.
    #[wasm_bindgen(js_name = addGraph)]
    pub async fn add_graph(&self, opened: Vec<u8>) -> Result<(), JsValue> {
        let mut model = self.shared.borrow_mut()?;
        let open = OpenModel::from_bytes(opened, model.files());
        let open = open.map_err(|e| Fault::from(CheckpointError::from(e)))?;
        Ok(model.add(open).await.map_err(Fault::from)?)
    }

    /// The ids of a prompt.
    pub fn tokenize(&self, request: &str) -> Result<Vec<u32>, JsValue> {
        let model = self.shared.model.try_borrow().map_err(|_| busy())?;
        Ok(prompt::encode(&model, message::parse(request)?)?)
    }

    /// Bytes of weights, states and plans on the GPU or in a WebNN context, as of now or, while a run is under way, of before it; `undefined`
    /// where the CPU computes.
    #[wasm_bindgen(js_name = gpuBytes)]
    pub fn gpu_bytes(&self) -> Option<f64> {
        if let Ok(model) = self.shared.model.try_borrow()
            && model.backend().name != "cpu"
        {
            let used = model.memory();
            let bytes = (used.weights + used.states + used.plans) as f64;
            self.shared.gpu_bytes.set(Some(bytes));
        }
        self.shared.gpu_bytes.get()
    }

    /// Destroys the GPU device, at once or before the next step; false where there is none.
    #[wasm_bindgen(js_name = loseDevice)]
    pub fn lose_device(&self) -> bool {
        match self.shared.model.try_borrow_mut() {
            Ok(mut model) => model.lose_device(),
            // A step is under way; only those of the GPU wait, so there is a device to lose.
            Err(_) => {
                self.shared.lose_device.set(true);
                true
            }
        }
    }
}

/// Answers under way, side by side.
#[wasm_bindgen(js_name = Generation)]
pub struct JsGeneration {
    shared: Rc<Shared>,
    batch: BatchGeneration,
    wants_logprobs: bool,
    /// Of each row.
    texts: Vec<String>,
    finish_reasons: Vec<Option<&'static str>>,
}

#[wasm_bindgen(js_class = Generation)]
impl JsGeneration {
    /// Does one step: the rows' tokens as JSON, `null` after a part of the prompts, `undefined` at the end.
    pub async fn next(&mut self) -> Result<JsValue, JsValue> {
        if self.finish_reasons.iter().all(Option::is_some) {
            return Ok(JsValue::UNDEFINED);
        }
        let mut model = self.shared.borrow_mut()?;
        let events = model.step_batch(&mut self.batch).await;
        let tokenizer = model.tokenizer().ok();
        let text_of = |id: u32| {
            tokenizer
                .and_then(|tokenizer| tokenizer.decode(&[id], false).ok())
                .unwrap_or_default()
        };
        let mut tokens = Vec::new();
        for (row, event) in events.map_err(Fault::from)? {
            let (choice, mut text) = match event {
                Event::Prefill { .. } => continue,
                Event::Finished { reason, .. } => {
                    self.finish_reasons[row] = Some(reason.name());
                    continue;
                }
                Event::Token { choice, text } => (choice, text),
            };
            // The last token carries what was held back in case it would become a stop text.
            if let Some(Event::Finished { reason, text: rest }) = self.batch.finish(row) {
                text += &rest;
                self.finish_reasons[row] = Some(reason.name());
            }
            self.texts[row] += &text;
            let top = choice.top.iter().map(|top| Alternative {
                id: top.id,
                text: text_of(top.id),
                logprob: top.logprob,
            });
            tokens.push(message::Token {
                row,
                text,
                id: choice.id,
                logprob: self.wants_logprobs.then_some(choice.logprob),
                top_logprobs: self.wants_logprobs.then(|| top.collect()),
            });
        }
        match tokens.is_empty() {
            true => Ok(JsValue::NULL),
            false => Ok(message::write(&tokens)?.into()),
        }
    }

    /// The whole answers as JSON, once all have ended.
    pub fn result(&self) -> Result<String, JsValue> {
        let mut answers = Vec::new();
        for (row, generation) in self.batch.rows().iter().enumerate() {
            let finish_reason = self.finish_reasons[row]
                .ok_or_else(|| Fault::new("internal", "the answer has not ended"))?;
            answers.push(message::GenerateAnswer {
                text: &self.texts[row],
                ids: generation.ids(),
                prompt_ids: generation.prompt_ids(),
                finish_reason,
                usage: message::Usage {
                    prompt_tokens: generation.prompt_ids().len(),
                    cached_tokens: generation.cached_tokens(),
                    completion_tokens: generation.ids().len(),
                },
            });
        }
        Ok(message::write(&answers)?)
    }
}

/// Lets the page's messages in; what `pause` throws, as when a signal fired, ends the call.
async fn wait(pause: &Function) -> Result<(), JsValue> {
    JsFuture::from(pause.call0(&JsValue::NULL)?.dyn_into::<Promise>()?).await?;
    Ok(())
}

fn is_plain(format: &str) -> bool {
    matches!(format, "" | "f64" | "f32" | "f16" | "bf16")
}

fn busy() -> Fault {
    Fault::new("internal", "the model is in the midst of another call")
}
