//! Fourier transforms, windows and mel filters.

use super::conversion::type_number;
use super::one;
use crate::import::context::{Context, MOST_PLACES, Made, Value, of_numbers};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("DFT", 17, dft),
    Entry::widened("STFT", 17, stft),
    Entry::new("HannWindow", 17, window),
    Entry::new("HammingWindow", 17, window),
    Entry::new("BlackmanWindow", 17, window),
    Entry::new("MelWeightMatrix", 17, mel),
];

/// More elements than a matrix of a transform may have.
const MOST_WEIGHTS: usize = 1 << 22;

/// A transform along one axis.
struct Transform {
    /// Places that count, and frequencies that are made.
    from: usize,
    to: usize,
    length: usize,
    inverse: bool,
    onesided: bool,
}

impl Transform {
    /// How much input `at` counts in output `k`: real and imaginary part.
    fn weight(&self, at: usize, k: usize) -> [f64; 2] {
        // Whole turns are left out before they cost digits.
        let part = (at as u128 * k as u128 % self.length as u128) as f64 / self.length as f64;
        let (sine, cosine) = (part * std::f64::consts::TAU).sin_cos();
        if !self.inverse {
            return [cosine, -sine];
        }
        // The other half of a one-sided spectrum is the first one's mirror.
        let mirrored = self.onesided && at > 0 && 2 * at != self.length;
        let scale = if mirrored { 2.0 } else { 1.0 } / self.length as f64;
        [cosine * scale, sine * scale]
    }
}

/// `x [.., from, 1 or 2]` to `[.., to, 2]` (or 1 for an inverse of one side) by products with the matrices of the transform.
fn transformed(cx: &mut Context, x: Value, transform: &Transform) -> Made {
    let shape = cx.shape(x)?;
    let rank = shape.len();
    let parts = shape[rank - 1];
    if transform.from.saturating_mul(transform.to) > MOST_WEIGHTS || transform.length == 0 {
        return unsupported(format!("a transform of {}", transform.length));
    }
    let (mut real, mut imaginary) = (Vec::new(), Vec::new());
    for at in 0..transform.from {
        for k in 0..transform.to {
            let [a, b] = transform.weight(at, k);
            real.push(a);
            imaginary.push(b);
        }
    }
    let size = [transform.from, transform.to];
    let real = cx.constant(of_numbers(x.data_type, &size, &real)?)?;
    let imaginary = cx.constant(of_numbers(x.data_type, &size, &imaginary)?)?;
    let mut flat = shape[..rank - 2].to_vec();
    let rows: usize = flat.iter().product();
    let part = |cx: &mut Context, at: usize| {
        let part = cx.slice(x, rank - 1, at, 1)?;
        let part = cx.reshape(part, &[rows, shape[rank - 2]])?;
        cx.slice(part, 1, 0, transform.from)
    };
    let a = part(cx, 0)?;
    let (mut out_real, mut out_imaginary) = (cx.matmul(a, real)?, cx.matmul(a, imaginary)?);
    if parts == 2 {
        let b = part(cx, 1)?;
        let (less, more) = (cx.matmul(b, imaginary)?, cx.matmul(b, real)?);
        out_real = cx.sub(out_real, less)?;
        out_imaginary = cx.add(out_imaginary, more)?;
    }
    flat.extend([transform.to, 1]);
    let out_real = cx.reshape(out_real, &flat)?;
    if transform.inverse && transform.onesided {
        return Ok(out_real);
    }
    let out_imaginary = cx.reshape(out_imaginary, &flat)?;
    cx.concat(&[out_real, out_imaginary], rank - 1)
}

/// The axis is an attribute before operator set 20 and an input from then on.
fn dft(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, length) = (node.input(0)?, node.optional(1));
    let shape = cx.shape(x)?;
    let rank = shape.len();
    let axis = match node.opset {
        20.. => match node.optional(2) {
            Some(axis) => cx.known_int(axis)?,
            None => -2,
        },
        _ => node.int("axis", 1)?,
    };
    let axis = axis_of(axis, rank)?;
    if rank < 2 || axis == rank - 1 || !matches!(shape[rank - 1], 1 | 2) {
        return wrong(format!("axis {axis} of {shape:?}"));
    }
    let (inverse, onesided) = (node.flag("inverse", false)?, node.flag("onesided", false)?);
    let length = match length {
        Some(length) => usize::try_from(cx.known_int(length)?).unwrap_or(0),
        None if inverse && onesided => 2 * shape[axis].saturating_sub(1),
        None => shape[axis],
    };
    if length == 0 || length > MOST_PLACES {
        return unsupported(format!("a transform of {length}"));
    }
    let half = length / 2 + 1;
    let transform = Transform {
        // What is missing is zeros, what is too much does not count.
        from: shape[axis].min(if inverse && onesided { half } else { length }),
        to: if onesided && !inverse { half } else { length },
        length,
        inverse,
        onesided,
    };
    let order = swapped(rank, axis, rank - 2);
    let turned = cx.transpose(x, &order)?;
    let y = transformed(cx, turned, &transform)?;
    one(cx.transpose(y, &order))
}

