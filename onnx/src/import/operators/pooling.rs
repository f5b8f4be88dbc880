//! Pools over one to three axes, and over all of them.

use fewbit_engine::graph::op::{Binary, Compare, Pool2d, PoolKind, ReduceKind, Unary};
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::DataType;

use super::one;
use super::window::{Sliding, as_image, list, of_image, spatial, surrounded};
use crate::import::context::{Context, MOST_PLACES, MOST_STEPS, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("AveragePool", 1, pool),
    Entry::widened("MaxPool", 1, pool),
    Entry::widened("LpPool", 2, lp_pool),
    Entry::widened("GlobalAveragePool", 1, global),
    Entry::widened("GlobalMaxPool", 1, global),
];

fn pool(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let kind = match node.op_type() {
        "MaxPool" => PoolKind::Max,
        _ => PoolKind::Average,
    };
    let by_columns = node.flag("storage_order", false)?;
    let shape = cx.dims(x)?;
    let (sizes, sliding) = read(node, &shape)?;
    let (mut sliding, beyond) = with_ceiling(node, &sizes, sliding)?;
    let small = matches!(x.data_type, DataType::I8 | DataType::U8);
    let mut y = match small {
        true => cx.cast(x, DataType::F32)?,
        false => x,
    };
    if kind == PoolKind::Average && node.flag("count_include_pad", false)? {
        y = zeros_around(cx, y, &mut sliding)?;
    }
    for (axis, more) in beyond.into_iter().enumerate() {
        sliding.after[axis] += more;
        if sliding.before[axis].max(sliding.after[axis]) >= sliding.reach(axis) {
            return unsupported("padding as large as the kernel");
        }
    }
    if node.wants(1) {
        let (y, places) = greatest_with_places(cx, y, &sliding, by_columns)?;
        return Ok(vec![cx.cast(y, x.data_type)?, places]);
    }
    let y = pooled(cx, y, &sliding, kind)?;
    one(cx.cast(y, x.data_type))
}

fn read(node: &Node<'_>, shape: &[Dim]) -> Result<(Vec<usize>, Sliding), Refusal> {
    let sizes = spatial(shape)?;
    let Some(kernel) = list(node, "kernel_shape", sizes.len(), 1)? else {
        return wrong("no kernel_shape");
    };
    let sliding = Sliding::read(node, &sizes, kernel)?;
    sliding.fits(&sizes)?;
    Ok((sizes, sliding))
}

/// With `ceil_mode` a last window may reach beyond the padding, if it does not begin there: how far, an axis each.
fn with_ceiling(
    node: &Node<'_>,
    sizes: &[usize],
    sliding: Sliding,
) -> Result<(Sliding, Vec<usize>), Refusal> {
    let mut beyond = vec![0; sizes.len()];
    if node.flag("ceil_mode", false)? {
        for (axis, &size) in sizes.iter().enumerate() {
            let (stride, reach) = (sliding.strides[axis], sliding.reach(axis));
            let padded = size + sliding.before[axis] + sliding.after[axis];
            let mut windows = (padded - reach).div_ceil(stride) + 1;
            if (windows - 1) * stride >= size + sliding.before[axis] {
                windows -= 1;
            }
            beyond[axis] = ((windows.max(1) - 1) * stride + reach).saturating_sub(padded);
        }
    }
    Ok((sliding, beyond))
}

/// Zeros in the place of the padding, which counts then.
fn zeros_around(cx: &mut Context, x: Value, sliding: &mut Sliding) -> Made {
    let axes = sliding.kernel.len();
    let y = surrounded(cx, x, &sliding.before, &sliding.after, 0.0);
    (sliding.before, sliding.after) = (vec![0; axes], vec![0; axes]);
    y
}

/// A window over three axes is one over planes and then one over depth: a mean of means is over all that both see.
fn pooled(cx: &mut Context, x: Value, sliding: &Sliding, kind: PoolKind) -> Made {
    let shape = cx.shape(x)?;
    if let &[n, c, d, h, w] = &shape[..] {
        let planes = cx.reshape(x, &[n, c * d, h, w])?;
        let planes = pooled(cx, planes, &sliding.of_planes(), kind)?;
        let [_, _, h, w] = cx.shape(planes)?[..] else {
            return wrong(format!("shape {shape:?}"));
        };
        let depth = cx.reshape(planes, &[n, c, d, h * w])?;
        let depth = pooled(cx, depth, &sliding.of_depth(), kind)?;
        let d = cx.shape(depth)?[2];
        return cx.reshape(depth, &[n, c, d, h, w]);
    }
    let image = as_image(cx, x)?;
    let pool = Pool2d {
        kind,
        size: sliding.size(),
        window: sliding.window(),
    };
    let y = cx.op(Op::Pool2d(pool), &[image], x.data_type)?;
    of_image(cx, y, shape.len())
}

