//! A file that was opened, to be imported once or again for other sizes and values.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fewbit_engine::format::{Checkpoint, TensorEntry};
use fewbit_engine::graph::{Bindings, Graph, GraphError, pass};
use fewbit_engine::model::Room;
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::{ByteSource, SourceError};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::{ElementType, Tensor, decode};

use super::decoder::Roles;
use super::error::Refusal;
use super::importer::Importer;
use super::operator_set::{Versions, entries, versions};
use super::place::{Files, TensorSource, is_outside};
use super::room::with_room;
use super::table::Entry;
use super::walk::read_model;
use super::{ImportError, ImportOptions, Imported, Interface, symbol_of};
use crate::proto::{GraphProto, ModelProto, NodeProto, TensorProto};
use crate::rewrite::{rewrite, rewrite_quantized};

/// Weights whose numbers decide a shape have together at most so many bytes.
const MOST_KNOWN: u64 = 64 << 20;

/// An ONNX file whose messages were read. Its large tensors were not: they stay where they are.
pub struct OnnxFile {
    pub(super) graph: GraphProto,
    /// The function of each node, and the version of the operator set that the file asks for.
    pub(super) entries: Vec<(&'static Entry, i64)>,
    pub(super) versions: Versions,
    pub(super) files: Files,
    /// Weights that were read, because their numbers decide a shape.
    pub(super) known: RefCell<BTreeMap<String, Rc<Tensor>>>,
    /// Of a decoder whose cache is in place: what becomes of its inputs.
    pub(super) roles: Option<Roles>,
}

impl OnnxFile {
    /// Reads the messages of the model `name` among `files`, and finds where its tensors are: in it, or in files beside it.
    ///
    /// # Errors
    /// [`ImportError::Unsupported`] with every node whose operator is not imported, before any tensor is looked at;
    /// [`ImportError::Tensor`] for one that is not where the file says; [`ImportError::File`] for bytes that are no model.
    pub async fn open(files: &ModelFiles, name: &str) -> Result<OnnxFile, ImportError> {
        match files.find(name) {
            Some(file) => OnnxFile::read(file.clone(), files).await,
            None => Err(ImportError::File {
                file: name.to_owned(),
                reason: "is not among the files".to_owned(),
            }),
        }
    }

    pub(super) async fn read(
        file: Rc<dyn ByteSource>,
        beside: &ModelFiles,
    ) -> Result<OnnxFile, ImportError> {
        let model = read_model(file.as_ref()).await?;
        OnnxFile::of(model, file, beside, |graph| Ok((graph, None))).await
    }

    /// A file of these messages; `prepare` changes the graph before anything of it is looked at.
    pub(super) async fn of(
        mut model: ModelProto,
        file: Rc<dyn ByteSource>,
        beside: &ModelFiles,
        prepare: impl FnOnce(GraphProto) -> Result<(GraphProto, Option<Roles>), ImportError>,
    ) -> Result<OnnxFile, ImportError> {
        let Some(graph) = model.graph.take() else {
            return Err(ImportError::File {
                file: file.name().to_owned(),
                reason: "no ONNX model: it has no graph".to_owned(),
            });
        };
        let (mut graph, roles) = prepare(graph)?;
        let versions = versions(&model);
        let entries = entries(&graph, &versions, file.name())?;
        let mut files = Files::new(file);
        files.settle(&mut graph, beside).await?;
        Ok(OnnxFile {
            graph,
            entries,
            versions,
            files,
            known: RefCell::default(),
            roles,
        })
    }

    /// The name that errors call it by.
    pub fn name(&self) -> &str {
        self.files.name()
    }

    /// What goes in and out by name, and which operators there are.
    pub fn interface(&self) -> Interface {
        Interface::of(&self.graph)
    }

