//! Element-wise operators, their broadcasting, casts, and numbers that WGSL leaves open.

use super::*;
use crate::graph::Op;
use crate::graph::op::{Binary, Compare, Logical, Unary};
use crate::graph::pass::fuse_elementwise;

fn unary_of(op: Unary, x: f32) -> f32 {
    // Abramowitz & Stegun 7.1.26 in f64 is good to 1.5e-7.
    let erf = |x: f64| {
        let t = 1.0 / (1.0 + 0.3275911 * x.abs());
        let series = ((((1.061405429 * t - 1.453152027) * t + 1.421413741) * t - 0.284496736) * t
            + 0.254829592)
            * t;
        x.signum() * (1.0 - series * (-x * x).exp())
    };
    let sigmoid = 1.0 / (1.0 + (-x).exp());
    match op {
        Unary::Abs => x.abs(),
        Unary::Ceil => x.ceil(),
        Unary::Cos => x.cos(),
        Unary::Erf => erf(x.into()) as f32,
        Unary::Exp => x.exp(),
        Unary::Floor => x.floor(),
        Unary::Gelu => 0.5 * x * (1.0 + erf(f64::from(x) / std::f64::consts::SQRT_2) as f32),
        Unary::Identity => x,
        Unary::Log => x.ln(),
        Unary::Neg => -x,
        Unary::Reciprocal => 1.0 / x,
        Unary::Relu => x.max(0.0),
        Unary::Sigmoid => sigmoid,
        Unary::Silu => x * sigmoid,
        Unary::Sin => x.sin(),
        Unary::Sqrt => x.sqrt(),
        Unary::Tan => x.tan(),
        Unary::Tanh => x.tanh(),
    }
}

#[test]
fn unary_operators() {
    for gpu in &mut gpus() {
        for op in Unary::ALL {
            for count in [7, 64] {
                let positive = matches!(op, Unary::Log | Unary::Sqrt | Unary::Reciprocal);
                let values: Vec<f32> = Random(8)
                    .values(count)
                    .iter()
                    .map(|x| if positive { x + 1.1 } else { x * 1.5 })
                    .collect();
                let mut case = Case::default();
                let id = case.input(Tensor::from_f32(&[count], &values).unwrap());
                let y = case.builder.unary(op, id).unwrap();
                let y = case.run(gpu, y).unwrap();
                let expected: Vec<f32> = values.iter().map(|&x| unary_of(op, x)).collect();
                compare(op.name(), y.as_f32().unwrap(), &expected);
            }
        }
    }
}

#[test]
fn large_arguments_infinities_and_nan() {
    let values = [f32::NAN, 1e30, -1e30, 100.0, -100.0, 0.0];
    let table = [
        (Unary::Tanh, [f32::NAN, 1.0, -1.0, 1.0, -1.0, 0.0]),
        (
            Unary::Exp,
            [f32::NAN, f32::INFINITY, 0.0, f32::INFINITY, 0.0, 1.0],
        ),
        (Unary::Sigmoid, [f32::NAN, 1.0, 0.0, 1.0, 0.0, 0.5]),
        (Unary::Erf, [f32::NAN, 1.0, -1.0, 1.0, -1.0, 0.0]),
        (Unary::Relu, [f32::NAN, 1e30, 0.0, 100.0, 0.0, 0.0]),
        (Unary::Gelu, [f32::NAN, 1e30, 0.0, 100.0, 0.0, 0.0]),
    ];
    for gpu in &mut gpus() {
        for (op, expected) in table {
            let mut case = Case::default();
            let id = case.input(Tensor::from_f32(&[6], &values).unwrap());
            let y = case.builder.unary(op, id).unwrap();
            let y = case.run(gpu, y).unwrap();
            for (i, (&got, &expected)) in y.as_f32().unwrap().iter().zip(&expected).enumerate() {
                let same = got == expected
                    || got.is_nan() && expected.is_nan()
                    || (got - expected).abs() <= 1e-6;
                assert!(
                    same,
                    "{}({}) is {got}, not {expected}",
                    op.name(),
                    values[i]
                );
            }
        }
    }
}

#[test]
fn binary_operators_broadcast() {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[2, 3, 4], &[2, 3, 4]),
        (&[2, 3, 4], &[4]),
        (&[2, 3, 4], &[2, 3, 1]),
        (&[2, 1, 4], &[2, 3, 4]),
        (&[1], &[2, 3, 4]),
        (&[3, 1], &[2, 1, 5]),
    ];
    for gpu in &mut gpus() {
        for op in Binary::ALL {
            for (a_shape, b_shape) in shapes {
                let mut random = Random(13);
                let positive = |shape: &[usize], random: &mut Random| {
                    let count = shape.iter().product();
                    let values: Vec<f32> = random.values(count).iter().map(|x| x + 1.2).collect();
                    Tensor::from_f32(shape, &values).unwrap()
                };
                let (a, b) = (
                    positive(a_shape, &mut random),
                    positive(b_shape, &mut random),
                );
                let mut case = Case::default();
                let (a_id, b_id) = (case.input(a.clone()), case.input(b.clone()));
                let y = case.builder.binary(op, a_id, b_id).unwrap();
                let y = case.run(gpu, y).unwrap();
                let pick = |tensor: &Tensor, index: usize| {
                    let (mut rest, mut offset, mut stride) = (index, 0, 1);
                    for (d, &size) in y.shape().iter().enumerate().rev() {
                        let i = rest % size;
                        rest /= size;
                        let own = tensor.shape();
                        if let Some(d) = d.checked_sub(y.shape().len() - own.len()) {
                            offset += if own[d] == 1 { 0 } else { i * stride };
                            stride *= own[d];
                        }
                    }
                    tensor.as_f32().unwrap()[offset]
                };
                let expected: Vec<f32> = (0..y.elements())
                    .map(|i| {
                        let (a, b) = (pick(&a, i), pick(&b, i));
                        match op {
                            Binary::Add => a + b,
                            Binary::Sub => a - b,
                            Binary::Mul => a * b,
                            Binary::Div => a / b,
                            Binary::Max => a.max(b),
                            Binary::Min => a.min(b),
                            Binary::Pow => a.powf(b),
                        }
                    })
                    .collect();
                compare(op.name(), y.as_f32().unwrap(), &expected);
            }
        }
    }
}

