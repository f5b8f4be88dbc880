//! Logits of the wanted positions alone: the last layers go over one row at a time, so that rows can be taken before them.

use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{Dim, Graph, GraphError, Node, NodeId, Op, Source, ValueId};
use fewbit_engine::tensor::{DataType, ElementType};

/// The graph whose output `[batch, tokens, vocabulary]` is `[rows, vocabulary]`: those of the `batch · tokens` positions that
/// the input `rows` names.
pub(crate) fn wanted_rows(graph: &Graph) -> Result<Graph, GraphError> {
    let is_rows =
        |id: &&ValueId| matches!(&graph.value(**id).source, Source::Input(name) if name == "rows");
    let Some(&rows) = graph.inputs.iter().find(is_rows) else {
        return Err(GraphError::Operand {
            op: "rows",
            message: "no input rows".to_owned(),
        });
    };
    let logits = graph.outputs[0].1;
    taken(graph, logits, logits, |rewriter, base| {
        let rows = rewriter.get(rows)?;
        // Of a decoder that takes one token at a time, as many as there are rows in the batch.
        let shape = rewriter.builder().shape(base);
        let positions = match shape {
            [batch, tokens, _] if tokens.is_one() => batch.clone(),
            _ => Dim::symbol("positions"),
        };
        Ok((positions, rows))
    })
}

/// The graph that takes the rows of its output before the last layers: an output that is rows of `[batch, tokens, vocabulary]`
/// with the first two dimensions joined.
pub(crate) fn rows_first(graph: &Graph) -> Result<Graph, GraphError> {
    let output = graph.outputs[0].1;
    let made = |id: ValueId| Some(graph.node(graph.producer(id)?));
    let found = made(output).and_then(|gather| {
        let flat = made(gather.inputs[0])?;
        let joined = graph.value(flat.inputs[0]).shape.len() == 3
            && matches!(flat.op, Op::Reshape { .. })
            && matches!(gather.op, Op::Gather { axis: 0, .. });
        joined.then(|| {
            (
                flat.inputs[0],
                graph.value(flat.outputs[0]).shape[0].clone(),
                gather.inputs[1],
            )
        })
    });
    let Some((whole, positions, rows)) = found else {
        return Ok(graph.clone());
    };
    taken(graph, whole, output, |rewriter, _| {
        Ok((positions, rewriter.get(rows)?))
    })
}

/// The graph with `output` as rows of `whole`, which are taken as early as can be; `which` says of how many positions, and
/// which rows.
fn taken(
    graph: &Graph,
    whole: ValueId,
    output: ValueId,
    which: impl FnOnce(&mut Rewriter<'_>, ValueId) -> Result<(Dim, ValueId), GraphError>,
) -> Result<Graph, GraphError> {
    let (mut chain, mut base): (Vec<(NodeId, usize)>, ValueId) = (Vec::new(), whole);
    while let Some(id) = graph.producer(base)
        && let Some(input) = row_by_row(graph, graph.node(id))
    {
        base = graph.node(id).inputs[input];
        chain.push((id, input));
    }
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        rewriter.copy(node)?;
    }
    let base = rewriter.get(base)?;
    let (positions, rows) = which(&mut rewriter, base)?;
    let Some(width) = rewriter.builder().shape(base).last().cloned() else {
        return Err(GraphError::Operand {
            op: "rows",
            message: "logits without dimensions".to_owned(),
        });
    };
    let flat = vec![positions, width];
    let flat = rewriter
        .builder()
        .op(Op::Reshape { shape: flat }, &[base])?;
    let mut wanted = rewriter.builder().gather(flat, rows, 0)?;
    for (id, input) in chain.into_iter().rev() {
        let node = graph.node(id);
        let mut inputs = rewriter.get_all(&node.inputs)?;
        inputs[input] = wanted;
        let op = match &node.op {
            Op::LayerNormalization(attributes) => {
                let mut attributes = attributes.clone();
                attributes.axes = vec![1];
                Op::LayerNormalization(attributes)
            }
            op => op.clone(),
        };
        wanted = rewriter.builder().op(op, &inputs)?;
    }
    if rewriter.builder().element(wanted) != ElementType::F32 {
        wanted = rewriter.builder().cast(wanted, DataType::F32)?;
    }
    rewriter.replace(output, wanted);
    Ok(prune(&rewriter.finish()?))
}

/// The input of which a node makes each row of its output, if that is so and the other inputs are the same for all rows.
fn row_by_row(graph: &Graph, node: &Node) -> Option<usize> {
    let rank = |at: usize| graph.value(node.inputs[at]).shape.len();
    if graph.value(node.outputs[0]).shape.len() != 3 {
        return None;
    }
    match &node.op {
        Op::Unary(_) | Op::Cast { .. } | Op::Clamp { .. } => Some(0),
        Op::BlockMatmul { .. } | Op::RmsNormalization { .. } => Some(0),
        Op::LayerNormalization(attributes) if attributes.axes == [2] => Some(0),
        Op::Matmul if rank(0) == 3 && rank(1) == 2 => Some(0),
        Op::Binary(_) => match (rank(0), rank(1)) {
            (3, 0 | 1) => Some(0),
            (0 | 1, 3) => Some(1),
            _ => None,
        },
        _ => None,
    }
}
