//! Normalizations: `(x − mean) / √(variance + epsilon) · scale + bias`, computed in f32.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, LayerNormalization, ReduceKind, Unary};
use fewbit_engine::tensor::DataType;

use super::{Call, In, Outputs, axes_of, axis_of, shaped};
use crate::emit::{Emit, Made};
use crate::error::Fault;
use crate::types;
use crate::value::Number;

fn epsilon(call: &Call<'_>, x: &In) -> Result<f64, Fault> {
    let epsilon = call.option_double("epsilon", 1e-5)?;
    Ok(match x.data_type.cast(Number::Float(epsilon)) {
        Number::Float(epsilon) => epsilon,
        Number::Integer(epsilon) => epsilon as f64,
    })
}

/// In f32, with sizes of 1 where it is the same along an axis.
fn wide(emit: &mut Emit, x: &In, shape: &[usize]) -> Made {
    let x = emit.cast(x.value, DataType::F32)?;
    emit.reshape(x, shape)
}

/// What is left of a normalization when mean and variance are known. All are in f32 and broadcast to `x`.
fn normalized(
    emit: &mut Emit,
    centred: ValueId,
    variance: ValueId,
    epsilon: f64,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
) -> Made {
    let variance = emit.with(Binary::Add, variance, epsilon)?;
    let root = emit.unary(Unary::Sqrt, variance)?;
    let mut y = emit.binary(Binary::Div, centred, root)?;
    if let Some(scale) = scale {
        y = emit.mul(y, scale)?;
    }
    match bias {
        Some(bias) => emit.add(y, bias),
        None => Ok(y),
    }
}

pub(super) fn batch(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", types::DataType::FLOATS)?;
    let axis = axis_of(&x, call.option_size("axis", 1)?)?;
    let each = [x.shape[axis]];
    let mean = call.operand_like(1, "mean", &x)?;
    shaped("mean", &mean, &each)?;
    let variance = call.operand_like(2, "variance", &x)?;
    shaped("variance", &variance, &each)?;
    let scale = call.option_operand("scale", &x, &each)?;
    let bias = call.option_operand("bias", &x, &each)?;
    let epsilon = epsilon(call, &x)?;
    let mut shape = vec![1; x.rank()];
    shape[axis] = each[0];
    let y = call.emit().in_f32(x.value, |emit, x| {
        let mean = wide(emit, &mean, &shape)?;
        let variance = wide(emit, &variance, &shape)?;
        let scale = scale.map(|scale| wide(emit, &scale, &shape)).transpose()?;
        let bias = bias.map(|bias| wide(emit, &bias, &shape)).transpose()?;
        let centred = emit.sub(x, mean)?;
        normalized(emit, centred, variance, epsilon, scale, bias)
    })?;
    Ok(vec![y])
}

/// By the mean and variance over some axes.
fn over(
    emit: &mut Emit,
    x: ValueId,
    axes: &[usize],
    epsilon: f64,
    scale: Option<ValueId>,
    bias: Option<ValueId>,
) -> Made {
    let mean = emit.reduce(ReduceKind::Mean, x, axes, true)?;
    let centred = emit.sub(x, mean)?;
    let squares = emit.mul(centred, centred)?;
    let variance = emit.reduce(ReduceKind::Mean, squares, axes, true)?;
    normalized(emit, centred, variance, epsilon, scale, bias)
}

pub(super) fn instance(call: &mut Call<'_>) -> Outputs {
    let x = call.float_of_rank(0, "input", 4)?;
    let layouts = [("nchw", (1, [2, 3])), ("nhwc", (3, [1, 2]))];
    let (channel, axes) = call.option_one_of("layout", &layouts, (1, [2, 3]))?;
    let each = [x.shape[channel]];
    let scale = call.option_operand("scale", &x, &each)?;
    let bias = call.option_operand("bias", &x, &each)?;
    let epsilon = epsilon(call, &x)?;
    let mut shape = vec![1; 4];
    shape[channel] = each[0];
    let y = call.emit().in_f32(x.value, |emit, x| {
        let scale = scale.map(|scale| wide(emit, &scale, &shape)).transpose()?;
        let bias = bias.map(|bias| wide(emit, &bias, &shape)).transpose()?;
        over(emit, x, &axes, epsilon, scale, bias)
    })?;
    Ok(vec![y])
}

pub(super) fn layer(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", types::DataType::FLOATS)?;
    let axes = match call.option_sizes("axes")? {
        Some(axes) => axes,
        None => (1..x.rank()).collect(),
    };
    axes_of(&x, &axes)?;
    let sizes: Vec<usize> = axes.iter().map(|&axis| x.shape[axis]).collect();
    let scale = call.option_operand("scale", &x, &sizes)?;
    let bias = call.option_operand("bias", &x, &sizes)?;
    let epsilon = epsilon(call, &x)?;
    let emit = call.emit();
    let last = x.rank() - axes.len();
    let trailing = !axes.is_empty() && axes.iter().copied().eq(last..x.rank());
    if trailing && x.data_type == types::DataType::Float32 {
        let op = Op::LayerNormalization(LayerNormalization {
            axes,
            epsilon: epsilon as f32,
            scale: scale.is_some(),
            bias: bias.is_some(),
        });
        let mut inputs = vec![x.value];
        inputs.extend(scale.map(|scale| scale.value));
        inputs.extend(bias.map(|bias| bias.value));
        return Ok(vec![emit.op(op, &inputs)?]);
    }
    // Scale and bias have the axes in the order given; the input has them in its own.
    let mut sorted = axes.clone();
    sorted.sort_unstable();
    let order: Vec<usize> = sorted
        .iter()
        .filter_map(|axis| axes.iter().position(|other| other == axis))
        .collect();
    let mut shape = vec![1; x.rank()];
    for &axis in &axes {
        shape[axis] = x.shape[axis];
    }
    let spread = |emit: &mut Emit, x: In| -> Made {
        let moved = emit.transpose(x.value, &order)?;
        let moved = emit.cast(moved, DataType::F32)?;
        emit.reshape(moved, &shape)
    };
    let y = emit.in_f32(x.value, |emit, x| {
        let scale = scale.map(|scale| spread(emit, scale)).transpose()?;
        let bias = bias.map(|bias| spread(emit, bias)).transpose()?;
        over(emit, x, &sorted, epsilon, scale, bias)
    })?;
    Ok(vec![y])
}
