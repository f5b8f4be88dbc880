//! The ONNX graph as it grows: names, nodes, initializers.

use std::collections::{BTreeMap, BTreeSet};

use fewbit_engine::graph::{Dim, Graph, GraphError, Source, ValueId};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

use super::sizes::Measure;
use super::states::{Names, Past};
use super::weights::{self, Initializer};
use super::{ExportError, Prepared, is_weight};
use crate::proto::{
    AttributeProto, AttributeType, Dimension, GraphProto, NodeProto, TensorProto, TensorShapeProto,
    TensorTypeProto, TypeProto, ValueInfoProto, data_type_number,
};

/// Takes nodes in topological order.
pub(super) struct Writer<'a> {
    pub(super) graph: &'a Graph,
    /// What a value is called, once it is.
    names: Vec<Option<String>>,
    taken: BTreeSet<String>,
    nodes: Vec<NodeProto>,
    /// Of constants.
    initializers: Vec<TensorProto>,
    weights: Vec<Initializer>,
    /// How the size that a symbol stands for is found.
    pub(super) measures: BTreeMap<String, Measure>,
    /// The states as inputs, and the input that they are there instead of.
    states: Vec<(ValueId, Names, Vec<Dim>)>,
    position: Option<ValueId>,
    /// How many tokens there are in the caches.
    pub(super) past_symbol: Dim,
    /// What was made for sizes and masks, so that each is made once.
    made: BTreeMap<String, String>,
}

/// Constants up to so many bytes are looked up among those there are.
const SMALL_CONSTANT: usize = 64;

