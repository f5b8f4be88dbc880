//! Normalizations and GELU.

use std::f32::consts::{FRAC_1_SQRT_2, SQRT_2};

use fewbit_engine::graph::ValueId;
use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::tensor::DataType;

use crate::draft::Draft;

/// `1 + erf(x / by)`
fn one_and_erf(d: &mut Draft, x: ValueId, by: f32) -> ValueId {
    let scaled = d.with(Binary::Div, x, by);
    let erf = d.unary(Unary::Erf, scaled);
    d.with(Binary::Add, erf, 1.0)
}

#[test]
fn gelu_in_every_order_of_its_factors() {
    for half in [false, true] {
        for order in 0..4 {
            let mut d = Draft::of(half);
            let x = d.input(&[2, 3, 5]);
            let e = match order {
                3 => {
                    let scaled = d.with(Binary::Mul, x, FRAC_1_SQRT_2);
                    let erf = d.unary(Unary::Erf, scaled);
                    d.with(Binary::Add, erf, 1.0)
                }
                _ => one_and_erf(&mut d, x, SQRT_2),
            };
            let y = match order {
                0 => {
                    let product = d.mul(x, e);
                    d.with(Binary::Mul, product, 0.5)
                }
                1 => {
                    let half = d.with(Binary::Mul, x, 0.5);
                    d.mul(half, e)
                }
                _ => {
                    let half = d.with(Binary::Mul, e, 0.5);
                    d.mul(half, x)
                }
            };
            assert_eq!(d.rewritten(y), ["gelu"], "order {order}");
        }
    }
}

#[test]
fn what_is_not_quite_gelu_is_left_alone() {
    for half in [false, true] {
        // Another divisor, another factor, another x.
        for (by, factor, same) in [(1.5, 0.5, true), (SQRT_2, 0.6, true), (SQRT_2, 0.5, false)] {
            let mut d = Draft::of(half);
            let (x, other) = (d.input(&[2, 5]), d.input(&[2, 5]));
            let e = one_and_erf(&mut d, x, by);
            let product = d.mul(if same { x } else { other }, e);
            let y = d.with(Binary::Mul, product, factor);
            assert!(!d.rewritten(y).contains(&"gelu"), "{by} {factor} {same}");
        }
    }
}

/// `(x − mean) / sqrt(variance + epsilon)`, over `axis`, with one difference or two.
fn centred(d: &mut Draft, x: ValueId, axis: usize, twice: bool, power: bool) -> ValueId {
    let mean = d.mean(x, axis);
    let off = d.binary(Binary::Sub, x, mean);
    let again = match twice {
        true => d.binary(Binary::Sub, x, mean),
        false => off,
    };
    let square = match power {
        true => d.with(Binary::Pow, again, 2.0),
        false => d.mul(again, again),
    };
    let variance = d.mean(square, axis);
    let sum = d.with(Binary::Add, variance, 1e-5);
    let root = d.unary(Unary::Sqrt, sum);
    d.binary(Binary::Div, off, root)
}

#[test]
fn layer_normalization_with_and_without_bias() {
    for half in [false, true] {
        for (twice, power, bias) in [
            (false, true, true),
            (true, true, true),
            (false, false, true),
            (true, false, false),
        ] {
            let mut d = Draft::of(half);
            let x = d.input(&[2, 3, 8]);
            let (scale, shift) = (d.weight(&[8]), d.weight(&[8]));
            let y = centred(&mut d, x, 2, twice, power);
            let mut y = d.mul(y, scale);
            if bias {
                y = d.add(shift, y);
            }
            assert_eq!(
                d.rewritten(y),
                ["layer_normalization"],
                "{twice} {power} {bias}"
            );
        }
    }
}

