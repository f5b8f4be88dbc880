//! Reductions along axes, and softmax.

use super::indexing::{offsets, part};
use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::graph::op::{CumulativeSum, Reduce, ReduceKind};
use crate::tensor::Tensor;

/// Over no elements at all a sum is 0, a product 1, a maximum −∞, a minimum ∞, a mean NaN.
pub(super) fn reduce(case: &Case<'_>, reduce: &Reduce) -> Result<Tensor, EvaluateError> {
    let parted = part(case.inputs[0].shape, &reduce.axes);
    let along: Vec<usize> = offsets(&parted.along.0, &parted.along.1).collect();
    let starts = offsets(&parted.kept.0, &parted.kept.1);
    match case.numbers(0)? {
        Numbers::Floats(values) => {
            let out: Vec<f64> = starts
                .map(|start| {
                    let group = along.iter().map(|at| values[start + at]);
                    reduce_floats(reduce.kind, group, along.len())
                })
                .collect();
            case.of_floats(&out)
        }
        Numbers::Integers(values) => {
            let out: Option<Vec<i128>> = starts
                .map(|start| {
                    reduce_integers(reduce.kind, along.iter().map(|at| values[start + at]))
                })
                .collect();
            case.of_integers(&out.ok_or_else(|| case.unsupported())?)
        }
    }
}

fn reduce_floats(kind: ReduceKind, group: impl Iterator<Item = f64> + Clone, count: usize) -> f64 {
    let most = |group: &mut dyn Iterator<Item = f64>| {
        group.fold(
            f64::NEG_INFINITY,
            |a, b| {
                if a.is_nan() || a > b { a } else { b }
            },
        )
    };
    match kind {
        ReduceKind::L1 => group.map(f64::abs).sum(),
        ReduceKind::L2 => group.map(|x| x * x).sum::<f64>().sqrt(),
        ReduceKind::LogSum => group.sum::<f64>().ln(),
        ReduceKind::LogSumExp => {
            let most = most(&mut group.clone());
            if most.is_finite() {
                most + group.map(|x| (x - most).exp()).sum::<f64>().ln()
            } else {
                most
            }
        }
        ReduceKind::Max => most(&mut group.clone()),
        ReduceKind::Mean => group.sum::<f64>() / count as f64,
        ReduceKind::Min => -most(&mut group.map(|x| -x)),
        ReduceKind::Product => group.product(),
        ReduceKind::Sum => group.sum(),
        ReduceKind::SumSquare => group.map(|x| x * x).sum(),
    }
}

/// `None` where the result would be no integer, or there is no greatest of nothing.
fn reduce_integers(kind: ReduceKind, group: impl Iterator<Item = i128>) -> Option<i128> {
    let mut group = group;
    match kind {
        ReduceKind::L1 => Some(group.map(i128::abs).fold(0, i128::wrapping_add)),
        ReduceKind::Sum => Some(group.fold(0, i128::wrapping_add)),
        ReduceKind::SumSquare => Some(group.map(|x| x.wrapping_mul(x)).fold(0, i128::wrapping_add)),
        ReduceKind::Product => Some(group.fold(1, i128::wrapping_mul)),
        ReduceKind::Max => group.by_ref().max(),
        ReduceKind::Min => group.by_ref().min(),
        ReduceKind::L2 | ReduceKind::LogSum | ReduceKind::LogSumExp | ReduceKind::Mean => None,
    }
}

/// `exp(x − max) / Σ exp(x − max)` along one axis.
pub(super) fn softmax(case: &Case<'_>, axis: usize) -> Result<Tensor, EvaluateError> {
    let mut values = case.wide_floats(0)?;
    let parted = part(case.inputs[0].shape, &[axis]);
    let along: Vec<usize> = offsets(&parted.along.0, &parted.along.1).collect();
    for start in offsets(&parted.kept.0, &parted.kept.1) {
        let mut row: Vec<f64> = along.iter().map(|at| values[start + at]).collect();
        softmax_row(&mut row);
        for (at, value) in along.iter().zip(row) {
            values[start + at] = value;
        }
    }
    case.of_floats(&values)
}

/// NaN throughout if any is NaN or all are −∞.
pub(super) fn softmax_row(row: &mut [f64]) {
    let most = row.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for x in row.iter_mut() {
        *x = (*x - most).exp();
    }
    let sum: f64 = row.iter().sum();
    for x in row.iter_mut() {
        *x /= sum;
    }
}

/// The sums of what stands up to each place (or before it) along an axis, from either end.
pub(super) fn cumulative_sum(case: &Case<'_>, sum: CumulativeSum) -> Result<Tensor, EvaluateError> {
    let parted = part(case.inputs[0].shape, &[sum.axis]);
    let mut along: Vec<usize> = offsets(&parted.along.0, &parted.along.1).collect();
    if sum.reversed {
        along.reverse();
    }
    let starts = || offsets(&parted.kept.0, &parted.kept.1);
    match case.numbers(0)? {
        Numbers::Floats(mut values) => {
            for start in starts() {
                accumulate(&mut values, start, &along, sum.exclusive, 0.0, |a, b| a + b);
            }
            case.of_floats(&values)
        }
        Numbers::Integers(mut values) => {
            for start in starts() {
                accumulate(
                    &mut values,
                    start,
                    &along,
                    sum.exclusive,
                    0,
                    i128::wrapping_add,
                );
            }
            case.of_integers(&values)
        }
    }
}

fn accumulate<T: Copy>(
    values: &mut [T],
    start: usize,
    along: &[usize],
    exclusive: bool,
    zero: T,
    add: impl Fn(T, T) -> T,
) {
    let mut sum = zero;
    for at in along {
        let next = add(sum, values[start + at]);
        values[start + at] = if exclusive { sum } else { next };
        sum = next;
    }
}
