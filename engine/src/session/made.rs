//! Weights that are made of the checkpoint's once, at load, and not again in every run: a matrix that a checkpoint
//! keeps the other way round, a filter kept as direction and length, the factors of a frozen normalization.

use std::collections::BTreeMap;

use super::{SessionError, WeightSource};
use crate::backend::cpu::reference::{self, View};
use crate::format::{TensorEntry, read_tensor};
use crate::graph::pass::{Rewriter, prune};
use crate::graph::{Graph, GraphError, NodeId, Op, Source, Value, ValueId, fixed_shape};
use crate::tensor::Tensor;

/// A weight that the checkpoint has not, and what makes it.
pub(super) struct Made {
    pub(super) name: String,
    /// From weights alone to one output.
    graph: Graph,
}

impl Made {
    /// The checkpoint's weights that it is made of.
    pub(super) fn entries<'a>(
        &self,
        source: &'a WeightSource,
    ) -> Result<Vec<&'a TensorEntry>, SessionError> {
        let names = self.graph.weights().map(|(_, name, _)| name);
        names.map(|name| Ok(source.checkpoint.get(name)?)).collect()
    }

    /// Reads what it is made of, and makes it by the scalar reference.
    pub(super) async fn make(&self, source: &WeightSource) -> Result<Tensor, SessionError> {
        let mut read = Vec::new();
        for (_, name, value) in self.graph.weights() {
            let entry = source.checkpoint.get(name)?;
            let bytes = read_tensor(&source.files, entry).await?;
            read.push((name, value.element, value.fixed_shape()?, bytes));
        }
        let mut given = BTreeMap::new();
        for (name, element, shape, bytes) in &read {
            let view = View {
                element: *element,
                shape,
                bytes,
            };
            given.insert((*name).to_owned(), view);
        }
        let failed = |told: String| GraphError::Fold(format!("{}: {told}", self.name));
        let made = reference::evaluate_graph(&self.graph, &given);
        let mut made = made.map_err(|error| failed(error.to_string()))?;
        let missing = || failed("nothing was made".to_owned()).into();
        made.outputs.remove(&self.name).ok_or_else(missing)
    }
}

/// The graph with such weights in the place of what makes them, and these; their names begin with `prefix`.
pub(super) fn extract(graph: &Graph, prefix: &str) -> Result<(Graph, Vec<Made>), GraphError> {
    let derived = derived(graph);
    let mut asked = vec![false; graph.values.len()];
    for (_, id) in &graph.outputs {
        asked[id.index()] = true;
    }
    for node in graph
        .nodes
        .iter()
        .filter(|node| !derived[node.outputs[0].index()])
    {
        for id in &node.inputs {
            asked[id.index()] = true;
        }
    }
    let mut made = Vec::new();
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        let id = node.outputs[0];
        let value = graph.value(id);
        if !(derived[id.index()] && asked[id.index()]) {
            rewriter.copy(node)?;
            continue;
        }
        let name = format!("{prefix}{}", id.0);
        let alone = alone(graph, id, &name);
        // A back end reads a weight in another type or grouping by itself.
        let trivial = |op: &Op| matches!(op, Op::Cast { .. } | Op::Reshape { .. });
        if alone.nodes.iter().all(|node| trivial(&node.op)) {
            rewriter.copy(node)?;
            continue;
        }
        let shape = value.fixed_shape()?;
        let weight = rewriter.builder().weight(&name, value.element, &shape)?;
        rewriter.replace(id, weight);
        made.push(Made { name, graph: alone });
    }
    Ok((prune(&rewriter.finish()?), made))
}

/// Which values depend on weights and constants alone, by nodes that do not make much out of little.
fn derived(graph: &Graph) -> Vec<bool> {
    let mut derived = vec![false; graph.values.len()];
    for node in &graph.nodes {
        let plain = |value: &Value| value.element.plain().is_some();
        let known = |id: &ValueId| match &graph.value(*id).source {
            Source::Weight(_) | Source::Constant(_) => true,
            Source::Node(..) => derived[id.index()],
            Source::Input(_) | Source::State(_) => false,
        };
        let of_weights = |id: &ValueId| !matches!(graph.value(*id).source, Source::Constant(_));
        let output = graph.value(node.outputs[0]);
        let simple = match &node.op {
            Op::Slice(slice) => fixed_shape(&slice.starts).is_some(),
            op => !matches!(
                op,
                Op::KvAppend
                    | Op::Conv2d(_)
                    | Op::Attention(_)
                    | Op::Matmul
                    | Op::BlockMatmul { .. }
            ),
        };
        let largest = node.inputs.iter().map(|&id| elements(graph, id)).max();
        derived[node.outputs[0].index()] = simple
            && node
                .inputs
                .iter()
                .all(|id| known(id) && plain(graph.value(*id)))
            && node.inputs.iter().any(of_weights)
            && plain(output)
            && elements(graph, node.outputs[0]).is_some_and(|made| Some(Some(made)) <= largest);
    }
    derived
}

fn elements(graph: &Graph, id: ValueId) -> Option<usize> {
    Some(fixed_shape(&graph.value(id).shape)?.iter().product())
}

/// What makes `root`, as a graph of its own whose output is called `name`.
fn alone(graph: &Graph, root: ValueId, name: &str) -> Graph {
    let mut needed = vec![false; graph.values.len()];
    needed[root.index()] = true;
    let mut out = Graph::default();
    for node in graph.nodes.iter().rev() {
        if needed[node.outputs[0].index()] {
            node.inputs.iter().for_each(|id| needed[id.index()] = true);
            out.nodes.push(node.clone());
        }
    }
    out.nodes.reverse();
    out.values = graph.values.clone();
    for (number, node) in out.nodes.iter().enumerate() {
        let made = &mut out.values[node.outputs[0].index()];
        made.source = Source::Node(NodeId(number as u32), 0);
    }
    out.outputs = vec![(name.to_owned(), root)];
    prune(&out)
}
