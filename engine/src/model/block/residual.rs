//! A sublayer with its residual connection, and where the norm stands (Xiong et al. 2020).

use super::Norm;
use crate::graph::{GraphBuilder, ValueId};
use crate::model::{ModelError, Weights};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormOrder {
    /// `x + f(norm(x))`
    Before,
    /// `norm(x + f(x))`
    After,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Residual {
    pub order: NormOrder,
    pub norm: Norm,
}

impl Residual {
    /// `inner` around which the residual goes, its norm's weights under `name`.
    pub fn around(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        name: &str,
        x: ValueId,
        inner: impl FnOnce(&mut GraphBuilder, ValueId) -> Result<ValueId, ModelError>,
    ) -> Result<ValueId, ModelError> {
        match self.order {
            NormOrder::Before => {
                let normal = self.norm.apply(b, weights, name, x)?;
                let made = inner(b, normal)?;
                Ok(b.add_values(x, made)?)
            }
            NormOrder::After => {
                let made = inner(b, x)?;
                let sum = b.add_values(made, x)?;
                self.norm.apply(b, weights, name, sum)
            }
        }
    }
}
