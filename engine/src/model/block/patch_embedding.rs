//! An image cut into patches, each a vector (Dosovitskiy et al. 2020).

use crate::graph::op::Window;
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// Patches that do not overlap, by a convolution `{name}.weight [hidden, channels, height, width]` with a bias where
/// the checkpoint has one.
#[derive(Clone, Debug)]
pub struct PatchEmbedding {
    pub name: String,
    pub channels: usize,
    /// Height and width of a patch.
    pub patch: [usize; 2],
    pub hidden: usize,
}

impl PatchEmbedding {
    /// `pixels [batch, channels, height, width]` → `[batch, patches, hidden]`, row by row.
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        pixels: ValueId,
    ) -> Result<ValueId, ModelError> {
        let [height, width] = self.patch;
        let shape = [self.hidden, self.channels, height, width];
        let filter = weights.filter(b, &format!("{}.weight", self.name), &shape)?;
        let bias = weights.optional_vector(b, &format!("{}.bias", self.name), self.hidden)?;
        let window = Window {
            strides: self.patch,
            ..Window::default()
        };
        let patches = b.conv2d(pixels, filter, bias, window, 1)?;
        to_tokens(b, patches)
    }
}

/// `[batch, channels, height, width]` → `[batch, height · width, channels]`
pub fn to_tokens(b: &mut GraphBuilder, image: ValueId) -> Result<ValueId, ModelError> {
    let shape = match b.shape(image) {
        [batch, channels, height, width] => vec![
            batch.clone(),
            channels.clone(),
            height.clone() * width.clone(),
        ],
        other => other.to_vec(),
    };
    let flat = b.reshape(image, shape)?;
    Ok(b.transpose(flat, &[0, 2, 1])?)
}

/// One vector for every image of a batch, `[1, 1, hidden]` repeated.
pub fn for_each(
    b: &mut GraphBuilder,
    vector: ValueId,
    batch: Dim,
    hidden: usize,
) -> Result<ValueId, ModelError> {
    let vector = b.reshape(vector, [1, 1, hidden].map(Dim::from).to_vec())?;
    Ok(b.expand(vector, vec![batch, Dim::from(1), Dim::from(hidden)])?)
}

/// Token `at` of `x [batch, tokens, hidden]`, as `[batch, hidden]`.
pub fn token(b: &mut GraphBuilder, x: ValueId, at: usize) -> Result<ValueId, ModelError> {
    let one = b.slice_axis(x, 1, Dim::from(at), Dim::from(1))?;
    let mut shape = b.shape(one).to_vec();
    shape.remove(1);
    Ok(b.reshape(one, shape)?)
}