impl<'a> Writer<'a> {
    pub(super) fn new(graph: &'a Graph) -> Result<Writer<'a>, ExportError> {
        let past = Past::of(graph)?;
        let mut writer = Writer {
            graph,
            names: vec![None; graph.values.len()],
            taken: BTreeSet::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            weights: Vec::new(),
            measures: past.measures,
            states: past.inputs,
            position: past.position,
            past_symbol: past.symbol,
            made: BTreeMap::new(),
        };
        for &id in &graph.inputs {
            let value = graph.value(id);
            let Source::Input(name) = &value.source else {
                continue;
            };
            if writer.position == Some(id) {
                continue;
            }
            writer.claim(name)?;
            for (axis, dim) in value.shape.iter().enumerate() {
                if let Some(symbol) = dim.as_symbol() {
                    let of = name.clone();
                    let known = writer.measures.entry(symbol.to_owned());
                    known.or_insert(Measure::Axis { of, axis });
                }
            }
        }
        writer.name_inputs();
        let states: Vec<(ValueId, String, String)> = writer
            .states
            .iter()
            .map(|(id, names, _)| (*id, names.past.clone(), names.present.clone()))
            .collect();
        for (id, past, present) in states {
            writer.claim(&past)?;
            writer.claim(&present)?;
            writer.names[id.index()] = Some(past);
        }
        for (name, id) in &graph.outputs {
            writer.claim(name)?;
            // A node's result is called as the output is; what has a name already is copied at the end.
            let value = graph.value(*id);
            if matches!(value.source, Source::Node(..)) && writer.names[id.index()].is_none() {
                writer.names[id.index()] = Some(name.clone());
            }
        }
        Ok(writer)
    }

    /// Names the inputs; those of 32-bit integers are of 64 bits in the file, and cast.
    fn name_inputs(&mut self) {
        let graph = self.graph;
        for &id in &graph.inputs {
            let value = graph.value(id);
            let Source::Input(name) = &value.source else {
                continue;
            };
            if self.position == Some(id) {
                continue;
            }
            let name = match is_integer(value.element) {
                true => self.cast(name.clone(), DataType::I32),
                false => name.clone(),
            };
            self.names[id.index()] = Some(name);
        }
    }

    /// The name of an operand whose element type is the graph's.
    pub(super) fn read(&mut self, op: &'static str, id: ValueId) -> Result<String, ExportError> {
        let value = self.graph.value(id);
        match &value.source {
            Source::Weight(name) if !weights::keeps_type(value.element) => {
                Err(ExportError::WeightType {
                    name: name.clone(),
                    element: value.element,
                    op,
                })
            }
            _ => self.read_as_f32(id),
        }
    }

    /// The name of an operand that the graph may have as a weight of any float type or block format, in f32.
    pub(super) fn read_as_f32(&mut self, id: ValueId) -> Result<String, ExportError> {
        if let Some(name) = &self.names[id.index()] {
            return Ok(name.clone());
        }
        let graph = self.graph;
        let name = match &graph.value(id).source {
            Source::Weight(name) => {
                let name = self.free(name);
                let weight = Initializer::new(graph, id, name.clone())?;
                self.weights.push(weight);
                name
            }
            Source::Constant(tensor) => self.constant(tensor),
            Source::State(name) => return Err(ExportError::State(name.clone())),
            Source::Input(_) if self.position == Some(id) => self.tokens_before(id)?,
            // Another input is named at the beginning, a node's result when the node is written.
            Source::Input(_) | Source::Node(..) => self.free(&format!("value.{}", id.0)),
        };
        self.names[id.index()] = Some(name.clone());
        Ok(name)
    }

    /// Says that a value is another by another name.
    pub(super) fn alias(&mut self, id: ValueId, name: String) {
        match &self.names[id.index()] {
            // The result of the graph must be made by a node.
            Some(output) => {
                let output = output.clone();
                self.push("Identity", vec![name], output, Vec::new());
            }
            None => self.names[id.index()] = Some(name),
        }
    }

    /// Adds a node whose result is the value `id`.
    pub(super) fn node(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
        id: ValueId,
    ) -> Result<(), ExportError> {
        let output = self.read_as_f32(id)?;
        self.push(op_type, inputs, output, attributes);
        Ok(())
    }

    /// Adds a node whose result is no value of the graph, and gives its name.
    pub(super) fn inner(
        &mut self,
        op_type: &str,
        inputs: Vec<String>,
        attributes: Vec<AttributeProto>,
    ) -> String {
        let output = self.free(&format!("inner.{}", self.nodes.len()));
        self.push(op_type, inputs, output.clone(), attributes);
        output
    }

    /// A node that changes the element type.
    pub(super) fn cast(&mut self, name: String, to: DataType) -> String {
        let to = i64::from(data_type_number(to));
        self.inner("Cast", vec![name], vec![int("to", to)])
    }

    /// An initializer of a constant.
    pub(super) fn constant(&mut self, tensor: &Tensor) -> String {
        let small = tensor.bytes().len() <= SMALL_CONSTANT;
        let (data_type, shape) = (tensor.data_type(), tensor.shape());
        let key = format!(
            "constant {data_type} {shape:?} {:?}",
            small.then(|| tensor.bytes())
        );
        if small && let Some(known) = self.remembered(&key) {
            return known;
        }
        let name = self.free(&format!("constant.{}", self.initializers.len()));
        self.initializers.push(TensorProto {
            dims: tensor.shape().iter().map(|&size| size as i64).collect(),
            data_type: Some(data_type_number(tensor.data_type())),
            name: Some(name.clone()),
            raw_data: Some(tensor.bytes().to_vec()),
            ..TensorProto::default()
        });
        if small {
            self.remember(key, &name);
        }
        name
    }

    /// What was made under this key before.
    pub(super) fn remembered(&self, key: &str) -> Option<String> {
        self.made.get(key).cloned()
    }

    pub(super) fn remember(&mut self, key: String, name: &str) {
        self.made.insert(key, name.to_owned());
    }

    /// The name under which a state leaves the graph.
    pub(super) fn present(&self, state: ValueId) -> Result<String, ExportError> {
        let found = self.states.iter().find(|(id, ..)| *id == state);
        match (found, &self.graph.value(state).source) {
            (Some((_, names, _)), _) => Ok(names.present.clone()),
            (None, Source::State(name)) => Err(ExportError::State(name.clone())),
            (None, _) => Err(ExportError::State(format!("value {}", state.0))),
        }
    }

    /// Numbers as an initializer, i64 `[length]`.
    pub(super) fn longs(&mut self, values: &[i64]) -> Result<String, ExportError> {
        let tensor = Tensor::from_i64(&[values.len()], values).map_err(GraphError::from)?;
        Ok(self.constant(&tensor))
    }

    /// The same as i32.
    pub(super) fn ints(&mut self, values: &[i64]) -> Result<String, ExportError> {
        let values: Vec<i32> = values.iter().map(|&value| value as i32).collect();
        let tensor = Tensor::from_i32(&[values.len()], &values).map_err(GraphError::from)?;
        Ok(self.constant(&tensor))
    }

    /// A shape, axes or places as an initializer, i64 `[length]`.
    pub(super) fn integers(
        &mut self,
        values: impl IntoIterator<Item = usize>,
    ) -> Result<String, ExportError> {
        let values: Vec<i64> = values.into_iter().map(|value| value as i64).collect();
        let tensor = Tensor::from_i64(&[values.len()], &values).map_err(GraphError::from)?;
        Ok(self.constant(&tensor))
    }

    /// A number as an initializer, f32 without dimensions.
    pub(super) fn number(&mut self, value: f32) -> Result<String, ExportError> {
        let tensor = Tensor::from_f32(&[], &[value]).map_err(GraphError::from)?;
        Ok(self.constant(&tensor))
    }

    /// The ONNX graph.
    pub(super) fn finish(mut self) -> Result<Prepared, ExportError> {
        let graph = self.graph;
        for (name, id) in &graph.outputs {
            if self.names[id.index()].as_ref() != Some(name) {
                let made = self.read("output", *id)?;
                self.push("Identity", vec![made], name.clone(), Vec::new());
            }
        }
        let mut inputs = Vec::new();
        for &id in &graph.inputs {
            if let Source::Input(name) = &graph.value(id).source
                && self.position != Some(id)
            {
                let value = graph.value(id);
                let data_type = match is_integer(value.element) {
                    true => DataType::I64,
                    false => type_of(graph, id),
                };
                inputs.push(value_info(data_type, name, &value.shape));
            }
        }
        let mut outputs: Vec<ValueInfoProto> = graph
            .outputs
            .iter()
            .map(|(name, id)| value_info(type_of(graph, *id), name, &graph.value(*id).shape))
            .collect();
        for (id, names, shape) in &self.states {
            let data_type = type_of(graph, *id);
            inputs.push(value_info(data_type, &names.past, shape));
            if let Some(shape) = self.shape_after(*id, shape) {
                outputs.push(value_info(data_type, &names.present, &shape));
            }
        }
        Ok(Prepared {
            graph: GraphProto {
                name: Some("graph".into()),
                input: inputs,
                output: outputs,
                node: self.nodes,
                initializer: self.initializers,
                ..GraphProto::default()
            },
            weights: self.weights,
            states: Vec::new(),
            position: self.position.and_then(|id| match &graph.value(id).source {
                Source::Input(name) => Some(name.clone()),
                _ => None,
            }),
        })
    }

    /// The shape of a state after a run, if the run writes it.
    fn shape_after(&self, state: ValueId, before: &[Dim]) -> Option<Vec<Dim>> {
        let capacity = self.graph.value(state).shape.get(2)?.as_symbol()?;
        let Some(Measure::Of(total)) = self.measures.get(capacity) else {
            return None;
        };
        let mut shape = before.to_vec();
        shape[2] = total.clone();
        Some(shape)
    }

    pub(super) fn push(
        &mut self,
        op_type: &str,
        input: Vec<String>,
        output: String,
        attribute: Vec<AttributeProto>,
    ) {
        self.nodes.push(NodeProto {
            name: Some(format!("{op_type}.{}", self.nodes.len())),
            input,
            output: vec![output],
            op_type: Some(op_type.into()),
            attribute,
            domain: None,
        });
    }

    fn claim(&mut self, name: &str) -> Result<(), ExportError> {
        match self.taken.insert(name.to_owned()) {
            true => Ok(()),
            false => Err(ExportError::Name(name.to_owned())),
        }
    }

    /// A name that nothing has yet, `wanted` if that is free.
    fn free(&mut self, wanted: &str) -> String {
        let mut name = wanted.to_owned();
        let mut count = 0;
        while !self.taken.insert(name.clone()) {
            count += 1;
            name = format!("{wanted}.{count}");
        }
        name
    }
}

/// Whether an input is of ids, a mask or places: whoever runs ONNX files gives these in 64 bits.
fn is_integer(element: ElementType) -> bool {
    element == DataType::I32.into()
}

/// The element type that a value has in the file.
fn type_of(graph: &Graph, id: ValueId) -> DataType {
    match graph.value(id).element {
        ElementType::Plain(data_type) if !is_weight(graph, id) => data_type,
        _ => DataType::F32,
    }
}

/// An input's or output's name, type and shape; a symbol, or arithmetic over symbols, is a dimension's name.
fn value_info(data_type: DataType, name: &str, shape: &[Dim]) -> ValueInfoProto {
    let dim = |dim: &Dim| match dim.fixed() {
        Some(size) => Dimension {
            dim_value: Some(size as i64),
            dim_param: None,
        },
        None => Dimension {
            dim_value: None,
            dim_param: Some(dim.to_string()),
        },
    };
    ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(data_type)),
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dim).collect(),
                }),
            }),
        }),
    }
}

/// An attribute that is a whole number.
pub(super) fn int(name: &str, value: i64) -> AttributeProto {
    AttributeProto {
        i: Some(value),
        ..attribute(name, AttributeType::Int)
    }
}

/// An attribute that is a number.
pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        f: Some(value),
        ..attribute(name, AttributeType::Float)
    }
}

/// An attribute that is a word.
pub(super) fn word(name: &str, value: &str) -> AttributeProto {
    AttributeProto {
        s: Some(value.into()),
        ..attribute(name, AttributeType::String)
    }
}

/// An attribute that is a list of sizes.
pub(super) fn ints(name: &str, values: impl IntoIterator<Item = usize>) -> AttributeProto {
    AttributeProto {
        ints: values.into_iter().map(|value| value as i64).collect(),
        ..attribute(name, AttributeType::Ints)
    }
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(kind.into()),
        ..AttributeProto::default()
    }
}
