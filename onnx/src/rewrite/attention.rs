//! `softmax(scale · q·kᵀ + mask) · v` as `attention` (Vaswani et al. 2017): scores that are scaled by a number, or queries and
//! keys that are; a mask that is added, or one whose places get a number that no softmax counts; keys and values that are
//! repeated for the heads of a group; weights that are NaN and made 0.

use fewbit_engine::graph::op::{Attention, Binary, Compare};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{Dim, GraphError, Node, Op, ValueId};
use fewbit_engine::tensor::DataType;

use super::pattern::{View, replace, wide};

/// `[batch, tokens, heads, size]` as `[batch, heads, tokens, size]` and back.
const BY_HEAD: [usize; 4] = [0, 2, 1, 3];
const LAST_TWO: [usize; 4] = [0, 1, 3, 2];
/// Both at once.
const KEYS: [usize; 4] = [0, 2, 3, 1];

/// Scores that are below this count nothing, whatever else is added; in halves, next to their least number.
const NEVER: f64 = -1e30;
const NEVER_HALF: f64 = -6e4;

fn never(view: &View<'_>, scores: ValueId) -> f64 {
    match view.element(view.through_casts(scores)).plain() {
        Some(DataType::F16) => NEVER_HALF,
        _ => NEVER,
    }
}

/// What is added to the scores.
#[derive(Clone, Copy)]
enum Mask {
    Added(ValueId),
    /// A number where the condition is true, or where it is not; elsewhere what is added, if something is.
    Where {
        condition: ValueId,
        number: f64,
        is_true: bool,
        added: Option<ValueId>,
    },
}

/// `[batch, heads, tokens, size]` each, the keys perhaps transposed in their last two axes.
struct Found {
    q: ValueId,
    keys: ValueId,
    v: ValueId,
    scale: f64,
    mask: Option<Mask>,
}

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let by_head = match &node.op {
        Op::Transpose { permutation } if permutation[..] == BY_HEAD => node.inputs[0],
        _ => return Ok(false),
    };
    let Some(found) = find(view, by_head) else {
        return Ok(false);
    };
    let q = match view.transposed(found.q, &BY_HEAD) {
        Some(q) => wide(rewriter, q)?,
        None => {
            let q = wide(rewriter, found.q)?;
            rewriter.builder().transpose(q, &BY_HEAD)?
        }
    };
    let k = keys(view, found.keys, rewriter)?;
    let v = wide(rewriter, unrepeated(view, found.v).unwrap_or(found.v))?;
    let bias = match found.mask {
        None => None,
        Some(Mask::Added(mask)) => Some(wide(rewriter, mask)?),
        Some(Mask::Where {
            condition,
            number,
            is_true,
            added,
        }) => {
            let condition = rewriter.get(condition)?;
            let never = rewriter.builder().number(number as f32)?;
            let seen = match added {
                Some(added) => rewriter.get(added)?,
                None => rewriter.builder().number(0.0)?,
            };
            let values = match is_true {
                true => [condition, never, seen],
                false => [condition, seen, never],
            };
            Some(rewriter.builder().op(Op::Where, &values)?)
        }
    };
    let mut inputs = vec![q, k, v];
    inputs.extend(bias);
    let attention = Op::Attention(Attention {
        scale: found.scale as f32,
        causal: false,
        bias: bias.is_some(),
    });
    // What does not fit the composite, as keys of other heads or a mask of another shape, is left as it is.
    match rewriter.builder().op(attention, &inputs) {
        Ok(y) => replace(view, node.outputs[0], y, rewriter)?,
        Err(_) => return Ok(false),
    }
    Ok(true)
}

fn find(view: &View<'_>, product: ValueId) -> Option<Found> {
    let node = view.node(product).filter(|node| node.op == Op::Matmul)?;
    let &[weights, v] = node.inputs.as_slice() else {
        return None;
    };
    // Of halves, scores are often widened for the softmax.
    let weights = view.through_casts(weights);
    let weights = view.through_casts(or_zero(view, weights).unwrap_or(weights));
    let softmax = view.node(weights)?;
    let full = view.shape(weights).len() == 4 && view.is_float(weights);
    if softmax.op != (Op::Softmax { axis: 3 }) || !full {
        return None;
    }
    let (scores, mask) = masked(view, view.through_casts(softmax.inputs[0]));
    let (mut scale, mut scores) = (1.0, view.through_casts(scores));
    if let Some((x, by)) = factor(view, scores) {
        (scale, scores) = (by, view.through_casts(x));
    }
    let node = view.node(scores).filter(|node| node.op == Op::Matmul)?;
    let (mut q, mut keys) = (node.inputs[0], node.inputs[1]);
    for operand in [&mut q, &mut keys] {
        if let Some((x, by)) = factor(view, *operand) {
            scale *= by;
            *operand = x;
        }
    }
    let sizes = [q, keys, v].map(|id| view.shape(id).len());
    let usable = sizes == [4; 3] && scale.is_finite();
    usable.then_some(Found {
        q,
        keys,
        v,
        scale,
        mask,
    })
}

