//! Reductions, the places of greatest and least elements, and sums up to each place.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{CumulativeSum, Extension, ReduceKind};
use fewbit_engine::tensor;

use super::{Call, Outputs, axes_of, axis_of};
use crate::error::rule;
use crate::types::DataType;

const WIDE: &[DataType] = &[
    DataType::Float32,
    DataType::Float16,
    DataType::Int32,
    DataType::Uint32,
    DataType::Int64,
    DataType::Uint64,
];

pub(super) fn reduce(call: &mut Call<'_>) -> Outputs {
    let (kind, types) = match call.name {
        "reduceL1" => (ReduceKind::L1, WIDE),
        "reduceL2" => (ReduceKind::L2, DataType::FLOATS),
        "reduceLogSum" => (ReduceKind::LogSum, DataType::FLOATS),
        "reduceLogSumExp" => (ReduceKind::LogSumExp, DataType::FLOATS),
        "reduceMax" => (ReduceKind::Max, &DataType::ALL[..]),
        "reduceMean" => (ReduceKind::Mean, DataType::FLOATS),
        "reduceMin" => (ReduceKind::Min, &DataType::ALL[..]),
        "reduceProduct" => (ReduceKind::Product, WIDE),
        "reduceSum" => (ReduceKind::Sum, WIDE),
        _ => (ReduceKind::SumSquare, WIDE),
    };
    let x = call.operand_of(0, "input", types)?;
    let mut axes = match call.option_sizes("axes")? {
        Some(axes) => axes,
        None => (0..x.rank()).collect(),
    };
    axes_of(&x, &axes)?;
    axes.sort_unstable();
    let keep = call.option_flag("keepDimensions", false);
    Ok(vec![call.emit().reduce(kind, x.value, &axes, keep)?])
}

/// `argMin`, `argMax`: the first of equal ones.
pub(super) fn arg(call: &mut Call<'_>) -> Outputs {
    let x = call.operand(0, "input")?;
    rule(x.rank() > 0, || "input is a scalar".into())?;
    let axis = axis_of(&x, call.argument(1).unsigned_long("axis")?)?;
    let types = [("int32", DataType::Int32), ("int64", DataType::Int64)];
    let to = call.option_one_of("outputDataType", &types, DataType::Int32)?;
    let keep = call.option_flag("keepDimensions", false);
    let top = Extension::TopK {
        axis,
        k: 1,
        largest: call.name == "argMax",
    };
    let emit = call.emit();
    let place = emit.op(Op::Extension(top), &[x.value])?;
    // A place fits in 32 bits, and from there goes where it is wanted: 64 bits may be two words.
    let place = emit.cast(place, tensor::DataType::I32)?;
    let place = emit.cast(place, to.engine())?;
    let mut shape = x.shape;
    match keep {
        true => shape[axis] = 1,
        false => {
            shape.remove(axis);
        }
    }
    Ok(vec![emit.reshape(place, &shape)?])
}

pub(super) fn cumulative_sum(call: &mut Call<'_>) -> Outputs {
    let x = call.operand_of(0, "input", WIDE)?;
    let axis = axis_of(&x, call.argument(1).unsigned_long("axis")?)?;
    let sum = CumulativeSum {
        axis,
        exclusive: call.option_flag("exclusive", false),
        reversed: call.option_flag("reversed", false),
    };
    let y = call.emit().op(Op::CumulativeSum(sum), &[x.value])?;
    Ok(vec![y])
}
