//! A file on a device, run for inputs whose numbers may decide shapes.
//!
//! Where a `Reshape`, `Range` or `Slice` goes by an input, there is a graph for each value of it. All lie over one copy of the
//! weights, and those used last are kept: what comes again is neither imported nor compiled again.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use fewbit_engine::backend::{BackendError, Device};
use fewbit_engine::graph::{Bindings, Dim, Graph, Source};
use fewbit_engine::session::{Session, SessionError};
use fewbit_engine::tensor::Tensor;

use crate::import::{ImportError, ImportOptions, Imported, OnnxFile};

/// So many graphs of one file are kept, the least recently used of them go.
pub const MOST_VARIANTS: usize = 8;

/// Why a file was not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Import(#[from] ImportError),
    #[error(transparent)]
    Session(#[from] SessionError),
}

/// An ONNX file with its weights on a device.
pub struct OnnxSession {
    file: OnnxFile,
    session: Session,
    variants: Vec<Variant>,
    clock: u64,
    imports: usize,
}

/// A graph of the file, and what inputs it is for.
struct Variant {
    part: usize,
    options: ImportOptions,
    /// The symbols that each of its inputs has, an axis each.
    symbols: Vec<(String, Vec<Option<String>>)>,
    /// Sizes that its shapes are known to fit for.
    sizes: Option<Bindings>,
    last_used: u64,
}

impl OnnxSession {
    /// Imports the file for `inputs`, opens the device and uploads the weights.
    ///
    /// # Errors
    /// What [`OnnxFile::import_for`] and [`Session::open`] say.
    pub async fn open(
        device: Box<dyn Device>,
        file: OnnxFile,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<OnnxSession, RunError> {
        let (Imported { graph, source, .. }, options) = file.import_for(inputs).await?;
        let symbols = symbols(&graph);
        let mut go_on = |_| ControlFlow::Continue(());
        let session = Session::open(device, graph, source, &mut go_on).await?;
        let first = Variant {
            part: 0,
            options,
            symbols,
            sizes: None,
            last_used: 0,
        };
        Ok(OnnxSession {
            file,
            session,
            variants: vec![first],
            clock: 0,
            imports: 1,
        })
    }

    /// The session that the graphs are parts of.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// How often the file was imported.
    pub fn imports(&self) -> usize {
        self.imports
    }

    /// How many graphs of the file are kept, at most [`MOST_VARIANTS`].
    pub fn variants(&self) -> usize {
        self.variants.len()
    }

    /// Runs the file for these inputs, which are all it has without defaults, and reads back `outputs`.
    ///
    /// # Errors
    /// What [`OnnxFile::import_for`] and [`Session::run`] say.
    pub async fn run(
        &mut self,
        inputs: &BTreeMap<String, Tensor>,
        outputs: &[&str],
    ) -> Result<Vec<Tensor>, RunError> {
        let at = self.variant(inputs).await?;
        let variant = &self.variants[at];
        let given: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
        let (part, bindings) = (variant.part, variant.bindings(inputs));
        loop {
            let run = self.session.run_part(part, &bindings, &given, outputs);
            match run.await {
                Err(SessionError::Backend(BackendError::DeviceLost(why))) => {
                    self.session.recover(&why).await?;
                }
                other => return Ok(other?),
            }
        }
    }

    /// The graph that a run for these inputs computes, imported if it is not among those that are kept.
    ///
    /// # Errors
    /// As [`OnnxSession::run`].
    pub async fn graph(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<&Graph, RunError> {
        let at = self.variant(inputs).await?;
        Ok(self.session.part(self.variants[at].part)?)
    }

    /// The place of the graph for these inputs.
    async fn variant(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<usize, RunError> {
        self.clock += 1;
        let mut found = None;
        for (at, variant) in self.variants.iter_mut().enumerate() {
            if variant.is_for(&self.file, inputs)
                && variant.takes(&self.session, variant.bindings(inputs))
            {
                variant.last_used = self.clock;
                found = Some(at);
                break;
            }
        }
        match found {
            Some(at) => Ok(at),
            None => self.add(inputs).await,
        }
    }

    /// Imports the file for these inputs, in the place of the graph that was not used for longest where there are many.
    async fn add(&mut self, inputs: &BTreeMap<String, Tensor>) -> Result<usize, RunError> {
        let (Imported { graph, source, .. }, options) = self.file.import_for(inputs).await?;
        self.imports += 1;
        if self.variants.len() >= MOST_VARIANTS
            && let Some(oldest) =
                (0..self.variants.len()).min_by_key(|&i| self.variants[i].last_used)
        {
            let gone = self.variants.swap_remove(oldest);
            self.session.drop_part(gone.part);
        }
        let symbols = symbols(&graph);
        let part = self.session.add_part(graph, &source).await?;
        self.variants.push(Variant {
            part,
            options,
            symbols,
            sizes: None,
            last_used: self.clock,
        });
        Ok(self.variants.len() - 1)
    }
}

impl Variant {
    /// Whether the numbers and sizes that were put into the graph are those of `inputs`.
    fn is_for(&self, file: &OnnxFile, inputs: &BTreeMap<String, Tensor>) -> bool {
        let same = |(name, value): (&String, &Tensor)| {
            inputs.get(name).is_some_and(|given| {
                given.data_type() == value.data_type()
                    && given.shape() == value.shape()
                    && given.bytes() == value.bytes()
            })
        };
        let sizes = file.sizes_of(inputs);
        let mut wanted = self.options.sizes.iter();
        self.options.values.iter().all(same)
            && wanted.all(|(symbol, size)| sizes.get(symbol) == Some(size))
    }

    /// Whether the graph's shapes fit for these sizes: a slice may end before its bound for some only.
    fn takes(&mut self, session: &Session, sizes: Bindings) -> bool {
        if self.sizes.as_ref() == Some(&sizes) {
            return true;
        }
        let part = session.part(self.part);
        let fits = part.is_ok_and(|graph| graph.specialize(&sizes).is_ok());
        if fits {
            self.sizes = Some(sizes);
        }
        fits
    }

    fn bindings(&self, inputs: &BTreeMap<String, Tensor>) -> Bindings {
        let mut bindings = Bindings::new();
        for (name, symbols) in &self.symbols {
            let Some(tensor) = inputs.get(name) else {
                continue;
            };
            for (symbol, &size) in symbols.iter().zip(tensor.shape()) {
                bindings.extend(symbol.clone().map(|symbol| (symbol, size)));
            }
        }
        bindings
    }
}

/// The symbols in the shapes of a graph's inputs, those that the graph goes by.
fn symbols(graph: &Graph) -> Vec<(String, Vec<Option<String>>)> {
    let known = graph.symbols();
    let inputs = graph.inputs.iter().map(|&id| graph.value(id));
    inputs
        .filter_map(|value| {
            let Source::Input(name) = &value.source else {
                return None;
            };
            let symbol = |dim: &Dim| {
                let symbol = dim.as_symbol().filter(|symbol| known.contains(*symbol));
                symbol.map(str::to_owned)
            };
            Some((name.clone(), value.shape.iter().map(symbol).collect()))
        })
        .collect()
}
