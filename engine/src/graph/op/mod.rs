//! The operators, one family a file: plain data, no behaviour.
//!
//! Names and meanings are the WebNN spec's; what is a composite or an extension says so.

mod composite;
mod elementwise;
mod extension;
mod movement;
mod reduction;
mod window;

pub use composite::{Attention, RotaryEmbedding};
pub use elementwise::{Binary, Compare, Fused, Logical, Operand, Step, Unary};
pub use extension::{Bitwise, Extension, Scatter};
pub use movement::{Pad, PadMode, Slice};
pub use reduction::{CumulativeSum, LayerNormalization, Reduce, ReduceKind};
pub use window::{Conv2d, Pool2d, PoolKind, Window};

use super::Dim;
use crate::tensor::DataType;

/// One operator with its attributes. Inputs are listed in order beside each.
#[derive(Clone, Debug, PartialEq)]
pub enum Op {
    // --- element-wise, with WebNN's (NumPy's) broadcasting ---
    /// `x`
    Unary(Unary),
    /// `a, b`
    Binary(Binary),
    /// `a, b` → u8 of 0 and 1
    Compare(Compare),
    /// `a, b` (u8) → u8 of 0 and 1
    Logical(Logical),
    /// `x`, limited to `min..=max`
    Clamp {
        min: f32,
        max: f32,
    },
    /// `condition` (u8), `a`, `b`
    Where,
    /// `x`
    Cast {
        to: DataType,
    },
    /// A chain of element-wise operators made into one by [`super::pass::fuse_elementwise`]; its inputs
    /// broadcast to the output's shape. f32 only.
    Fused(Fused),

    // --- along axes ---
    /// `x`
    Reduce(Reduce),
    /// `x`
    Softmax {
        axis: usize,
    },
    /// `x`, then `scale` and `bias` as the attributes say, each of the shape of the axes
    LayerNormalization(LayerNormalization),
    /// `x`
    CumulativeSum(CumulativeSum),

    // --- windows over images, `[batch, channels, height, width]` ---
    /// `x` (f32), `filter [outputs, channels / groups, height, width]` (f32, f16 or bf16), then `bias
    /// [outputs]` if the attribute says so → `[batch, outputs, height', width']`. A convolution over one
    /// dimension is one of height 1.
    Conv2d(Conv2d),
    /// `x` → the same channels
    Pool2d(Pool2d),

    // --- products ---
    /// `a [.., m, k]`, `b [.., k, n]` → `[.., m, n]`
    Matmul,

    // --- moving elements ---
    /// `x`
    Reshape {
        shape: Vec<Dim>,
    },
    /// `x`
    Transpose {
        permutation: Vec<usize>,
    },
    /// any number of values
    Concat {
        axis: usize,
    },
    /// `x`
    Slice(Slice),
    /// `x`
    Pad(Pad),
    /// `x`
    Expand {
        shape: Vec<Dim>,
    },
    /// `x`, `indices` (i32 or i64) → `x`'s shape with `axis` replaced by the indices' shape. Negative
    /// indices count from the end, others are clamped into the axis (the spec's rule). On axis 0, `x` may
    /// be of a block format (rows are decoded to f32) or of f16/bf16 weights kept as they are in the file
    /// (the rows come out as f32 where `decode` is set).
    Gather {
        axis: usize,
        decode: bool,
    },
    /// `x`, `indices [.., depth]` (i32 or i64), `updates` of the shape of the indices without their last dimension and
    /// of `x` without its first `depth` → `x` with the updates at these places. Indices as in `gather`.
    ScatterNd(Scatter),

    // --- composites (ours; `decompose` tells what each is in WebNN's operators) ---
    /// `x [.., c]`, `scale [c]`: `x / sqrt(mean(x²) + epsilon) · scale` (Zhang & Sennrich 2019)
    RmsNormalization {
        epsilon: f32,
    },
    /// `x [batch, tokens, heads, size]`, `cos`, `sin` `[positions, rotated/2]`, `position [batch]` (i32)
    RotaryEmbedding(RotaryEmbedding),
    /// `q [batch, tokens, heads, size]`, `k`, `v` `[batch, kv_heads, keys, size]`, then `position [batch]`
    /// (i32) if causal, then `bias` (f32, broadcast to `[batch, heads, tokens, keys]`) if the attribute says so
    /// → `[batch, tokens, heads, size]`
    Attention(Attention),
    /// `x [.., k]` (f32), `weight [n, k]` of any block format, f32, f16 or bf16, then `bias [n]` if the
    /// attribute says so → `x · weightᵀ + bias`, `[.., n]` in f32. `exact` says that `x` stays as it is whatever the policy:
    /// it is whole numbers that a file has quantized already, and quantizing them again would be another computation.
    BlockMatmul {
        bias: bool,
        exact: bool,
    },
    /// `state [batch, heads, capacity, size]`, `new [batch, tokens, heads, size]`, `position [batch]` (i32) →
    /// the state with `new` written from each row's position on; what would fall beyond the capacity is not
    /// written. The output *is* the state, changed in place where the back end can.
    KvAppend,

    // --- extensions ---
    /// `weight` of a block format, f16 or bf16 → the same shape in f32
    DequantizeBlocks,
    Extension(Extension),
}

impl Op {
    /// The operator's name as WebNN (or we, for a composite) spell it in print.
    pub fn name(&self) -> &'static str {
        match self {
            Op::Unary(unary) => unary.name(),
            Op::Binary(binary) => binary.name(),
            Op::Compare(compare) => compare.name(),
            Op::Logical(logical) => logical.name(),
            Op::Clamp { .. } => "clamp",
            Op::Where => "where",
            Op::Cast { .. } => "cast",
            Op::Fused(_) => "fused_elementwise",
            Op::Reduce(reduce) => reduce.kind.name(),
            Op::Softmax { .. } => "softmax",
            Op::LayerNormalization(_) => "layer_normalization",
            Op::CumulativeSum(_) => "cumulative_sum",
            Op::Conv2d(_) => "conv2d",
            Op::Pool2d(pool) => pool.kind.name(),
            Op::Matmul => "matmul",
            Op::Reshape { .. } => "reshape",
            Op::Transpose { .. } => "transpose",
            Op::Concat { .. } => "concat",
            Op::Slice(_) => "slice",
            Op::Pad(_) => "pad",
            Op::Expand { .. } => "expand",
            Op::Gather { .. } => "gather",
            Op::ScatterNd(_) => "scatter_nd",
            Op::RmsNormalization { .. } => "rms_normalization",
            Op::RotaryEmbedding(_) => "rotary_embedding",
            Op::Attention(_) => "attention",
            Op::BlockMatmul { .. } => "block_matmul",
            Op::KvAppend => "kv_append",
            Op::DequantizeBlocks => "dequantize_blocks",
            Op::Extension(extension) => extension.name(),
        }
    }

    /// Whether the operator is a composite, that is has a decomposition into the others.
    pub fn is_composite(&self) -> bool {
        matches!(
            self,
            Op::RmsNormalization { .. }
                | Op::RotaryEmbedding(_)
                | Op::Attention(_)
                | Op::BlockMatmul { .. }
                | Op::KvAppend
                | Op::Fused(_)
        ) || matches!(self, Op::Gather { decode: true, .. })
    }
}
