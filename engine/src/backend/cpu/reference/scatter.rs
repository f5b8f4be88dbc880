//! Updates written into a tensor, or joined with what is there, at places given by index.

use super::elementwise::{binary_float, binary_integer};
use super::gather::clamped;
use super::indexing::strides;
use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::graph::op::{Binary, Scatter};
use crate::tensor::Tensor;

pub(super) fn scatter_nd(case: &Case<'_>, scatter: Scatter) -> Result<Tensor, EvaluateError> {
    let (x, indices) = (&case.inputs[0], &case.inputs[1]);
    let depth = indices.shape[indices.shape.len() - 1];
    let row: usize = x.shape[depth..].iter().product();
    let Numbers::Integers(numbers) = case.numbers(1)? else {
        return Err(case.unsupported());
    };
    let strides = strides(x.shape);
    // Nothing can be put into an empty axis.
    let starts = numbers.chunks_exact(depth).map(|index| -> usize {
        let places = index.iter().zip(x.shape).zip(&strides);
        places
            .map(|((&i, &size), step)| clamped(i, size) * step)
            .sum()
    });
    let empty = x.bytes.is_empty();
    let pairs = starts.enumerate().filter(|_| !empty);
    let op = match scatter {
        Scatter::Replace => {
            let bytes = row * case.element_bytes(0)?;
            let mut out = case.zeros()?;
            out.bytes_mut().copy_from_slice(x.bytes);
            for (at, start) in pairs {
                let start = start / row * bytes;
                let update = &case.inputs[2].bytes[at * bytes..][..bytes];
                out.bytes_mut()[start..][..bytes].copy_from_slice(update);
            }
            return Ok(out);
        }
        Scatter::Add => Binary::Add,
        Scatter::Mul => Binary::Mul,
        Scatter::Max => Binary::Max,
        Scatter::Min => Binary::Min,
    };
    match (case.numbers(0)?, case.numbers(2)?) {
        (Numbers::Floats(mut values), Numbers::Floats(updates)) => {
            for (at, start) in pairs {
                for i in 0..row {
                    let to = &mut values[start + i];
                    *to = binary_float(op, *to, updates[at * row + i]);
                }
            }
            case.of_floats(&values)
        }
        (Numbers::Integers(mut values), Numbers::Integers(updates)) => {
            for (at, start) in pairs {
                for i in 0..row {
                    let to = &mut values[start + i];
                    *to = binary_integer(op, *to, updates[at * row + i]);
                }
            }
            case.of_integers(&values)
        }
        _ => Err(case.unsupported()),
    }
}
