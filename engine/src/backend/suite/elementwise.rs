//! Element-wise operators, their broadcasting, special values, and fused chains.

use super::draw::Random;
use super::{Case, Draft};
use crate::graph::Op;
use crate::graph::op::{Binary, Compare, Fused, Logical, Operand, Step, Unary};
use crate::tensor::{DataType, Tensor};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = unary();
    cases.extend(binary());
    cases.extend(conditions());
    cases.extend(casts());
    cases.extend(fused());
    cases
}

fn unary() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in Unary::ALL {
        for (shape, seed) in [(vec![3, 37], 1), (vec![1], 2), (vec![2, 1, 64], 3)] {
            let (by, center) = match op {
                Unary::Log | Unary::Sqrt => (2.0, 2.1),
                Unary::Reciprocal => (1.0, -1.5),
                // Away from the poles.
                Unary::Tan => (1.2, 0.0),
                _ => (5.0, 0.0),
            };
            let x = Random::new(seed).scaled(&shape, by, center);
            let name = format!("{} {shape:?}", op.name());
            cases.push(Draft::of(name, Op::Unary(op), vec![x]));
        }
    }
    let large = [
        f32::NAN,
        f32::INFINITY,
        f32::NEG_INFINITY,
        1e30,
        -1e30,
        90.0,
        -90.0,
        0.0,
    ];
    for op in [
        Unary::Abs,
        Unary::Erf,
        Unary::Exp,
        Unary::Neg,
        Unary::Relu,
        Unary::Sigmoid,
        Unary::Tanh,
    ] {
        let x = Tensor::from_f32(&[8], &large).expect("eight");
        let name = format!("{} of large numbers, infinities and nan", op.name());
        cases.push(Draft::of(name, Op::Unary(op), vec![x]));
    }
    for op in [Unary::Abs, Unary::Neg, Unary::Relu] {
        let x = Random::new(4).integers(&[5, 7], -1000, 1000);
        cases.push(Draft::of(
            format!("{} of i32", op.name()),
            Op::Unary(op),
            vec![x],
        ));
    }
    for (min, max) in [(-0.5, 0.25), (0.0, f32::INFINITY)] {
        let x = Random::new(5).tensor(&[4, 33]);
        cases.push(Draft::of(
            format!("clamp {min} {max}"),
            Op::Clamp { min, max },
            vec![x],
        ));
    }
    cases
}

fn shapes() -> [(&'static [usize], &'static [usize]); 8] {
    [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 3, 4], &[2, 3, 1]),
        (&[2, 1, 4], &[2, 3, 4]),
        (&[1], &[2, 3, 4]),
        (&[], &[5]),
        (&[3, 1], &[2, 1, 5]),
        (&[7, 65], &[7, 65]),
    ]
}

fn binary() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in Binary::ALL {
        for (a, b) in shapes() {
            let mut random = Random::new(6);
            // Positive, for powers and quotients.
            let inputs = vec![random.scaled(a, 1.0, 1.5), random.scaled(b, 1.0, 1.5)];
            cases.push(Draft::of(
                format!("{} {a:?} {b:?}", op.name()),
                Op::Binary(op),
                inputs,
            ));
        }
        if op == Binary::Pow {
            let mut random = Random::new(8);
            let inputs = vec![
                random.integers(&[3, 5], -9, 9),
                random.integers(&[5], -2, 9),
            ];
            cases.push(Draft::of("pow of i32".to_owned(), Op::Binary(op), inputs));
        }
        if !matches!(op, Binary::Pow | Binary::Div) {
            let mut random = Random::new(7);
            let inputs = vec![
                random.integers(&[3, 5], -900, 900),
                random.integers(&[5], -900, 900),
            ];
            cases.push(Draft::of(
                format!("{} of i32", op.name()),
                Op::Binary(op),
                inputs,
            ));
        }
    }
    cases
}

fn conditions() -> Vec<Case> {
    let mut cases = Vec::new();
    for op in Compare::ALL {
        let mut random = Random::new(8);
        // Few different numbers, so that some are equal.
        let inputs = vec![
            random.integers(&[4, 9], -2, 2),
            random.integers(&[9], -2, 2),
        ];
        let floats = inputs.iter().map(|t| {
            let values: Vec<f32> = t.to_f64_vec().iter().map(|&x| x as f32 / 2.0).collect();
            Tensor::from_f32(t.shape(), &values).expect("the same shape")
        });
        let floats = floats.collect();
        cases.push(Draft::of(
            format!("{} of f32", op.name()),
            Op::Compare(op),
            floats,
        ));
        cases.push(Draft::of(
            format!("{} of i32", op.name()),
            Op::Compare(op),
            inputs,
        ));
    }
    for op in [Logical::And, Logical::Or, Logical::Xor] {
        let mut random = Random::new(9);
        let inputs = vec![random.booleans(&[3, 7]), random.booleans(&[7])];
        cases.push(Draft::of(op.name(), Op::Logical(op), inputs));
    }
    let mut random = Random::new(10);
    for (condition, a, b) in [
        (vec![3, 5], vec![3, 5], vec![3, 5]),
        (vec![3, 1], vec![5], vec![]),
        (vec![2, 1, 5], vec![3, 5], vec![1]),
    ] {
        let name = format!("where {condition:?} {a:?} {b:?}");
        let inputs = vec![
            random.booleans(&condition),
            random.tensor(&a),
            random.tensor(&b),
        ];
        cases.push(Draft::of(name, Op::Where, inputs));
    }
    cases
}

fn casts() -> Vec<Case> {
    let mut random = Random::new(11);
    let integers = random.integers(&[3, 7], -1000, 1000);
    let floats = random.scaled(&[3, 7], 1000.0, 0.0);
    let booleans = random.booleans(&[3, 7]);
    let mut cases = Vec::new();
    for (name, x, to) in [
        ("cast i32 to f32", &integers, DataType::F32),
        ("cast f32 to i32", &floats, DataType::I32),
        ("cast u8 to f32", &booleans, DataType::F32),
        ("cast u8 to i32", &booleans, DataType::I32),
    ] {
        cases.push(Draft::of(name, Op::Cast { to }, vec![x.clone()]));
    }
    cases
}

fn fused() -> Vec<Case> {
    let mut random = Random::new(12);
    let swiglu = vec![
        Step::Unary(Unary::Silu, Operand::Input(0)),
        Step::Binary(Binary::Mul, Operand::Step(0), Operand::Input(1)),
    ];
    let long = vec![
        Step::Binary(Binary::Add, Operand::Input(0), Operand::Input(1)),
        Step::Unary(Unary::Gelu, Operand::Step(0)),
        Step::Binary(Binary::Mul, Operand::Step(1), Operand::Number(1.5)),
        Step::Binary(Binary::Sub, Operand::Step(2), Operand::Step(0)),
        Step::Clamp(Operand::Step(3), -0.4, 0.9),
        Step::Binary(Binary::Max, Operand::Step(4), Operand::Input(0)),
    ];
    [
        ("fused swiglu", swiglu, vec![vec![3, 65], vec![3, 65]]),
        (
            "fused chain over a row",
            long.clone(),
            vec![vec![3, 65], vec![65]],
        ),
        (
            "fused chain over a column",
            long,
            vec![vec![2, 5, 7], vec![5, 1]],
        ),
    ]
    .into_iter()
    .map(|(name, steps, shapes)| {
        let inputs = shapes.iter().map(|s| random.scaled(s, 3.0, 0.0)).collect();
        Draft::of(name, Op::Fused(Fused { steps }), inputs)
    })
    .collect()
}
