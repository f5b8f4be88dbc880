//! Operators that slide a window over images.

use fewbit_engine::graph::Node;
use fewbit_engine::graph::op::{Conv2d, Pool2d, PoolKind, Window};

use super::ExportError;
use super::operators::operands;
use super::writer::{Writer, int, ints};
use crate::proto::AttributeProto;

/// Conv (11) over two dimensions.
pub(super) fn conv2d(
    writer: &mut Writer<'_>,
    node: &Node,
    conv: Conv2d,
) -> Result<(), ExportError> {
    let op = node.op.name();
    let mut inputs = vec![writer.read(op, node.inputs[0])?];
    inputs.push(writer.read_as_f32(node.inputs[1])?);
    for &bias in &node.inputs[2..] {
        inputs.push(writer.read(op, bias)?);
    }
    let filter = writer.graph.value(node.inputs[1]).fixed_shape()?;
    let mut attributes = of_window(conv.window, filter.into_iter().skip(2));
    attributes.push(int("group", conv.groups as i64));
    writer.node("Conv", inputs, attributes, node.outputs[0])
}

/// AveragePool (19) and MaxPool (12), sizes rounded down.
pub(super) fn pool2d(
    writer: &mut Writer<'_>,
    node: &Node,
    pool: Pool2d,
) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let attributes = of_window(pool.window, pool.size);
    let op_type = match pool.kind {
        PoolKind::Average => "AveragePool",
        PoolKind::Max => "MaxPool",
    };
    writer.node(op_type, inputs, attributes, node.outputs[0])
}

fn of_window(window: Window, size: impl IntoIterator<Item = usize>) -> Vec<AttributeProto> {
    let [above, below, left, right] = window.padding;
    vec![
        ints("kernel_shape", size),
        ints("strides", window.strides),
        ints("dilations", window.dilations),
        // What is before of all dimensions, then what is after.
        ints("pads", [above, left, below, right]),
    ]
}
