//! Operators that take elements from places given by index, or put them there.
//!
//! A negative index counts from the end of its axis; what is out of bounds is clamped into it.

use fewbit_engine::graph::op::{Binary, Compare, Scatter};
use fewbit_engine::graph::{Op, ValueId};
use fewbit_engine::tensor;

use super::{Call, In, Outputs, axis_of, one_of, ranked, same_type};
use crate::emit::{Emit, Made};
use crate::error::{Fault, rule};
use crate::types::DataType;

fn indices(call: &mut Call<'_>) -> Result<In, Fault> {
    let indices = call.operand(1, "indices")?;
    let types = [DataType::Int32, DataType::Uint32, DataType::Int64];
    one_of("indices", &indices, &types)?;
    Ok(indices)
}

/// Indices in i32, those beyond it at its ends, which are beyond every axis too.
fn narrow(emit: &mut Emit, indices: &In) -> Made {
    let mut x = indices.value;
    let (least, most) = (f64::from(i32::MIN), f64::from(i32::MAX));
    if indices.data_type != DataType::Int32 {
        x = emit.with(Binary::Min, x, most)?;
    }
    if indices.data_type == DataType::Int64 {
        x = emit.with(Binary::Max, x, least)?;
    }
    emit.cast(x, tensor::DataType::I32)
}

/// i32 indices into an axis as places on it.
fn placed(emit: &mut Emit, x: ValueId, size: usize) -> Made {
    let from_end = emit.with(Binary::Add, x, size as f64)?;
    let negative = emit.compare_with(Compare::Lesser, x, 0.0)?;
    let x = emit.select(negative, from_end, x)?;
    let x = emit.with(Binary::Max, x, 0.0)?;
    emit.with(Binary::Min, x, (size - 1) as f64)
}

pub(super) fn gather(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    rule(x.rank() > 0, || "input is a scalar".into())?;
    let indices = indices(call)?;
    let axis = axis_of(&x, call.option_size("axis", 0)?)?;
    let emit = call.emit();
    let places = narrow(emit, &indices)?;
    Ok(vec![emit.gather(x.value, places, axis)?])
}

/// The shape of the indices of a gather or scatter of elements: that of the input but for the axis.
fn elements_shape(x: &In, indices: &In, axis: usize) -> Result<(), Fault> {
    ranked("indices", indices, x.rank())?;
    let mut wanted = x.shape.clone();
    wanted[axis] = indices.shape[axis];
    rule(indices.shape == wanted, || {
        format!("indices' shape {:?} is not {wanted:?}", indices.shape)
    })
}

/// The places in the flat input that indices along an axis mean.
fn flat_places(emit: &mut Emit, x: &In, indices: &In, axis: usize) -> Made {
    let narrow = narrow(emit, indices)?;
    let along = placed(emit, narrow, x.shape[axis])?;
    let mut stride = 1;
    let mut flat: Option<ValueId> = None;
    for at in (0..x.rank()).rev() {
        let own = match at == axis {
            true => along,
            false => emit.places(x.shape[at], at, x.rank(), 0)?,
        };
        let own = emit.with(Binary::Mul, own, stride as f64)?;
        flat = Some(match flat {
            Some(flat) => emit.add(flat, own)?,
            None => own,
        });
        stride *= x.shape[at];
    }
    let flat = flat.unwrap_or(along);
    emit.expand(flat, &indices.shape)
}

pub(super) fn gather_elements(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    rule(x.rank() > 0, || "input is a scalar".into())?;
    let indices = indices(call)?;
    let axis = axis_of(&x, call.option_size("axis", 0)?)?;
    elements_shape(&x, &indices, axis)?;
    let emit = call.emit();
    let places = flat_places(emit, &x, &indices, axis)?;
    let flat = emit.reshape(x.value, &[x.shape.iter().product()])?;
    Ok(vec![emit.gather(flat, places, 0)?])
}

/// How many dimensions of the input the last one of the indices names.
fn depth(x: &In, indices: &In) -> Result<usize, Fault> {
    rule(x.rank() > 0, || "input is a scalar".into())?;
    rule(indices.rank() > 0, || "indices is a scalar".into())?;
    let depth = indices.shape[indices.rank() - 1];
    rule(depth <= x.rank(), || {
        let rank = x.rank();
        format!("the last dimension {depth} of indices is greater than the input's rank {rank}")
    })?;
    Ok(depth)
}

pub(super) fn gather_nd(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let indices = indices(call)?;
    let depth = depth(&x, &indices)?;
    let emit = call.emit();
    let narrow = narrow(emit, &indices)?;
    let last = indices.rank() - 1;
    let mut row: Option<ValueId> = None;
    for (at, &size) in x.shape[..depth].iter().enumerate() {
        let own = emit.part(narrow, last, at, 1)?;
        let own = placed(emit, own, size)?;
        row = Some(match row {
            Some(row) => {
                let row = emit.with(Binary::Mul, row, size as f64)?;
                emit.add(row, own)?
            }
            None => own,
        });
    }
    let row = emit.reshape(row.unwrap_or(narrow), &indices.shape[..last])?;
    let mut shape = vec![x.shape[..depth].iter().product()];
    shape.extend(&x.shape[depth..]);
    let rows = emit.reshape(x.value, &shape)?;
    Ok(vec![emit.gather(rows, row, 0)?])
}

pub(super) fn scatter_elements(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    rule(x.rank() > 0, || "input is a scalar".into())?;
    let indices = indices(call)?;
    let updates = call.operand(2, "updates")?;
    same_type("updates", &updates, &x)?;
    let axis = axis_of(&x, call.option_size("axis", 0)?)?;
    elements_shape(&x, &indices, axis)?;
    super::shaped("updates", &updates, &indices.shape)?;
    let emit = call.emit();
    let places = flat_places(emit, &x, &indices, axis)?;
    let count: usize = indices.shape.iter().product();
    let places = emit.reshape(places, &[count, 1])?;
    let flat = emit.reshape(x.value, &[x.shape.iter().product()])?;
    let updates = emit.reshape(updates.value, &[count])?;
    let y = emit.op(Op::ScatterNd(Scatter::Replace), &[flat, places, updates])?;
    Ok(vec![emit.reshape(y, &x.shape)?])
}

pub(super) fn scatter_nd(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    let indices = indices(call)?;
    let updates = call.operand(2, "updates")?;
    same_type("updates", &updates, &x)?;
    let depth = depth(&x, &indices)?;
    let mut wanted = indices.shape[..indices.rank() - 1].to_vec();
    wanted.extend(&x.shape[depth..]);
    super::shaped("updates", &updates, &wanted)?;
    let emit = call.emit();
    let places = narrow(emit, &indices)?;
    let op = Op::ScatterNd(Scatter::Replace);
    Ok(vec![emit.op(op, &[x.value, places, updates.value])?])
}
