//! Matrix products with a factor and transposed operands.

use fewbit_engine::graph::op::Binary;

use crate::import::context::{Context, Value};
use crate::import::error::{Refusal, unsupported};
use crate::import::node::Node;
use crate::import::operators::product::product;
use crate::import::table::Entry;

pub(super) const TABLE: &[Entry] = &[Entry::widened("FusedMatMul", 1, fused)];

/// `alpha · a · b`, either transposed in its last two axes before.
fn fused(cx: &mut Context, node: &Node<'_>) -> Result<Vec<Value>, Refusal> {
    let (mut a, mut b) = (node.input(0)?, node.input(1)?);
    if node.flag("transBatchA", false)? || node.flag("transBatchB", false)? {
        return unsupported("with transposed batch axes");
    }
    // A vector has nothing to transpose.
    if node.flag("transA", false)? && cx.rank(a) > 1 {
        a = cx.swapped(a)?;
    }
    if node.flag("transB", false)? && cx.rank(b) > 1 {
        b = cx.swapped(b)?;
    }
    let y = product(cx, a, b)?;
    Ok(vec![match node.float("alpha", 1.0)? {
        1.0 => y,
        alpha => cx.with(Binary::Mul, y, alpha.into())?,
    }])
}
