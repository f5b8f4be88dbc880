//! The activation functions that configs name.

use serde_json::Value;

use crate::graph::op::{Binary, Unary};
use crate::graph::{GraphBuilder, GraphError, ValueId};
use crate::model::{Config, ConfigError, ModelError};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    Gelu,
    /// `0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`
    GeluTanh,
    /// `x·sigmoid(1.702·x)`
    QuickGelu,
    Relu,
    Silu,
}

impl Activation {
    /// The function that the field `key` of a config names, or that called `default` where the field is missing.
    pub fn from_config(
        config: &Config,
        key: &str,
        default: &str,
    ) -> Result<Activation, ModelError> {
        match config.get(key) {
            Some(_) => Activation::named(key, config.str(key)?),
            None => Activation::named(key, default),
        }
    }

    /// The function that Hugging Face calls `name`.
    pub fn named(key: &str, name: &str) -> Result<Activation, ModelError> {
        Ok(match name {
            "gelu" => Activation::Gelu,
            "gelu_new" | "gelu_pytorch_tanh" | "gelu_fast" => Activation::GeluTanh,
            "quick_gelu" => Activation::QuickGelu,
            "relu" => Activation::Relu,
            "silu" | "swish" => Activation::Silu,
            other => {
                return Err(ConfigError::Value {
                    key: key.into(),
                    got: Value::from(other).to_string(),
                    wanted: "gelu, gelu_new, quick_gelu, relu or silu",
                }
                .into());
            }
        })
    }

    pub fn apply(self, b: &mut GraphBuilder, x: ValueId) -> Result<ValueId, GraphError> {
        match self {
            Activation::Gelu => b.unary(Unary::Gelu, x),
            Activation::Relu => b.unary(Unary::Relu, x),
            Activation::Silu => b.unary(Unary::Silu, x),
            Activation::QuickGelu => {
                let factor = b.number(1.702)?;
                let scaled = b.mul(x, factor)?;
                let gate = b.unary(Unary::Sigmoid, scaled)?;
                b.mul(x, gate)
            }
            Activation::GeluTanh => {
                // tanh(y) = 2·sigmoid(2y) − 1 makes the whole x·sigmoid(2y), which no argument overflows.
                let square = b.mul(x, x)?;
                let cubic = b.number(0.044_715)?;
                let scaled = b.mul(square, cubic)?;
                let one = b.number(1.0)?;
                let inner = b.binary(Binary::Add, scaled, one)?;
                let inner = b.mul(inner, x)?;
                let factor = b.number(2.0 * (2.0 / std::f32::consts::PI).sqrt())?;
                let inner = b.mul(inner, factor)?;
                let gate = b.unary(Unary::Sigmoid, inner)?;
                b.mul(x, gate)
            }
        }
    }
}
