//! Operators that move elements.

use fewbit_engine::graph::op::{Compare, PadMode};

use super::{Call, Outputs, axes_of, axis_of, same_type};
use crate::error::{refuse, rule};
use crate::types::{Descriptor, MOST_TENSORS, broadcasts_to, valid_dimension};
use crate::value::{Number, Value};

pub(super) fn concat(call: &mut Call<'_>) -> Outputs {
    let inputs = call.argument(0).list("inputs")?;
    rule((1..=MOST_TENSORS).contains(&inputs.len()), || {
        format!("{} inputs are no valid tensor count", inputs.len())
    })?;
    let mut values = Vec::with_capacity(inputs.len());
    let mut read = Vec::with_capacity(inputs.len());
    for input in inputs {
        let operand = input.operand("inputs")?;
        read.push(call.read(operand)?);
    }
    let first = &read[0];
    let axis = axis_of(first, call.argument(1).unsigned_long("axis")?)?;
    let mut size = 0u64;
    for x in &read {
        same_type("an input", x, first)?;
        let fits = x.rank() == first.rank()
            && (0..x.rank()).all(|d| d == axis || x.shape[d] == first.shape[d]);
        rule(fits, || {
            format!(
                "{:?} and {:?} differ beside axis {axis}",
                x.shape, first.shape
            )
        })?;
        size += x.shape[axis] as u64;
        values.push(x.value);
    }
    valid_dimension(size)?;
    Ok(vec![call.emit().concat(&values, axis)?])
}

pub(super) fn expand(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let shape = call.sizes(1, "newShape")?;
    broadcasts_to(&x.shape, &shape)?;
    Descriptor::new(x.data_type, &shape).check()?;
    Ok(vec![call.emit().expand(x.value, &shape)?])
}

pub(super) fn reshape(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let shape = call.sizes(1, "newShape")?;
    let new = Descriptor::new(x.data_type, &shape);
    new.check()?;
    let count: usize = x.shape.iter().product();
    rule(new.elements() == count, || {
        format!("{shape:?} has not the {count} elements of {:?}", x.shape)
    })?;
    Ok(vec![call.emit().reshape(x.value, &shape)?])
}

pub(super) fn transpose(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let permutation = match call.option_sizes("permutation")? {
        Some(permutation) => permutation,
        None => (0..x.rank()).rev().collect(),
    };
    rule(permutation.len() == x.rank(), || {
        let (given, rank) = (permutation.len(), x.rank());
        format!("permutation's size {given} is not the input's rank {rank}")
    })?;
    axes_of(&x, &permutation)?;
    Ok(vec![call.emit().transpose(x.value, &permutation)?])
}

pub(super) fn reverse(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let axes = match call.option_sizes("axes")? {
        Some(axes) => axes,
        None => (0..x.rank()).collect(),
    };
    axes_of(&x, &axes)?;
    let mut y = x.value;
    for axis in axes {
        y = call.emit().turn(y, axis)?;
    }
    Ok(vec![y])
}

pub(super) fn slice(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let starts = call.sizes(1, "starts")?;
    let sizes = call.sizes(2, "sizes")?;
    let strides = match call.option_sizes("strides")? {
        Some(strides) => strides,
        None => vec![1; x.rank()],
    };
    for (name, list) in [
        ("starts", &starts),
        ("sizes", &sizes),
        ("strides", &strides),
    ] {
        rule(list.len() == x.rank(), || {
            let (given, rank) = (list.len(), x.rank());
            format!("{name}'s size {given} is not the input's rank {rank}")
        })?;
    }
    for axis in 0..x.rank() {
        let (start, size, stride) = (starts[axis], sizes[axis], strides[axis]);
        rule(size > 0, || format!("the size of axis {axis} is 0"))?;
        rule(stride > 0, || {
            format!("the stride of axis {axis} is less than 1")
        })?;
        let end = start.saturating_add(size);
        rule(end <= x.shape[axis], || {
            format!(
                "axis {axis}: {start} + {size} is greater than {}",
                x.shape[axis]
            )
        })?;
    }
    let y = call.emit().slice(x.value, &starts, &sizes, &strides)?;
    Ok(vec![y])
}

