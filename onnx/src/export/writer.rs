//! The ONNX graph as it grows: names, nodes, initializers.

use std::collections::BTreeSet;

use fewbit_engine::graph::{Graph, GraphError, Source, ValueId};
use fewbit_engine::session::WeightSource;
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

use super::{ExportError, is_weight, weights};
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
    /// Weights that are used, with the names of their initializers.
    weights: Vec<(ValueId, String)>,
}

impl<'a> Writer<'a> {
    pub(super) fn new(graph: &'a Graph) -> Result<Writer<'a>, ExportError> {
        let mut writer = Writer {
            graph,
            names: vec![None; graph.values.len()],
            taken: BTreeSet::new(),
            nodes: Vec::new(),
            initializers: Vec::new(),
            weights: Vec::new(),
        };
        for &id in &graph.inputs {
            if let Source::Input(name) = &graph.value(id).source {
                writer.claim(name)?;
                writer.names[id.index()] = Some(name.clone());
            }
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
                self.weights.push((id, name.clone()));
                name
            }
            Source::Constant(tensor) => self.constant(tensor),
            Source::State(name) => return Err(ExportError::State(name.clone())),
            // An input is named at the beginning, a node's result when the node is written.
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
        let name = self.free(&format!("constant.{}", self.initializers.len()));
        self.initializers.push(TensorProto {
            dims: tensor.shape().iter().map(|&size| size as i64).collect(),
            data_type: Some(data_type_number(tensor.data_type())),
            name: Some(name.clone()),
            raw_data: Some(tensor.bytes().to_vec()),
            ..TensorProto::default()
        });
        name
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

    /// The ONNX graph, with the weights read from `source`.
    pub(super) async fn finish(mut self, source: &WeightSource) -> Result<GraphProto, ExportError> {
        let graph = self.graph;
        for (name, id) in &graph.outputs {
            if self.names[id.index()].as_ref() != Some(name) {
                let made = self.read("output", *id)?;
                self.push("Identity", vec![made], name.clone(), Vec::new());
            }
        }
        let mut initializers = weights::read(graph, &self.weights, source).await?;
        initializers.append(&mut self.initializers);
        let named = |name: &str, id: ValueId| value_info(graph, name, id);
        let inputs = graph
            .inputs
            .iter()
            .filter_map(|&id| match &graph.value(id).source {
                Source::Input(name) => Some(named(name, id)),
                _ => None,
            });
        let outputs = graph.outputs.iter().map(|(name, id)| named(name, *id));
        Ok(GraphProto {
            name: Some("graph".into()),
            input: inputs.collect::<Result<_, ExportError>>()?,
            output: outputs.collect::<Result<_, ExportError>>()?,
            node: self.nodes,
            initializer: initializers,
            ..GraphProto::default()
        })
    }

    fn push(
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

fn value_info(graph: &Graph, name: &str, id: ValueId) -> Result<ValueInfoProto, ExportError> {
    let value = graph.value(id);
    let data_type = match value.element {
        ElementType::Plain(data_type) if !is_weight(graph, id) => data_type,
        _ => DataType::F32,
    };
    let shape = value.fixed_shape()?;
    let dim = |&size: &usize| Dimension {
        dim_value: Some(size as i64),
        dim_param: None,
    };
    Ok(ValueInfoProto {
        name: Some(name.to_owned()),
        r#type: Some(TypeProto {
            tensor_type: Some(TensorTypeProto {
                elem_type: Some(data_type_number(data_type)),
                shape: Some(TensorShapeProto {
                    dim: shape.iter().map(dim).collect(),
                }),
            }),
        }),
    })
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
