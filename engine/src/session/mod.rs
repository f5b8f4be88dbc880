//! A model on a device: one copy of the weights, few plans over it, the states, and what to do when the device is lost.

mod integers;
mod made;
mod plans;
mod states;
mod upload;

use std::ops::ControlFlow;
use std::rc::Rc;

use crate::backend::{Backend, BackendError, BackendInfo, Device, MemoryUse};
use crate::format::{Checkpoint, FormatError};
use crate::graph::{Bindings, Graph, GraphError};
use crate::source::{ByteSource, SourceError};
use crate::tensor::{Tensor, TensorError};

use made::Made;
use plans::PlanCache;
use states::States;
use upload::Weights;

/// A device that fails this often within one call will not get better.
const MAX_RECOVERIES: usize = 3;

#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error("aborted")]
    Aborted,
    #[error("the device was lost {MAX_RECOVERIES} times in a row; last: {0}")]
    LostAgain(String),
    #[error("the graph has no output named {0}")]
    UnknownOutput(String),
    #[error("the model has no part number {0}")]
    UnknownPart(usize),
}

impl SessionError {
    /// Whether the cause is an abort that the caller asked for.
    pub fn is_aborted(&self) -> bool {
        match self {
            SessionError::Aborted => true,
            SessionError::Source(error) => matches!(error, SourceError::Aborted),
            SessionError::Format(error) => error.is_aborted(),
            _ => false,
        }
    }
}

/// How far an upload has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UploadProgress {
    pub done: u64,
    pub total: u64,
}

/// Told of progress; breaks to abort.
pub type OnUpload<'a> = &'a mut dyn FnMut(UploadProgress) -> ControlFlow<()>;

/// Where the weights come from, the first time and after a lost device.
pub struct WeightSource {
    pub checkpoint: Checkpoint,
    /// The files that the checkpoint's entries number.
    pub files: Vec<Rc<dyn ByteSource>>,
}

/// One or several graphs with their weights on a device.
///
/// A model in parts (an encoder and a decoder) is several graphs over one copy of the weights; a state that two
/// of them name is the same state, and so is how one hands on what the other needs.
pub struct Session {
    device: Box<dyn Device>,
    backend: Box<dyn Backend>,
    source: WeightSource,
    parts: Vec<Graph>,
    /// What the parts name and the checkpoint has not.
    made: Vec<Made>,
    weights: Weights,
    states: States,
    plans: PlanCache,
    recoveries: usize,
    in_a_row: usize,
}

impl Session {
    /// Opens the device and uploads the weights that the graph names, chunk by chunk.
    pub async fn open(
        device: Box<dyn Device>,
        graph: Graph,
        source: WeightSource,
        on_upload: OnUpload<'_>,
    ) -> Result<Session, SessionError> {
        Session::open_parts(device, vec![graph], source, on_upload).await
    }

    /// The same for a model in parts, which [`Session::run_part`] numbers in this order.
    pub async fn open_parts(
        device: Box<dyn Device>,
        parts: Vec<Graph>,
        source: WeightSource,
        on_upload: OnUpload<'_>,
    ) -> Result<Session, SessionError> {
        let (mut changed, mut made) = (Vec::new(), Vec::new());
        for (number, graph) in parts.iter().enumerate() {
            let (graph, more) = made::extract(graph, &format!("made:{number}."))?;
            changed.push(graph);
            made.extend(more);
        }
        let parts = changed;
        let mut backend = device.open().await?;
        let weights = upload::upload(backend.as_mut(), &parts, &made, &source, on_upload).await?;
        Ok(Session {
            device,
            backend,
            source,
            states: States::new(&parts),
            parts,
            made,
            weights,
            plans: PlanCache::default(),
            recoveries: 0,
            in_a_row: 0,
        })
    }

    pub fn info(&self) -> BackendInfo {
        self.backend.info()
    }

    pub fn memory(&self) -> MemoryUse {
        self.backend.memory()
    }

    /// The graph, or the first of several.
    pub fn graph(&self) -> &Graph {
        &self.parts[0]
    }

    /// How often a lost device was replaced.
    pub fn recoveries(&self) -> usize {
        self.recoveries
    }

    /// Plans compiled so far; a benchmark tells by it whether it timed a compilation.
    pub fn compilations(&self) -> usize {
        self.plans.compilations
    }

    /// Runs the graph with its symbols bound so, over all of its inputs, and reads back `outputs`.
    ///
    /// States keep their elements from run to run. They are made (and grown) to the shapes that the
    /// bindings ask for; a batch of another size starts them anew.
    ///
    /// # Errors
    /// Besides what a back end can say: [`BackendError::DeviceLost`], upon which [`Session::recover`] makes the
    /// session usable again, with empty states.
    pub async fn run(
        &mut self,
        bindings: &Bindings,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, SessionError> {
        self.run_part(0, bindings, inputs, outputs).await
    }

    /// Runs graph number `part` of a model in parts, as [`Session::run`] does the first. Only the states that it
    /// names are sized by `bindings`.
    pub async fn run_part(
        &mut self,
        part: usize,
        bindings: &Bindings,
        inputs: &[(&str, &Tensor)],
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, SessionError> {
        let graph = self
            .parts
            .get(part)
            .ok_or(SessionError::UnknownPart(part))?;
        self.states
            .fit(self.backend.as_mut(), part, bindings, &mut self.plans)?;
        let plan = self
            .plans
            .get(
                self.backend.as_mut(),
                (part, graph),
                bindings,
                outputs,
                &self.weights.ids,
                self.states.ids(),
            )
            .await?;
        if let Some(limit) = plan.limit {
            limit.hold(inputs)?;
        }
        let results = self.backend.run(plan.id, inputs, outputs).await?;
        self.in_a_row = 0;
        Ok(results)
    }

    /// Opens the device anew after it was lost and uploads the weights again; states are empty then.
    ///
    /// # Errors
    /// [`SessionError::LostAgain`] if that has happened too often without a successful run between.
    pub async fn recover(&mut self, lost: &str) -> Result<(), SessionError> {
        while self.in_a_row < MAX_RECOVERIES {
            self.in_a_row += 1;
            self.plans = PlanCache::default();
            self.states = States::new(&self.parts);
            let mut backend = self.device.open().await?;
            let mut go_on = |_| ControlFlow::Continue(());
            let (parts, made) = (&self.parts, &self.made);
            match upload::upload(backend.as_mut(), parts, made, &self.source, &mut go_on).await {
                Ok(weights) => {
                    self.backend = backend;
                    self.weights = weights;
                    self.recoveries += 1;
                    return Ok(());
                }
                Err(SessionError::Backend(BackendError::DeviceLost(_))) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SessionError::LostAgain(lost.to_owned()))
    }

    /// Destroys the device as a failing driver would; for tests of recovery.
    pub fn lose_device(&mut self) -> bool {
        self.backend.lose_device()
    }
}
