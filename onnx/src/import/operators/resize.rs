//! Resize: an axis at a time, as a choice of places (nearest) or a product with a matrix of weights (linear, cubic).

use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::tensor::DataType;

use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("Resize", 11, resize),
    Entry::widened("Upsample", 7, upsample),
];

/// More elements than a matrix of weights may have.
const MOST_WEIGHTS: usize = 1 << 24;

struct Settings {
    mode: String,
    transform: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
    antialias: bool,
    /// What is outside of the image where only a part of it is read.
    extrapolation: f32,
}

/// How an axis is resized: to which size, by which factor, and which part of it is read.
struct Axis {
    to: usize,
    scale: f64,
    part: [f64; 2],
}

fn resize(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let region = node.optional(1);
    let (scales, sizes) = (node.optional(2), node.optional(3));
    let shape = cx.shape(x)?;
    let settings = Settings {
        mode: node.word("mode", "nearest")?,
        transform: node.word("coordinate_transformation_mode", "half_pixel")?,
        nearest: node.word("nearest_mode", "round_prefer_floor")?,
        cubic: node.float("cubic_coeff_a", -0.75)?.into(),
        exclude_outside: node.flag("exclude_outside", false)?,
        antialias: node.flag("antialias", false)?,
        extrapolation: node.float("extrapolation_value", 0.0)?,
    };
    let axes: Vec<usize> = match node.ints("axes")? {
        Some(axes) => axes
            .iter()
            .map(|&axis| axis_of(axis, shape.len()))
            .collect::<Result<_, _>>()?,
        None => (0..shape.len()).collect(),
    };
    let policy = node.word("keep_aspect_ratio_policy", "stretch")?;
    let scales = match scales {
        Some(scales) if cx.shape(scales)?.iter().product::<usize>() > 0 => {
            Some(cx.known_floats(scales)?)
        }
        _ => None,
    };
    let plan: Vec<(usize, f64)> = match (scales, sizes) {
        (Some(scales), _) if scales.len() == axes.len() => axes
            .iter()
            .zip(scales)
            .map(|(&axis, scale)| ((shape[axis] as f64 * scale).floor() as usize, scale))
            .collect(),
        (None, Some(sizes)) => {
            let sizes = cx.known_ints(sizes)?;
            by_sizes(&shape, &axes, &sizes, &policy)?
        }
        _ => return wrong("neither scales nor sizes"),
    };
    // Only a crop reads the region.
    let crop = settings.transform == "tf_crop_and_resize";
    let region = match region {
        Some(region) if crop => cx.known_floats(region)?,
        _ => Vec::new(),
    };
    if crop && region.len() != 2 * axes.len() {
        return wrong(format!("a region of {} numbers", region.len()));
    }
    let mut y = x;
    for (at, (&axis, (to, scale))) in axes.iter().zip(plan).enumerate() {
        let part = match crop {
            true => [region[at], region[axes.len() + at]],
            false => [0.0, 1.0],
        };
        if to == shape[axis] && scale == 1.0 && part == [0.0, 1.0] {
            continue;
        }
        if to > (1 << 20) || shape[axis] == 0 {
            return unsupported(format!("{} to {to}", shape[axis]));
        }
        y = along(cx, y, axis, &Axis { to, scale, part }, &settings)?;
    }
    Ok(vec![y])
}

/// The scales are an attribute before operator set 9 and an input from then on.
fn upsample(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let scales: Vec<f64> = match node.opset {
        9.. => {
            let scales = node.input(1)?;
            cx.known_floats(scales)?
        }
        _ => {
            let scales = node.floats("scales")?.unwrap_or_default();
            scales.into_iter().map(f64::from).collect()
        }
    };
    let shape = cx.shape(x)?;
    if scales.len() != shape.len() {
        return wrong(format!("{} scales for {shape:?}", scales.len()));
    }
    let settings = Settings {
        mode: node.word("mode", "nearest")?,
        transform: "asymmetric".to_owned(),
        nearest: "floor".to_owned(),
        cubic: 0.0,
        exclude_outside: false,
        antialias: false,
        extrapolation: 0.0,
    };
    let mut y = x;
    for (axis, scale) in scales.into_iter().enumerate() {
        let to = (shape[axis] as f64 * scale).floor() as usize;
        if scale < 1.0 || to > (1 << 20) || shape[axis] == 0 {
            return unsupported(format!("{} by {scale}", shape[axis]));
        }
        if scale != 1.0 {
            let part = [0.0, 1.0];
            y = along(cx, y, axis, &Axis { to, scale, part }, &settings)?;
        }
    }
    Ok(vec![y])
}

