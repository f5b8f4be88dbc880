//! The walk over a file's graph: initializers, inputs, nodes and outputs become values of the graph that is built.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fewbit_engine::graph::{Dim, Op, Shape};
use fewbit_engine::tensor::{DataType, Tensor};

use super::context::{Context, MOST_CONSTANT, Value};
use super::control::{self, Ended};
use super::error::{self, Refusal};
use super::filling::Counts;
use super::model::{Stop, Stored, large_constant};
use super::node::Node;
use super::operator_set::Versions;
use super::place::{Files, is_outside};
use super::table::{Entry, Function};
use super::{ImportError, ImportOptions, TensorFault, decoder, read_tensor, symbol_of, tensor};
use crate::proto::{
    GraphProto, NodeProto, TensorProto, ValueInfoProto, data_type_name, data_type_of,
};

pub(super) struct Importer<'a> {
    pub(super) file: &'a str,
    pub(super) options: &'a ImportOptions,
    pub(super) files: &'a Files,
    pub(super) versions: &'a Versions,
    pub(super) context: Context,
    pub(super) values: BTreeMap<&'a str, Value>,
    /// Of a decoder whose cache is in place: its inputs, and what the file's are of them.
    pub(super) decoder: Option<(decoder::Inputs, &'a decoder::Roles)>,
    /// What bodies of control flow have named, from the outermost in, and what had the names before.
    pub(super) scopes: Vec<BTreeMap<&'a str, Option<Value>>>,
    /// The bodies whose initializers are read.
    pub(super) bodies: Vec<(&'a GraphProto, Vec<(&'a str, Value)>)>,
    /// The bodies by their places in memory: a weight of one is called alike whichever bodies are taken.
    pub(super) body_numbers: BTreeMap<*const GraphProto, usize>,
    /// What stands before the names of a body's weights.
    pub(super) prefix: String,
    pub(super) left_to_write: usize,
}

impl<'a> Importer<'a> {
    pub(super) fn new(
        file: &'a str,
        options: &'a ImportOptions,
        files: &'a Files,
        versions: &'a Versions,
        known: &RefCell<BTreeMap<String, Rc<Tensor>>>,
    ) -> Importer<'a> {
        let mut context = Context::default();
        context.counts = options.filling.iter().map(Counts::by_input).collect();
        context.known_weights = known.borrow().clone();
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
            body_numbers: BTreeMap::new(),
            prefix: String::new(),
            left_to_write: control::MOST_WRITTEN_OUT,
        }
    }

    pub(super) fn graph(
        &mut self,
        graph: &'a GraphProto,
        entries: &[(&'static Entry, i64)],
    ) -> Result<(), Stop> {
        control::numbered(graph, &mut self.body_numbers);
        self.initializers(graph)?;
        self.inputs(graph)?;
        for (at, (node, (entry, opset))) in graph.node.iter().zip(entries).enumerate() {
            self.node(at, node, entry, *opset)?;
        }
        Ok(self.outputs(graph)?)
    }

    pub(super) fn initializers(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
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
    pub(super) fn initializer(
        &mut self,
        name: &str,
        proto: &TensorProto,
    ) -> Result<Value, ImportError> {
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

    pub(super) fn tensor(&self, name: &str, proto: &TensorProto) -> Result<Tensor, ImportError> {
        read_tensor(proto).map_err(|fault| match fault {
            TensorFault::Wrong(reason) => self.tensor_fault(name, reason),
            other => self.not_imported(format!("tensor {name}: {other}")),
        })
    }

    pub(super) fn inputs(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
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

    pub(super) fn input(
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
        if self.options.counted.contains(name) {
            self.context.follow_numbers(name, value);
        }
        let learned = self.context.learn_filling(name, value);
        learned.map_err(|e| self.refused_value(name, &e))?;
        Ok(value)
    }

    /// An input whose value is given beforehand.
    pub(super) fn given(
        &mut self,
        name: &str,
        tensor: &Tensor,
        data_type: DataType,
        shape: &[Dim],
    ) -> Result<Value, ImportError> {
        let widened = match (tensor.data_type(), data_type) {
            // As narrow as an opened model's own inputs are.
            (DataType::I32, DataType::I64) => {
                let numbers = tensor.to_f64_vec().into_iter().map(|x| x as i64);
                let wide = Tensor::from_i64(tensor.shape(), &numbers.collect::<Vec<_>>());
                Some(wide.map_err(|e| self.value_fault(name, e.to_string()))?)
            }
            _ => None,
        };
        let tensor = widened.as_ref().unwrap_or(tensor);
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
    pub(super) fn described(
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

    pub(super) fn type_of(
        &self,
        name: &str,
        info: &ValueInfoProto,
    ) -> Result<DataType, ImportError> {
        let tensor = info.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
        let Some(number) = tensor.and_then(|t| t.elem_type) else {
            return Err(self.not_imported(format!("value {name}, which is no tensor")));
        };
        data_type_of(number).ok_or_else(|| {
            let type_name = data_type_name(number);
            self.not_imported(format!("value {name} with elements of {type_name}"))
        })
    }

    pub(super) fn node(
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

    pub(super) fn outputs_of(
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

    pub(super) fn outputs(&mut self, graph: &'a GraphProto) -> Result<(), ImportError> {
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

    pub(super) fn define(&mut self, name: &'a str, value: Value) -> Result<(), ImportError> {
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
}
