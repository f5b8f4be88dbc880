//! Writing new keys or values into a KV state.

use super::{Case, EvaluateError};
use crate::tensor::Tensor;

impl Case<'_> {
    /// The four dimensions of an input that has four.
    pub(super) fn four(&self, input: usize) -> [usize; 4] {
        let shape = self.inputs[input].shape;
        std::array::from_fn(|axis| shape[axis])
    }

    /// A start position a batch row.
    pub(super) fn positions(&self, input: usize) -> Result<Vec<i32>, EvaluateError> {
        Ok(bytemuck::pod_collect_to_vec(self.inputs[input].bytes))
    }
}

/// Token `t` of row `b` goes to place `position[b] + t` of the state, if there is such a place.
pub(super) fn kv_append(case: &Case<'_>) -> Result<Tensor, EvaluateError> {
    let [_, heads, capacity, size] = case.four(0);
    let tokens = case.inputs[1].shape[1];
    let row = size * case.element_bytes(0)?;
    let mut out = Tensor::from_bytes(
        case.output.data_type,
        &case.output.shape,
        case.inputs[0].bytes,
    )?;
    for (b, position) in case.positions(2)?.into_iter().enumerate() {
        for t in 0..tokens {
            let place = i128::from(position) + t as i128;
            let Some(place) = usize::try_from(place).ok().filter(|&at| at < capacity) else {
                continue;
            };
            for h in 0..heads {
                let from = ((b * tokens + t) * heads + h) * row;
                let to = ((b * heads + h) * capacity + place) * row;
                out.bytes_mut()[to..][..row].copy_from_slice(&case.inputs[1].bytes[from..][..row]);
            }
        }
    }
    Ok(out)
}
