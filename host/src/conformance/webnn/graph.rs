//! A case as a graph, built as a page would: by calls of `MLGraphBuilder`'s methods with the case's arguments.

use std::collections::BTreeMap;

use fewbit_engine::graph::{Graph, GraphBuilder, GraphError, Source, ValueId};
use fewbit_engine::tensor::Tensor;
use fewbit_webnn::{
    BuildError, Builder, Built, DataType, Descriptor, Exception, Operand, Value, pairs,
};
use half::f16;
use serde_json::Value as Json;

use super::cases::{Case, Data};
use crate::conformance::verdict::{Failure, wrong};
use crate::job::Outcome;

/// Bytes of a constant that a graph carries; a larger one is given as an input.
const MOST_CONSTANT: usize = 1 << 20;

/// A case ready to be run.
pub(super) struct Prepared {
    pub(super) graph: Graph,
    /// As the graph takes them.
    pub(super) inputs: Vec<(String, Tensor)>,
    /// In the order of the graph's outputs; in the types of the case.
    pub(super) expected: Vec<(String, Tensor)>,
}

/// Builds a case; where the target has no 64-bit integers, in pairs of words.
pub(super) fn prepare(case: &Case, in_pairs: bool) -> Result<Prepared, Failure> {
    let (built, given) = build(case)?;
    let split = in_pairs && pairs::needed(&built.graph);
    let graph = match split {
        true => {
            pairs::split(&built.graph).map_err(|error| (Outcome::Unsupported, error.to_string()))?
        }
        false => built.graph,
    };
    let mut inputs = Vec::new();
    for (name, _) in &built.inputs {
        let tensor = given
            .get(name.as_str())
            .ok_or_else(|| wrong(format!("no input {name}")))?;
        let tensor = match split {
            true => pairs::to_words(tensor).map_err(wrong)?,
            false => tensor.clone(),
        };
        inputs.push((name.clone(), tensor));
    }
    let mut expected = Vec::new();
    for (name, descriptor) in &built.outputs {
        let data = &case.graph.expected_outputs[name];
        let tensor = tensor(name, data)?;
        let made = (descriptor.data_type.engine(), descriptor.shape.as_slice());
        if made != (tensor.data_type(), tensor.shape()) {
            return Err((
                Outcome::Mismatch,
                format!("{name}: {descriptor} made, {tensor:?} expected"),
            ));
        }
        expected.push((name.clone(), tensor));
    }
    Ok(Prepared {
        graph,
        inputs,
        expected,
    })
}

fn of_build(error: BuildError) -> Failure {
    let outcome = match error.exception {
        Exception::NotSupportedError => Outcome::Unsupported,
        _ => Outcome::Error,
    };
    (outcome, error.to_string())
}

fn build(case: &Case) -> Result<(Built, BTreeMap<&str, Tensor>), Failure> {
    let mut builder = Builder::new();
    let mut operands: BTreeMap<String, Operand> = BTreeMap::new();
    let mut given = BTreeMap::new();
    for (name, data) in &case.graph.inputs {
        let tensor = tensor(name, data)?;
        let descriptor = Descriptor::new(data_type(&data.descriptor.data_type)?, tensor.shape());
        // A large one would not fit into a message to a page.
        let operand = match data.constant && tensor.bytes().len() <= MOST_CONSTANT {
            true => builder.constant(&descriptor, tensor.bytes()),
            false => builder.input(name, &descriptor),
        };
        operands.insert(name.clone(), operand.map_err(of_build)?);
        given.insert(name.as_str(), tensor);
    }
    for operator in &case.graph.operators {
        let mut arguments = Vec::new();
        for argument in &operator.arguments {
            for value in argument.values() {
                arguments.push(argument_of(value, &operands)?);
            }
        }
        let made = builder.call(&operator.name, &arguments).map_err(of_build)?;
        let names = operator.outputs.all();
        if made.len() != names.len() {
            let count = made.len();
            return Err(wrong(format!(
                "{}: {count} outputs for {names:?}",
                operator.name
            )));
        }
        operands.extend(names.iter().cloned().zip(made));
    }
    let mut outputs = Vec::new();
    for name in case.graph.expected_outputs.keys() {
        let operand = operands.get(name).copied();
        let operand = operand.ok_or_else(|| wrong(format!("nothing makes output {name}")))?;
        outputs.push((name.as_str(), operand));
    }
    let built = builder.build(&outputs).map_err(of_build)?;
    Ok((built, given))
}

