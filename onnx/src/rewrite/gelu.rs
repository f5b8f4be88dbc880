//! `0.5 · x · (1 + erf(x / √2))` as `gelu` (Hendrycks & Gimpel 2016), whichever two factors are multiplied first.

use std::f64::consts::{FRAC_1_SQRT_2, SQRT_2};

use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{GraphError, Node, ValueId};

use super::pattern::{View, replace, wide};

pub(super) fn rewrite(
    view: &View<'_>,
    node: &Node,
    rewriter: &mut Rewriter<'_>,
) -> Result<bool, GraphError> {
    let found = find(view, node.outputs[0]).filter(|&x| view.is_float(x));
    let Some(x) = found else {
        return Ok(false);
    };
    let x = wide(rewriter, x)?;
    let gelu = rewriter.builder().unary(Unary::Gelu, x)?;
    replace(view, node.outputs[0], gelu, rewriter)?;
    Ok(true)
}

fn find(view: &View<'_>, root: ValueId) -> Option<ValueId> {
    let half = |id: ValueId| view.number(id) == Some(0.5);
    for [a, b] in view.either(root, Binary::Mul) {
        if let Some(x) = one_and_erf(view, a) {
            // (1 + erf) · (x · 0.5)
            if view.with_number(b, Binary::Mul) == Some((x, 0.5)) {
                return Some(x);
            }
        }
        for [c, d] in view.either(a, Binary::Mul) {
            let Some(x) = one_and_erf(view, c) else {
                continue;
            };
            // ((1 + erf) · x) · 0.5, ((1 + erf) · 0.5) · x
            if (d == x && half(b)) || (half(d) && b == x) {
                return Some(x);
            }
        }
    }
    None
}

/// Of `1 + erf(x / √2)`, `x`.
fn one_and_erf(view: &View<'_>, id: ValueId) -> Option<ValueId> {
    let (erf, number) = view.with_number(id, Binary::Add)?;
    let scaled = view.unary(erf, Unary::Erf).filter(|_| number == 1.0)?;
    match view.with_number(scaled, Binary::Div) {
        Some((x, by)) if view.is_about(x, by, SQRT_2) => Some(x),
        _ => match view.with_number(scaled, Binary::Mul) {
            Some((x, by)) if view.is_about(x, by, FRAC_1_SQRT_2) => Some(x),
            _ => None,
        },
    }
}
