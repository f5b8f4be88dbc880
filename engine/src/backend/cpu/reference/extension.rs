//! The operators that WebNN has not.

use std::cmp::Ordering;

use super::elementwise::pairs;
use super::indexing::{offsets, part};
use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::graph::op::{Bitwise, Extension};
use crate::tensor::Tensor;

pub(super) fn extension(case: &Case<'_>, extension: Extension) -> Result<Tensor, EvaluateError> {
    match extension {
        Extension::Atan => {
            let out: Vec<f64> = case.wide_floats(0)?.into_iter().map(f64::atan).collect();
            case.of_floats(&out)
        }
        Extension::Bitcast { .. } => super::movement::reshape(case),
        Extension::Bitwise(op) => {
            let (Numbers::Integers(a), Numbers::Integers(b)) = (case.numbers(0)?, case.numbers(1)?)
            else {
                return Err(case.unsupported());
            };
            let apply = |(a, b)| match op {
                Bitwise::And => a & b,
                Bitwise::Or => a | b,
                Bitwise::Xor => a ^ b,
            };
            let out: Vec<i128> = pairs(case, &a, &b).map(apply).collect();
            case.of_integers(&out)
        }
        Extension::TopK { axis, k, largest } => top_k(case, axis, k, largest),
    }
}

fn top_k(case: &Case<'_>, axis: usize, k: usize, largest: bool) -> Result<Tensor, EvaluateError> {
    let values = case.numbers(0)?;
    let compare = |a: usize, b: usize| match &values {
        Numbers::Floats(v) => match (v[a].is_nan(), v[b].is_nan()) {
            (false, false) => v[a].partial_cmp(&v[b]).unwrap_or(Ordering::Equal),
            (a, b) => a.cmp(&b),
        },
        Numbers::Integers(v) => v[a].cmp(&v[b]),
    };
    let parted = part(case.inputs[0].shape, &[axis]);
    let along: Vec<usize> = offsets(&parted.along.0, &parted.along.1).collect();
    let to = part(&case.output.shape, &[axis]);
    let to_along: Vec<usize> = offsets(&to.along.0, &to.along.1).collect();
    let mut out = vec![0i128; case.output.shape.iter().product()];
    let starts = offsets(&parted.kept.0, &parted.kept.1).zip(offsets(&to.kept.0, &to.kept.1));
    for (from, start) in starts.filter(|_| k > 0) {
        let mut order: Vec<usize> = (0..along.len()).collect();
        // Stable, so that equal elements stay in their order.
        order.sort_by(|&a, &b| {
            let order = compare(from + along[a], from + along[b]);
            if largest { order.reverse() } else { order }
        });
        for (at, place) in to_along.iter().zip(order) {
            out[start + at] = place as i128;
        }
    }
    case.of_integers(&out)
}
