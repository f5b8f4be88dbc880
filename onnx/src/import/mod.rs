//! From an ONNX file to a graph.
//!
//! [`walk`] reads a file's messages, [`place`] finds the elements of large tensors, which are not read, and [`model`] holds both.
//! [`importer`] goes over the nodes.
//! [`table`] says which operator is imported by which function; the functions are in `operators`, one family a file, and
//! build through [`context`], which computes at once what is [`known`], in [`terms`] and [`sizes`]. A node's inputs and attributes are read through
//! [`node`], which refuses what a function did not look at.

mod blocks;
pub(crate) mod bytes;
mod context;
mod control;
mod counted;
mod decoder;
mod error;
mod filling;
pub(crate) mod identity;
mod importer;
mod interface;
mod known;
pub(crate) mod model;
mod node;
mod operator_set;
mod operators;
mod part;
mod place;
mod refused;
mod room;
mod sizes;
mod symbolic;
mod table;
mod tensor;
mod terms;
mod walk;

pub use decoder::{DecoderOptions, ImportedDecoder};
pub(crate) use decoder::{rows_first, wanted_rows};
pub use error::{ImportError, UnsupportedOperator};
pub use filling::Filling;
pub use interface::{Interface, tensor_file};
pub use model::OnnxFile;
pub(crate) use part::Part;
pub use table::imported_operators;
pub use tensor::{TensorFault, read_tensor};

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use fewbit_engine::graph::{Bindings, Graph};
use fewbit_engine::model::{Count, Room};
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::{MemorySource, SourceError};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::Tensor;

use crate::proto::Dimension;
use walk::read_model;

/// What is known beforehand of what a file leaves open.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Sizes for names of dimensions; the others become symbols of the graph.
    pub sizes: Bindings,
    /// Other names for names of dimensions.
    pub names: BTreeMap<String, String>,
    /// Inputs that become constants of the graph, because their numbers decide a shape.
    pub values: BTreeMap<String, Tensor>,
    /// Inputs of few integers whose numbers decide sizes, and become symbols of the graph.
    pub counted: BTreeSet<String>,
    /// Where runs are larger than their tokens.
    pub filling: Vec<Filling>,
}

/// A graph, and where the weights that it names are: in the files, but for what the import makes.
pub struct Imported {
    pub graph: Graph,
    pub source: WeightSource,
    /// The symbols of the graph that numbers in inputs tell.
    pub counts: Vec<Count>,
    /// The symbols that are room for sizes that those decide.
    pub rooms: Vec<Room>,
    /// The inputs whose numbers were put into the graph.
    pub assumed: Vec<(String, Tensor)>,
}

impl fmt::Debug for Imported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tensors = &self.source.checkpoint.tensors;
        let mut shown = f.debug_struct("Imported");
        shown.field("graph", &self.graph).field("weights", tensors);
        shown.finish_non_exhaustive()
    }
}

/// Reads an ONNX model (`ModelProto`) in memory, without files beside it, as [`OnnxFile`] does; `file` names it in errors.
///
/// # Errors
/// Those of [`OnnxFile::open`] and [`OnnxFile::import`].
pub fn import(bytes: &[u8], file: &str, options: &ImportOptions) -> Result<Imported, ImportError> {
    at_once(async { in_memory(bytes, file).await?.import(options).await })
}

/// What goes in and out of a model in memory, and which operators it has.
///
/// # Errors
/// Those of [`OnnxFile::open`], but for operators that are not imported.
pub fn interface(bytes: &[u8], file: &str) -> Result<Interface, ImportError> {
    let source = MemorySource::new(file, bytes.to_vec());
    let model = at_once(read_model(&source))?;
    let graph = model.graph.unwrap_or_default();
    Ok(Interface::of(&graph))
}

/// [`OnnxFile::import_decoder`] of a model in memory, without files beside it; `file` names it in errors.
///
/// # Errors
/// Those of [`OnnxFile::open_decoder`] and [`OnnxFile::import_decoder`].
pub fn import_decoder(
    bytes: &[u8],
    file: &str,
    options: &DecoderOptions,
) -> Result<ImportedDecoder, ImportError> {
    let source = Rc::new(MemorySource::new(file, bytes.to_vec()));
    at_once(async {
        let file = OnnxFile::read_decoder(source, &ModelFiles::default()).await?;
        file.import_decoder(options).await
    })
}

/// The symbol that a dimension of a value is; where it has no name, one of the value's. `None` for a number.
fn symbol_of(value: &str, axis: usize, dim: &Dimension) -> Option<String> {
    match (dim.dim_value, dim.dim_param.as_deref()) {
        (Some(_), _) => None,
        (None, Some(symbol)) if !symbol.is_empty() => Some(symbol.to_owned()),
        _ => Some(format!("{value}.{axis}")),
    }
}

async fn in_memory(bytes: &[u8], file: &str) -> Result<OnnxFile, ImportError> {
    let source = Rc::new(MemorySource::new(file, bytes.to_vec()));
    OnnxFile::read(source, &ModelFiles::default()).await
}

/// The result of a future that waits for nothing, as reading from memory.
fn at_once<T>(future: impl Future<Output = Result<T, ImportError>>) -> Result<T, ImportError> {
    let mut future = std::pin::pin!(future);
    match future
        .as_mut()
        .poll(&mut TaskContext::from_waker(Waker::noop()))
    {
        Poll::Ready(result) => result,
        Poll::Pending => Err(ImportError::Source(SourceError::Aborted)),
    }
}
