//! Scattering, and the operators that WebNN has not.

use fewbit_engine::graph::Node;
use fewbit_engine::graph::op::{Bitwise, Extension, Scatter};
use fewbit_engine::tensor::{DataType, ElementType};

use super::ExportError;
use super::operators::{operands, unsupported};
use super::writer::{Writer, word};

/// ScatterND (18), whose indices are i64.
pub(super) fn scatter_nd(
    writer: &mut Writer<'_>,
    node: &Node,
    scatter: Scatter,
) -> Result<(), ExportError> {
    let mut inputs = operands(writer, node)?;
    if writer.graph.value(node.inputs[1]).element != ElementType::Plain(DataType::I64) {
        inputs[1] = writer.cast(inputs[1].clone(), DataType::I64);
    }
    let reduction = match scatter {
        Scatter::Replace => "none",
        Scatter::Add => "add",
        Scatter::Mul => "mul",
        Scatter::Max => "max",
        Scatter::Min => "min",
    };
    let reduction = word("reduction", reduction);
    writer.node("ScatterND", inputs, vec![reduction], node.outputs[0])
}

/// Atan (7), BitwiseAnd, BitwiseOr, BitwiseXor (18).
pub(super) fn extension(
    writer: &mut Writer<'_>,
    node: &Node,
    extension: Extension,
) -> Result<(), ExportError> {
    let inputs = operands(writer, node)?;
    let op_type = match extension {
        Extension::Atan => "Atan",
        Extension::Bitwise(Bitwise::And) => "BitwiseAnd",
        Extension::Bitwise(Bitwise::Or) => "BitwiseOr",
        Extension::Bitwise(Bitwise::Xor) => "BitwiseXor",
        Extension::Bitcast { .. } => {
            return Err(unsupported(node, "BitCast came after operator set 21"));
        }
        Extension::TopK { .. } => {
            return Err(unsupported(node, "ONNX has it as one of two outputs"));
        }
    };
    writer.node(op_type, inputs, vec![], node.outputs[0])
}
