//! From an ONNX file to a graph.
//!
//! [`walk`] reads a file's messages, [`place`] finds the elements of large tensors, which are not read, and [`model`] holds both.
//! [`table`] says which operator is imported by which function; the functions are in `operators`, one family a file, and
//! build through [`context`], which computes at once what is known. A node's inputs and attributes are read through
//! [`node`], which refuses what a function did not look at.

mod blocks;
pub(crate) mod bytes;
mod context;
mod control;
mod decoder;
mod error;
mod filling;
mod interface;
pub(crate) mod model;
mod node;
mod operators;
mod part;
mod place;
mod sizes;
mod symbolic;
mod table;
mod tensor;
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

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};

use fewbit_engine::graph::{Bindings, Dim, Graph, Op, Shape};
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::{MemorySource, SourceError};
use fewbit_engine::task::checkpoint::ModelFiles;
use fewbit_engine::tensor::{DataType, Tensor};

use crate::proto::{
    Dimension, GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type_name,
    data_type_of,
};
use context::{Context, MOST_CONSTANT, Value};
use control::Ended;
use error::Refusal;
use filling::Counts;
use model::{Stop, Stored, large_constant};
use node::Node;
use place::{Files, is_outside};
use table::{DEFAULT_DOMAIN, Entry, Function};
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
    /// Where runs are larger than their tokens.
    pub filling: Vec<Filling>,
}

/// A graph, and where the weights that it names are: in the files, but for what the import makes.
pub struct Imported {
    pub graph: Graph,
    pub source: WeightSource,
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

/// Reads a model in memory as [`OnnxFile::import_for`] does.
///
/// # Errors
/// Those of [`OnnxFile::open`] and [`OnnxFile::import_for`].
pub fn import_for(
    bytes: &[u8],
    file: &str,
    inputs: &BTreeMap<String, Tensor>,
) -> Result<Imported, ImportError> {
    at_once(async { in_memory(bytes, file).await?.import_for(inputs).await })
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

fn domain_of(name: Option<&str>) -> &str {
    match name {
        None | Some("") => DEFAULT_DOMAIN,
        Some(name) => name,
    }
}

/// The version of each domain's operator set.
type Versions = BTreeMap<String, i64>;

fn versions(model: &ModelProto) -> Versions {
    let imports = model.opset_import.iter();
    imports
        .map(|set| {
            let domain = domain_of(set.domain.as_deref());
            (domain.to_owned(), set.version.unwrap_or(0))
        })
        .collect()
}

/// How a node is called in errors: by its name, else by its place.
fn called(node: &NodeProto, at: usize) -> String {
    match node.name.as_deref() {
        None | Some("") => format!("number {at}"),
        Some(name) => name.to_owned(),
    }
}

/// The table's entry for every node, or all those that have none.
fn entries(
    graph: &GraphProto,
    versions: &Versions,
    file: &str,
) -> Result<Vec<(&'static Entry, i64)>, ImportError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (at, node) in graph.node.iter().enumerate() {
        match entry_of(node, at, versions) {
            Ok(entry) => found.push(entry),
            Err(operator) => missing.push(operator),
        }
        for body in control::bodies(node) {
            match entries(body, versions, file) {
                Err(ImportError::Unsupported { operators, .. }) => missing.extend(operators),
                other => _ = other?,
            }
        }
    }
    if missing.is_empty() {
        return Ok(found);
    }
    Err(ImportError::Unsupported {
        file: file.to_owned(),
        operators: missing,
    })
}

/// The table's entry for a node, and the version of the operator set.
fn entry_of(
    node: &NodeProto,
    at: usize,
    versions: &Versions,
) -> Result<(&'static Entry, i64), UnsupportedOperator> {
    let domain = domain_of(node.domain.as_deref());
    let op_type = node.op_type.as_deref().unwrap_or_default();
    let opset = versions.get(domain).copied();
    let entry = match opset {
        Some(opset) => table::find(domain, op_type, opset),
        None => Err("the file does not say of which version".to_owned()),
    };
    let opset = opset.unwrap_or(0);
    match entry {
        Ok(entry) => Ok((entry, opset)),
        Err(reason) => Err(UnsupportedOperator {
            node: called(node, at),
            op_type: op_type.to_owned(),
            domain: domain.to_owned(),
            opset,
            reason,
        }),
    }
}

/// A declared type and a shape in numbers.
fn type_and_shape(info: &ValueInfoProto) -> Option<(DataType, Vec<usize>)> {
    let tensor = info.r#type.as_ref()?.tensor_type.as_ref()?;
    let sizes = tensor.shape.as_ref()?.dim.iter();
    let sizes = sizes.map(|dim| usize::try_from(dim.dim_value?).ok());
    Some((
        data_type_of(tensor.elem_type?)?,
        sizes.collect::<Option<_>>()?,
    ))
}

struct Importer<'a> {
    file: &'a str,
    options: &'a ImportOptions,
    files: &'a Files,
    versions: &'a Versions,
    context: Context,
    values: BTreeMap<&'a str, Value>,
    /// Of a decoder whose cache is in place: its inputs, and what the file's are of them.
    decoder: Option<(decoder::Inputs, &'a decoder::Roles)>,
    /// What bodies of control flow have named, from the outermost in, and what had the names before.
    scopes: Vec<BTreeMap<&'a str, Option<Value>>>,
    /// The bodies whose initializers are read.
    bodies: Vec<(&'a GraphProto, Vec<(&'a str, Value)>)>,
    /// What stands before the names of a body's weights.
    prefix: String,
    left_to_write: usize,
}

