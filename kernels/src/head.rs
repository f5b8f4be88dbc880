//! A language model's head with 8-bit activations, twice: once for the activations and once for what
//! quantizing them lost.
//!
//! The head's products are the logits themselves; an error there moves a probability directly, while its
//! second pass costs little, as decoding reads each weight once for both.

use super::{Activations, Kernels, PackedWeights};
use crate::threads::Parallel;

/// Matrices of so many rows are heads: nothing else in a model is as tall as a vocabulary.
pub const FROM_ROWS: usize = 16_384;

/// The elements that share a scale in the kernels' quantized activations.
const BLOCK: usize = 32;

/// Tokens at a time, which bounds the second result.
const TOKENS: usize = 8;

/// `out[m][n] = x[m] · weightsᵀ` with the error of 16-bit activations.
pub fn twice(
    kernels: Kernels,
    parallel: &dyn Parallel,
    x: &[f32],
    weights: &PackedWeights,
    out: &mut [f32],
) {
    let (n, k) = (weights.n(), weights.k());
    let mut parts = Vec::new();
    let mut products = Vec::new();
    for (x, out) in x.chunks(TOKENS * k).zip(out.chunks_mut(TOKENS * n)) {
        parts.clear();
        parts.extend_from_slice(x);
        for block in parts.chunks_mut(BLOCK) {
            round(block);
        }
        for (at, &value) in x.iter().enumerate() {
            let rest = value - parts[at];
            parts.push(rest);
        }
        products.resize(2 * out.len(), 0.0);
        kernels.linear(
            parallel,
            &parts,
            weights,
            None,
            Activations::Int8,
            &mut products,
        );
        let (main, rest) = products.split_at(out.len());
        kernels.add(parallel, main, rest, out);
    }
}

/// What a block is once it was quantized to 8 bits; a block that is not finite stays as it is.
fn round(block: &mut [f32]) {
    let most = block.iter().fold(0.0f32, |most, x| most.max(x.abs()));
    if most == 0.0 || !most.is_finite() {
        return;
    }
    let scale = most / 127.0;
    for x in block {
        *x = (*x / scale).round() * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::element::{BlockFormat, encode};
    use crate::threads::Serial;

    #[test]
    fn the_second_pass_takes_the_error_of_8_bits_away() {
        let (m, n, k) = (11, 40, 96);
        let wave = |i: usize, step: f32| (i as f32 * step).sin() * (1.0 + (i % 7) as f32);
        let values: Vec<f32> = (0..n * k).map(|i| wave(i, 0.37)).collect();
        let x: Vec<f32> = (0..m * k).map(|i| wave(i, 0.91)).collect();
        let bytes = encode(BlockFormat::Q8_0, &values).unwrap();
        let weights = PackedWeights::pack(BlockFormat::Q8_0.into(), n, k, &bytes).unwrap();
        let kernels = Kernels::best();
        let product = |activations| {
            let mut out = vec![0.0; m * n];
            kernels.linear(&Serial, &x, &weights, None, activations, &mut out);
            out
        };
        let exact = product(Activations::Float);
        let mut refined = vec![0.0; m * n];
        twice(kernels, &Serial, &x, &weights, &mut refined);
        let error = |got: &[f32]| {
            let pairs = got.iter().zip(&exact);
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
        };
        assert!(error(&refined) * 50.0 < error(&product(Activations::Int8)));
    }
}
