//! Pools over one and two axes, and over all of them.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Pad, PadMode, Pool2d, PoolKind, ReduceKind, Unary};
use fewbit_engine::tensor::DataType;

use super::one;
use super::window::{Sliding, as_image, list, of_image, spatial};
use crate::import::context::{Context, Made, Value};
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
    // It says how places are counted, which is nothing where they are not asked for.
    node.ignore(&["storage_order"]);
    let shape = cx.shape(x)?;
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
        if sliding.before[axis].max(sliding.after[axis]) >= sliding.kernel[axis] {
            return unsupported("padding as large as the kernel");
        }
    }
    let y = pooled(cx, y, &sliding, kind)?;
    one(cx.cast(y, x.data_type))
}

fn read(node: &Node<'_>, shape: &[usize]) -> Result<(Vec<usize>, Sliding), Refusal> {
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
    let with_outer = |sizes: &[usize]| [&[0, 0], sizes].concat();
    let pad = Pad {
        before: with_outer(&sliding.before),
        after: with_outer(&sliding.after),
        mode: PadMode::Constant(0.0),
    };
    (sliding.before, sliding.after) = (vec![0; axes], vec![0; axes]);
    cx.op(Op::Pad(pad), &[x], x.data_type)
}

fn pooled(cx: &mut Context, x: Value, sliding: &Sliding, kind: PoolKind) -> Made {
    let rank = cx.rank(x);
    let image = as_image(cx, x)?;
    let pool = Pool2d {
        kind,
        size: sliding.size(),
        window: sliding.window(),
    };
    let y = cx.op(Op::Pool2d(pool), &[image], x.data_type)?;
    of_image(cx, y, rank)
}

/// `(Σ |x|^p)^(1/p)` of a window; padding is zeros.
fn lp_pool(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.shape(x)?;
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
