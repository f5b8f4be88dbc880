//! Scattering, order, bits, and the angle of a tangent.

use super::draw::Random;
use super::{Case, Draft};
use crate::graph::Op;
use crate::graph::op::{Bitwise, Extension, Scatter};
use crate::tensor::{DataType, Tensor};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = scattering();
    cases.extend(order());
    cases.extend(bits());
    cases
}

fn scattering() -> Vec<Case> {
    let mut random = Random::new(70);
    let mut cases = Vec::new();
    let x = random.tensor(&[5, 4, 3]);
    let rows = Tensor::from_i32(&[3, 1], &[4, -5, 2]).expect("three");
    let places = Tensor::from_i64(&[2, 2, 2], &[0, 1, 4, 3, -1, 0, 2, 2]).expect("eight");
    let single = Tensor::from_i32(&[2, 3], &[1, 2, 0, 100, -1, 2]).expect("six");
    for (name, indices, shape) in [
        ("rows", &rows, &[3, 4, 3][..]),
        ("columns, by i64", &places, &[2, 2, 3]),
        ("single elements", &single, &[2]),
    ] {
        let updates = random.tensor(shape);
        let inputs = vec![x.clone(), indices.clone(), updates];
        let op = Op::ScatterNd(Scatter::Replace);
        cases.push(Draft::of(format!("scatter_nd of {name}"), op, inputs));
    }
    // Many into few places: they take turns.
    let few = random.integers(&[200, 1], 0, 2);
    for scatter in [Scatter::Add, Scatter::Mul, Scatter::Max, Scatter::Min] {
        let inputs = vec![
            random.tensor(&[3, 2]),
            few.clone(),
            random.scaled(&[200, 2], 0.1, 1.0),
        ];
        let op = Op::ScatterNd(scatter);
        cases.push(Draft::of(
            format!("scatter_nd {scatter:?}"),
            op.clone(),
            inputs,
        ));
        let inputs = vec![
            random.integers(&[3, 2], -9, 9),
            few.clone(),
            random.integers(&[200, 2], -3, 3),
        ];
        cases.push(Draft::of(
            format!("scatter_nd {scatter:?} of i32"),
            op,
            inputs,
        ));
    }
    let special = Tensor::from_f32(&[2], &[f32::NAN, 1.0]).expect("two");
    let zero = Tensor::from_i32(&[1, 1], &[0]).expect("one");
    let one = Tensor::from_f32(&[1], &[3.0]).expect("one");
    let op = Op::ScatterNd(Scatter::Max);
    let inputs = vec![special, zero, one];
    cases.push(Draft::of("scatter_nd Max onto NaN", op, inputs));
    cases
}

fn order() -> Vec<Case> {
    let mut random = Random::new(71);
    let mut cases = Vec::new();
    let special = [
        0.0,
        -0.0,
        f32::NAN,
        f32::INFINITY,
        -1.0,
        f32::NEG_INFINITY,
        2.0,
    ];
    let special = Tensor::from_f32(&[7], &special).expect("seven");
    for (axis, k) in [(0, 2), (1, 5), (2, 1)] {
        for largest in [false, true] {
            let op = Op::Extension(Extension::TopK { axis, k, largest });
            let x = random.tensor(&[3, 5, 4]);
            let name = format!("top_k {k} on {axis}, largest {largest}");
            cases.push(Draft::of(name, op.clone(), vec![x]));
            let x = random.integers(&[3, 5, 4], -2, 2);
            let name = format!("top_k {k} of i32 on {axis}, largest {largest}");
            cases.push(Draft::of(name, op, vec![x]));
        }
    }
    for largest in [false, true] {
        let (axis, k) = (0, 7);
        let op = Op::Extension(Extension::TopK { axis, k, largest });
        let name = format!("top_k of special numbers, largest {largest}");
        cases.push(Draft::of(name, op, vec![special.clone()]));
    }
    cases
}

fn bits() -> Vec<Case> {
    let mut random = Random::new(72);
    let mut cases = Vec::new();
    let (a, b) = (
        random.integers(&[3, 4], i32::MIN, i32::MAX),
        random.integers(&[4], i32::MIN, i32::MAX),
    );
    for op in [Bitwise::And, Bitwise::Or, Bitwise::Xor] {
        let op = Op::Extension(Extension::Bitwise(op));
        cases.push(Draft::of(op.name(), op, vec![a.clone(), b.clone()]));
    }
    let angle = random.scaled(&[40], 20.0, 0.0);
    cases.push(Draft::of(
        "atan",
        Op::Extension(Extension::Atan),
        vec![angle],
    ));
    let to = DataType::I32;
    let op = Op::Extension(Extension::Bitcast { to });
    cases.push(Draft::of("bitcast to i32", op, vec![random.tensor(&[8])]));
    let to = DataType::F32;
    let whole = random.integers(&[8], 0x3f00_0000, 0x4000_0000);
    let op = Op::Extension(Extension::Bitcast { to });
    cases.push(Draft::of("bitcast to f32", op, vec![whole]));
    cases
}
