//! Resize: an axis at a time, as a choice of places (nearest) or a product with a matrix of weights (linear, cubic).

use fewbit_engine::tensor::DataType;

use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[Entry::widened("Resize", 11, resize)];

/// More elements than a matrix of weights may have.
const MOST_WEIGHTS: usize = 1 << 24;

struct Settings {
    mode: String,
    transform: String,
    nearest: String,
    cubic: f64,
    exclude_outside: bool,
}

fn resize(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    // Only a crop reads the region.
    let _ = node.optional(1);
    let (scales, sizes) = (node.optional(2), node.optional(3));
    let shape = cx.shape(x)?;
    node.ignore(&["extrapolation_value"]);
    let settings = Settings {
        mode: node.word("mode", "nearest")?,
        transform: node.word("coordinate_transformation_mode", "half_pixel")?,
        nearest: node.word("nearest_mode", "round_prefer_floor")?,
        cubic: node.float("cubic_coeff_a", -0.75)?.into(),
        exclude_outside: node.flag("exclude_outside", false)?,
    };
    if settings.transform == "tf_crop_and_resize" {
        return unsupported("tf_crop_and_resize");
    }
    if node.flag("antialias", false)? {
        return unsupported("with antialias");
    }
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
    let mut y = x;
    for (&axis, (size, scale)) in axes.iter().zip(plan) {
        if size == shape[axis] && scale == 1.0 {
            continue;
        }
        if size > (1 << 20) || shape[axis] == 0 {
            return unsupported(format!("{} to {size}", shape[axis]));
        }
        y = along(cx, y, axis, size, scale, &settings)?;
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
fn origin(
    settings: &Settings,
    at: usize,
    from: usize,
    to: usize,
    scale: f64,
) -> Result<f64, Refusal> {
    let at = at as f64;
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
        other => return wrong(format!("coordinate_transformation_mode {other:?}")),
    })
}

fn along(
    cx: &mut Context,
    x: Value,
    axis: usize,
    to: usize,
    scale: f64,
    settings: &Settings,
) -> Made {
    let from = cx.shape(x)?[axis];
    let origins: Vec<f64> = (0..to)
        .map(|at| origin(settings, at, from, to, scale))
        .collect::<Result<_, _>>()?;
    let last = from as i64 - 1;
    if settings.mode == "nearest" {
        let mut places = Vec::with_capacity(to);
        for origin in origins {
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
    for (at, origin) in origins.into_iter().enumerate() {
        let first = origin.floor();
        let rest = origin - first;
        let taps = match settings.mode.as_str() {
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

/// The weights of the four places around one (Keys 1981), `rest` beyond the second.
fn cubic(rest: f64, a: f64) -> Vec<(i64, f64)> {
    let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    vec![
        (-1, far(rest + 1.0)),
        (0, near(rest)),
        (1, near(1.0 - rest)),
        (2, far(2.0 - rest)),
    ]
}
