//! A whole graph, node by node: the oracle for plans, passes and decompositions.

use std::collections::BTreeMap;

use super::{EvaluateError, View, evaluate};
use crate::graph::{Graph, GraphError, Op, Source, Value, ValueId};
use crate::tensor::Tensor;

/// What a graph makes of its inputs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluated {
    pub outputs: BTreeMap<String, Tensor>,
    /// Those states that the graph changes, as they are after the run.
    pub states: BTreeMap<String, Tensor>,
}

/// Runs a graph without symbols once over `given`: its inputs, weights and states by name.
///
/// # Errors
/// A name that is missing or has another type or shape than the graph says, or a node's own error.
pub fn evaluate_graph(
    graph: &Graph,
    given: &BTreeMap<String, View<'_>>,
) -> Result<Evaluated, EvaluateError> {
    let mut made: Vec<Option<Tensor>> = vec![None; graph.values.len()];
    let mut evaluated = Evaluated::default();
    for node in &graph.nodes {
        let inputs: Result<Vec<View<'_>>, EvaluateError> = node
            .inputs
            .iter()
            .map(|&id| view(graph, given, &made, id))
            .collect();
        let output = evaluate(&node.op, &inputs?)?;
        if let (Op::KvAppend, Source::State(name)) = (&node.op, &graph.value(node.inputs[0]).source)
        {
            evaluated.states.insert(name.clone(), output.clone());
        }
        made[node.outputs[0].index()] = Some(output);
    }
    for (name, id) in &graph.outputs {
        let view = view(graph, given, &made, *id)?;
        let data_type = view.element.plain().ok_or(GraphError::Type {
            op: "output",
            got: view.element,
            wanted: "a plain type",
        })?;
        let tensor = Tensor::from_bytes(data_type, view.shape, view.bytes)?;
        evaluated.outputs.insert(name.clone(), tensor);
    }
    Ok(evaluated)
}

fn view<'a>(
    graph: &'a Graph,
    given: &BTreeMap<String, View<'a>>,
    made: &'a [Option<Tensor>],
    id: ValueId,
) -> Result<View<'a>, EvaluateError> {
    let value = graph.value(id);
    match &value.source {
        Source::Input(name) => find(value, "input", name, given),
        Source::Weight(name) => find(value, "weight", name, given),
        Source::State(name) => find(value, "state", name, given),
        Source::Constant(tensor) => Ok(tensor.as_ref().into()),
        Source::Node(..) => match &made[id.index()] {
            Some(tensor) => Ok(tensor.into()),
            None => Err(EvaluateError::NotGiven {
                kind: "value",
                name: id.0.to_string(),
            }),
        },
    }
}

fn find<'a>(
    value: &Value,
    kind: &'static str,
    name: &str,
    given: &BTreeMap<String, View<'a>>,
) -> Result<View<'a>, EvaluateError> {
    let name = || name.to_owned();
    let view = *given
        .get(&name())
        .ok_or_else(|| EvaluateError::NotGiven { kind, name: name() })?;
    if view.element != value.element || view.shape != value.fixed_shape()? {
        return Err(EvaluateError::Given {
            kind,
            name: name(),
            element: view.element,
            shape: view.shape.to_vec(),
            wanted: format!("{} {:?}", value.element, value.shape),
        });
    }
    Ok(view)
}