/// An argument; a string that names an operand is that operand, and digits with an `n` are a `BigInt`.
fn argument_of(json: &Json, operands: &BTreeMap<String, Operand>) -> Result<Value, Failure> {
    Ok(match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Bool(*flag),
        Json::Number(number) => Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        Json::String(text) => match (operands.get(text), big(text)) {
            (Some(&operand), _) => Value::Operand(operand),
            (None, Some(number)) => Value::BigInt(number),
            (None, None) => match text.as_str() {
                "Infinity" => Value::Number(f64::INFINITY),
                "-Infinity" => Value::Number(f64::NEG_INFINITY),
                "NaN" => Value::Number(f64::NAN),
                text => Value::Text(text.to_owned()),
            },
        },
        Json::Array(values) => {
            let values = values.iter().map(|value| argument_of(value, operands));
            Value::List(values.collect::<Result<_, _>>()?)
        }
        Json::Object(members) => {
            let members = members.iter();
            let members = members.map(|(name, value)| {
                let value = argument_of(value, operands)?;
                Ok((name.clone(), value))
            });
            Value::Object(members.collect::<Result<_, Failure>>()?)
        }
    })
}

fn big(text: &str) -> Option<i128> {
    text.strip_suffix('n')?.parse().ok()
}

fn data_type(name: &str) -> Result<DataType, Failure> {
    DataType::named(name).ok_or_else(|| wrong(format!("there is no data type {name}")))
}

/// A case's tensor.
pub(super) fn tensor(name: &str, data: &Data) -> Result<Tensor, Failure> {
    let data_type = data_type(&data.descriptor.data_type)?;
    let shape = &data.descriptor.shape;
    let count: usize = shape.iter().product();
    let one = std::slice::from_ref(&data.data);
    let values = data.data.as_array().map_or(one, Vec::as_slice);
    let mut bytes = Vec::with_capacity(count * data_type.bytes());
    for value in values {
        let element = element(data_type, value)
            .ok_or_else(|| wrong(format!("{name}: {value} is no {data_type}")))?;
        bytes.extend(element);
    }
    if values.len() == 1 {
        bytes = bytes.repeat(count);
    }
    Tensor::from_bytes(data_type.engine(), shape, &bytes).map_err(wrong)
}

fn element(data_type: DataType, value: &Json) -> Option<Vec<u8>> {
    let float = |value: &Json| match value {
        Json::Number(number) => number.as_f64(),
        Json::String(text) => text.parse().ok(),
        _ => None,
    };
    Some(match data_type {
        DataType::Float32 => (float(value)? as f32).to_le_bytes().to_vec(),
        DataType::Float16 => f16::from_f64(float(value)?).to_le_bytes().to_vec(),
        integer => {
            let whole = match value {
                Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                    (Some(whole), _) => i128::from(whole),
                    (None, Some(whole)) => i128::from(whole),
                    // A whole number in the form of a float.
                    (None, None) => number.as_f64().filter(|x| x.fract() == 0.0)? as i128,
                },
                Json::String(text) => big(text).or_else(|| text.parse().ok())?,
                _ => return None,
            };
            whole.to_le_bytes()[..integer.bytes()].to_vec()
        }
    })
}

/// One graph of many, the names of each with its number before them.
pub(super) fn merged(graphs: &[(usize, &Graph)]) -> Result<Graph, GraphError> {
    let mut builder = GraphBuilder::new();
    for &(number, graph) in graphs {
        let mut made: Vec<ValueId> = Vec::with_capacity(graph.values.len());
        for value in &graph.values {
            let new = match &value.source {
                Source::Input(name) => {
                    let data_type = value.element.plain().ok_or(GraphError::Type {
                        op: "input",
                        got: value.element,
                        wanted: "a plain type",
                    })?;
                    builder.input(&numbered(number, name), data_type, value.shape.clone())?
                }
                Source::Constant(tensor) => builder.shared_constant(tensor.clone()),
                Source::Node(node, _) => {
                    let node = graph.node(*node);
                    let inputs: Vec<ValueId> =
                        node.inputs.iter().map(|id| made[id.index()]).collect();
                    builder.op(node.op.clone(), &inputs)?
                }
                Source::Weight(name) => builder.weight(
                    &numbered(number, name),
                    value.element,
                    &value.fixed_shape()?,
                )?,
                Source::State(name) => {
                    return Err(GraphError::Operand {
                        op: "state",
                        message: format!("{name}: graphs with states are not merged"),
                    });
                }
            };
            made.push(new);
        }
        for (name, id) in &graph.outputs {
            builder.output(&numbered(number, name), made[id.index()])?;
        }
    }
    Ok(builder.finish())
}

/// The name in the merged graph.
pub(super) fn numbered(number: usize, name: &str) -> String {
    format!("{number}:{name}")
}
