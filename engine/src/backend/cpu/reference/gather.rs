//! Picking rows by index.

use super::numbers::Numbers;
use super::{Case, EvaluateError};
use crate::tensor::{Tensor, decode};

/// The spec's rule: negative indices count from the end, others are clamped into the axis.
pub(super) fn clamped(index: i128, size: usize) -> usize {
    let size = size as i128;
    let index = if index < 0 { index + size } else { index };
    index.clamp(0, (size - 1).max(0)) as usize
}

pub(super) fn gather(case: &Case<'_>, axis: usize, decoded: bool) -> Result<Tensor, EvaluateError> {
    let Numbers::Integers(indices) = case.numbers(1)? else {
        return Err(case.unsupported());
    };
    let table = &case.inputs[0];
    let size = table.shape[axis];
    let mut out = case.zeros()?;
    // Nothing can be picked from an empty axis: what is asked of it is zeros.
    if size == 0 || table.bytes.is_empty() {
        return Ok(out);
    }
    let outer: usize = table.shape[..axis].iter().product();
    let row_bytes = table.bytes.len() / outer / size;
    if decoded {
        let width = table.shape[1];
        let rows = bytemuck::cast_slice_mut::<u8, f32>(out.bytes_mut()).chunks_exact_mut(width);
        for (row, &index) in rows.zip(&indices) {
            let from = clamped(index, size) * row_bytes;
            decode(table.element, &table.bytes[from..][..row_bytes], row)?;
        }
        return Ok(out);
    }
    let places = (0..outer).flat_map(|o| indices.iter().map(move |&index| (o, index)));
    let rows = out.bytes_mut().chunks_exact_mut(row_bytes);
    for (row, (o, index)) in rows.zip(places) {
        let from = (o * size + clamped(index, size)) * row_bytes;
        row.copy_from_slice(&table.bytes[from..][..row_bytes]);
    }
    Ok(out)
}