/// Of `x` with 0 in the place of NaN, `x`: as PyTorch has it for rows without any key, for which the composite gives 0.
fn or_zero(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let node = view.node(id).filter(|node| node.op == Op::Where)?;
    let [condition, zero, x] = [node.inputs[0], node.inputs[1], node.inputs[2]];
    let test = view.node(condition)?;
    let is_nan = test.op == Op::Compare(Compare::NotEqual) && test.inputs == [x, x];
    (is_nan && view.number(zero) == Some(0.0)).then_some(x)
}

/// Of `x · number` or `x / number`, `x` and what it is multiplied by.
fn factor(view: &View<'_>, id: ValueId) -> Option<(ValueId, f64)> {
    if let Some((x, by)) = view.with_number(id, Binary::Mul) {
        return Some((x, by));
    }
    let (x, by) = view.with_number(id, Binary::Div)?;
    (by != 0.0).then_some((x, 1.0 / by))
}

/// Scores without their mask, and the mask.
fn masked(view: &View<'_>, scores: ValueId) -> (ValueId, Option<Mask>) {
    let is_scores = |id: ValueId| {
        let id = view.through_casts(id);
        let inner = factor(view, id).map_or(id, |(x, _)| view.through_casts(x));
        view.node(inner).is_some_and(|node| node.op == Op::Matmul)
    };
    let added = |id: ValueId| {
        let sums = view.either(id, Binary::Add).into_iter();
        let mut sums = sums.filter(|&[x, mask]| is_scores(x) && view.is_float(mask));
        sums.next()
    };
    if let Some([x, mask]) = added(scores) {
        return (x, Some(Mask::Added(mask)));
    }
    let Some(node) = view.node(scores).filter(|node| node.op == Op::Where) else {
        return (scores, None);
    };
    let [condition, a, b] = [node.inputs[0], node.inputs[1], node.inputs[2]];
    for (x, number, is_true) in [(b, a, true), (a, b, false)] {
        let (own, added) = match added(x) {
            Some([own, added]) => (own, Some(added)),
            None => (x, None),
        };
        if let Some(number) = view.number(number).filter(|&by| by <= never(view, x))
            && is_scores(own)
            && view.shape(x) == view.shape(scores)
        {
            let mask = Mask::Where {
                condition,
                // An infinity less itself is NaN in rows without any key; and what is added to the scores of such a row must
                // leave them alike, as halves' least number does not in f32.
                number: match number <= NEVER {
                    true => number.max(f64::from(f32::MIN)),
                    false => f64::from(f32::MIN),
                },
                is_true,
                added,
            };
            return (own, Some(mask));
        }
    }
    (scores, None)
}

/// The keys `[batch, heads, keys, size]` of a value whose last two axes are turned.
fn keys(
    view: &View<'_>,
    turned: ValueId,
    rewriter: &mut Rewriter<'_>,
) -> Result<ValueId, GraphError> {
    if let Some(k) = view.transposed(turned, &LAST_TWO) {
        return wide(rewriter, unrepeated(view, k).unwrap_or(k));
    }
    let (from, permutation) = match view.transposed(turned, &KEYS) {
        Some(k) => (k, BY_HEAD),
        None => (turned, LAST_TWO),
    };
    let from = wide(rewriter, from)?;
    rewriter.builder().transpose(from, &permutation)
}

/// Of `[batch, heads, keys, size]` that is each head of `x` as often as a group has heads, `x`.
fn unrepeated(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let of = |id: ValueId, is: fn(&Op) -> bool| {
        let node = view.node(id).filter(|node| is(&node.op))?;
        Some(node.inputs[0])
    };
    let reshape = |op: &Op| matches!(op, Op::Reshape { .. });
    let spread = of(id, reshape)?;
    let apart = of(spread, |op| matches!(op, Op::Expand { .. }))?;
    let x = of(apart, reshape)?;
    let [batch, heads, keys, size] = view.shape(x) else {
        return None;
    };
    let lead = |more: &[Dim]| [&[batch.clone(), heads.clone()], more].concat();
    let alone = lead(&[Dim::from(1), keys.clone(), size.clone()]);
    let times = view.shape(spread).get(2)?.clone();
    let all = lead(&[times.clone(), keys.clone(), size.clone()]);
    let joined = view.shape(id).get(1)?;
    let fits = view.shape(apart) == alone
        && view.shape(spread) == all
        && *joined == heads.clone() * times
        && view.shape(id)[2..] == [keys.clone(), size.clone()];
    fits.then_some(x)
}
