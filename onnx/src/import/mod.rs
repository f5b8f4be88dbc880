//! From an ONNX file to a graph.
//!
//! [`table`] says which operator is imported by which function; the functions are in `operators`, one family a file, and
//! build through [`context`], which computes at once what is known. A node's inputs and attributes are read through
//! [`node`], which refuses what a function did not look at.

mod context;
mod error;
mod interface;
mod node;
mod operators;
mod table;
mod tensor;

pub use error::{ImportError, UnsupportedOperator};
pub use interface::{Interface, interface, tensor_file};
pub use table::imported_operators;
pub use tensor::{TensorFault, read_tensor};

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fewbit_engine::format::{Checkpoint, TensorEntry};
use fewbit_engine::graph::{Bindings, Dim, Graph, Op, Shape};
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::{ByteSource, MemorySource};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};
use prost::Message;

use crate::proto::{
    GraphProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, data_type_name, data_type_of,
};
use context::{Context, MOST_CONSTANT, Value, without_bool};
use error::Refusal;
use node::Node;
use table::{DEFAULT_DOMAIN, Entry};

/// What is known beforehand of what a file leaves open.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Sizes for names of dimensions; the others become symbols of the graph.
    pub sizes: Bindings,
    /// Inputs that become constants of the graph, because their numbers decide a shape.
    pub values: BTreeMap<String, Tensor>,
}

/// A graph and the initializers that it names as weights.
#[derive(Clone, Debug)]
pub struct Imported {
    pub graph: Graph,
    pub weights: BTreeMap<String, Rc<Tensor>>,
}

impl Imported {
    /// The weights as a checkpoint in memory, as a session takes it; `file` names it in errors.
    pub fn source(&self, file: &str) -> WeightSource {
        let mut checkpoint = Checkpoint {
            file: file.to_owned(),
            ..Checkpoint::default()
        };
        let mut files: Vec<Rc<dyn ByteSource>> = Vec::new();
        for (name, tensor) in &self.weights {
            let entry = TensorEntry {
                name: name.clone(),
                element: ElementType::Plain(tensor.data_type()),
                shape: tensor.shape().to_vec(),
                file: files.len(),
                offset: 0,
                bytes: tensor.bytes().len() as u64,
            };
            checkpoint.tensors.insert(name.clone(), entry);
            let bytes = tensor.bytes().to_vec();
            files.push(Rc::new(MemorySource::new(file.to_owned(), bytes)));
        }
        WeightSource { checkpoint, files }
    }
}

/// Reads an ONNX model (`ModelProto`) as a graph; `file` names it in errors.
///
/// Inputs and outputs keep their names, types and shapes, dimensions that are named become symbols. What depends on
/// constants alone is computed at once. ONNX's `bool` is u8 of 0 and 1 inside the graph.
///
/// # Errors
/// [`ImportError::Unsupported`] with every node whose operator is not imported, before any initializer is looked at;
/// [`ImportError::ValueNeeded`] where the numbers in an input decide a shape; the other variants for files that are wrong.
pub fn import(bytes: &[u8], file: &str, options: &ImportOptions) -> Result<Imported, ImportError> {
    let (model, graph) = decode(bytes, file)?;
    let graph = &graph;
    let versions = versions(&model);
    let entries = entries(graph, &versions, file)?;
    let mut importer = Importer {
        file,
        options,
        context: Context::default(),
        values: BTreeMap::new(),
        weights: BTreeMap::new(),
    };
    importer.initializers(graph)?;
    importer.inputs(graph)?;
    for (at, (node, (entry, opset))) in graph.node.iter().zip(entries).enumerate() {
        importer.node(at, node, entry, opset)?;
    }
    importer.outputs(graph)?;
    Ok(Imported {
        graph: importer.context.builder.finish(),
        weights: importer.weights,
    })
}

/// The model and its graph, taken out of it.
fn decode(bytes: &[u8], file: &str) -> Result<(ModelProto, GraphProto), ImportError> {
    let wrong = |reason: String| ImportError::File {
        file: file.to_owned(),
        reason,
    };
    let model = ModelProto::decode(bytes);
    let mut model = model.map_err(|e| wrong(format!("no ONNX model: {e}")))?;
    match model.graph.take() {
        Some(graph) => Ok((model, graph)),
        None => Err(wrong("no ONNX model: it has no graph".to_owned())),
    }
}

fn domain_of(name: Option<&str>) -> &str {
    match name {
        None | Some("") => DEFAULT_DOMAIN,
        Some(name) => name,
    }
}

