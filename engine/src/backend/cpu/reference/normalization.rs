//! Normalizations.

use super::indexing::{offsets, part};
use super::{Case, EvaluateError};
use crate::graph::op::LayerNormalization;
use crate::tensor::Tensor;

/// `(x − mean) / sqrt(variance + epsilon) · scale + bias` over the axes; the variance divides by the count.
pub(super) fn layer_normalization(
    case: &Case<'_>,
    attributes: &LayerNormalization,
) -> Result<Tensor, EvaluateError> {
    let mut values = case.wide_floats(0)?;
    let scale = match attributes.scale {
        true => Some(case.wide_floats(1)?),
        false => None,
    };
    let bias = match attributes.bias {
        true => Some(case.wide_floats(case.inputs.len() - 1)?),
        false => None,
    };
    let parted = part(case.inputs[0].shape, &attributes.axes);
    let along: Vec<usize> = offsets(&parted.along.0, &parted.along.1).collect();
    let count = along.len() as f64;
    for start in offsets(&parted.kept.0, &parted.kept.1) {
        let group = || along.iter().map(|at| values[start + at]);
        let mean = group().sum::<f64>() / count;
        let variance = group().map(|x| (x - mean) * (x - mean)).sum::<f64>() / count;
        let root = (variance + f64::from(attributes.epsilon)).sqrt();
        // Scale and bias have the axes' shape, in the axes' order, as `along` has.
        for (n, at) in along.iter().enumerate() {
            let mut value = (values[start + at] - mean) / root;
            value *= scale.as_ref().map_or(1.0, |scale| scale[n]);
            value += bias.as_ref().map_or(0.0, |bias| bias[n]);
            values[start + at] = value;
        }
    }
    case.of_floats(&values)
}

/// `x / sqrt(mean(x²) + epsilon) · scale` over the last axis.
pub(super) fn rms_normalization(case: &Case<'_>, epsilon: f32) -> Result<Tensor, EvaluateError> {
    let mut values = case.wide_floats(0)?;
    let scale = case.wide_floats(1)?;
    if scale.is_empty() {
        return case.zeros();
    }
    for row in values.chunks_exact_mut(scale.len()) {
        let mean = row.iter().map(|x| x * x).sum::<f64>() / row.len() as f64;
        let root = (mean + f64::from(epsilon)).sqrt();
        for (x, scale) in row.iter_mut().zip(&scale) {
            *x = *x / root * scale;
        }
    }
    case.of_floats(&values)
}
