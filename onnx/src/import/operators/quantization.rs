//! Quantized numbers: to and from them, and products over them.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, ReduceKind};
use fewbit_engine::tensor::DataType;

use super::conversion::type_number;
use super::convolution::integer_sums;
use super::elementwise::round_half_even;
use super::one;
use super::product::integer_product;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("QuantizeLinear", 10, quantize),
    Entry::new("DequantizeLinear", 10, dequantize),
    Entry::new("DynamicQuantizeLinear", 11, dynamic),
    Entry::new("QLinearMatMul", 10, matmul),
    Entry::new("QLinearConv", 10, conv),
];

fn bounds(data_type: DataType) -> Result<(f32, f32), Refusal> {
    Ok(match data_type {
        DataType::U8 => (0.0, 255.0),
        DataType::I8 => (-128.0, 127.0),
        DataType::U16 => (0.0, 65535.0),
        DataType::I16 => (-32768.0, 32767.0),
        DataType::U4 => (0.0, 15.0),
        DataType::I4 => (-8.0, 7.0),
        other => return unsupported(format!("quantized to {other}")),
    })
}

/// Scales or zero points, spread so that they go with `x`: one number, one each place of `axis`, or one each block of it.
fn spread(cx: &mut Context, factors: Value, x: Value, axis: i64, block: i64) -> Made {
    let (dims, sizes) = (cx.dims(x)?, cx.shape(factors)?);
    if sizes.iter().product::<usize>() == 1 && block == 0 {
        return cx.reshape(factors, &[]);
    }
    let axis = axis_of(axis, dims.len())?;
    if block == 0 {
        let &[count] = sizes.as_slice() else {
            return wrong(format!("scales {sizes:?} on axis {axis} of {dims:?}"));
        };
        match dims[axis].fixed() {
            Some(size) if size == count => {}
            Some(_) => return wrong(format!("{count} scales on axis {axis} of {dims:?}")),
            None => return Err(Refusal::sizes(&dims[axis..=axis])),
        }
        let mut to = vec![1; dims.len()];
        to[axis] = count;
        return cx.reshape(factors, &to);
    }
    let shape = cx.shape(x)?;
    let block = usize::try_from(block).unwrap_or(0);
    let same = sizes.len() == shape.len()
        && (0..shape.len()).all(|at| at == axis || sizes[at] == shape[at]);
    if block == 0 || !same || sizes[axis] != shape[axis].div_ceil(block) {
        return wrong(format!(
            "scales {sizes:?} for blocks of {block} of {shape:?}"
        ));
    }
    let mut apart = sizes.clone();
    apart.insert(axis + 1, 1);
    let y = cx.reshape(factors, &apart)?;
    apart[axis + 1] = block;
    let y = cx.expand(y, &apart)?;
    let mut together = sizes;
    together[axis] = together[axis].saturating_mul(block);
    let y = cx.reshape(y, &together)?;
    cx.slice(y, axis, 0, shape[axis])
}

/// `saturate(round(x / scale) + zero)`; `x`, `scale` and `zero` in f32.
fn quantized(cx: &mut Context, x: Value, scale: Value, zero: Option<Value>, to: DataType) -> Made {
    let (min, max) = bounds(to)?;
    let y = cx.div(x, scale)?;
    let y = round_half_even(cx, y)?;
    let y = match zero {
        Some(zero) => cx.add(y, zero)?,
        None => y,
    };
    let y = cx.op(Op::Clamp { min, max }, &[y], DataType::F32)?;
    cx.cast(y, to)
}

fn quantize(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale, zero) = (node.input(0)?, node.input(1)?, node.optional(2));
    // About 8-bit floats.
    node.ignore(&["saturate"]);
    let (axis, block) = (node.int("axis", 1)?, node.int("block_size", 0)?);
    let to = match (zero, node.int("output_dtype", 0)?) {
        (Some(zero), _) => zero.data_type,
        (None, 0) => DataType::U8,
        (None, number) => type_number(number)?,
    };
    if node.int("precision", 1)? > 1 {
        return unsupported("in another precision than f32");
    }
    let scale = spread(cx, scale, x, axis, block)?;
    let zero = match zero {
        Some(zero) => {
            let zero = spread(cx, zero, x, axis, block)?;
            Some(cx.cast(zero, DataType::F32)?)
        }
        None => None,
    };
    let (x, scale) = (cx.cast(x, DataType::F32)?, cx.cast(scale, DataType::F32)?);
    one(quantized(cx, x, scale, zero, to))
}

