//! A model on a device: one copy of the weights, few plans over it, the states, and what to do when the device is lost.

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

/// A graph with its weights on a device.
pub struct Session {
    device: Box<dyn Device>,
    backend: Box<dyn Backend>,
    source: WeightSource,
    graph: Graph,
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
        let mut backend = device.open().await?;
        let weights = upload::upload(backend.as_mut(), &graph, &source, on_upload).await?;
        Ok(Session {
            device,
            backend,
            source,
            states: States::new(&graph),
            graph,
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

    pub fn graph(&self) -> &Graph {
        &self.graph
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
        self.states
            .fit(self.backend.as_mut(), bindings, &mut self.plans)?;
        let plan = self
            .plans
            .get(
                self.backend.as_mut(),
                &self.graph,
                bindings,
                outputs,
                &self.weights.ids,
                self.states.ids(),
            )
            .await?;
        let results = self.backend.run(plan, inputs, outputs).await?;
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
            self.states = States::new(&self.graph);
            let mut backend = self.device.open().await?;
            let mut go_on = |_| ControlFlow::Continue(());
            match upload::upload(backend.as_mut(), &self.graph, &self.source, &mut go_on).await {
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