fn by_sizes(
    shape: &[usize],
    axes: &[usize],
    sizes: &[i64],
    policy: &str,
) -> Result<Vec<(usize, f64)>, Refusal> {
    if sizes.len() != axes.len() || sizes.iter().any(|&size| size <= 0) {
        return wrong(format!("sizes {sizes:?} for axes {axes:?}"));
    }
    let ratios = axes.iter().zip(sizes);
    let ratios: Vec<f64> = ratios
        .map(|(&axis, &size)| size as f64 / shape[axis] as f64)
        .collect();
    let common = match policy {
        "stretch" => {
            let plan = sizes.iter().zip(ratios);
            return Ok(plan.map(|(&size, ratio)| (size as usize, ratio)).collect());
        }
        "not_larger" => ratios.iter().copied().fold(f64::INFINITY, f64::min),
        "not_smaller" => ratios.iter().copied().fold(0.0, f64::max),
        other => return wrong(format!("keep_aspect_ratio_policy {other:?}")),
    };
    let size = |axis: &usize| {
        (
            (shape[*axis] as f64 * common + 0.5).floor() as usize,
            common,
        )
    };
    Ok(axes.iter().map(size).collect())
}

/// Where output `at` is in the input ("coordinate_transformation_mode").
fn origin(settings: &Settings, at: usize, from: usize, axis: &Axis) -> Result<f64, Refusal> {
    let (at, to, scale) = (at as f64, axis.to, axis.scale);
    Ok(match settings.transform.as_str() {
        "half_pixel" => (at + 0.5) / scale - 0.5,
        "half_pixel_symmetric" => {
            let adjustment = to as f64 / (scale * from as f64);
            let center = from as f64 / 2.0;
            center * (1.0 - adjustment) + (at + 0.5) / scale - 0.5
        }
        "pytorch_half_pixel" if to > 1 => (at + 0.5) / scale - 0.5,
        "pytorch_half_pixel" => 0.0,
        // The size before it is rounded down.
        "align_corners" => match from as f64 * scale - 1.0 {
            0.0 => 0.0,
            last => at * (from as f64 - 1.0) / last,
        },
        "asymmetric" => at / scale,
        "tf_crop_and_resize" => {
            let [first, last] = axis.part.map(|end| end * (from as f64 - 1.0));
            match to {
                1 => (first + last) / 2.0,
                _ => first + at * (last - first) / (to as f64 - 1.0),
            }
        }
        other => return wrong(format!("coordinate_transformation_mode {other:?}")),
    })
}

fn along(cx: &mut Context, x: Value, axis: usize, plan: &Axis, settings: &Settings) -> Made {
    let (from, to) = (cx.shape(x)?[axis], plan.to);
    let origins: Vec<f64> = (0..to)
        .map(|at| origin(settings, at, from, plan))
        .collect::<Result<_, _>>()?;
    let y = read_at(cx, x, axis, &origins, plan, settings)?;
    let inside = |origin: &f64| (0.0..=from as f64 - 1.0).contains(origin);
    if settings.transform != "tf_crop_and_resize" || origins.iter().all(inside) {
        return Ok(y);
    }
    let kept: Vec<i64> = origins.iter().map(|origin| inside(origin).into()).collect();
    let mut shape = vec![1; cx.rank(x)];
    shape[axis] = to;
    let kept = cx.integers(&shape, &kept)?;
    let kept = cx.cast(kept, DataType::Bool)?;
    let outside = cx.number(settings.extrapolation.into(), y.data_type)?;
    cx.select(kept, y, outside)
}

