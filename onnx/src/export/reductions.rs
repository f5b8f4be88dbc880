//! Operators along axes.

use fewbit_engine::graph::op::{CumulativeSum, LayerNormalization, Reduce, ReduceKind};
use fewbit_engine::graph::{GraphError, Node};
use fewbit_engine::tensor::{ElementType, Tensor};

use super::ExportError;
use super::operators::{operands, unsupported};
use super::writer::{Writer, float, int};

/// ReduceMean and its like (18, ReduceMax and ReduceMin 20, ReduceSum 13).
pub(super) fn reduce(
    writer: &mut Writer<'_>,
    node: &Node,
    reduce: &Reduce,
) -> Result<(), ExportError> {
    if reduce.axes.is_empty() {
        return Err(unsupported(node, "over no axis"));
    }
    let op_type = match reduce.kind {
        ReduceKind::L1 => "ReduceL1",
        ReduceKind::L2 => "ReduceL2",
        ReduceKind::LogSum => "ReduceLogSum",
        ReduceKind::LogSumExp => "ReduceLogSumExp",
        ReduceKind::Max => "ReduceMax",
        ReduceKind::Mean => "ReduceMean",
        ReduceKind::Min => "ReduceMin",
        ReduceKind::Product => "ReduceProd",
        ReduceKind::Sum => "ReduceSum",
        ReduceKind::SumSquare => "ReduceSumSquare",
    };
    let mut inputs = operands(writer, node)?;
    inputs.push(writer.integers(reduce.axes.iter().copied())?);
    let keep = int("keepdims", i64::from(reduce.keep_dimensions));
    writer.node(op_type, inputs, vec![keep], node.outputs[0])
}

/// Softmax (13).
pub(super) fn softmax(
    writer: &mut Writer<'_>,
    node: &Node,
    axis: usize,
) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let axis = int("axis", axis as i64);
    writer.node("Softmax", inputs, vec![axis], node.outputs[0])
}

/// LayerNormalization (17), which takes the last dimensions from an axis on and always has a scale.
pub(super) fn layer_normalization(
    writer: &mut Writer<'_>,
    node: &Node,
    norm: &LayerNormalization,
) -> Result<(), ExportError> {
    let value = writer.graph.value(node.inputs[0]);
    let shape = value.fixed_shape()?;
    let first = shape.len() - norm.axes.len().min(shape.len());
    if !norm.axes.iter().copied().eq(first..shape.len()) {
        return Err(unsupported(node, "over other axes than the last"));
    }
    let mut inputs = operands(writer, node)?;
    if !norm.scale {
        if value.element != ElementType::F32 {
            return Err(unsupported(node, "without scale, of another type than f32"));
        }
        let sizes = &shape[first..];
        let ones = vec![1.0; sizes.iter().product()];
        let ones = Tensor::from_f32(sizes, &ones).map_err(GraphError::from)?;
        let ones = writer.constant(&ones);
        inputs.insert(1, ones);
    }
    let attributes = vec![int("axis", first as i64), float("epsilon", norm.epsilon)];
    writer.node("LayerNormalization", inputs, attributes, node.outputs[0])
}

/// CumSum (14).
pub(super) fn cumulative_sum(
    writer: &mut Writer<'_>,
    node: &Node,
    sum: CumulativeSum,
) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    let axis = Tensor::from_i64(&[], &[sum.axis as i64]).map_err(GraphError::from)?;
    inputs.push(writer.constant(&axis));
    let attributes = vec![
        int("exclusive", i64::from(sum.exclusive)),
        int("reverse", i64::from(sum.reversed)),
    ];
    writer.node("CumSum", inputs, attributes, node.outputs[0])
}
