//! Walking over tensors: strides, and the offsets they give.

/// Row-major strides, in elements.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for axis in (1..shape.len()).rev() {
        strides[axis - 1] = strides[axis] * shape[axis];
    }
    strides
}

/// The strides with which a tensor of shape `from` is read as one of shape `to`: 0 where it repeats.
pub(super) fn broadcast_strides(from: &[usize], to: &[usize]) -> Vec<usize> {
    let missing = to.len() - from.len();
    let mut out = vec![0; to.len()];
    for (axis, stride) in strides(from).into_iter().enumerate() {
        if from[axis] != 1 {
            out[missing + axis] = stride;
        }
    }
    out
}

/// For every position of `shape` in row-major order, Σ index · stride.
pub(super) fn offsets(shape: &[usize], strides: &[usize]) -> impl Iterator<Item = usize> + use<> {
    let shape = shape.to_vec();
    let strides = strides.to_vec();
    let count: usize = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut offset = 0;
    (0..count).map(move |_| {
        let here = offset;
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            offset += strides[axis];
            if index[axis] < shape[axis] {
                break;
            }
            offset -= index[axis] * strides[axis];
            index[axis] = 0;
        }
        here
    })
}

/// The offsets with which a tensor of shape `from` is read as one of shape `to`.
pub(super) fn broadcast(from: &[usize], to: &[usize]) -> impl Iterator<Item = usize> + use<> {
    offsets(to, &broadcast_strides(from, to))
}

/// The axes of a shape parted into those in `axes` and the others: shape and strides of each.
pub(super) struct Parted {
    pub(super) kept: (Vec<usize>, Vec<usize>),
    pub(super) along: (Vec<usize>, Vec<usize>),
}

pub(super) fn part(shape: &[usize], axes: &[usize]) -> Parted {
    let strides = strides(shape);
    let pick = |wanted: bool| {
        (0..shape.len())
            .filter(|axis| axes.contains(axis) == wanted)
            .map(|axis| (shape[axis], strides[axis]))
            .unzip()
    };
    Parted {
        kept: pick(false),
        along: pick(true),
    }
}
