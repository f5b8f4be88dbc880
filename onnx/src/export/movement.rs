//! Operators that move elements.

use fewbit_engine::graph::op::{Pad, PadMode, Slice};
use fewbit_engine::graph::{Dim, Node, Source};
use fewbit_engine::tensor::DataType;

use super::ExportError;
use super::operators::{operands, unsupported};
use super::writer::{Writer, int, ints, word};

/// Reshape (21).
pub(super) fn reshape(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    let graph = writer.graph;
    let from = &graph.value(node.inputs[0]).shape;
    let to = &graph.value(node.outputs[0]).shape;
    let (shape, literal) = writer.reshaped(from, to)?;
    inputs.push(shape);
    let literal = int("allowzero", literal);
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

/// Slice (13); Range (11) where consecutive numbers are cut out of a constant up to a size that is a symbol, so that the
/// model's limit is not the constant's.
pub(super) fn slice(
    writer: &mut Writer<'_>,
    node: &Node,
    slice: &Slice,
) -> Result<(), ExportError> {
    if let Some(numbers) = consecutive(writer, node, slice)? {
        writer.alias(node.outputs[0], numbers);
        return Ok(());
    }
    let whole = &writer.graph.value(node.inputs[0]).shape;
    // A whole axis needs no saying.
    let cut: Vec<usize> = (0..whole.len())
        .filter(|&axis| {
            let starts_at_0 = slice.starts[axis].fixed() == Some(0);
            !(starts_at_0 && slice.sizes[axis] == whole[axis] && slice.strides[axis] == 1)
        })
        .collect();
    let of_cut =
        |dims: &[Dim]| -> Vec<Dim> { cut.iter().map(|&axis| dims[axis].clone()).collect() };
    let starts = of_cut(&slice.starts);
    let ends = starts.iter().cloned().zip(of_cut(&slice.sizes));
    let ends: Vec<Dim> = ends.map(|(start, size)| start + size).collect();
    let mut inputs = operands(writer, node)?;
    inputs.push(writer.sizes(&starts)?);
    inputs.push(writer.sizes(&ends)?);
    inputs.push(writer.integers(cut.iter().copied())?);
    inputs.push(writer.integers(cut.iter().map(|&axis| slice.strides[axis]))?);
    writer.node("Slice", inputs, vec![], node.outputs[0])
}

/// The numbers that a slice cuts out of a constant, if they are `n, n + 1, …` and their count a symbol's.
fn consecutive(
    writer: &mut Writer<'_>,
    node: &Node,
    slice: &Slice,
) -> Result<Option<String>, ExportError> {
    let Source::Constant(tensor) = &writer.graph.value(node.inputs[0]).source else {
        return Ok(None);
    };
    let ([start], [size], [1]) = (&slice.starts[..], &slice.sizes[..], &slice.strides[..]) else {
        return Ok(None);
    };
    let (Some(start), None) = (start.fixed(), size.fixed()) else {
        return Ok(None);
    };
    let (DataType::I32 | DataType::I64) = tensor.data_type() else {
        return Ok(None);
    };
    let values = tensor.to_f64_vec();
    let first = values.first().copied().unwrap_or(-1.0);
    let consecutive = (0..values.len()).all(|at| values[at] == first + at as f64);
    if !consecutive || first < 0.0 {
        return Ok(None);
    }
    let data_type = tensor.data_type();
    let from = Dim::from(first as usize + start);
    let to = from.clone() + size.clone();
    Ok(Some(writer.range(&from, &to, data_type)?))
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

/// Expand (13), which takes 1 for a dimension that stays as it is.
pub(super) fn expand(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    let graph = writer.graph;
    let from = &graph.value(node.inputs[0]).shape;
    let mut to = graph.value(node.outputs[0]).shape.clone();
    let added = to.len() - from.len().min(to.len());
    for (dim, old) in to[added..].iter_mut().zip(from) {
        if dim.fixed().is_none() && dim == old {
            *dim = Dim::from(1);
        }
    }
    inputs.push(writer.sizes(&to)?);
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
