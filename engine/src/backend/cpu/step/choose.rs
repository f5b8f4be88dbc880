//! Which kernel an operator gets.

use crate::graph::Op;
use crate::graph::op::{Fused, Operand, Step as Elementwise};
use crate::tensor::{DataType, ElementType};

use super::super::arena::{Address, Place};
use super::super::kernels::{Chain, Convolution, Matmul, Padded, Strided};
use super::{Kernel, four};

/// Whether an operator sums floats along an axis, in an order that is the kernel's own.
pub(super) fn sums(op: &Op) -> bool {
    matches!(
        op,
        Op::RmsNormalization { .. }
            | Op::LayerNormalization(_)
            | Op::Softmax { .. }
            | Op::Attention(_)
            | Op::Matmul
    )
}

pub(super) fn kernel(op: &Op, inputs: &[Place], output: &Place) -> Kernel {
    let float = inputs.iter().all(|place| place.element == ElementType::F32);
    let last = output.shape.len().saturating_sub(1);
    let shapes = || {
        inputs
            .iter()
            .map(|place| place.shape.as_slice())
            .collect::<Vec<_>>()
    };
    let chain = |step: Elementwise| {
        let fused = Fused { steps: vec![step] };
        Kernel::Chain(Chain::new(&fused, &shapes(), &output.shape))
    };
    let plain_index = inputs
        .get(1)
        .is_some_and(|place| place.element == ElementType::I32);
    match op {
        Op::BlockMatmul { bias, exact } => Kernel::BlockMatmul {
            bias: *bias,
            exact: *exact,
        },
        Op::RmsNormalization { epsilon } => Kernel::RmsNormalization { epsilon: *epsilon },
        Op::LayerNormalization(a) if float && a.axes == [last] => Kernel::LayerNormalization {
            epsilon: a.epsilon,
            scale: a.scale,
            bias: a.bias,
        },
        Op::Softmax { axis } if float && *axis == last => Kernel::Softmax,
        Op::Attention(a) => Kernel::Attention {
            scale: a.scale,
            causal: a.causal,
            bias: a.bias,
        },
        Op::RotaryEmbedding(a) => Kernel::Rotary {
            interleaved: a.interleaved,
        },
        Op::KvAppend => Kernel::KvAppend,
        Op::Matmul if float => match product(inputs, output) {
            Some(product) => Kernel::Matmul(product),
            None => Kernel::Reference(op.clone()),
        },
        // A matrix of weights may be packed, whatever its type.
        Op::Gather { axis: 0, .. }
            if plain_index && output.element == ElementType::F32 && is_float_matrix(&inputs[0]) =>
        {
            Kernel::DecodeRows
        }
        Op::Gather {
            axis: 0,
            decode: false,
        } if plain_index => Kernel::GatherRows {
            row: inputs[0].shape[1..].iter().product(),
        },
        Op::Conv2d(conv) => {
            let [batch, channels, height, width] = four(&inputs[0].shape);
            let [_, outputs, out_height, out_width] = four(&output.shape);
            let [_, _, rows, columns] = four(&inputs[1].shape);
            Kernel::Conv2d {
                conv: Convolution {
                    batch,
                    image: [channels, height, width],
                    out: [outputs, out_height, out_width],
                    size: [rows, columns],
                    window: conv.window,
                    groups: conv.groups,
                },
                bias: conv.bias,
            }
        }
        Op::Pool2d(pool) => Kernel::Pool2d(*pool),
        Op::Pad(pad) if float && !output.shape.is_empty() => {
            Kernel::Pad(Padded::new(&inputs[0].shape, pad))
        }
        Op::Transpose { permutation } => {
            Kernel::Strided(Strided::transpose(&inputs[0].shape, permutation))
        }
        Op::Expand { .. } => Kernel::Strided(Strided::expand(&inputs[0].shape, &output.shape)),
        Op::Slice(slice) => {
            let starts: Option<Vec<usize>> =
                slice.starts.iter().map(crate::graph::Dim::fixed).collect();
            match starts {
                Some(starts) => Kernel::Strided(Strided::slice(
                    &inputs[0].shape,
                    &starts,
                    &slice.strides,
                    &output.shape,
                )),
                None => Kernel::Reference(op.clone()),
            }
        }
        Op::Fused(fused) => Kernel::Chain(Chain::new(fused, &shapes(), &output.shape)),
        Op::Unary(unary) if float => chain(Elementwise::Unary(*unary, Operand::Input(0))),
        Op::Binary(binary) if float => chain(Elementwise::Binary(
            *binary,
            Operand::Input(0),
            Operand::Input(1),
        )),
        Op::Clamp { min, max } if float => chain(Elementwise::Clamp(Operand::Input(0), *min, *max)),
        other => Kernel::Reference(other.clone()),
    }
}

/// A weight of two dimensions in any float or block type.
fn is_float_matrix(place: &Place) -> bool {
    matches!(place.address, Address::Weight(_))
        && place.shape.len() == 2
        && place.element.plain().is_none_or(DataType::is_float)
        && place.element != ElementType::Plain(DataType::F64)
}

/// A batched product whose batch is the same on both sides or repeated on one.
fn product(inputs: &[Place], output: &Place) -> Option<Matmul> {
    let (a, b) = (&inputs[0].shape, &inputs[1].shape);
    let batch_of = |shape: &[usize]| shape[..shape.len() - 2].iter().product::<usize>();
    let batch = batch_of(&output.shape);
    let (m, k, n) = (a[a.len() - 2], a[a.len() - 1], b[b.len() - 1]);
    let step = |own: &[usize], size: usize| {
        if batch_of(own) == batch {
            Some(size)
        } else {
            (batch_of(own) == 1).then_some(0)
        }
    };
    Some(Matmul {
        batch,
        m,
        k,
        n,
        a_step: step(a, m * k)?,
        b_step: step(b, k * n)?,
        transposed: false,
    })
}
