//! The position-wise feed-forward network of a transformer layer.

use super::{Activation, Linear};
use crate::graph::{GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

/// `down(activation(up(x)))`, or with a gate `down(activation(gate(x)) · up(x))` (Shazeer 2020). The names are of
/// linear layers.
#[derive(Clone, Debug)]
pub struct FeedForward {
    pub gate: Option<String>,
    pub up: String,
    pub down: String,
    pub hidden: usize,
    pub inner: usize,
    pub activation: Activation,
}

impl FeedForward {
    pub fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let inward = |b: &mut GraphBuilder, name: &str| {
            let linear = Linear {
                name,
                inputs: self.hidden,
                outputs: self.inner,
            };
            linear.apply(b, weights, x)
        };
        let made = match &self.gate {
            Some(gate) => {
                let gate = inward(b, gate)?;
                let up = inward(b, &self.up)?;
                let gate = self.activation.apply(b, gate)?;
                b.mul(gate, up)?
            }
            None => {
                let up = inward(b, &self.up)?;
                self.activation.apply(b, up)?
            }
        };
        Linear {
            name: &self.down,
            inputs: self.inner,
            outputs: self.hidden,
        }
        .apply(b, weights, made)
    }
}