    /// The names of the inputs' dimensions that the file leaves open.
    pub fn dimensions(&self) -> BTreeSet<String> {
        let inputs = self.graph.input.iter();
        let tensors = inputs.filter_map(|input| input.r#type.as_ref()?.tensor_type.as_ref());
        let dims = tensors
            .filter_map(|tensor| tensor.shape.as_ref())
            .flat_map(|shape| &shape.dim);
        dims.filter_map(|dim| dim.dim_param.clone())
            .filter(|name| !name.is_empty())
            .collect()
    }

    /// The symbols that the dimensions of an input are, `None` for those that are numbers; nothing where there is no such
    /// input or it has no shape.
    pub fn symbols(&self, input: &str) -> Option<Vec<Option<String>>> {
        let mut all = self.graph.input.iter();
        let info = all.find(|info| info.name.as_deref() == Some(input))?;
        let shape = info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
        let dims = shape.dim.iter().enumerate();
        Some(
            dims.map(|(axis, dim)| symbol_of(input, axis, dim))
                .collect(),
        )
    }

    /// The number that a dimension of an input is; `None` where the file leaves it open.
    pub(crate) fn size(&self, input: &str, axis: usize) -> Option<usize> {
        let mut all = self.graph.input.iter();
        let info = all.find(|info| info.name.as_deref() == Some(input))?;
        let shape = info.r#type.as_ref()?.tensor_type.as_ref()?.shape.as_ref()?;
        usize::try_from(shape.dim.get(axis)?.dim_value?).ok()
    }

    /// Makes the graph.
    ///
    /// Inputs and outputs keep their names, types and shapes; dimensions that are named become symbols. What depends on
    /// constants alone is computed at once. ONNX's `bool` is u8 of 0 and 1 inside the graph.
    ///
    /// # Errors
    /// [`ImportError::ValueNeeded`] where the numbers in an input decide a shape; the other variants for files that are wrong.
    pub async fn import(&self, options: &ImportOptions) -> Result<Imported, ImportError> {
        loop {
            match self.try_import(options)? {
                Attempt::Done(imported) => return Ok(*imported),
                Attempt::Weight(name) => self.learn(&name).await?,
            }
        }
    }

    /// Makes the graph for these inputs: their sizes and values are put in where the graph depends on them, and only there.
    /// With it, what was put in.
    ///
    /// # Errors
    /// As [`OnnxFile::import`], where what is asked for is not among the inputs.
    pub async fn import_for(
        &self,
        inputs: &BTreeMap<String, Tensor>,
    ) -> Result<(Imported, ImportOptions), ImportError> {
        let mut options = ImportOptions::default();
        loop {
            let error = match self.import(&options).await {
                Ok(imported) => {
                    // What is right for most sizes may not be for these, as where a slice ends before its bound.
                    let mut sizes = self.sizes_of(inputs);
                    let symbols = imported.graph.symbols();
                    sizes.retain(|name, _| symbols.contains(name));
                    if imported.graph.specialize(&sizes).is_ok() {
                        return Ok((imported, options));
                    }
                    options.sizes.extend(sizes);
                    return Ok((self.import(&options).await?, options));
                }
                Err(error) => error,
            };
            let known = (options.values.len(), options.sizes.len());
            match &error {
                ImportError::ValueNeeded { inputs: names, .. } => {
                    for name in names {
                        if let Some(tensor) = inputs.get(name) {
                            options.values.insert(name.clone(), tensor.clone());
                        }
                    }
                }
                ImportError::SizesNeeded { symbols, .. } => {
                    let sizes = self.sizes_of(inputs);
                    let asked = sizes.into_iter().filter(|(name, _)| symbols.contains(name));
                    options.sizes.extend(asked);
                }
                _ => {}
            }
            if (options.values.len(), options.sizes.len()) == known {
                return Err(error);
            }
        }
    }

    /// What the inputs' shapes say of the symbols in their declarations.
    pub(crate) fn sizes_of(&self, inputs: &BTreeMap<String, Tensor>) -> Bindings {
        let mut sizes = Bindings::new();
        for input in &self.graph.input {
            let name = input.name.as_deref().unwrap_or_default();
            let tensor = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
            let shape = tensor.and_then(|t| t.shape.as_ref());
            let (Some(given), Some(shape)) = (inputs.get(name), shape) else {
                continue;
            };
            for (axis, (dim, &size)) in shape.dim.iter().zip(given.shape()).enumerate() {
                if let Some(symbol) = symbol_of(name, axis, dim) {
                    sizes.insert(symbol, size);
                }
            }
        }
        sizes
    }

    fn try_import(&self, options: &ImportOptions) -> Result<Attempt, ImportError> {
        let wrong = |e: GraphError| ImportError::File {
            file: self.name().to_owned(),
            reason: e.to_string(),
        };
        let mut importer = Importer::new(
            self.name(),
            options,
            &self.files,
            &self.versions,
            &self.known,
        );
        match importer.graph(&self.graph, &self.entries) {
            Ok(()) => {}
            Err(Stop::Weight(name)) => return Ok(Attempt::Weight(name)),
            Err(Stop::Error(error)) => return Err(*error),
        }
        let context = &mut importer.context;
        let mut stored = std::mem::take(&mut context.stored);
        let counts = std::mem::take(&mut context.told);
        let mut rooms: Vec<Room> = std::mem::take(&mut context.reaches)
            .into_iter()
            .map(|(of, most)| Room {
                symbol: String::new(),
                of,
                most,
            })
            .collect();
        let mut graph = pass::prune(&importer.context.builder.finish());
        if let Some((roomy, made)) = with_room(&graph, &counts).map_err(wrong)? {
            graph = roomy;
            rooms.extend(made);
        }
        let graph = rewrite_quantized(&graph, &mut stored);
        let graph = graph.and_then(|graph| rewrite(&graph));
        let graph = graph.map_err(wrong)?;
        let source = self.source(&graph, stored);
        Ok(Attempt::Done(Box::new(Imported {
            graph,
            source,
            counts,
            rooms,
            assumed: self.assumed(options),
        })))
    }

    /// The weights that the graph names.
    pub(super) fn source(
        &self,
        graph: &Graph,
        mut stored: BTreeMap<String, Stored>,
    ) -> WeightSource {
        let mut checkpoint = Checkpoint {
            file: self.name().to_owned(),
            ..Checkpoint::default()
        };
        let mut files = self.files.sources.clone();
        for (_, name, _) in graph.weights() {
            let Some(stored) = stored.remove(name) else {
                continue;
            };
            let mut own = self.files.sources.iter();
            let known = own.position(|file| Rc::ptr_eq(file, &stored.source));
            let file = known.unwrap_or_else(|| {
                files.push(stored.source);
                files.len() - 1
            });
            let entry = TensorEntry {
                name: name.to_owned(),
                element: stored.element,
                shape: stored.shape,
                file,
                offset: stored.offset,
                bytes: stored.bytes,
            };
            checkpoint.tensors.insert(name.to_owned(), entry);
        }
        WeightSource { checkpoint, files }
    }

    /// Reads a weight whose numbers decide a shape.
    pub(super) async fn learn(&self, name: &str) -> Result<(), ImportError> {
        let fault = |reason: String| ImportError::Tensor {
            file: self.name().to_owned(),
            tensor: name.to_owned(),
            reason,
        };
        let initializers = self.graph.initializer.iter();
        let constants = self.graph.node.iter().filter_map(large_constant);
        let mut all = initializers
            .filter(|proto| is_outside(proto))
            .map(|proto| (proto.name.as_deref().unwrap_or_default(), proto))
            .chain(constants);
        let Some((_, proto)) = all.find(|(known, _)| *known == name) else {
            return Err(fault(
                "its numbers decide a shape, and are not in the file".to_owned(),
            ));
        };
        let place = self.files.place(proto)?;
        let held = |t: &Rc<Tensor>| t.bytes().len() as u64;
        let held: u64 = self.known.borrow().values().map(held).sum();
        if held + place.bytes > MOST_KNOWN {
            let reason = format!("its {} bytes decide a shape", place.bytes);
            return Err(fault(reason));
        }
        let mut bytes = vec![0; place.bytes as usize];
        let read = self.files.sources[place.file].read_at(place.offset, &mut bytes);
        read.await.map_err(ImportError::Source)?;
        let whole = TensorProto {
            raw_data: Some(bytes),
            dims: proto.dims.clone(),
            data_type: proto.data_type,
            ..TensorProto::default()
        };
        let tensor = super::read_tensor(&whole).map_err(|e| fault(e.to_string()))?;
        let mut known = self.known.borrow_mut();
        known.insert(name.to_owned(), Rc::new(tensor));
        Ok(())
    }
}

enum Attempt {
    Done(Box<Imported>),
    /// The numbers in this weight are needed first.
    Weight(String),
}

/// Why an import ended before its end.
pub(super) enum Stop {
    Weight(String),
    Error(Box<ImportError>),
}

impl From<ImportError> for Stop {
    fn from(error: ImportError) -> Stop {
        Stop::Error(Box::new(error))
    }
}

impl Stop {
    /// What a refusal stops with; `told` makes an error of it where it is one.
    pub(super) fn of(refusal: Refusal, told: impl FnOnce(Refusal) -> ImportError) -> Stop {
        match refusal {
            Refusal::Weight(name) => Stop::Weight(name),
            other => told(other).into(),
        }
    }
}

/// A weight of the graph: a range of a file.
#[derive(Clone)]
pub(crate) struct Stored {
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) source: Rc<dyn ByteSource>,
    pub(crate) offset: u64,
    pub(crate) bytes: u64,
}

impl Stored {
    /// Elements `from .. from + count` of plain floats, as f32.
    pub(super) async fn floats(&self, from: usize, count: usize) -> Result<Vec<f32>, SourceError> {
        let width = self.element.byte_len(&[1]).unwrap_or(4);
        let mut bytes = vec![0; count * width];
        let at = self.offset + (from * width) as u64;
        self.source.read_at(at, &mut bytes).await?;
        let mut values = vec![0.0; count];
        let decoded = decode(self.element, &bytes, &mut values);
        decoded.map_err(|e| SourceError::Read {
            file: self.source.name().to_owned(),
            message: e.to_string(),
        })?;
        Ok(values)
    }

    /// A tensor in memory.
    pub(crate) fn in_memory(tensor: Rc<Tensor>) -> Stored {
        Stored {
            element: tensor.data_type().into(),
            shape: tensor.shape().to_vec(),
            offset: 0,
            bytes: tensor.bytes().len() as u64,
            source: Rc::new(TensorSource::new("a constant", tensor)),
        }
    }
}

/// The value of a `Constant` whose elements stay in the file, and the name of what it makes.
pub(super) fn large_constant(node: &NodeProto) -> Option<(&str, &TensorProto)> {
    let is_constant = node.op_type.as_deref() == Some("Constant")
        && matches!(node.domain.as_deref(), None | Some("" | "ai.onnx"));
    let [attribute] = node.attribute.as_slice() else {
        return None;
    };
    let tensor = attribute.t.as_ref().filter(|tensor| is_outside(tensor))?;
    match (is_constant, node.output.as_slice()) {
        (true, [name]) => Some((name, tensor)),
        _ => None,
    }
}
