//! Convolution over time.

use crate::graph::op::Window;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// A convolution of sequences `[batch, inputs, length]` to `[batch, outputs, length]`: `{name}.weight`
/// `[outputs, inputs / groups, kernel]` and, where the checkpoint has it, `{name}.bias`.
#[derive(Clone, Debug)]
pub struct Conv1d {
    pub name: String,
    pub inputs: usize,
    pub outputs: usize,
    pub kernel: usize,
    pub stride: usize,
    /// Zeros before and after.
    pub padding: usize,
    pub groups: usize,
}

impl Conv1d {
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let stored = [self.outputs, self.inputs / self.groups.max(1), self.kernel];
        let filter = weights.filter(b, &format!("{}.weight", self.name), &stored)?;
        self.by(b, weights, x, filter)
    }

    /// The same by a filter `[outputs, inputs / groups, 1, kernel]` that was computed.
    pub fn by(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
        filter: ValueId,
    ) -> Result<ValueId, ModelError> {
        let bias = weights.optional_vector(b, &format!("{}.bias", self.name), self.outputs)?;
        let x = with_height(b, x)?;
        let window = Window {
            padding: [0, 0, self.padding, self.padding],
            strides: [1, self.stride],
            ..Window::default()
        };
        let y = b.conv2d(x, filter, bias, window, self.groups)?;
        let shape = match b.shape(y) {
            [batch, channels, _, length] => vec![batch.clone(), channels.clone(), length.clone()],
            other => other.to_vec(),
        };
        Ok(b.reshape(y, shape)?)
    }
}

/// `[batch, channels, length]` as an image of height 1.
fn with_height(b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, ModelError> {
    let mut shape = b.shape(x).to_vec();
    shape.insert(shape.len().saturating_sub(1), Dim::from(1));
    Ok(b.reshape(x, shape)?)
}
