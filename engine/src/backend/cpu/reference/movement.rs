//! Operators that move elements and compute nothing: they move bytes, whatever the type.

use super::indexing::{broadcast, offsets, strides};
use super::{Case, EvaluateError};
use crate::graph::fixed_shape;
use crate::graph::op::{Pad, PadMode, Slice};
use crate::tensor::{DataType, Tensor};

impl Case<'_> {
    /// The output made of the elements of input 0 at these offsets, in order.
    pub(super) fn pick(
        &self,
        offsets: impl Iterator<Item = usize>,
    ) -> Result<Tensor, EvaluateError> {
        let size = self.element_bytes(0)?;
        let mut out = self.zeros()?;
        for (to, from) in out.bytes_mut().chunks_exact_mut(size).zip(offsets) {
            to.copy_from_slice(&self.inputs[0].bytes[from * size..][..size]);
        }
        Ok(out)
    }
}

pub(super) fn reshape(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    let shape = &case.output.shape;
    Ok(Tensor::from_bytes(
        case.output.data_type,
        shape,
        case.inputs[0].bytes,
    )?)
}

pub(super) fn transpose(case: &Case<'_>, permutation: &[usize]) -> Result<Tensor, EvaluateError> {
    let strides = strides(case.inputs[0].shape);
    let strides: Vec<usize> = permutation.iter().map(|&axis| strides[axis]).collect();
    case.pick(offsets(&case.output.shape, &strides))
}

pub(super) fn expand(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    case.pick(broadcast(case.inputs[0].shape, &case.output.shape))
}

pub(super) fn slice(case: &Case<'_>, slice: &Slice) -> Result<Tensor, EvaluateError> {
    // The output's shape is in numbers, so the starts are what is left to ask.
    let starts = fixed_shape(&slice.starts)
        .ok_or_else(|| crate::graph::GraphError::NotSpecialized(format!("{:?}", slice.starts)))?;
    let strides = strides(case.inputs[0].shape);
    let first: usize = starts.iter().zip(&strides).map(|(at, by)| at * by).sum();
    let steps: Vec<usize> = strides
        .iter()
        .zip(&slice.strides)
        .map(|(stride, step)| stride * step)
        .collect();
    case.pick(offsets(&case.output.shape, &steps).map(|at| first + at))
}

/// Elements added around: a number, the nearest element, or the mirrored ones.
pub(super) fn pad(case: &Case<'_>, pad: &Pad) -> Result<Tensor, EvaluateError> {
    let size = case.element_bytes(0)?;
    let mut out = case.zeros()?;
    let fill = match pad.mode {
        PadMode::Constant(value) => number(case.output.data_type, value),
        PadMode::Edge | PadMode::Reflection => Vec::new(),
    };
    let from = case.inputs[0].shape;
    let strides = strides(from);
    let shape = case.output.shape.clone();
    for (at, to) in out.bytes_mut().chunks_exact_mut(size).enumerate() {
        let mut rest = at;
        let mut place = Some(0);
        for axis in (0..shape.len()).rev() {
            let index = rest % shape[axis];
            rest /= shape[axis];
            let inside = source(pad.mode, index, pad.before[axis], from[axis]);
            place = place.zip(inside).map(|(sum, i)| sum + i * strides[axis]);
        }
        match place {
            Some(place) => to.copy_from_slice(&case.inputs[0].bytes[place * size..][..size]),
            None => to.copy_from_slice(&fill),
        }
    }
    Ok(out)
}

/// Where an element of a padded axis comes from; `None` for the padding's own.
fn source(mode: PadMode, index: usize, before: usize, size: usize) -> Option<usize> {
    let last = size.wrapping_sub(1);
    match (index.checked_sub(before), mode) {
        (Some(inside), _) if inside < size => Some(inside),
        (_, PadMode::Constant(_)) => None,
        (None, PadMode::Edge) => Some(0),
        (Some(_), PadMode::Edge) => Some(last),
        (None, PadMode::Reflection) => Some(before - index),
        (Some(beyond), PadMode::Reflection) => Some(2 * last - beyond),
    }
}

fn number(data_type: DataType, value: f32) -> Vec<u8> {
    let mut bytes = vec![0; data_type.bytes()];
    super::numbers::from_float(data_type, value.into(), &mut bytes);
    bytes
}

pub(super) fn concat(case: &Case<'_>, axis: usize) -> Result<Tensor, EvaluateError> {
    let size = case.element_bytes(0)?;
    let mut out = case.zeros()?;
    let outer: usize = case.output.shape[..axis].iter().product();
    let inner: usize = case.output.shape[axis + 1..].iter().product::<usize>() * size;
    let mut at = 0;
    for row in 0..outer {
        for view in case.inputs {
            let bytes = view.shape[axis] * inner;
            out.bytes_mut()[at..][..bytes].copy_from_slice(&view.bytes[row * bytes..][..bytes]);
            at += bytes;
        }
    }
    Ok(out)
}

/// `where`: input 1 where input 0 is not 0, else input 2.
pub(super) fn select(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    let size = case.element_bytes(1)?;
    let mut out = case.zeros()?;
    let shape = case.output.shape.clone();
    let along = |input: usize| broadcast(case.inputs[input].shape, &shape);
    let places = along(0).zip(along(1)).zip(along(2));
    for (to, ((condition, a), b)) in out.bytes_mut().chunks_exact_mut(size).zip(places) {
        let (input, from) = match case.inputs[0].bytes[condition] {
            0 => (2, b),
            _ => (1, a),
        };
        to.copy_from_slice(&case.inputs[input].bytes[from * size..][..size]);
    }
    Ok(out)
}
