//! Quantization by scales and zero points, each for a block of elements.

use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, Compare};
use fewbit_engine::tensor::DataType as Element;

use super::{Call, In, Outputs, one_of, ranked, same_type, shaped};
use crate::emit::{Emit, Made};
use crate::error::{Fault, rule};
use crate::types::DataType;

const INTEGERS: &[DataType] = &[
    DataType::Uint8,
    DataType::Int8,
    DataType::Uint32,
    DataType::Int32,
];

/// Scale and zero point of one shape, whose sizes divide the input's.
fn blocks(x: &In, scale: &In, zero: &In) -> Result<(), Fault> {
    ranked("scale", scale, x.rank())?;
    ranked("zeroPoint", zero, x.rank())?;
    shaped("zeroPoint", zero, &scale.shape)?;
    let mut sizes = x.shape.iter().zip(&scale.shape);
    rule(sizes.all(|(n, blocks)| n.is_multiple_of(*blocks)), || {
        format!("{:?} are no blocks of {:?}", scale.shape, x.shape)
    })
}

/// A block's number for each of its elements.
fn spread(emit: &mut Emit, x: ValueId, shape: &[usize]) -> Made {
    let mut y = x;
    for (axis, &size) in shape.iter().enumerate() {
        let blocks = emit.shape(y)[axis];
        // One block is left to broadcasting.
        if blocks > 1 {
            y = emit.repeat(y, axis, size / blocks)?;
        }
    }
    Ok(y)
}

/// `(x − zero) · scale`, in f32.
pub(super) fn dequantize(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", INTEGERS)?;
    let scale = call.operand_of(1, "scale", DataType::FLOATS)?;
    let zero = call.operand_like(2, "zeroPoint", &x)?;
    blocks(&x, &scale, &zero)?;
    let emit = call.emit();
    let zero = spread(emit, zero.value, &x.shape)?;
    let zero = emit.cast(zero, Element::F32)?;
    let factor = spread(emit, scale.value, &x.shape)?;
    let factor = emit.cast(factor, Element::F32)?;
    let y = emit.cast(x.value, Element::F32)?;
    let y = emit.sub(y, zero)?;
    let y = emit.mul(y, factor)?;
    Ok(vec![emit.cast(y, scale.data_type.engine())?])
}

/// `roundEven(x / scale) + zero` within the type's range, in f32.
pub(super) fn quantize(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", DataType::FLOATS)?;
    let scale = call.operand(1, "scale")?;
    same_type("scale", &scale, &x)?;
    let zero = call.operand(2, "zeroPoint")?;
    one_of("zeroPoint", &zero, INTEGERS)?;
    blocks(&x, &scale, &zero)?;
    let (to, zero) = (zero.data_type, zero.value);
    let emit = call.emit();
    let zero = spread(emit, zero, &x.shape)?;
    let factor = spread(emit, scale.value, &x.shape)?;
    let factor = emit.cast(factor, Element::F32)?;
    let wide = emit.cast(x.value, Element::F32)?;
    let quotient = emit.binary(Binary::Div, wide, factor)?;
    let whole = emit.round_even(quotient)?;
    let (least, most) = to.range().unwrap_or_default();
    if to.bytes() == 1 {
        let zero = emit.cast(zero, Element::F32)?;
        let sum = emit.add(whole, zero)?;
        let sum = emit.with(Binary::Max, sum, least as f64)?;
        let sum = emit.with(Binary::Min, sum, most as f64)?;
        return Ok(vec![emit.cast(sum, to.engine())?]);
    }
    // f32 has not every sum: it is made of integers, where it stays in their range.
    let bounded = |emit: &mut Emit, x: ValueId| -> Made {
        let x = emit.with(Binary::Max, x, -(2f64.powi(31)))?;
        let x = emit.with(Binary::Min, x, 2f64.powi(31) - 128.0)?;
        emit.cast(x, Element::I32)
    };
    // Of an unsigned zero point from 2³¹ on, the half above is taken as a number below 0.
    let halved = to == DataType::Uint32;
    let shift = match halved {
        true => 2f64.powi(31),
        false => 0.0,
    };
    let part = bounded(emit, whole)?;
    let zero = match halved {
        true => {
            let shift = emit.float_like(zero, shift)?;
            let less = emit.sub(zero, shift)?;
            emit.cast(less, Element::I32)?
        }
        false => zero,
    };
    let sum = emit.add(part, zero)?;
    // In two's complement a sum beyond the range has the other sign than both.
    let negative = |emit: &mut Emit, x| emit.compare_with(Compare::Lesser, x, 0.0);
    let (a, b, c) = (
        negative(emit, part)?,
        negative(emit, zero)?,
        negative(emit, sum)?,
    );
    let same = emit.compare(Compare::Equal, a, b)?;
    let turned = emit.compare(Compare::NotEqual, a, c)?;
    let over = emit.logical(fewbit_engine::graph::op::Logical::And, same, turned)?;
    let least = emit.float_like(sum, f64::from(i32::MIN))?;
    let most = emit.float_like(sum, f64::from(i32::MAX))?;
    let end = emit.select(a, least, most)?;
    let sum = emit.select(over, end, sum)?;
    if !halved {
        return Ok(vec![sum]);
    }
    let sum = emit.cast(sum, Element::U32)?;
    let shift = emit.float_like(sum, shift)?;
    Ok(vec![emit.add(sum, shift)?])
}