fn versions(model: &ModelProto) -> BTreeMap<&str, i64> {
    let imports = model.opset_import.iter();
    imports
        .map(|set| (domain_of(set.domain.as_deref()), set.version.unwrap_or(0)))
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
    versions: &BTreeMap<&str, i64>,
    file: &str,
) -> Result<Vec<(&'static Entry, i64)>, ImportError> {
    let (mut found, mut missing) = (Vec::new(), Vec::new());
    for (at, node) in graph.node.iter().enumerate() {
        let domain = domain_of(node.domain.as_deref());
        let op_type = node.op_type.as_deref().unwrap_or_default();
        let opset = versions.get(domain).copied();
        let entry = match opset {
            Some(opset) => table::find(domain, op_type, opset),
            None => Err("the file does not say of which version".to_owned()),
        };
        let opset = opset.unwrap_or(0);
        match entry {
            Ok(entry) => found.push((entry, opset)),
            Err(reason) => missing.push(UnsupportedOperator {
                node: called(node, at),
                op_type: op_type.to_owned(),
                domain: domain.to_owned(),
                opset,
                reason,
            }),
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

struct Importer<'a> {
    file: &'a str,
    options: &'a ImportOptions,
    context: Context,
    values: BTreeMap<&'a str, Value>,
    weights: BTreeMap<String, Rc<Tensor>>,
}

impl<'a> Importer<'a> {
    fn initializers(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
        if !graph.sparse_initializer.is_empty() {
            return Err(self.not_imported("sparse initializers".to_owned()));
        }
        for proto in &graph.initializer {
            let name = proto.name.as_deref().unwrap_or_default();
            let tensor = self.tensor(name, proto)?;
            let value = self.weight(name, tensor)?;
            self.define(name, value)?;
        }
        Ok(())
    }

    fn tensor(&self, name: &str, proto: &TensorProto) -> Result<Tensor, ImportError> {
        read_tensor(proto).map_err(|fault| match fault {
            TensorFault::Wrong(reason) => self.tensor_fault(name, reason),
            other => self.not_imported(format!("tensor {name}: {other}")),
        })
    }

    fn weight(&mut self, name: &str, tensor: Tensor) -> Result<Value, ImportError> {
        let data_type = tensor.data_type();
        let tensor = without_bool(tensor).map_err(|e| self.refused_value(name, &e))?;
        if tensor.bytes().len() <= MOST_CONSTANT {
            let id = self.context.builder.constant(tensor);
            return Ok(Value { id, data_type });
        }
        let element = ElementType::Plain(tensor.data_type());
        let made = self.context.builder.weight(name, element, tensor.shape());
        let id = made.map_err(|e| self.tensor_fault(name, e.to_string()))?;
        let tensor = Rc::new(tensor);
        self.context.weights.insert(id, tensor.clone());
        self.weights.insert(name.to_owned(), tensor);
        Ok(Value { id, data_type })
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
        let value = Value { id, data_type };
        if data_type != DataType::Bool {
            return Ok(value);
        }
        let cast = Op::Cast { to: DataType::U8 };
        let made = self.context.op(cast, &[value], DataType::Bool);
        made.map_err(|e| self.refused_value(name, &e))
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
            let symbol = match (dim.dim_value, dim.dim_param.as_deref()) {
                (Some(size), _) => {
                    let size = usize::try_from(size)
                        .map_err(|_| self.value_fault(name, format!("a dimension of {size}")))?;
                    dims.push(Dim::from(size));
                    continue;
                }
                (None, Some(symbol)) if !symbol.is_empty() => symbol.to_owned(),
                _ => format!("{name}.{axis}"),
            };
            dims.push(match self.options.sizes.get(&symbol) {
                Some(&size) => Dim::from(size),
                None => Dim::symbol(&symbol),
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
    ) -> Result<(), ImportError> {
        let made = self.outputs_of(proto, entry, opset);
        let made = made.map_err(|refusal| self.refused(at, proto, opset, refusal))?;
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
    ) -> Result<Vec<Value>, Refusal> {
        let find = |name: &String| match self.values.get(name.as_str()) {
            _ if name.is_empty() => Ok(None),
            Some(value) => Ok(Some(*value)),
            None => error::wrong(format!("input {name} is made by nothing before it")),
        };
        let inputs = proto.input.iter().map(find).collect::<Result<_, _>>()?;
        let mut node = Node::new(proto, inputs, opset);
        let wanted = node.first_type();
        let narrow = |t: &DataType| matches!(t, DataType::F16 | DataType::Bf16);
        let wanted = wanted.filter(|t| entry.widened && narrow(t));
        if entry.widened {
            node.map_inputs(|x| self.context.widened(x))?;
        }
        let mut made = (entry.function)(&mut self.context, &node)?;
        node.all_seen()?;
        if let Some(wanted) = wanted {
            for value in made.iter_mut().filter(|v| v.data_type == DataType::F32) {
                *value = self.context.cast(*value, wanted)?;
            }
        }
        match (made.len()..node.outputs()).find(|&at| node.wants(at)) {
            Some(at) => error::unsupported(format!("output {at}")),
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
        match self.values.insert(name, value) {
            None => Ok(()),
            Some(_) => Err(self.value_fault(name, "two values have this name".to_owned())),
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
