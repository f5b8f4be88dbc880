//! Which ONNX operators each of the engine's is; a family a file.

use fewbit_engine::graph::{Node, Op};

use super::writer::Writer;
use super::{
    ExportError, composites, elementwise, extensions, movement, products, reductions, states,
    windows,
};

/// Writes one node.
pub(super) fn write(writer: &mut Writer<'_>, node: &Node) -> Result<(), ExportError> {
    match &node.op {
        Op::Unary(op) => elementwise::unary(writer, node, *op),
        Op::Binary(op) => elementwise::binary(writer, node, *op),
        Op::Compare(op) => elementwise::compare(writer, node, *op),
        Op::Logical(op) => elementwise::logical(writer, node, *op),
        Op::Clamp { min, max } => elementwise::clamp(writer, node, *min, *max),
        Op::Where => elementwise::choose(writer, node),
        Op::Cast { to } => elementwise::cast(writer, node, *to),
        Op::Reduce(reduce) => reductions::reduce(writer, node, reduce),
        Op::Softmax { axis } => reductions::softmax(writer, node, *axis),
        Op::LayerNormalization(norm) => reductions::layer_normalization(writer, node, norm),
        Op::CumulativeSum(sum) => reductions::cumulative_sum(writer, node, *sum),
        Op::Conv2d(conv) => windows::conv2d(writer, node, *conv),
        Op::Pool2d(pool) => windows::pool2d(writer, node, *pool),
        Op::Matmul => products::matmul(writer, node),
        Op::BlockMatmul { bias, .. } => products::block_matmul(writer, node, *bias),
        Op::Reshape { .. } => movement::reshape(writer, node),
        Op::Transpose { permutation } => movement::transpose(writer, node, permutation),
        Op::Concat { axis } => movement::concat(writer, node, *axis),
        Op::Slice(slice) => movement::slice(writer, node, slice),
        Op::Pad(pad) => movement::pad(writer, node, pad),
        Op::Expand { .. } => movement::expand(writer, node),
        Op::Gather { axis, decode } => movement::gather(writer, node, *axis, *decode),
        Op::ScatterNd(scatter) => extensions::scatter_nd(writer, node, *scatter),
        Op::Extension(extension) => extensions::extension(writer, node, *extension),
        Op::DequantizeBlocks => elementwise::dequantize(writer, node),
        Op::RotaryEmbedding(rotary) => composites::rotary_embedding(writer, node, *rotary),
        Op::Attention(attention) => composites::attention(writer, node, *attention),
        Op::KvAppend => states::append(writer, node),
        Op::Fused(_) | Op::RmsNormalization { .. } => {
            Err(unsupported(node, "it should have been decomposed"))
        }
    }
}

/// The names of all operands.
pub(super) fn operands(writer: &mut Writer<'_>, node: &Node) -> Result<Vec<String>, ExportError> {
    let op = node.op.name();
    node.inputs.iter().map(|&id| writer.read(op, id)).collect()
}

pub(super) fn unsupported(node: &Node, reason: &str) -> ExportError {
    ExportError::Operator {
        op: node.op.name(),
        reason: reason.to_owned(),
    }
}
