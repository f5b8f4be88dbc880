//! Operators along axes.

use fewbit_engine::graph::op::{CumulativeSum, LayerNormalization, Reduce, ReduceKind};
use fewbit_engine::graph::{GraphError, Node, fixed_shape};
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
    let rank = value.shape.len();
    let first = rank - norm.axes.len().min(rank);
    if !norm.axes.iter().copied().eq(first..rank) {
        return Err(unsupported(node, "over other axes than the last"));
    }
    let mut inputs = operands(writer, node)?;
    if !norm.scale {
        if value.element != ElementType::F32 {
            return Err(unsupported(node, "without scale, of another type than f32"));
        }
        let Some(sizes) = fixed_shape(&value.shape[first..]) else {
            return without_scale(writer, node, norm, inputs);
        };
        let ones = vec![1.0; sizes.iter().product()];
        let ones = Tensor::from_f32(&sizes, &ones).map_err(GraphError::from)?;
        let ones = writer.constant(&ones);
        inputs.insert(1, ones);
    }
    let attributes = vec![int("axis", first as i64), float("epsilon", norm.epsilon)];
    writer.node("LayerNormalization", inputs, attributes, node.outputs[0])
}

/// `(x − mean) / √(variance + epsilon)`, then the bias: where a scale of ones would be of a size that only a run knows.
fn without_scale(
    writer: &mut Writer<'_>,
    node: &Node,
    norm: &LayerNormalization,
    inputs: Vec<String>,
) -> Result<(), ExportError> {
    let axes = writer.integers(norm.axes.iter().copied())?;
    let keep = || vec![int("keepdims", 1)];
    let mut inputs = inputs.into_iter();
    let x = inputs.next().unwrap_or_default();
    let mean = writer.inner("ReduceMean", vec![x.clone(), axes.clone()], keep());
    let centred = writer.inner("Sub", vec![x, mean], vec![]);
    let square = writer.inner("Mul", vec![centred.clone(), centred.clone()], vec![]);
    let variance = writer.inner("ReduceMean", vec![square, axes], keep());
    let epsilon = writer.number(norm.epsilon)?;
    let variance = writer.inner("Add", vec![variance, epsilon], vec![]);
    let deviation = writer.inner("Sqrt", vec![variance], vec![]);
    let both = vec![centred, deviation];
    match inputs.next() {
        None => writer.node("Div", both, vec![], node.outputs[0]),
        Some(bias) => {
            let normal = writer.inner("Div", both, vec![]);
            writer.node("Add", vec![normal, bias], vec![], node.outputs[0])
        }
    }
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
