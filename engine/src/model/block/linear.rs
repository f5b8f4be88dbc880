//! A linear layer: `x · weightᵀ + bias`.

use crate::graph::{GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// A linear layer's tensors: `{name}.weight [outputs, inputs]` and, where the checkpoint has it, `{name}.bias`.
pub struct Linear<'a> {
    pub name: &'a str,
    pub inputs: usize,
    pub outputs: usize,
}

impl Linear<'_> {
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let weight = weights.matrix(
            b,
            &format!("{}.weight", self.name),
            self.outputs,
            self.inputs,
        )?;
        self.by(b, weights, x, weight)
    }

    /// The same where the checkpoint has `{name}.weight` as `[inputs, outputs]`; a session turns it once, at load.
    pub fn apply_transposed(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let name = format!("{}.weight", self.name);
        let weight = weights.matrix(b, &name, self.inputs, self.outputs)?;
        let weight = b.transpose(weight, &[1, 0])?;
        self.by(b, weights, x, weight)
    }

    fn by(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
        weight: ValueId,
    ) -> Result<ValueId, ModelError> {
        let bias = weights.optional_vector(b, &format!("{}.bias", self.name), self.outputs)?;
        Ok(b.block_matmul(x, weight, bias)?)
    }
}
