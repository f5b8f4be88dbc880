//! How two towers are compared (Radford et al. 2021): vectors of length one and the scaled cosines between them.

use crate::graph::op::{Binary, ReduceKind, Unary};
use crate::graph::{GraphBuilder, GraphError, ValueId};

/// The rows of `x [rows, size]`, each divided by its length.
pub fn unit_rows(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, GraphError> {
    let length = b.reduce(ReduceKind::L2, x, &[1], true)?;
    b.binary(Binary::Div, x, length)
}

/// `exp(log_scale) · left · rightᵀ` for rows of one size: `[left rows, right rows]`.
pub fn similarity(
    b: &mut GraphBuilder,
    left: ValueId,
    right: ValueId,
    log_scale: ValueId,
) -> Result<ValueId, GraphError> {
    let right = b.transpose(right, &[1, 0])?;
    let cosines = b.matmul(left, right)?;
    let scale = b.unary(Unary::Exp, log_scale)?;
    b.mul(cosines, scale)
}