fn swapped(rank: usize, a: usize, b: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rank).collect();
    order.swap(a, b);
    order
}

/// Transforms of frames that begin every so many places.
fn stft(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, step, window) = (node.input(0)?, node.input(1)?, node.optional(2));
    let length = node.optional(3);
    let shape = cx.shape(x)?;
    let &[batch, size, ref parts @ ..] = &shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    let parts = match parts {
        [] => 1,
        [parts @ (1 | 2)] => *parts,
        _ => return wrong(format!("shape {shape:?}")),
    };
    let step = usize::try_from(cx.known_int(step)?).unwrap_or(0);
    let length = match (length, window) {
        (Some(length), _) => usize::try_from(cx.known_int(length)?).unwrap_or(0),
        (None, Some(window)) => cx.shape(window)?.iter().product(),
        (None, None) => size,
    };
    if step == 0 || length == 0 || length > size {
        return wrong(format!("frames of {length}, each {step}, of {size}"));
    }
    let onesided = node.flag("onesided", true)?;
    let frames = (size - length) / step + 1;
    if frames.saturating_mul(length) > MOST_PLACES {
        return unsupported(format!("{frames} frames of {length}"));
    }
    let places: Vec<i64> = (0..frames)
        .flat_map(|frame| (0..length).map(move |at| (frame * step + at) as i64))
        .collect();
    let places = cx.integers(&[frames, length], &places)?;
    let flat = cx.reshape(x, &[batch, size, parts])?;
    let mut y = cx.gather(flat, places, 1)?;
    if let Some(window) = window {
        let window = cx.reshape(window, &[length, 1])?;
        y = cx.mul(y, window)?;
    }
    let transform = Transform {
        from: length,
        to: if onesided { length / 2 + 1 } else { length },
        length,
        inverse: false,
        onesided,
    };
    one(transformed(cx, y, &transform))
}

/// A weight for each place of a frame ("output_datatype" is its type).
fn window(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let size = node.input(0)?;
    let size = usize::try_from(cx.known_int(size)?).unwrap_or(usize::MAX);
    if size > MOST_PLACES {
        return unsupported(format!("a window of {size}"));
    }
    let to = type_number(node.int("output_datatype", 1)?)?;
    let whole = match node.flag("periodic", true)? {
        true => size,
        false => size.saturating_sub(1),
    };
    // a₀ − a₁ cos(2πn / N) + a₂ cos(4πn / N)
    let [a, b, c] = match node.op_type() {
        "HannWindow" => [0.5, 0.5, 0.0],
        "HammingWindow" => [25.0 / 46.0, 21.0 / 46.0, 0.0],
        _ => [0.42, 0.5, 0.08],
    };
    let value = |at: usize| {
        let angle = std::f64::consts::TAU * at as f64 / whole.max(1) as f64;
        a - b * angle.cos() + c * (2.0 * angle).cos()
    };
    let values: Vec<f64> = (0..size).map(value).collect();
    one(cx.constant(of_numbers(to, &[size], &values)?))
}

/// Triangular filters over the frequencies of a transform, evenly apart in mel.
fn mel(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let mut given = [0.0; 5];
    for (at, value) in given.iter_mut().enumerate() {
        let input = node.input(at)?;
        *value = cx.known_float(input)?;
    }
    let [filters, length, rate, low, high] = given;
    let to = type_number(node.int("output_datatype", 1)?)?;
    let most = MOST_PLACES as f64;
    if !(1.0..most).contains(&filters) || !(1.0..most).contains(&length) || rate <= 0.0 {
        return wrong(format!("{filters} filters over {length} at {rate}"));
    }
    let (filters, bins) = (filters as usize, length as usize / 2 + 1);
    if filters.saturating_mul(bins) > MOST_WEIGHTS {
        return unsupported(format!("{filters} filters over {bins} frequencies"));
    }
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let (first, last) = (mel(low), mel(high));
    let step = (last - first) / (filters + 2) as f64;
    let edges: Vec<f64> = (0..filters + 2)
        .map(|at| {
            let hertz = 700.0 * (10f64.powf((first + at as f64 * step) / 2595.0) - 1.0);
            ((length + 1.0) * hertz / rate).floor()
        })
        .collect();
    if edges
        .iter()
        .any(|&edge| !(0.0..bins as f64).contains(&edge))
    {
        return wrong(format!("frequencies from {low} to {high} at {rate}"));
    }
    let mut weights = vec![0.0; bins * filters];
    for filter in 0..filters {
        let [left, centre, right] = [0, 1, 2].map(|at| edges[filter + at] as usize);
        if left == centre {
            weights[centre * filters + filter] = 1.0;
        }
        for bin in left..=centre {
            if centre > left {
                weights[bin * filters + filter] = (bin - left) as f64 / (centre - left) as f64;
            }
        }
        for bin in centre..right {
            weights[bin * filters + filter] = (right - bin) as f64 / (right - centre) as f64;
        }
    }
    one(cx.constant(of_numbers(to, &[bins, filters], &weights)?))
}