#[test]
fn what_is_not_quite_layer_normalization_is_left_alone() {
    // Over another axis; with a scale for each token; centred twice with another mean.
    let mut d = Draft::default();
    let x = d.input(&[2, 8, 8]);
    let scale = d.weight(&[8]);
    let y = centred(&mut d, x, 1, false, true);
    let y = d.mul(y, scale);
    assert!(!d.rewritten(y).contains(&"layer_normalization"));

    let mut d = Draft::default();
    let x = d.input(&[2, 3, 8]);
    let scale = d.weight(&[3, 1]);
    let y = centred(&mut d, x, 2, false, true);
    let y = d.mul(y, scale);
    assert!(!d.rewritten(y).contains(&"layer_normalization"));

    let mut d = Draft::default();
    let (x, other) = (d.input(&[2, 3, 8]), d.input(&[2, 3, 8]));
    let scale = d.weight(&[8]);
    let (mean, elsewhere) = (d.mean(x, 2), d.mean(other, 2));
    let off = d.binary(Binary::Sub, x, mean);
    let again = d.binary(Binary::Sub, x, elsewhere);
    let square = d.mul(again, again);
    let variance = d.mean(square, 2);
    let sum = d.with(Binary::Add, variance, 1e-5);
    let root = d.unary(Unary::Sqrt, sum);
    let y = d.binary(Binary::Div, off, root);
    let y = d.mul(y, scale);
    assert!(!d.rewritten(y).contains(&"layer_normalization"));
}

#[test]
fn rms_normalization_divided_or_multiplied() {
    for half in [false, true] {
        for form in 0..3 {
            let mut d = Draft::of(half);
            let x = d.input(&[2, 3, 8]);
            let scale = d.weight(&[8]);
            let square = d.with(Binary::Pow, x, 2.0);
            let mean = d.mean(square, 2);
            let sum = d.with(Binary::Add, mean, 1e-6);
            let root = d.unary(Unary::Sqrt, sum);
            let y = match form {
                0 => d.binary(Binary::Div, x, root),
                1 => {
                    let inverse = d.unary(Unary::Reciprocal, root);
                    d.mul(x, inverse)
                }
                _ => {
                    let one = d.number(1.0);
                    let inverse = d.binary(Binary::Div, one, root);
                    d.mul(x, inverse)
                }
            };
            let y = d.mul(scale, y);
            assert_eq!(d.rewritten(y), ["rms_normalization"], "form {form}");
        }
    }
}

#[test]
fn what_is_not_quite_rms_normalization_is_left_alone() {
    for (power, axis, same) in [(3.0, 2, true), (2.0, 1, true), (2.0, 2, false)] {
        let mut d = Draft::default();
        let (x, other) = (d.input(&[2, 8, 8]), d.input(&[2, 8, 8]));
        let scale = d.weight(&[8]);
        let x = d.unary(Unary::Abs, x);
        let powered = d.with(Binary::Pow, x, power);
        let mean = d.mean(powered, axis);
        let sum = d.with(Binary::Add, mean, 1e-6);
        let root = d.unary(Unary::Sqrt, sum);
        let y = d.binary(Binary::Div, if same { x } else { other }, root);
        let y = d.mul(y, scale);
        assert!(
            !d.rewritten(y).contains(&"rms_normalization"),
            "{power} {axis} {same}"
        );
    }
}

/// As PyTorch exports the normalizations of LLaMA and its kin in halves.
#[test]
fn rms_normalization_of_halves_that_is_computed_wide() {
    let mut d = Draft::of(true);
    let x = d.input(&[2, 3, 8]);
    let scale = d.weight(&[8]);
    let wide = d.b.cast(x, DataType::F32).unwrap();
    let two = d.b.number(2.0).unwrap();
    let square = d.binary(Binary::Pow, wide, two);
    let mean = d.mean(square, 2);
    let epsilon = d.b.number(1e-6).unwrap();
    let sum = d.add(mean, epsilon);
    let root = d.unary(Unary::Sqrt, sum);
    let inverse = d.unary(Unary::Reciprocal, root);
    let y = d.mul(wide, inverse);
    let y = d.b.cast(y, DataType::F16).unwrap();
    let y = d.mul(scale, y);
    assert_eq!(d.rewritten(y), ["rms_normalization"]);
}