/// The greatest element of each window, and its place in the flat tensor: the first one, tap by tap.
fn greatest_with_places(
    cx: &mut Context,
    x: Value,
    sliding: &Sliding,
    by_columns: bool,
) -> Result<(Value, Value), Refusal> {
    let shape = cx.shape(x)?;
    let (sizes, axes) = (&shape[2..], shape.len() - 2);
    let taps: usize = sliding.kernel.iter().product();
    let counts: Vec<usize> = (0..axes)
        .map(|axis| sliding.windows(axis, sizes[axis]))
        .collect();
    let windows: usize = counts.iter().product();
    if taps > MOST_STEPS || windows > MOST_PLACES {
        return unsupported(format!("places of {windows} windows of {taps}"));
    }
    let padded = surrounded(cx, x, &sliding.before, &sliding.after, f32::NEG_INFINITY)?;
    let mut strides = vec![1; axes];
    for at in 1..axes {
        let (axis, inner) = match by_columns {
            true => (at, at - 1),
            false => (axes - 1 - at, axes - at),
        };
        strides[axis] = strides[inner] * sizes[inner];
    }
    let mut best: Option<(Value, Value)> = None;
    for tap in 0..taps {
        let mut rest = tap;
        let mut part = padded;
        let mut places = vec![0i64; windows];
        let mut inner = windows;
        let mut inner_taps = taps;
        for axis in 0..axes {
            inner /= counts[axis];
            inner_taps /= sliding.kernel[axis];
            let own = rest / inner_taps;
            rest %= inner_taps;
            let along = sliding.places(axis, own, counts[axis]);
            part = cx.pick(part, axis + 2, &along)?;
            for (window, place) in places.iter_mut().enumerate() {
                let at = along[window / inner % counts[axis]] as i64;
                *place += (at - sliding.before[axis] as i64) * strides[axis] as i64;
            }
        }
        let places = cx.integers(&counts, &places)?;
        best = Some(match best {
            None => (part, places),
            Some((value, place)) => {
                let above = cx.compare(Compare::Greater, part, value)?;
                (
                    cx.select(above, part, value)?,
                    cx.select(above, places, place)?,
                )
            }
        });
    }
    let Some((value, place)) = best else {
        return wrong("an empty kernel");
    };
    let pixels: usize = sizes.iter().product();
    let rank = shape.len();
    let (image, channel) = (cx.iota(shape[0], 0, rank)?, cx.iota(shape[1], 1, rank)?);
    let image = cx.with(Binary::Mul, image, (shape[1] * pixels) as f64)?;
    let channel = cx.with(Binary::Mul, channel, pixels as f64)?;
    let start = cx.add(image, channel)?;
    Ok((value, cx.add(place, start)?))
}

/// `(Σ |x|^p)^(1/p)` of a window; padding is zeros.
fn lp_pool(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.dims(x)?;
    let (sizes, sliding) = read(node, &shape)?;
    let (mut sliding, beyond) = with_ceiling(node, &sizes, sliding)?;
    if beyond.iter().any(|&more| more > 0) {
        return unsupported("with windows beyond the padding");
    }
    let p = node.int("p", 2)? as f64;
    let size = cx.unary(Unary::Abs, x)?;
    let powers = cx.with(Binary::Pow, size, p)?;
    let powers = zeros_around(cx, powers, &mut sliding)?;
    let means = pooled(cx, powers, &sliding, PoolKind::Average)?;
    let count: usize = sliding.kernel.iter().product();
    let sums = cx.with(Binary::Mul, means, count as f64)?;
    one(cx.with(Binary::Pow, sums, 1.0 / p))
}

fn global(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let kind = match node.op_type() {
        "GlobalMaxPool" => ReduceKind::Max,
        _ => ReduceKind::Mean,
    };
    let axes: Vec<usize> = (2..cx.rank(x)).collect();
    one(cx.reduce(kind, x, &axes, true))
}