impl<'a> Importer<'a> {
    fn new(
        file: &'a str,
        options: &'a ImportOptions,
        files: &'a Files,
        versions: &'a Versions,
        known: &RefCell<BTreeMap<String, Rc<Tensor>>>,
    ) -> Importer<'a> {
        let mut context = Context::default();
        context.known_weights = known.borrow().clone();
        context.counts = options.filling.iter().map(Counts::by_input).collect();
        Importer {
            file,
            options,
            files,
            versions,
            context,
            values: BTreeMap::new(),
            decoder: None,
            scopes: Vec::new(),
            bodies: Vec::new(),
            prefix: String::new(),
            left_to_write: control::MOST_WRITTEN_OUT,
        }
    }

    fn graph(
        &mut self,
        graph: &'a GraphProto,
        entries: &[(&'static Entry, i64)],
    ) -> Result<(), Stop> {
        self.initializers(graph)?;
        self.inputs(graph)?;
        for (at, (node, (entry, opset))) in graph.node.iter().zip(entries).enumerate() {
            self.node(at, node, entry, *opset)?;
        }
        Ok(self.outputs(graph)?)
    }

    fn initializers(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(self.not_imported("sparse initializers".to_owned()));
        }
        for proto in &graph.initializer {
            let name = proto.name.as_deref().unwrap_or_default();
            let value = self.initializer(name, proto)?;
            self.define(name, value)?;
        }
        Ok(())
    }

    /// A tensor of the file as a constant where it is small, else as a weight.
    fn initializer(&mut self, name: &str, proto: &TensorProto) -> Result<Value, ImportError> {
        let name = &format!("{}{name}", self.prefix);
        let made = if is_outside(proto) {
            let place = self.files.place(proto)?;
            let fault = |e: TensorFault| self.tensor_fault(name, e.to_string());
            let shape = tensor::shape_of(&proto.dims).map_err(fault)?;
            let Some(data_type) = data_type_of(proto.data_type.unwrap_or(0)) else {
                return Err(self.tensor_fault(name, "of an unknown type".to_owned()));
            };
            let stored = Stored {
                element: data_type.into(),
                shape,
                source: self.files.sources[place.file].clone(),
                offset: place.offset,
                bytes: place.bytes,
            };
            self.context.weight(name, stored, data_type)
        } else {
            let tensor = self.tensor(name, proto)?;
            match tensor.bytes().len() <= MOST_CONSTANT {
                true => self.context.constant(tensor),
                false => self.context.weight_in_memory(name, tensor),
            }
        };
        made.map_err(|e| self.refused_value(name, &e))
    }

    fn tensor(&self, name: &str, proto: &TensorProto) -> Result<Tensor, ImportError> {
        read_tensor(proto).map_err(|fault| match fault {
            TensorFault::Wrong(reason) => self.tensor_fault(name, reason),
            other => self.not_imported(format!("tensor {name}: {other}")),
        })
    }

    fn inputs(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
        let mut seen = BTreeSet::new();
        for input in &graph.input {
            let name = input.name.as_deref().unwrap_or_default();
            if !seen.insert(name) {
                return Err(self.value_fault(name, "two inputs have this name".to_owned()));
            }
            // An initializer of an input's name is its default.
            if self.values.contains_key(name) {
                continue;
            }
            if let Some((inputs, roles)) = self.decoder
                && let Some(role) = roles.of.get(name)
            {
                let data_type = self.type_of(name, input)?;
                let made = inputs.of(&mut self.context, role, data_type);
                let value = made.map_err(|e| self.refused_value(name, &e))?;
                self.define(name, value)?;
                continue;
            }
            let (data_type, shape) = self.described(name, input)?;
            let value = match self.options.values.get(name) {
                Some(tensor) => self.given(name, tensor, data_type, &shape)?,
                None => self.input(name, data_type, shape)?,
            };
            self.define(name, value)?;
        }
        Ok(())
    }

    fn input(
        &mut self,
        name: &str,
        data_type: DataType,
        shape: Shape,
    ) -> Result<Value, ImportError> {
        let made = self.context.builder.input(name, data_type, shape);
        let id = made.map_err(|e| self.value_fault(name, e.to_string()))?;
        self.context.inputs.insert(id, name.to_owned());
        let mut value = Value { id, data_type };
        if data_type == DataType::Bool {
            let cast = Op::Cast { to: DataType::U8 };
            let made = self.context.op(cast, &[value], DataType::Bool);
            value = made.map_err(|e| self.refused_value(name, &e))?;
        }
        let learned = self.context.learn_filling(name, value);
        learned.map_err(|e| self.refused_value(name, &e))?;
        Ok(value)
    }

    /// An input whose value is given beforehand.
    fn given(
        &mut self,
        name: &str,
        tensor: &Tensor,
        data_type: DataType,
        shape: &[Dim],
    ) -> Result<Value, ImportError> {
        let sizes = tensor.shape().iter().zip(shape);
        let fits = tensor.shape().len() == shape.len()
            && sizes
                .into_iter()
                .all(|(&size, dim)| dim.fixed().is_none_or(|d| d == size));
        if tensor.data_type() != data_type || !fits {
            let got = (tensor.data_type(), tensor.shape());
            let reason = format!("{} {:?} given, {data_type} {shape:?} wanted", got.0, got.1);
            return Err(self.value_fault(name, reason));
        }
        let made = self.context.constant(tensor.clone());
        made.map_err(|e| self.refused_value(name, &e))
    }

    /// An input's or output's type and shape.
    fn described(
        &self,
        name: &str,
        info: &ValueInfoProto,
    ) -> Result<(DataType, Shape), ImportError> {
        let data_type = self.type_of(name, info)?;
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let Some(shape) = tensor.and_then(|t| t.shape.as_ref()) else {
            return Err(self.not_imported(format!("value {name} without a shape")));
        };
        let mut dims = Shape::new();
        for (axis, dim) in shape.dim.iter().enumerate() {
            let Some(symbol) = symbol_of(name, axis, dim) else {
                let size = dim.dim_value.unwrap_or(-1);
                let size = usize::try_from(size)
                    .map_err(|_| self.value_fault(name, format!("a dimension of {size}")))?;
                dims.push(Dim::from(size));
                continue;
            };
            dims.push(match self.options.sizes.get(&symbol) {
                Some(&size) => Dim::from(size),
                None => Dim::symbol(self.options.names.get(&symbol).unwrap_or(&symbol)),
            });
        }
        Ok((data_type, dims))
    }

    fn type_of(&self, name: &str, info: &ValueInfoProto) -> Result<DataType, ImportError> {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let Some(number) = tensor.and_then(|t| t.elem_type) else {
            return Err(self.not_imported(format!("value {name}, which is no tensor")));
        };
        data_type_of(number).ok_or_else(|| {
            let type_name = data_type_name(number);
            self.not_imported(format!("value {name} with elements of {type_name}"))
        })
    }

    fn node(
        &mut self,
        at: usize,
        proto: &'a NodeProto,
        entry: &Entry,
        opset: i64,
    ) -> Result<(), Stop> {
        if let Some((name, tensor)) = large_constant(proto) {
            let value = self.initializer(name, tensor)?;
            return Ok(self.define(name, value)?);
        }
        let made = self.outputs_of(proto, entry, opset);
        let made = made.map_err(|ended| match ended {
            Ended::Refused(refusal) => {
                Stop::of(refusal, |refusal| self.refused(at, proto, opset, refusal))
            }
            Ended::Inside(stop) => stop,
        })?;
        for (name, value) in proto.output.iter().zip(made) {
            if !name.is_empty() {
                self.define(name, value)?;
            }
        }
        Ok(())
    }

    fn outputs_of(
        &mut self,
        proto: &'a NodeProto,
        entry: &Entry,
        opset: i64,
    ) -> Result<Vec<Value>, Ended> {
        let find = |name: &String| match self.values.get(name.as_str()) {
            _ if name.is_empty() => Ok(None),
            Some(value) => Ok(Some(*value)),
            None => error::wrong(format!("input {name} is made by nothing before it")),
        };
        let inputs = proto.input.iter().map(find);
        let inputs = inputs.collect::<Result<_, Refusal>>()?;
        let mut node = Node::new(proto, inputs, opset);
        let wanted = node.first_type();
        let narrow = |t: &DataType| matches!(t, DataType::F16 | DataType::Bf16);
        let wanted = wanted.filter(|t| entry.widened && narrow(t));
        if entry.widened {
            node.map_inputs(|x| self.context.widened(x))?;
        }
        let mut made = match entry.function {
            Function::Computed(function) => function(&mut self.context, &node)?,
            Function::Control => self.control(proto, &node)?,
        };
        node.all_seen()?;
        if let Some(wanted) = wanted {
            for value in made.iter_mut().filter(|v| v.data_type == DataType::F32) {
                *value = self.context.cast(*value, wanted)?;
            }
        }
        match (made.len()..node.outputs()).find(|&at| node.wants(at)) {
            Some(at) => Err(Refusal::Unsupported(format!("output {at}")).into()),
            None => Ok(made),
        }
    }

    fn outputs(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
        for output in &graph.output {
            let name = output.name.as_deref().unwrap_or_default();
            let Some(&value) = self.values.get(name) else {
                return Err(self.value_fault(name, "an output that nothing makes".to_owned()));
            };
            let declared = self.type_of(name, output)?;
            if declared != value.data_type {
                let reason = format!("{declared} by its declaration, {} made", value.data_type);
                return Err(self.value_fault(name, reason));
            }
            let id = if value.data_type == DataType::Bool {
                let builder = &mut self.context.builder;
                let cast = builder.op(Op::Cast { to: declared }, &[value.id]);
                cast.map_err(|e| self.value_fault(name, e.to_string()))?
            } else {
                value.id
            };
            let named = self.context.builder.output(name, id);
            named.map_err(|e| self.value_fault(name, e.to_string()))?;
        }
        Ok(())
    }

    fn define(&mut self, name: &'a str, value: Value) -> Result<(), ImportError> {
        if name.is_empty() {
            return Err(self.value_fault(name, "a value without a name".to_owned()));
        }
        let before = self.values.insert(name, value);
        let twice = match self.scopes.last_mut() {
            Some(scope) => scope.insert(name, before).is_some(),
            None => before.is_some(),
        };
        match twice {
            false => Ok(()),
            true => Err(self.value_fault(name, "two values have this name".to_owned())),
        }
    }

    fn not_imported(&self, what: String) -> ImportError {
        ImportError::NotImported {
            file: self.file.to_owned(),
            what,
        }
    }

    fn tensor_fault(&self, tensor: &str, reason: String) -> ImportError {
        ImportError::Tensor {
            file: self.file.to_owned(),
            tensor: tensor.to_owned(),
            reason,
        }
    }

    fn value_fault(&self, value: &str, reason: String) -> ImportError {
        ImportError::Value {
            file: self.file.to_owned(),
            value: value.to_owned(),
            reason,
        }
    }

    fn refused_value(&self, value: &str, refusal: &Refusal) -> ImportError {
        let reason = match refusal {
            Refusal::Wrong(reason) | Refusal::Unsupported(reason) => reason.clone(),
            Refusal::Value(inputs) => format!("it depends on {}", inputs.join(", ")),
            Refusal::Weight(name) => format!("it depends on {name}"),
            Refusal::Sizes(symbols) => format!("it depends on {}", symbols.join(", ")),
        };
        self.value_fault(value, reason)
    }

    fn refused(&self, at: usize, proto: &NodeProto, opset: i64, refusal: Refusal) -> ImportError {
        let file = self.file.to_owned();
        let node = called(proto, at);
        let op_type = proto.op_type.clone().unwrap_or_default();
        match refusal {
            Refusal::Wrong(reason) => ImportError::Node {
                file,
                node,
                op_type,
                reason,
            },
            Refusal::Sizes(symbols) => ImportError::SizesNeeded {
                file,
                node,
                op_type,
                symbols,
            },
            Refusal::Weight(name) => ImportError::Node {
                file,
                node,
                op_type,
                reason: format!("it depends on {name}"),
            },
            Refusal::Value(inputs) => ImportError::ValueNeeded {
                file,
                node,
                op_type,
                inputs,
            },
            Refusal::Unsupported(reason) => ImportError::Unsupported {
                file,
                operators: vec![UnsupportedOperator {
                    node,
                    op_type,
                    domain: domain_of(proto.domain.as_deref()).to_owned(),
                    opset,
                    reason,
                }],
            },
        }
    }
}