/// `(x − zero) · scale`, in the scale's type.
fn dequantize(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, scale, zero) = (node.input(0)?, node.input(1)?, node.optional(2));
    let (axis, block) = (node.int("axis", 1)?, node.int("block_size", 0)?);
    let to = match node.int("output_dtype", 0)? {
        0 => scale.data_type,
        number => type_number(number)?,
    };
    let scale = spread(cx, scale, x, axis, block)?;
    let zero = match zero {
        Some(zero) => Some(spread(cx, zero, x, axis, block)?),
        None => None,
    };
    let whole = cx.cast(x, DataType::I32)?;
    let whole = match zero {
        Some(zero) => {
            let zero = cx.cast(zero, DataType::I32)?;
            cx.sub(whole, zero)?
        }
        None => whole,
    };
    let (whole, scale) = (
        cx.cast(whole, DataType::F32)?,
        cx.cast(scale, DataType::F32)?,
    );
    let y = cx.mul(whole, scale)?;
    one(cx.cast(y, to))
}

/// To u8, with the scale and zero point that the least and the greatest element ask for, 0 among them.
fn dynamic(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    Ok(quantized_by_range(cx, x)?.to_vec())
}

/// The integers, their scale and their zero point.
pub(super) fn quantized_by_range(cx: &mut Context, x: Value) -> Result<[Value; 3], Refusal> {
    let axes: Vec<usize> = (0..cx.rank(x)).collect();
    // The range reaches to 0 in any case, so that zeros do not change it.
    let counted = cx.without_filling(x)?;
    let most = cx.reduce(ReduceKind::Max, counted, &axes, false)?;
    let least = cx.reduce(ReduceKind::Min, counted, &axes, false)?;
    let (most, least) = (
        cx.with(Binary::Max, most, 0.0)?,
        cx.with(Binary::Min, least, 0.0)?,
    );
    let range = cx.sub(most, least)?;
    let scale = cx.with(Binary::Div, range, 255.0)?;
    let nothing = cx.number(0.0, x.data_type)?;
    let below = cx.sub(nothing, least)?;
    let zero = cx.div(below, scale)?;
    let clamp = Op::Clamp {
        min: 0.0,
        max: 255.0,
    };
    let zero = cx.op(clamp, &[zero], x.data_type)?;
    let zero = round_half_even(cx, zero)?;
    let y = quantized(cx, x, scale, Some(zero), DataType::U8)?;
    Ok([y, scale, cx.cast(zero, DataType::U8)?])
}

/// The three scales as one factor: `a · b / y`, of each row or column where they are.
fn factor(cx: &mut Context, a: Value, b: Value, y: Value) -> Made {
    let mut scales = [a, b, y];
    for (at, scale) in scales.iter_mut().enumerate() {
        let wide = cx.cast(*scale, DataType::F32)?;
        let mut shape = cx.shape(wide)?;
        match (shape.as_slice(), at) {
            ([] | [1], _) => shape = Vec::new(),
            // One each row.
            ([_], 0) => shape.push(1),
            _ => {}
        }
        *scale = cx.reshape(wide, &shape)?;
    }
    let both = cx.mul(scales[0], scales[1])?;
    cx.div(both, scales[2])
}

/// `saturate(round(sums · factor) + zero)`
fn requantized(cx: &mut Context, sums: Value, factor: Value, zero: Value) -> Made {
    let to = zero.data_type;
    let sums = cx.cast(sums, DataType::F32)?;
    let y = cx.mul(sums, factor)?;
    let unit = cx.number(1.0, DataType::F32)?;
    if cx.shape(zero)?.iter().product::<usize>() != 1 {
        return unsupported("with zero points for each row of the result");
    }
    let zero = cx.reshape(zero, &[])?;
    let zero = cx.cast(zero, DataType::F32)?;
    quantized(cx, y, unit, Some(zero), to)
}

fn matmul(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let all = node.all()?;
    let [a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero] = all[..] else {
        return wrong(format!("{} inputs", all.len()));
    };
    let sums = integer_product(cx, (a, Some(a_zero)), (b, Some(b_zero)))?;
    let factor = factor(cx, a_scale, b_scale, y_scale)?;
    one(requantized(cx, sums, factor, y_zero))
}

fn conv(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = (node.input(0)?, Some(node.input(2)?));
    let filter = (node.input(3)?, Some(node.input(5)?));
    let (x_scale, filter_scale) = (node.input(1)?, node.input(4)?);
    let (y_scale, y_zero, bias) = (node.input(6)?, node.input(7)?, node.optional(8));
    let mut sums = integer_sums(cx, node, x, filter)?;
    let rank = cx.rank(sums);
    let each_output = |cx: &mut Context, v: Value| {
        let mut shape = vec![1; rank];
        shape[1] = cx.shape(v)?.iter().product();
        cx.reshape(v, &shape)
    };
    if let Some(bias) = bias {
        let bias = cx.cast(bias, DataType::F32)?;
        let bias = each_output(cx, bias)?;
        sums = cx.add(sums, bias)?;
    }
    let filter_scale = each_output(cx, filter_scale)?;
    let factor = factor(cx, x_scale, filter_scale, y_scale)?;
    one(requantized(cx, sums, factor, y_zero))
}
