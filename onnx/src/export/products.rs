//! Products of matrices.

use fewbit_engine::graph::Node;

use super::ExportError;
use super::operators::operands;
use super::writer::{Writer, ints};

/// MatMul (13).
pub(super) fn matmul(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    writer.node("MatMul", inputs, vec![], node.outputs[0])
}

/// MatMul (13) by the transposed weight, which a runtime computes once when it loads, and Add (14) of the bias.
pub(super) fn block_matmul(
    writer: &mut Writer<'_>,
    node: &Node,
    bias: bool,
) -> Result<(), ExportError> {
    let x = writer.read(node.op.name(), node.inputs[0])?;
    let weight = writer.read_as_f32(node.inputs[1])?;
    let weight = writer.inner("Transpose", vec![weight], vec![ints("perm", [1, 0])]);
    if !bias {
        return writer.node("MatMul", vec![x, weight], vec![], node.outputs[0]);
    }
    let product = writer.inner("MatMul", vec![x, weight], vec![]);
    let bias = writer.read(node.op.name(), node.inputs[2])?;
    writer.node("Add", vec![product, bias], vec![], node.outputs[0])
}
