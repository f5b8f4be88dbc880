//! Resampling of two axes.

use fewbit_engine::graph::ValueId;
use fewbit_engine::tensor::{DataType as Element, Tensor};

use super::{Call, Outputs, axes_of, ranked};
use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond, rule};
use crate::types::{DataType, Descriptor, valid_dimension};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Nearest,
    Linear,
}

const MOST_PLACES: usize = 1 << 24;

pub(super) fn resample2d(call: &mut Call<'_>) -> Outputs {
    const TYPES: &[DataType] = &[
        DataType::Float32,
        DataType::Float16,
        DataType::Uint8,
        DataType::Int8,
    ];
    let x = call.operand_of(0, "input", TYPES)?;
    ranked("input", &x, 4)?;
    let modes = [
        ("nearest-neighbor", Mode::Nearest),
        ("linear", Mode::Linear),
    ];
    let mode = call.option_one_of("mode", &modes, Mode::Nearest)?;
    let scales = scales(call)?;
    let sizes = call.option_list("sizes", [0; 2])?;
    let sizes = call.option("sizes").map(|_| sizes);
    if let Some(sizes) = sizes {
        rule(!sizes.contains(&0), || format!("sizes {sizes:?} have a 0"))?;
    }
    let axes = call.option_list("axes", [2, 3])?;
    axes_of(&x, &axes)?;
    let mut shape = x.shape.clone();
    for (at, &axis) in axes.iter().enumerate() {
        let size = match sizes {
            Some(sizes) => sizes[at] as u64,
            None => (x.shape[axis] as f64 * f64::from(scales[at])).floor() as u64,
        };
        shape[axis] = valid_dimension(size)?;
    }
    Descriptor::new(x.data_type, &shape).check()?;
    let emit = call.emit();
    let y = match mode {
        Mode::Nearest => along(emit, x.value, &axes, &shape, nearest)?,
        Mode::Linear if x.data_type == DataType::Float32 => {
            along(emit, x.value, &axes, &shape, linear)?
        }
        Mode::Linear => {
            let y = emit.cast(x.value, Element::F32)?;
            let mut y = along(emit, y, &axes, &shape, linear)?;
            if !x.data_type.is_float() {
                y = emit.round_even(y)?;
            }
            emit.cast(y, x.data_type.engine())?
        }
    };
    Ok(vec![y])
}

fn scales(call: &Call<'_>) -> Result<[f32; 2], Fault> {
    let Some(value) = call.option("scales") else {
        return Ok([1.0; 2]);
    };
    let list = value.list("scales")?;
    let scales: Result<Vec<f32>, Fault> = list.iter().map(|x| x.float("scales")).collect();
    let scales = scales?;
    rule(scales.iter().all(|&scale| scale > 0.0), || {
        format!("scales {scales:?} are not all above 0")
    })?;
    match scales[..] {
        [a, b] => Ok([a, b]),
        _ => crate::error::refuse(format!("scales' size is {}, not 2", scales.len())),
    }
}

fn along(
    emit: &mut Emit,
    x: ValueId,
    axes: &[usize],
    shape: &[usize],
    by: fn(&mut Emit, ValueId, usize, usize) -> Made,
) -> Made {
    let mut y = x;
    for &axis in axes {
        if emit.shape(y)[axis] != shape[axis] {
            if shape[axis] > MOST_PLACES {
                return beyond(format!("{} places on an axis", shape[axis]));
            }
            y = by(emit, y, axis, shape[axis])?;
        }
    }
    Ok(y)
}

/// Where on an axis of `size` the middle of place `at` of `to` is, times `2 · to`: exactly
/// `(at + ½) · size / to − ½`, and within the axis.
fn coordinate(at: usize, size: usize, to: usize) -> i128 {
    let (at, size, to) = (at as i128, size as i128, to as i128);
    ((2 * at + 1) * size - to).clamp(0, 2 * to * (size - 1))
}

/// The place at `ceil(coordinate − ½)`.
fn nearest(emit: &mut Emit, x: ValueId, axis: usize, to: usize) -> Made {
    let size = emit.shape(x)[axis];
    let double = 2 * to as i128;
    let place = |at| -> i32 {
        let less = coordinate(at, size, to) - to as i128;
        -((-less).div_euclid(double)) as i32
    };
    let places: Vec<i32> = (0..to).map(place).collect();
    let places = emit.integers(&[to], &places)?;
    emit.gather(x, places, axis)
}

/// Of the places on both sides, each by how near it is.
fn linear(emit: &mut Emit, x: ValueId, axis: usize, to: usize) -> Made {
    let shape = emit.shape(x);
    let (size, double) = (shape[axis], 2 * to as i128);
    let (mut below, mut above, mut weights) = (Vec::new(), Vec::new(), Vec::new());
    for at in 0..to {
        let coordinate = coordinate(at, size, to);
        let place = coordinate.div_euclid(double);
        below.push(place as i32);
        above.push((place + 1).min(size as i128 - 1) as i32);
        weights.push((coordinate.rem_euclid(double) as f64 / double as f64) as f32);
    }
    let mut sizes = vec![1; shape.len()];
    sizes[axis] = to;
    let rest: Vec<f32> = weights.iter().map(|weight| 1.0 - weight).collect();
    let (below, above) = (emit.integers(&[to], &below)?, emit.integers(&[to], &above)?);
    let (below, above) = (emit.gather(x, below, axis)?, emit.gather(x, above, axis)?);
    let rest = emit.graph.constant(Tensor::from_f32(&sizes, &rest)?);
    let weights = emit.graph.constant(Tensor::from_f32(&sizes, &weights)?);
    let (below, above) = (emit.mul(below, rest)?, emit.mul(above, weights)?);
    emit.add(below, above)
}
