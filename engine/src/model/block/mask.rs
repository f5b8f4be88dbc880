//! From a mask of tokens to what is added to the scores of attention.

use crate::graph::op::Binary;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::ModelError;
use crate::tensor::DataType;

/// 0 where `mask [batch, keys]` is 1 and far below any score where it is 0, as `[batch, 1, 1, keys]`.
pub fn mask_bias(b: &mut GraphBuilder, mask: ValueId) -> Result<ValueId, ModelError> {
    let mask = b.cast(mask, DataType::F32)?;
    let one = b.number(1.0)?;
    let hidden = b.binary(Binary::Sub, mask, one)?;
    // A finite number: some back ends make NaN of an infinity.
    let far = b.number(1e30)?;
    let bias = b.mul(hidden, far)?;
    let shape = match b.shape(bias) {
        [batch, keys] => vec![batch.clone(), Dim::from(1), Dim::from(1), keys.clone()],
        other => other.to_vec(),
    };
    Ok(b.reshape(bias, shape)?)
}
