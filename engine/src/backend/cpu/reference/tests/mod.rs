//! Values worked out by hand, and composites against their decompositions.

mod composites;
mod elementwise;
mod errors;
mod extensions;
mod movement;
mod products;
mod real_models;
mod reductions;
mod windows;

use super::*;
use crate::graph::Dim;

fn f(shape: &[usize], values: &[f32]) -> Tensor {
    Tensor::from_f32(shape, values).unwrap()
}

fn i(shape: &[usize], values: &[i32]) -> Tensor {
    Tensor::from_i32(shape, values).unwrap()
}

fn u8s(shape: &[usize], values: &[u8]) -> Tensor {
    Tensor::from_bytes(DataType::U8, shape, values).unwrap()
}

fn dims(shape: &[usize]) -> Vec<Dim> {
    shape.iter().map(|&n| Dim::from(n)).collect()
}

fn run(op: Op, inputs: &[&Tensor]) -> Tensor {
    let views: Vec<View<'_>> = inputs.iter().map(|&t| t.into()).collect();
    evaluate(&op, &views).unwrap()
}

fn fails(op: Op, inputs: &[&Tensor]) -> EvaluateError {
    let views: Vec<View<'_>> = inputs.iter().map(|&t| t.into()).collect();
    evaluate(&op, &views).unwrap_err()
}

/// Element by element within an absolute and a relative error; NaN goes with NaN.
fn close(got: &Tensor, expected: &Tensor, tolerance: f64) {
    assert_eq!(got.shape(), expected.shape());
    assert_eq!(got.data_type(), expected.data_type());
    let pairs = got.to_f64_vec().into_iter().zip(expected.to_f64_vec());
    for (n, (got, expected)) in pairs.enumerate() {
        let same = got == expected || (got.is_nan() && expected.is_nan());
        let near = (got - expected).abs() <= tolerance * (1.0 + expected.abs());
        assert!(same || near, "element {n}: {got}, {expected} expected");
    }
}
