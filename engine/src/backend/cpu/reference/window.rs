//! Convolutions and pools: what a window sees, place by place.

use super::{Case, EvaluateError};
use crate::graph::op::{Conv2d, Pool2d, PoolKind, Window};
use crate::tensor::Tensor;

/// The places of an image's plane that a window of `size` sees for output `(i, j)`: the place in the window and
/// that in the plane.
fn seen(
    window: &Window,
    size: [usize; 2],
    plane: [usize; 2],
    at: [usize; 2],
) -> impl Iterator<Item = (usize, usize)> {
    let padding = [window.padding[0], window.padding[2]];
    let (strides, dilations) = (window.strides, window.dilations);
    (0..size[0] * size[1]).filter_map(move |tap| {
        let place = |axis: usize, tap: usize| {
            let padded = at[axis] * strides[axis] + tap * dilations[axis];
            let place = padded.checked_sub(padding[axis])?;
            (place < plane[axis]).then_some(place)
        };
        let row = place(0, tap / size[1])?;
        let column = place(1, tap % size[1])?;
        Some((tap, row * plane[1] + column))
    })
}

pub(super) fn conv2d(case: &Case<'_>, conv: &Conv2d) -> Result<Tensor, EvaluateError> {
    let (x, filter) = (case.wide_floats(0)?, case.wide_floats(1)?);
    let bias = match conv.bias {
        true => Some(case.wide_floats(2)?),
        false => None,
    };
    let ([_, channels, height, width], [outputs, group, rows, columns]) =
        (four(case.inputs[0].shape), four(case.inputs[1].shape));
    let [batch, _, out_height, out_width] = four(&case.output.shape);
    let (plane, taps) = (height * width, rows * columns);
    let mut out = Vec::with_capacity(case.output.shape.iter().product());
    for n in 0..batch {
        for o in 0..outputs {
            let first = o / (outputs / conv.groups) * group;
            for at in places(out_height, out_width) {
                let mut sum = bias.as_ref().map_or(0.0, |bias| bias[o]);
                for c in 0..group {
                    let x = &x[(n * channels + first + c) * plane..][..plane];
                    let filter = &filter[(o * group + c) * taps..][..taps];
                    for (tap, place) in seen(&conv.window, [rows, columns], [height, width], at) {
                        sum += filter[tap] * x[place];
                    }
                }
                out.push(sum);
            }
        }
    }
    case.of_floats(&out)
}

pub(super) fn pool2d(case: &Case<'_>, pool: &Pool2d) -> Result<Tensor, EvaluateError> {
    let x = case.wide_floats(0)?;
    let [.., height, width] = four(case.inputs[0].shape);
    let [.., out_height, out_width] = four(&case.output.shape);
    let mut out = Vec::with_capacity(case.output.shape.iter().product());
    for x in x.chunks_exact((height * width).max(1)) {
        for at in places(out_height, out_width) {
            let seen =
                || seen(&pool.window, pool.size, [height, width], at).map(|(_, place)| x[place]);
            out.push(match pool.kind {
                PoolKind::Average => seen().sum::<f64>() / seen().count() as f64,
                PoolKind::Max => seen().fold(f64::NEG_INFINITY, |most, x| {
                    if x > most || x.is_nan() { x } else { most }
                }),
            });
        }
    }
    case.of_floats(&out)
}

fn places(height: usize, width: usize) -> impl Iterator<Item = [usize; 2]> {
    (0..height).flat_map(move |i| (0..width).map(move |j| [i, j]))
}

/// The graph's rules gave four dimensions.
fn four(shape: &[usize]) -> [usize; 4] {
    [shape[0], shape[1], shape[2], shape[3]]
}
