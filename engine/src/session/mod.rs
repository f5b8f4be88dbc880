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

use made::{Made, May};
use plans::PlanCache;
use states::States;
use upload::{Weights, upload};

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
    /// The numbers of parts that were dropped, whose graphs are empty.
    free: Vec<usize>,
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
        for graph in &parts {
            changed.push(made::extract(graph, &mut made, May::All)?);
        }
        let parts = changed;
        let mut backend = device.open().await?;
        let mut weights = Weights::default();
        let all = parts.iter();
        let uploaded = upload(
            backend.as_mut(),
            all,
            &made,
            &source,
            &mut weights,
            on_upload,
        );
        uploaded.await?;
        Ok(Session {
            device,
            backend,
            source,
            states: States::new(&parts),
            parts,
            free: Vec::new(),
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

    /// The graph of a part.
    ///
    /// # Errors
    /// [`SessionError::UnknownPart`]
    pub fn part(&self, part: usize) -> Result<&Graph, SessionError> {
        let graph = self.parts.get(part).filter(|_| !self.free.contains(&part));
        graph.ok_or(SessionError::UnknownPart(part))
    }

    /// Adds a graph over the weights that there are; those of it that are not yet are uploaded from `source`. Its number for
    /// [`Session::run_part`], which may be that of one that was dropped.
    ///
    /// A weight of a name is the same weight in all parts.
    ///
    /// # Errors
    /// A weight that `source` has not or that cannot be read.
    pub async fn add_part(
        &mut self,
        graph: Graph,
        source: &WeightSource,
    ) -> Result<usize, SessionError> {
        let graph = made::extract(&graph, &mut self.made, May::Turned)?;
        self.learn(&graph, source)?;
        let backend = self.backend.as_mut();
        if self.weights.drop_too_narrow(backend, &graph) {
            self.plans.clear(backend);
        }
        // Of all parts: what was dropped just now is theirs too.
        let all = self.parts.iter().chain([&graph]);
        let mut go_on = |_| ControlFlow::Continue(());
        let (made, source) = (&self.made, &self.source);
        upload(backend, all, made, source, &mut self.weights, &mut go_on).await?;
        let part = self.free.pop().unwrap_or(self.parts.len());
        self.states.set_part(part, &graph);
        match self.parts.get_mut(part) {
            Some(place) => *place = graph,
            None => self.parts.push(graph),
        }
        Ok(part)
    }

    /// Drops a part and its plans. Weights stay, as another part may name them.
    pub fn drop_part(&mut self, part: usize) {
        self.plans.drop_part(self.backend.as_mut(), part);
        if let Some(place) = self.parts.get_mut(part)
            && !self.free.contains(&part)
        {
            *place = Graph::default();
            self.free.push(part);
        }
    }

    /// Where the weights of `graph` are that no part named before, and those that are made of.
    fn learn(&mut self, graph: &Graph, from: &WeightSource) -> Result<(), SessionError> {
        let made = self.made.iter().flat_map(Made::weights);
        let named = graph.weights().map(|(_, name, _)| name).chain(made);
        let known = &mut self.source;
        for name in named {
            if known.checkpoint.tensors.contains_key(name)
                || self.made.iter().any(|made| made.name == name)
            {
                continue;
            }
            let mut entry = from.checkpoint.get(name)?.clone();
            let file = &from.files[entry.file];
            let mut own = known.files.iter();
            entry.file = match own.position(|own| Rc::ptr_eq(own, file)) {
                Some(file) => file,
                None => {
                    known.files.push(file.clone());
                    known.files.len() - 1
                }
            };
            known.checkpoint.tensors.insert(name.to_owned(), entry);
        }
        Ok(())
    }

    /// Whether a plan serves every size, so that nothing need be padded.
    pub fn takes_symbols(&self) -> bool {
        self.backend.takes_symbols()
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
        let graph = self.parts.get(part).filter(|_| !self.free.contains(&part));
        let graph = graph.ok_or(SessionError::UnknownPart(part))?;
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
            let (parts, made) = (self.parts.iter(), &self.made);
            let mut weights = Weights::default();
            let source = &self.source;
            let backend_of = backend.as_mut();
            match upload(backend_of, parts, made, source, &mut weights, &mut go_on).await {
                Ok(()) => {
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
