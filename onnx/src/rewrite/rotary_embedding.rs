//! `x · cos + rotated(x) · sin` as `rotary_embedding` (Su et al. 2021), where `rotated` is the second half of each head negated and
//! then the first, and where cosines and sines are the same for both halves.
//!
//! The cosines and sines of a run's tokens are the tables: token `t` of row `b` has their row `b · tokens + t`.

use fewbit_engine::graph::op::{Binary, CumulativeSum, ReduceKind, RotaryEmbedding, Slice, Unary};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{Dim, GraphError, Node, Op, ValueId};
use fewbit_engine::tensor::Tensor;

use super::pattern::{View, narrowed, wide};

const BY_HEAD: [usize; 4] = [0, 2, 1, 3];

/// So many operators lie between the angles and what is multiplied at most.
const MOST: usize = 16;

/// `x [batch, heads, tokens, size]`; `cos` and `sin` `[batch or 1, 1, tokens, size]`.
struct Found {
    x: ValueId,
    cos: ValueId,
    sin: ValueId,
    half: usize,
}

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let Some(found) = find(view, node.outputs[0]) else {
        return Ok(false);
    };
    let x = match view.transposed(found.x, &BY_HEAD) {
        Some(x) => wide(rewriter, x)?,
        None => {
            let x = wide(rewriter, found.x)?;
            rewriter.builder().transpose(x, &BY_HEAD)?
        }
    };
    let (batch, tokens) = (&view.shape(found.x)[0], &view.shape(found.x)[2]);
    let shared = view.shape(found.cos)[0].is_one();
    let rows = match shared {
        true => tokens.clone(),
        false => batch.clone() * tokens.clone(),
    };
    let mut tables = [found.cos, found.sin];
    for table in &mut tables {
        let whole = wide(rewriter, *table)?;
        let builder = rewriter.builder();
        let flat = vec![rows.clone(), Dim::from(2 * found.half)];
        let flat = builder.reshape(whole, flat)?;
        *table = builder.slice_axis(flat, 1, Dim::from(0), Dim::from(found.half))?;
    }
    let position = match shared {
        true => {
            let builder = rewriter.builder();
            let zero = builder.constant(Tensor::from_i32(&[1], &[0])?);
            builder.expand(zero, vec![batch.clone()])?
        }
        false => first_rows(rewriter, batch, tokens)?,
    };
    let rotary = Op::RotaryEmbedding(RotaryEmbedding { interleaved: false });
    let builder = rewriter.builder();
    let y = builder.op(rotary, &[x, tables[0], tables[1], position])?;
    // The type first, so that a transposition after it meets this one.
    let y = narrowed(view, node.outputs[0], y, rewriter)?;
    let y = rewriter.builder().transpose(y, &BY_HEAD)?;
    rewriter.replace(node.outputs[0], y);
    Ok(true)
}

/// `b · tokens`, i32 `[batch]`.
fn first_rows(
    rewriter: &mut Rewriter<'_>,
    batch: &Dim,
    tokens: &Dim,
) -> Result<ValueId, GraphError> {
    let builder = rewriter.builder();
    let one = builder.constant(Tensor::from_i32(&[1, 1], &[1])?);
    let ones = builder.expand(one, vec![batch.clone(), tokens.clone()])?;
    let counts = builder.reduce(ReduceKind::Sum, ones, &[1], false)?;
    let before = CumulativeSum {
        axis: 0,
        exclusive: true,
        reversed: false,
    };
    builder.op(Op::CumulativeSum(before), &[counts])
}

fn find(view: &View<'_>, root: ValueId) -> Option<Found> {
    for [straight, across] in view.either(root, Binary::Add) {
        for [x, cos] in view.either(straight, Binary::Mul) {
            for [turned, sin] in view.either(across, Binary::Mul) {
                let Some(half) = halves_of(view, turned, x) else {
                    continue;
                };
                let shape = view.shape(x);
                let fits = |table: ValueId| {
                    let own = view.shape(table);
                    let first = own.first().is_some_and(|d| d.is_one() || *d == shape[0]);
                    own.len() == 4 && first && own[1].is_one() && own[2..] == shape[2..]
                };
                let same = view.shape(cos) == view.shape(sin);
                let tables =
                    fits(cos) && same && is_twice(view, cos, MOST) && is_twice(view, sin, MOST);
                if view.is_float(x) && tables {
                    return Some(Found { x, cos, sin, half });
                }
            }
        }
    }
    None
}

/// Half the size of a head, if a value is the second half of `x` negated and then the first.
fn halves_of(view: &View<'_>, id: ValueId, x: ValueId) -> Option<usize> {
    let node = view.node(id)?;
    let (Op::Concat { axis: 3 }, &[second, first]) = (&node.op, node.inputs.as_slice()) else {
        return None;
    };
    let [.., size] = view.shape(x) else {
        return None;
    };
    let half = size.fixed().filter(|size| size.is_multiple_of(2))? / 2;
    let part = |id: ValueId, start: usize| {
        let node = view.node(id)?;
        let Op::Slice(Slice {
            starts,
            sizes,
            strides,
        }) = &node.op
        else {
            return None;
        };
        let shape = view.shape(x);
        let fits = node.inputs[0] == x
            && shape.len() == 4
            && strides.iter().all(|&stride| stride == 1)
            && starts[..3].iter().all(|start| start.fixed() == Some(0))
            && sizes[..3] == shape[..3]
            && starts[3] == Dim::from(start)
            && sizes[3] == Dim::from(half);
        fits.then_some(())
    };
    part(view.unary(second, Unary::Neg)?, half)?;
    part(first, 0)?;
    Some(half)
}

/// Whether both halves of the last axis are the same, as the `most` last operators tell.
fn is_twice(view: &View<'_>, id: ValueId, most: usize) -> bool {
    let Some(most) = most.checked_sub(1) else {
        return false;
    };
    let last = |id: ValueId| view.shape(id).last();
    if let Some(tensor) = view.constant(id) {
        let Some(&size) = tensor.shape().last() else {
            return false;
        };
        let values = tensor.to_f64_vec();
        let mut rows = values.chunks_exact(size.max(2));
        return size.is_multiple_of(2) && rows.all(|row| row[..size / 2] == row[size / 2..]);
    }
    let Some(node) = view.node(id) else {
        return false;
    };
    match &node.op {
        Op::Concat { axis } => {
            let twice = node.inputs.len() == 2 && node.inputs[0] == node.inputs[1];
            twice && *axis + 1 == view.shape(id).len()
        }
        Op::Unary(_) | Op::Cast { .. } => is_twice(view, node.inputs[0], most),
        Op::Reshape { .. } => {
            last(id) == last(node.inputs[0]) && is_twice(view, node.inputs[0], most)
        }
        Op::Gather { axis: 0, .. } => {
            view.shape(node.inputs[0]).len() > 1 && is_twice(view, node.inputs[0], most)
        }
        Op::Binary(_) => {
            let [a, b] = [node.inputs[0], node.inputs[1]];
            match (view.number(a), view.number(b)) {
                (None, Some(_)) => is_twice(view, a, most),
                (Some(_), None) => is_twice(view, b, most),
                _ => false,
            }
        }
        _ => false,
    }
}
