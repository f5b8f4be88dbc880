//! Operators as bytes. A new one is a line of the list, with the next free number; so is a new field.

use super::form::{wire_enum, wire_listed, wire_struct};
use crate::graph::op::{
    Attention, Binary, Bitwise, Compare, Conv2d, CumulativeSum, Extension, Fused,
    LayerNormalization, Logical, Op, Operand, Pad, PadMode, Pool2d, PoolKind, Reduce, ReduceKind,
    RotaryEmbedding, Scatter, Slice, Step, Unary, Window,
};

wire_enum! { Op {
    0 Unary(operator);
    1 Binary(operator);
    2 Compare(operator);
    3 Logical(operator);
    4 Clamp { min, max };
    5 Where;
    6 Cast { to };
    7 Fused(fused);
    8 Reduce(reduce);
    9 Softmax { axis };
    10 LayerNormalization(attributes);
    11 CumulativeSum(attributes);
    12 Conv2d(attributes);
    13 Pool2d(attributes);
    14 Matmul;
    15 Reshape { shape };
    16 Transpose { permutation };
    17 Concat { axis };
    18 Slice(slice);
    19 Pad(pad);
    20 Expand { shape };
    21 Gather { axis, decode };
    22 RmsNormalization { epsilon };
    23 RotaryEmbedding(attributes);
    24 Attention(attributes);
    25 BlockMatmul { bias, exact };
    26 KvAppend;
    27 DequantizeBlocks;
    28 ScatterNd(scatter);
    29 Extension(extension);
} }

wire_enum! { Extension {
    0 Atan;
    1 Bitcast { to };
    2 Bitwise(operator);
    3 TopK { axis, k, largest };
} }

wire_listed! { Unary Binary Compare Logical ReduceKind PoolKind Bitwise Scatter }

wire_struct! {
    Fused { steps }
    Reduce { kind, axes, keep_dimensions }
    LayerNormalization { axes, epsilon, scale, bias }
    CumulativeSum { axis, exclusive, reversed }
    Window { padding, strides, dilations }
    Conv2d { window, groups, bias }
    Pool2d { kind, size, window }
    Slice { starts, sizes, strides }
    Pad { before, after, mode }
    RotaryEmbedding { interleaved }
    Attention { scale, causal, bias }
}

wire_enum! { Step {
    0 Unary(operator, x);
    1 Binary(operator, a, b);
    2 Clamp(x, min, max);
} }

wire_enum! { Operand {
    0 Input(number);
    1 Step(number);
    2 Number(number);
} }

wire_enum! { PadMode {
    0 Constant(number);
    1 Edge;
    2 Reflection;
} }
