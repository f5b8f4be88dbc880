//! The product of activations with packed weights: picks the kernel for the weights' type.

use crate::element::ElementType;
use crate::threads::Parallel;

use super::linear_f32::linear_f32;
use super::linear_i8::linear_i8;
use super::{Kernels, PackedWeights};

/// In what precision activations meet block-quantized weights. Plain weights always meet f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Activations {
    /// Quantized to 8 bits with one scale per 32: the fast way.
    #[default]
    Int8,
    /// As they are; weights are decoded on the way.
    Float,
}

impl Kernels {
    /// `out[m][n] = Σ_k x[m][k]·W[n][k] + bias[n]`; `m` follows from the lengths of `x` and `out`.
    ///
    /// # Panics
    /// If the lengths do not fit together.
    pub fn linear(
        self,
        parallel: &dyn Parallel,
        x: &[f32],
        weights: &PackedWeights,
        bias: Option<&[f32]>,
        activations: Activations,
        out: &mut [f32],
    ) {
        let (n, k) = (weights.n(), weights.k());
        if n == 0 || out.is_empty() {
            assert!(out.is_empty());
            return;
        }
        let m = out.len() / n;
        assert_eq!(out.len(), m * n, "{} outputs in rows of {n}", out.len());
        assert_eq!(x.len(), m * k, "{m} rows of {k} inputs");
        if let Some(bias) = bias {
            assert_eq!(bias.len(), n);
        }
        if k == 0 {
            for row in out.chunks_exact_mut(n) {
                match bias {
                    Some(bias) => row.copy_from_slice(bias),
                    None => row.fill(0.0),
                }
            }
            return;
        }
        match (weights.element(), activations) {
            (ElementType::Block(format), Activations::Int8) => {
                linear_i8(self.isa, parallel, format, weights, x, bias, out);
            }
            _ => linear_f32(self.isa, parallel, weights, x, bias, out),
        }
    }
}