pub(super) fn split(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let axis = axis_of(&x, call.option_size("axis", 0)?)?;
    let size = x.shape[axis];
    let count = |count: usize| {
        rule((1..=MOST_TENSORS).contains(&count), || {
            format!("{count} splits are no valid tensor count")
        })
    };
    let sizes = match call.argument(1) {
        Value::List(_) => {
            let sizes = call.sizes(1, "splits")?;
            count(sizes.len())?;
            rule(!sizes.contains(&0), || format!("splits {sizes:?} have a 0"))?;
            let sum = sizes.iter().fold(0usize, |sum, &n| sum.saturating_add(n));
            rule(sum == size, || {
                format!("the sum of splits {sizes:?} is not {size}")
            })?;
            sizes
        }
        one => {
            let splits = one.unsigned_long("splits")?;
            count(splits)?;
            rule(size.is_multiple_of(splits), || {
                format!("{size} elements are not divisible into {splits} splits")
            })?;
            vec![size / splits; splits]
        }
    };
    let mut start = 0;
    let mut parts = Vec::with_capacity(sizes.len());
    for size in sizes {
        parts.push(call.emit().part(x.value, axis, start, size)?);
        start += size;
    }
    Ok(parts)
}

pub(super) fn tile(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let repetitions = call.sizes(1, "repetitions")?;
    rule(repetitions.len() == x.rank(), || {
        let (given, rank) = (repetitions.len(), x.rank());
        format!("repetitions' size {given} is not the input's rank {rank}")
    })?;
    rule(!repetitions.contains(&0), || {
        format!("repetitions {repetitions:?} contain a 0")
    })?;
    let sizes = x.shape.iter().zip(&repetitions);
    let shape: Vec<usize> = sizes.map(|(n, times)| n.saturating_mul(*times)).collect();
    Descriptor::new(x.data_type, &shape).check()?;
    let mut y = x.value;
    for (axis, times) in repetitions.into_iter().enumerate() {
        y = call.emit().tile(y, axis, times)?;
    }
    Ok(vec![y])
}

pub(super) fn pad(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let before = call.sizes(1, "beginningPadding")?;
    let after = call.sizes(2, "endingPadding")?;
    for (name, list) in [("beginningPadding", &before), ("endingPadding", &after)] {
        rule(list.len() == x.rank(), || {
            let (given, rank) = (list.len(), x.rank());
            format!("{name}'s size {given} is not the input's rank {rank}")
        })?;
    }
    let number = match call.option("value") {
        Some(value) => value.ml_number("value")?,
        None => Number::Float(0.0),
    };
    let modes = [
        ("constant", PadMode::Constant(0.0)),
        ("edge", PadMode::Edge),
        ("reflection", PadMode::Reflection),
    ];
    let mode = call.option_one_of("mode", &modes, PadMode::Constant(0.0))?;
    for axis in 0..x.rank() {
        let (size, most) = (x.shape[axis], before[axis].max(after[axis]));
        rule(mode != PadMode::Reflection || most < size, || {
            format!("axis {axis}: padding of {most} is not less than {size}")
        })?;
        valid_dimension(size as u64 + before[axis] as u64 + after[axis] as u64)?;
    }
    let number = x.data_type.cast(number);
    let emit = call.emit();
    let y = match mode {
        PadMode::Constant(_) => emit.surround(x.value, &before, &after, number)?,
        mode => emit.pad(x.value, &before, &after, mode)?,
    };
    Ok(vec![y])
}

/// What is on and above a diagonal, or on and below it; elsewhere 0.
pub(super) fn triangular(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let rank = x.rank();
    if rank < 2 {
        return refuse(format!("input's rank {rank} is less than 2"));
    }
    let upper = call.option_flag("upper", true);
    let diagonal = match call.option("diagonal") {
        Some(value) => value.long("diagonal")?,
        None => 0,
    };
    let emit = call.emit();
    let rows = emit.places(x.shape[rank - 2], 0, 2, diagonal)?;
    let columns = emit.places(x.shape[rank - 1], 1, 2, 0)?;
    let side = match upper {
        true => Compare::GreaterOrEqual,
        false => Compare::LesserOrEqual,
    };
    let kept = emit.compare(side, columns, rows)?;
    let zero = emit.float_like(x.value, 0.0)?;
    Ok(vec![emit.select(kept, x.value, zero)?])
}
