//! Rotary position embedding: frequencies, their scaling, and the tables of cosines and sines.

use std::rc::Rc;

use crate::graph::{GraphBuilder, GraphError, ValueId};
use crate::model::{Config, ConfigError};
use crate::tensor::{Tensor, TensorError};

/// How the frequencies follow from the head size (Su et al. 2021, section 3.2.2).
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    pub theta: f32,
    pub scaling: RopeScaling,
    /// Elements of each head that are rotated.
    pub rotated: usize,
    /// Pairs are neighbours, as in GGUF's LLaMA, whose query and key rows are permuted for it.
    pub interleaved: bool,
}

#[derive(Clone, Debug, PartialEq)]
pub enum RopeScaling {
    None,
    /// All frequencies divided by a factor (position interpolation).
    Linear {
        factor: f32,
    },
    /// LLaMA 3.1's: low frequencies divided, high ones kept, a ramp between.
    Llama3 {
        factor: f32,
        low: f32,
        high: f32,
        original_context: f32,
    },
    /// A divisor a frequency, as GGUF's `rope_freqs.weight` has them.
    Divisors(Vec<f32>),
}

impl RopeScaling {
    /// From `rope_scaling` or `rope_parameters` of a Hugging Face config.
    pub fn from_config(config: Option<&Config>) -> Result<RopeScaling, ConfigError> {
        let Some(config) = config else {
            return Ok(RopeScaling::None);
        };
        let key = if config.get("rope_type").is_some() {
            "rope_type"
        } else if config.get("type").is_some() {
            "type"
        } else {
            return Ok(RopeScaling::None);
        };
        match config.str(key)? {
            "default" => Ok(RopeScaling::None),
            "linear" => Ok(RopeScaling::Linear {
                factor: config.f32("factor")?,
            }),
            "llama3" => Ok(RopeScaling::Llama3 {
                factor: config.f32("factor")?,
                low: config.f32("low_freq_factor")?,
                high: config.f32("high_freq_factor")?,
                original_context: config.f32("original_max_position_embeddings")?,
            }),
            other => Err(ConfigError::Value {
                key: format!("rope scaling {key}"),
                got: other.to_owned(),
                wanted: "default, linear or llama3",
            }),
        }
    }
}

/// The tables as graph values, `[positions, rotated/2]` each.
#[derive(Clone, Copy, Debug)]
pub struct RopeTables {
    pub cos: ValueId,
    pub sin: ValueId,
}

impl Rope {
    /// Adds the tables for positions `0..positions` to a graph.
    pub fn tables(&self, b: &mut GraphBuilder, positions: usize) -> Result<RopeTables, GraphError> {
        let (cos, sin) = self.compute(positions)?;
        Ok(RopeTables {
            cos: b.shared_constant(Rc::new(cos)),
            sin: b.shared_constant(Rc::new(sin)),
        })
    }

    fn compute(&self, positions: usize) -> Result<(Tensor, Tensor), TensorError> {
        let frequencies = self.frequencies();
        let half = frequencies.len();
        let mut cos = Vec::with_capacity(positions * half);
        let mut sin = Vec::with_capacity(positions * half);
        for position in 0..positions {
            for &frequency in &frequencies {
                // The angle is rounded to f32 as the reference implementations do; its cosine is exact.
                let angle = f64::from(position as f32 * frequency);
                cos.push(angle.cos() as f32);
                sin.push(angle.sin() as f32);
            }
        }
        let shape = [positions, half];
        Ok((
            Tensor::from_f32(&shape, &cos)?,
            Tensor::from_f32(&shape, &sin)?,
        ))
    }

    fn frequencies(&self) -> Vec<f32> {
        let half = self.rotated / 2;
        (0..half)
            .map(|i| {
                let exponent = 2.0 * i as f64 / self.rotated as f64;
                let base = (1.0 / f64::from(self.theta).powf(exponent)) as f32;
                match &self.scaling {
                    RopeScaling::None => base,
                    RopeScaling::Linear { factor } => base / factor,
                    RopeScaling::Divisors(divisors) => {
                        base / divisors.get(i).copied().unwrap_or(1.0)
                    }
                    RopeScaling::Llama3 {
                        factor,
                        low,
                        high,
                        original_context,
                    } => {
                        let wavelength = 2.0 * std::f32::consts::PI / base;
                        let turns = original_context / wavelength;
                        if turns < *low {
                            base / factor
                        } else if turns > *high {
                            base
                        } else {
                            let ramp = (turns - low) / (high - low);
                            (1.0 - ramp) * base / factor + ramp * base
                        }
                    }
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_fall_from_one_and_llama3_divides_only_the_low_ones() {
        let plain = Rope {
            theta: 10000.0,
            scaling: RopeScaling::None,
            rotated: 8,
            interleaved: false,
        };
        let f = plain.frequencies();
        assert_eq!(f[0], 1.0);
        assert!((f[1] - 0.1).abs() < 1e-6 && (f[3] - 0.001).abs() < 1e-8);
        let scaled = Rope {
            scaling: RopeScaling::Llama3 {
                factor: 8.0,
                low: 1.0,
                high: 4.0,
                original_context: 1024.0,
            },
            ..plain
        };
        let g = scaled.frequencies();
        assert_eq!(g[0], f[0]);
        assert_eq!(g[3], f[3] / 8.0);
        assert!(g[2] < f[2] && g[2] > f[2] / 8.0);
    }
}
