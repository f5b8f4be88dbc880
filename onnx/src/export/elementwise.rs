//! Element-wise operators. What is u8 of 0 and 1 in WebNN is `bool` in ONNX.

use fewbit_engine::graph::op::{Binary, Compare, Logical, Unary};
use fewbit_engine::graph::{GraphError, Node, ValueId};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

use super::operators::{operands, unsupported};
use super::writer::{Writer, int, word};
use super::{ExportError, is_weight};
use crate::proto::data_type_number;

/// The operators of ONNX's names; `gelu` is Gelu (opset 20) with the error function, `silu` Sigmoid (13) and Mul (14).
pub(super) fn unary(writer: &mut Writer<'_>, node: &Node, op: Unary) -> Result<(), ExportError> {
    let x = operands(writer, node)?;
    let op_type = match op {
        Unary::Abs => "Abs",
        Unary::Ceil => "Ceil",
        Unary::Cos => "Cos",
        Unary::Erf => "Erf",
        Unary::Exp => "Exp",
        Unary::Floor => "Floor",
        Unary::Gelu => {
            let exact = word("approximate", "none");
            return writer.node("Gelu", x, vec![exact], node.outputs[0]);
        }
        Unary::Identity => "Identity",
        Unary::Log => "Log",
        Unary::Neg => "Neg",
        Unary::Reciprocal => "Reciprocal",
        Unary::Relu => "Relu",
        Unary::Sigmoid => "Sigmoid",
        Unary::Silu => {
            let gate = writer.inner("Sigmoid", x.clone(), vec![]);
            let both = x.into_iter().chain([gate]).collect();
            return writer.node("Mul", both, vec![], node.outputs[0]);
        }
        Unary::Sin => "Sin",
        Unary::Sqrt => "Sqrt",
        Unary::Tan => "Tan",
        Unary::Tanh => "Tanh",
    };
    writer.node(op_type, x, vec![], node.outputs[0])
}

/// Add, Sub, Mul, Div (14), Max, Min (13) and Pow (15), with the same broadcasting.
pub(super) fn binary(writer: &mut Writer<'_>, node: &Node, op: Binary) -> Result<(), ExportError> {
    let op_type = match op {
        Binary::Add => "Add",
        Binary::Sub => "Sub",
        Binary::Mul => "Mul",
        Binary::Div => "Div",
        Binary::Max => "Max",
        Binary::Min => "Min",
        Binary::Pow => "Pow",
    };
    let inputs = operands(writer, node)?;
    writer.node(op_type, inputs, vec![], node.outputs[0])
}

/// Equal (19), Greater, Less (13), GreaterOrEqual, LessOrEqual (16).
pub(super) fn compare(
    writer: &mut Writer<'_>,
    node: &Node,
    op: Compare,
) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let op_type = match op {
        Compare::Equal | Compare::NotEqual => "Equal",
        Compare::Greater => "Greater",
        Compare::GreaterOrEqual => "GreaterOrEqual",
        Compare::Lesser => "Less",
        Compare::LesserOrEqual => "LessOrEqual",
    };
    let mut answer = writer.inner(op_type, inputs, vec![]);
    if op == Compare::NotEqual {
        answer = writer.inner("Not", vec![answer], vec![]);
    }
    to_u8(writer, answer, node.outputs[0])
}

/// And, Or, Xor (7).
pub(super) fn logical(
    writer: &mut Writer<'_>,
    node: &Node,
    op: Logical,
) -> Result<(), ExportError> {
    let op_type = match op {
        Logical::And => "And",
        Logical::Or => "Or",
        Logical::Xor => "Xor",
    };
    let inputs = operands(writer, node)?;
    let inputs = inputs.into_iter();
    let inputs = inputs
        .map(|name| writer.cast(name, DataType::Bool))
        .collect();
    let answer = writer.inner(op_type, inputs, vec![]);
    to_u8(writer, answer, node.outputs[0])
}

/// Clip (13).
pub(super) fn clamp(
    writer: &mut Writer<'_>,
    node: &Node,
    min: f32,
    max: f32,
) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    match writer.graph.value(node.outputs[0]).element {
        ElementType::F32 => {
            inputs.push(writer.number(min)?);
            inputs.push(writer.number(max)?);
        }
        element if element == DataType::I32.into() => {
            for limit in [min.ceil(), max.floor()] {
                let tensor = Tensor::from_i32(&[], &[limit as i32]).map_err(GraphError::from)?;
                inputs.push(writer.constant(&tensor));
            }
        }
        _ => return Err(unsupported(node, "of another type than f32 and i32")),
    }
    writer.node("Clip", inputs, vec![], node.outputs[0])
}

/// Where (16).
pub(super) fn choose(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    if let Some(condition) = inputs.first_mut() {
        *condition = writer.cast(std::mem::take(condition), DataType::Bool);
    }
    writer.node("Where", inputs, vec![], node.outputs[0])
}

/// Cast (21); nothing where a weight becomes f32, as its initializer is.
pub(super) fn cast(writer: &mut Writer<'_>, node: &Node, to: DataType) -> Result<(), ExportError> {
    let x = node.inputs[0];
    let is_float = match writer.graph.value(x).element {
        ElementType::Plain(data_type) => data_type.is_float(),
        ElementType::Block(_) => true,
    };
    if to == DataType::F32 && is_float && is_weight(writer.graph, x) {
        return dequantize(writer, node);
    }
    let inputs = operands(writer, node)?;
    let to = int("to", i64::from(data_type_number(to)));
    writer.node("Cast", inputs, vec![to], node.outputs[0])
}

/// A weight in f32, as its initializer is.
pub(super) fn dequantize(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    if !is_weight(writer.graph, node.inputs[0]) {
        return Err(unsupported(node, "of what is no weight"));
    }
    let name = writer.read_as_f32(node.inputs[0])?;
    writer.alias(node.outputs[0], name);
    Ok(())
}

fn to_u8(writer: &mut Writer<'_>, name: String, id: ValueId) -> Result<(), ExportError> {
    let to = int("to", i64::from(data_type_number(DataType::U8)));
    writer.node("Cast", vec![name], vec![to], id)
}
