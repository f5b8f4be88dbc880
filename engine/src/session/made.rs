//! Weights that are made of the checkpoint's once, at load, and not again in every run: a matrix that a checkpoint
//! keeps the other way round, a filter kept as direction and length, the factors of a frozen normalization.

use std::collections::BTreeMap;

use super::{SessionError, WeightSource};
use crate::backend::cpu::reference::{self, View};
use crate::format::{TensorEntry, read_tensor};
use crate::graph::pass::{Rewriter, prune};
use crate::graph::{Graph, GraphError, Node, NodeId, Op, Source, Value, ValueId, fixed_shape};
use crate::tensor::Tensor;

/// A weight that the checkpoint has not, and what makes it.
pub(super) struct Made {
    pub(super) name: String,
    /// From weights alone to the output [`MADE`].
    graph: Graph,
}

const MADE: &str = "made";

/// Which weights a graph may have made.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum May {
    /// All that are worth it.
    All,
    /// Those that there are, and matrices the other way round: of a graph that goes again, what its own numbers make of weights
    /// would stay.
    Turned,
}

impl Made {
    /// The names of the checkpoint's weights that it is made of.
    pub(super) fn weights(&self) -> impl Iterator<Item = &str> {
        self.graph.weights().map(|(_, name, _)| name)
    }

    /// The checkpoint's weights that it is made of.
    pub(super) fn entries<'a>(
        &self,
        source: &'a WeightSource,
    ) -> Result<Vec<&'a TensorEntry>, SessionError> {
        self.weights()
            .map(|name| Ok(source.checkpoint.get(name)?))
            .collect()
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
        made.outputs.remove(MADE).ok_or_else(missing)
    }
}

/// The graph with such weights in the place of what makes them. Those that are not among `made` yet are put there.
pub(super) fn extract(graph: &Graph, made: &mut Vec<Made>, may: May) -> Result<Graph, GraphError> {
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
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        let id = node.outputs[0];
        let value = graph.value(id);
        if !(derived[id.index()] && asked[id.index()]) {
            rewriter.copy(node)?;
            continue;
        }
        let alone = alone(graph, id);
        // A back end reads a weight in another type or grouping by itself.
        let trivial = |op: &Op| matches!(op, Op::Cast { .. } | Op::Reshape { .. });
        let turned = |op: &Op| trivial(op) || matches!(op, Op::Transpose { .. });
        let all = |of: &dyn Fn(&Op) -> bool| alone.nodes.iter().all(|node| of(&node.op));
        let known = made.iter().find(|made| same(&made.graph, &alone));
        if all(&trivial) || (known.is_none() && may == May::Turned && !all(&turned)) {
            rewriter.copy(node)?;
            continue;
        }
        let name = match known {
            Some(known) => known.name.clone(),
            None => format!("made:{}", made.len()),
        };
        let (new, shape) = (known.is_none(), value.fixed_shape()?);
        let weight = rewriter.builder().weight(&name, value.element, &shape)?;
        rewriter.replace(id, weight);
        if new {
            made.push(Made { name, graph: alone });
        }
    }
    Ok(prune(&rewriter.finish()?))
}