fn read_at(
    cx: &mut Context,
    x: Value,
    axis: usize,
    origins: &[f64],
    plan: &Axis,
    settings: &Settings,
) -> Made {
    let (from, to) = (cx.shape(x)?[axis], plan.to);
    let last = from as i64 - 1;
    if settings.mode == "nearest" {
        let mut places = Vec::with_capacity(to);
        for &origin in origins {
            let place = match settings.nearest.as_str() {
                "round_prefer_floor" => (origin - 0.5).ceil(),
                "round_prefer_ceil" => (origin + 0.5).floor(),
                "floor" => origin.floor(),
                "ceil" => origin.ceil(),
                other => return wrong(format!("nearest_mode {other:?}")),
            };
            places.push((place as i64).clamp(0, last) as usize);
        }
        return cx.pick(x, axis, &places);
    }
    if x.data_type != DataType::F32 {
        return unsupported(format!("mode {} of {}", settings.mode, x.data_type));
    }
    if from.saturating_mul(to) > MOST_WEIGHTS {
        return unsupported(format!("{from} to {to}"));
    }
    let mut matrix = vec![0.0f32; from * to];
    for (at, &origin) in origins.iter().enumerate() {
        let first = origin.floor();
        let rest = origin - first;
        let stretch = match settings.antialias {
            true => plan.scale.min(1.0),
            false => 1.0,
        };
        let taps = match settings.mode.as_str() {
            mode @ ("linear" | "cubic") if stretch < 1.0 => {
                stretched(rest, stretch, mode == "cubic", settings.cubic)?
            }
            "linear" => vec![(0, 1.0 - rest), (1, rest)],
            "cubic" => cubic(rest, settings.cubic),
            other => return wrong(format!("mode {other:?}")),
        };
        let inside = |tap: i64| (0..=last).contains(&(first as i64 + tap));
        let counts = |tap: i64| !settings.exclude_outside || inside(tap);
        let counted = taps.iter().filter(|(tap, _)| counts(*tap));
        let total: f64 = counted.map(|(_, weight)| weight).sum();
        for (tap, weight) in taps {
            if counts(tap) {
                let place = (first as i64 + tap).clamp(0, last) as usize;
                matrix[place * to + at] += (weight / total) as f32;
            }
        }
    }
    let weights = cx.floats(&[from, to], &matrix)?;
    // The axis last, and one dimension for all others.
    let rank = cx.rank(x);
    let mut order: Vec<usize> = (0..rank).filter(|&at| at != axis).collect();
    order.push(axis);
    let turned = cx.transpose(x, &order)?;
    let mut shape = cx.shape(turned)?;
    let rows: usize = shape[..rank - 1].iter().product();
    let flat = cx.reshape(turned, &[rows, from])?;
    let flat = cx.matmul(flat, weights)?;
    shape[rank - 1] = to;
    let turned = cx.reshape(flat, &shape)?;
    let mut back: Vec<usize> = (0..rank - 1).collect();
    back.insert(axis, rank - 1);
    cx.transpose(turned, &back)
}

/// The weights of all places that a filter reaches which is wider by `1 / stretch`.
fn stretched(rest: f64, stretch: f64, cubic: bool, a: f64) -> Result<Vec<(i64, f64)>, Refusal> {
    let reach = (if cubic { 2.0 } else { 1.0 } / stretch).ceil();
    if reach > MOST_WEIGHTS as f64 {
        return unsupported(format!("a filter over {reach} places"));
    }
    let weight = |tap: i64| {
        let d = ((tap as f64 - rest) * stretch).abs();
        match cubic {
            true if d <= 1.0 => near(d, a),
            true if d < 2.0 => far(d, a),
            true => 0.0,
            false => (1.0 - d).max(0.0),
        }
    };
    let reach = reach as i64;
    Ok((-reach..=reach + 1).map(|tap| (tap, weight(tap))).collect())
}

/// Keys' cubic (1981) up to one place away, and from there on.
fn near(d: f64, a: f64) -> f64 {
    ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0
}

fn far(d: f64, a: f64) -> f64 {
    ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a
}

/// The weights of the four places around one, `rest` beyond the second.
fn cubic(rest: f64, a: f64) -> Vec<(i64, f64)> {
    vec![
        (-1, far(rest + 1.0, a)),
        (0, near(rest, a)),
        (1, near(1.0 - rest, a)),
        (2, far(2.0 - rest, a)),
    ]
}

/// The same weights for values that are not known beforehand.
pub(super) fn cubic_weights(cx: &mut Context, rest: Value, a: f64) -> Result<[Value; 4], Refusal> {
    let cubic = |cx: &mut Context, d: Value, factors: [f64; 4]| {
        let mut y = cx.with(Binary::Mul, d, factors[0])?;
        for factor in &factors[1..3] {
            y = cx.with(Binary::Add, y, *factor)?;
            y = cx.mul(y, d)?;
        }
        cx.with(Binary::Add, y, factors[3])
    };
    let (near, far) = (
        [a + 2.0, -(a + 3.0), 0.0, 1.0],
        [a, -5.0 * a, 8.0 * a, -4.0 * a],
    );
    let away = cx.with(Binary::Add, rest, 1.0)?;
    let negative = cx.unary(Unary::Neg, rest)?;
    let (left, beyond) = (
        cx.with(Binary::Add, negative, 1.0)?,
        cx.with(Binary::Add, negative, 2.0)?,
    );
    Ok([
        cubic(cx, away, far)?,
        cubic(cx, rest, near)?,
        cubic(cx, left, near)?,
        cubic(cx, beyond, far)?,
    ])
}
