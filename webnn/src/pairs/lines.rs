//! Reductions and sums along axes over pairs of words.

use fewbit_engine::graph::op::{Compare, CumulativeSum, Extension, Reduce, ReduceKind};
use fewbit_engine::graph::{Node, Op, ValueId};
use fewbit_engine::tensor::DataType;

use crate::emit::{Emit, Made};
use crate::error::{Fault, beyond};

/// The sum of so many 16-bit numbers, and a carry of as many bits, fits in a word.
const MOST_SUMS: usize = 1 << 16;

pub(super) fn reduce(emit: &mut Emit, reduce: &Reduce, x: ValueId, signed: bool) -> Made {
    let shape = emit.shape(x);
    let rank = shape.len() - 1;
    let count: usize = reduce.axes.iter().map(|&axis| shape[axis]).product();
    let sum = |emit: &mut Emit, x| -> Made {
        let sum = |emit: &mut Emit, x| {
            emit.reduce(ReduceKind::Sum, x, &reduce.axes, reduce.keep_dimensions)
        };
        by_quarters(emit, x, count, sum)
    };
    match reduce.kind {
        ReduceKind::Sum => sum(emit, x),
        ReduceKind::L1 => {
            let x = if signed { emit.long_abs(x)? } else { x };
            sum(emit, x)
        }
        ReduceKind::SumSquare => {
            let squares = emit.long_mul(x, x)?;
            sum(emit, squares)
        }
        ReduceKind::Product => {
            let order: Vec<usize> = (0..rank)
                .filter(|axis| !reduce.axes.contains(axis))
                .chain(reduce.axes.iter().copied())
                .chain([rank])
                .collect();
            let moved = emit.transpose(x, &order)?;
            let kept: usize = shape[..rank].iter().product::<usize>() / count.max(1);
            let lines = emit.reshape(moved, &[kept, count, 2])?;
            let y = folded(emit, lines, |emit, a, b| emit.long_mul(a, b))?;
            let mut to = Vec::new();
            for (axis, &size) in shape[..rank].iter().enumerate() {
                match reduce.axes.contains(&axis) {
                    false => to.push(size),
                    true if reduce.keep_dimensions => to.push(1),
                    true => {}
                }
            }
            to.push(2);
            emit.reshape(y, &to)
        }
        ReduceKind::Max | ReduceKind::Min => {
            let best = greatest(emit, x, &reduce.axes, reduce.kind, signed)?;
            let mut to = emit.shape(best);
            if !reduce.keep_dimensions {
                let mut axis = 0;
                to.retain(|_| {
                    axis += 1;
                    !reduce.axes.contains(&(axis - 1))
                });
            }
            emit.reshape(best, &to)
        }
        other => beyond(other.name()),
    }
}

/// Of `[lines, n, 2]` all `n` joined, half by half.
fn folded(emit: &mut Emit, x: ValueId, join: impl Fn(&mut Emit, ValueId, ValueId) -> Made) -> Made {
    let mut x = x;
    loop {
        let n = emit.shape(x)[1];
        if n <= 1 {
            return Ok(x);
        }
        let half = n / 2;
        let (a, b) = (emit.part(x, 1, 0, half)?, emit.part(x, 1, half, half)?);
        let joined = join(emit, a, b)?;
        x = match n % 2 {
            0 => joined,
            _ => {
                let rest = emit.part(x, 1, n - 1, 1)?;
                emit.concat(&[joined, rest], 1)?
            }
        };
    }
}

/// The greatest or least along axes, which stay with size 1: the best higher word, and of those that have it the best
/// lower one.
fn greatest(emit: &mut Emit, x: ValueId, axes: &[usize], kind: ReduceKind, signed: bool) -> Made {
    let [low, high] = emit.words(x)?;
    let ordered = match signed {
        true => emit.cast(high, DataType::I32)?,
        false => high,
    };
    let best = emit.reduce(kind, ordered, axes, true)?;
    let among = emit.compare(Compare::Equal, ordered, best)?;
    let worst = match kind {
        ReduceKind::Max => 0,
        _ => u32::MAX,
    };
    let worst = emit.word(worst)?;
    let low = emit.select(among, low, worst)?;
    let low = emit.reduce(kind, low, axes, true)?;
    let high = emit.cast(best, DataType::U32)?;
    emit.pair([low, high])
}

/// Sums of each 16 bits by themselves, with the carries brought up after.
fn by_quarters(
    emit: &mut Emit,
    x: ValueId,
    count: usize,
    sum: impl Fn(&mut Emit, ValueId) -> Made,
) -> Made {
    if count > MOST_SUMS {
        return beyond(format!("a sum of {count} numbers is more than {MOST_SUMS}"));
    }
    let [low, high] = emit.words(x)?;
    let mut words = [low, high];
    let mut carry: Option<ValueId> = None;
    let base = emit.word(1 << 16)?;
    for word in &mut words {
        let mut parts = emit.halves(*word)?;
        for part in &mut parts {
            let mut total = sum(emit, *part)?;
            if let Some(carry) = carry {
                total = emit.add(total, carry)?;
            }
            let [own, over] = emit.halves(total)?;
            *part = own;
            carry = Some(over);
        }
        let above = emit.mul(parts[1], base)?;
        *word = emit.add(parts[0], above)?;
    }
    emit.pair(words)
}

pub(super) fn cumulative_sum(emit: &mut Emit, sum: CumulativeSum, x: ValueId) -> Made {
    let count = emit.shape(x)[sum.axis];
    by_quarters(emit, x, count, |emit, x| {
        emit.op(Op::CumulativeSum(sum), &[x])
    })
}

/// Places, as pairs. Among 64-bit integers only the first of the greatest, or least, is found.
pub(super) fn top_k(
    emit: &mut Emit,
    node: &Node,
    inputs: &[ValueId],
    data_type: Option<DataType>,
) -> Made {
    let mut x = inputs[0];
    let mut op = node.op.clone();
    if let Some(DataType::I64 | DataType::U64) = data_type {
        let Op::Extension(Extension::TopK {
            axis,
            k: 1,
            largest,
        }) = node.op
        else {
            return beyond("more than one place");
        };
        let kind = match largest {
            true => ReduceKind::Max,
            false => ReduceKind::Min,
        };
        let best = greatest(emit, x, &[axis], kind, data_type == Some(DataType::I64))?;
        let among = emit.long_compare(Compare::Equal, x, best, false)?;
        x = emit.cast(among, DataType::I32)?;
        op = Op::Extension(Extension::TopK {
            axis,
            k: 1,
            largest: true,
        });
    }
    let places = emit.op(op, &[x])?;
    let low = emit.cast(places, DataType::U32)?;
    let high = zeros(emit, low)?;
    emit.pair([low, high])
}

fn zeros(emit: &mut Emit, like: ValueId) -> Result<ValueId, Fault> {
    let zero = emit.word(0)?;
    let shape = emit.shape(like);
    emit.expand(zero, &shape)
}