/// Whether two graphs make the same of the same weights.
fn same(a: &Graph, b: &Graph) -> bool {
    let source = |a: &Source, b: &Source| match (a, b) {
        (Source::Weight(a), Source::Weight(b)) => a == b,
        (Source::Constant(a), Source::Constant(b)) => {
            a.data_type() == b.data_type() && a.shape() == b.shape() && a.bytes() == b.bytes()
        }
        (Source::Node(a, x), Source::Node(b, y)) => (a, x) == (b, y),
        _ => false,
    };
    let value = |(a, b): (&Value, &Value)| {
        a.element == b.element && a.shape == b.shape && source(&a.source, &b.source)
    };
    let node =
        |(a, b): (&Node, &Node)| a.op == b.op && a.inputs == b.inputs && a.outputs == b.outputs;
    a.values.len() == b.values.len()
        && a.nodes.len() == b.nodes.len()
        && a.outputs == b.outputs
        && a.values.iter().zip(&b.values).all(value)
        && a.nodes.iter().zip(&b.nodes).all(node)
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

/// What makes `root`, as a graph of its own.
fn alone(graph: &Graph, root: ValueId) -> Graph {
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
    out.outputs = vec![(MADE.to_owned(), root)];
    prune(&out)
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;
    use crate::format::Checkpoint;
    use crate::graph::{Dim, GraphBuilder};
    use crate::source::{ByteSource, MemorySource};
    use crate::tensor::{DataType, ElementType};

    /// `x · wᵀ + bias`, the checkpoint having `w` the other way round and `bias` in halves, and `w` once more as it is.
    fn graph() -> Graph {
        let mut b = GraphBuilder::new();
        let shape = vec![Dim::symbol("n"), Dim::from(2)];
        let x = b.input("x", DataType::F32, shape).unwrap();
        let w = b.weight("w", ElementType::F32, &[2, 3]).unwrap();
        let half = ElementType::Plain(DataType::F16);
        let bias = b.weight("bias", half, &[3]).unwrap();
        let bias = b.cast(bias, DataType::F32).unwrap();
        let turned = b.transpose(w, &[1, 0]).unwrap();
        let y = b.block_matmul(x, turned, Some(bias)).unwrap();
        b.output("y", y).unwrap();
        let twice = b.matmul(x, w).unwrap();
        b.output("twice", twice).unwrap();
        b.finish()
    }

    #[test]
    fn what_depends_on_weights_alone_is_made_once() {
        let mut made = Vec::new();
        let changed = extract(&graph(), &mut made, May::All).unwrap();
        assert_eq!(made.len(), 1);
        let names: Vec<&str> = changed.weights().map(|(_, name, _)| name).collect();
        assert!(names.contains(&"w") && names.contains(&"bias"), "{names:?}");
        assert!(names.contains(&made[0].name.as_str()), "{names:?}");
        // The cast of the bias stays.
        let ops: Vec<&str> = changed.nodes.iter().map(|node| node.op.name()).collect();
        assert!(
            !ops.contains(&"transpose") && ops.contains(&"cast"),
            "{ops:?}"
        );

        let numbers: Vec<u8> = (0..6).flat_map(|n| (n as f32).to_le_bytes()).collect();
        let entry = TensorEntry {
            name: "w".into(),
            element: ElementType::F32,
            shape: vec![2, 3],
            file: 0,
            offset: 0,
            bytes: 24,
        };
        let file: Rc<dyn ByteSource> = Rc::new(MemorySource::new("f", numbers));
        let source = WeightSource {
            checkpoint: Checkpoint {
                tensors: [("w".to_owned(), entry)].into(),
                ..Checkpoint::default()
            },
            files: vec![file],
        };
        assert_eq!(made[0].entries(&source).unwrap().len(), 1);
        let tensor = pollster::block_on(made[0].make(&source)).unwrap();
        assert_eq!(tensor.shape(), [3, 2]);
        assert_eq!(tensor.to_f64_vec(), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
    }

    #[test]
    fn a_second_graph_has_what_the_first_had_made() {
        let mut made = Vec::new();
        extract(&graph(), &mut made, May::All).unwrap();
        let again = extract(&graph(), &mut made, May::Turned).unwrap();
        assert_eq!(made.len(), 1);
        let mut names = again.weights().map(|(_, name, _)| name);
        assert!(names.any(|name| name == made[0].name));

        // What a graph's own numbers make of a weight stays in it.
        let mut b = GraphBuilder::new();
        let w = b.weight("w", ElementType::F32, &[2, 3]).unwrap();
        let two = b.number(2.0).unwrap();
        let twice = b.mul(w, two).unwrap();
        b.output("y", twice).unwrap();
        let scaled = b.finish();
        let kept = extract(&scaled, &mut made, May::Turned).unwrap();
        assert_eq!((kept.nodes.len(), made.len()), (1, 1));
        extract(&scaled, &mut made, May::All).unwrap();
        assert_eq!(made.len(), 2);
    }

    #[test]
    fn what_grows_or_has_symbols_is_left_to_the_back_end() {
        let mut b = GraphBuilder::new();
        let row = b.weight("row", ElementType::F32, &[1, 3]).unwrap();
        let column = b.weight("column", ElementType::F32, &[3, 1]).unwrap();
        let large = b.mul(row, column).unwrap();
        b.output("large", large).unwrap();
        let table = b.weight("table", ElementType::F32, &[4, 3]).unwrap();
        let some = b
            .slice_axis(table, 0, Dim::from(0), Dim::symbol("n"))
            .unwrap();
        b.output("some", some).unwrap();
        let graph = b.finish();
        let mut made = Vec::new();
        let changed = extract(&graph, &mut made, May::All).unwrap();
        assert!(made.is_empty());
        assert_eq!(changed.nodes.len(), graph.nodes.len());
    }
}
