//! Normalization over the last dimension.

use crate::graph::{GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// To mean 0 and variance 1 (Ba et al. 2016), with `{name}.weight` and `{name}.bias`.
    Layer,
    /// By the root of the mean square alone (Zhang & Sennrich 2019), with `{name}.weight`.
    Rms,
}

/// A normalization of vectors of `size` elements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Norm {
    pub kind: NormKind,
    pub size: usize,
    pub epsilon: f32,
}

impl Norm {
    pub fn layer(size: usize, epsilon: f32) -> Norm {
        Norm {
            kind: NormKind::Layer,
            size,
            epsilon,
        }
    }

    pub fn rms(size: usize, epsilon: f32) -> Norm {
        Norm {
            kind: NormKind::Rms,
            size,
            epsilon,
        }
    }

    /// `x [.., size]` normalized by the weights under `name`.
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        name: &str,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        // Checkpoints that came from TensorFlow, such as the first BERTs, have other names.
        let [scale, bias] = match weights.contains(&format!("{name}.gamma")) {
            true => ["gamma", "beta"],
            false => ["weight", "bias"],
        };
        let scale = weights.vector(b, &format!("{name}.{scale}"), self.size)?;
        Ok(match self.kind {
            NormKind::Rms => b.rms_normalization(x, scale, self.epsilon)?,
            NormKind::Layer => {
                let bias = weights.vector(b, &format!("{name}.{bias}"), self.size)?;
                b.layer_normalization(x, scale, bias, self.epsilon)?
            }
        })
    }
}