#[test]
fn powers_of_negative_numbers() {
    let x = [-2.0, -2.0, 0.0, 3.0, -8.0, 2.5];
    let e = [2.0, 3.0, 2.0, -1.0, 1.0, 0.0];
    for gpu in &mut gpus() {
        let mut case = Case::default();
        let a = case.input(Tensor::from_f32(&[6], &x).unwrap());
        let b = case.input(Tensor::from_f32(&[6], &e).unwrap());
        let y = case.builder.binary(Binary::Pow, a, b).unwrap();
        let y = case.run(gpu, y).unwrap();
        compare(
            "pow",
            y.as_f32().unwrap(),
            &[4.0, -8.0, 0.0, 1.0 / 3.0, -8.0, 1.0],
        );
    }
}

#[test]
fn comparisons_logic_and_selection() {
    for gpu in &mut gpus() {
        let mut case = Case::default();
        let a = case.input(Tensor::from_f32(&[5], &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap());
        let b = case.input(Tensor::from_f32(&[1], &[3.0]).unwrap());
        let less = case.builder.compare(Compare::Lesser, a, b).unwrap();
        let equal = case.builder.compare(Compare::Equal, a, b).unwrap();
        let either = case
            .builder
            .op(Op::Logical(Logical::Or), &[less, equal])
            .unwrap();
        let y = case.builder.op(Op::Where, &[either, a, b]).unwrap();
        let y = case.run(gpu, y).unwrap();
        assert_eq!(y.as_f32().unwrap(), [1.0, 2.0, 3.0, 3.0, 3.0]);
    }
}

#[test]
fn casts_and_outputs_of_narrow_types() {
    let values = [-1.5f32, 0.0, 2.9, 300.0, 65504.0];
    let expected: [(DataType, [f64; 5]); 6] = [
        (DataType::I64, [-1.0, 0.0, 2.0, 300.0, 65504.0]),
        (DataType::I32, [-1.0, 0.0, 2.0, 300.0, 65504.0]),
        (DataType::U8, [255.0, 0.0, 2.0, 44.0, 224.0]),
        (DataType::I8, [-1.0, 0.0, 2.0, 44.0, -32.0]),
        (DataType::F16, [-1.5, 0.0, 2.900390625, 300.0, 65504.0]),
        (DataType::Bf16, [-1.5, 0.0, 2.90625, 300.0, 65536.0]),
    ];
    for gpu in &mut gpus() {
        for (to, expected) in expected {
            let mut case = Case::default();
            // Four times over, so that the count is one of whole vectors.
            let id = case.input(Tensor::from_f32(&[20], &values.repeat(4)).unwrap());
            let y = case.builder.cast(id, to).unwrap();
            let y = case.run(gpu, y).unwrap();
            assert_eq!(y.data_type(), to);
            assert_eq!(y.to_f64_vec(), expected.repeat(4), "{to}");
        }
    }
}

#[test]
fn a_fused_chain_computes_what_its_parts_do() {
    for gpu in &mut gpus() {
        for count in [4 * 9, 7] {
            let mut case = Case::default();
            let gate = case.input(Random(1).tensor(&[2, count]));
            let up = case.input(Random(2).tensor(&[2, count]));
            let row = case.input(Random(3).tensor(&[count]));
            let silu = case.builder.unary(Unary::Silu, gate).unwrap();
            let product = case.builder.mul(silu, up).unwrap();
            let sum = case.builder.add_values(product, row).unwrap();
            let y = case
                .builder
                .op(
                    Op::Clamp {
                        min: -0.25,
                        max: f32::INFINITY,
                    },
                    &[sum],
                )
                .unwrap();
            let (g, u, r) = (
                case.inputs[0].1.clone(),
                case.inputs[1].1.clone(),
                case.inputs[2].1.clone(),
            );
            let mut loaded = case.load(gpu, y).unwrap();
            loaded.graph = fuse_elementwise(&loaded.graph).unwrap();
            assert_eq!(loaded.graph.nodes.len(), 1);
            let y = loaded.run(gpu).unwrap();
            let (g, u, r) = (
                g.as_f32().unwrap(),
                u.as_f32().unwrap(),
                r.as_f32().unwrap(),
            );
            let expected: Vec<f32> = (0..2 * count)
                .map(|i| (unary_of(Unary::Silu, g[i]) * u[i] + r[i % count]).max(-0.25))
                .collect();
            compare("fused", y.as_f32().unwrap(), &expected);
        }
    }
}
