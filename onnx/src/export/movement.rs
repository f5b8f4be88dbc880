//! Operators that move elements.

use fewbit_engine::graph::op::{Pad, PadMode, Slice};
use fewbit_engine::graph::{Dim, GraphError, Node, fixed_shape};
use fewbit_engine::tensor::DataType;

use super::ExportError;
use super::operators::{operands, unsupported};
use super::writer::{Writer, int, ints, word};

/// Reshape (21).
pub(super) fn reshape(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    let shape = writer.graph.value(node.outputs[0]).fixed_shape()?;
    // Else a 0 means the dimension of the input.
    let literal = int("allowzero", i64::from(shape.contains(&0)));
    inputs.push(writer.integers(shape)?);
    writer.node("Reshape", inputs, vec![literal], node.outputs[0])
}

/// Transpose (21).
pub(super) fn transpose(
    writer: &mut Writer<'_>,
    node: &Node,
    permutation: &[usize],
) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let order = ints("perm", permutation.iter().copied());
    writer.node("Transpose", inputs, vec![order], node.outputs[0])
}

/// Concat (13).
pub(super) fn concat(writer: &mut Writer<'_>, node: &Node, axis: usize) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let axis = int("axis", axis as i64);
    writer.node("Concat", inputs, vec![axis], node.outputs[0])
}

/// Slice (13).
pub(super) fn slice(
    writer: &mut Writer<'_>,
    node: &Node,
    slice: &Slice,
) -> Result<(), ExportError> {
    let known = |dims: &[Dim]| {
        fixed_shape(dims).ok_or_else(|| GraphError::NotSpecialized(format!("{dims:?}")))
    };
    let starts = known(&slice.starts)?;
    let sizes = known(&slice.sizes)?;
    let ends: Vec<usize> = starts
        .iter()
        .zip(&sizes)
        .map(|(at, size)| at + size)
        .collect();
    let mut inputs = operands(writer, node)?;
    let axes = 0..starts.len();
    inputs.push(writer.integers(starts)?);
    inputs.push(writer.integers(ends)?);
    inputs.push(writer.integers(axes)?);
    inputs.push(writer.integers(slice.strides.iter().copied())?);
    writer.node("Slice", inputs, vec![], node.outputs[0])
}

/// Pad (21).
pub(super) fn pad(writer: &mut Writer<'_>, node: &Node, pad: &Pad) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    inputs.push(writer.integers(pad.before.iter().chain(&pad.after).copied())?);
    let mode = match pad.mode {
        PadMode::Constant(value) => {
            if writer.graph.value(node.inputs[0]).element != DataType::F32.into() {
                return Err(unsupported(
                    node,
                    "with a constant of another type than f32",
                ));
            }
            inputs.push(writer.number(value)?);
            "constant"
        }
        PadMode::Edge => "edge",
        PadMode::Reflection => "reflect",
    };
    writer.node("Pad", inputs, vec![word("mode", mode)], node.outputs[0])
}

/// Expand (13).
pub(super) fn expand(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    let shape = writer.graph.value(node.outputs[0]).fixed_shape()?;
    inputs.push(writer.integers(shape)?);
    writer.node("Expand", inputs, vec![], node.outputs[0])
}

/// Gather (13).
pub(super) fn gather(
    writer: &mut Writer<'_>,
    node: &Node,
    axis: usize,
    decode: bool,
) -> Result<(), ExportError> {
    let table = match decode {
        true => writer.read_as_f32(node.inputs[0])?,
        false => writer.read(node.op.name(), node.inputs[0])?,
    };
    let indices = writer.read(node.op.name(), node.inputs[1])?;
    let axis = int("axis", axis as i64);
    writer.node("Gather", vec![table, indices], vec![axis], node.outputs[0])
}
