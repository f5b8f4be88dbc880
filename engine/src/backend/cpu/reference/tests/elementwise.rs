use super::*;
use crate::graph::op::{Binary, Compare, Fused, Logical, Operand, Step, Unary};

const INF: f32 = f32::INFINITY;
const NAN: f32 = f32::NAN;

#[test]
fn unary_values() {
    let one = |op, x: f32, expected: f32| {
        let got = run(Op::Unary(op), &[&f(&[1], &[x])]);
        close(&got, &f(&[1], &[expected]), 1e-7);
    };
    one(Unary::Abs, -2.5, 2.5);
    one(Unary::Ceil, -1.5, -1.0);
    one(Unary::Cos, 0.0, 1.0);
    one(Unary::Erf, 0.5, 0.520_499_9);
    one(Unary::Erf, -INF, -1.0);
    one(Unary::Exp, 1.0, std::f32::consts::E);
    one(Unary::Exp, 100.0, INF);
    one(Unary::Floor, -1.5, -2.0);
    // From the normal distribution's table: Φ(1) = 0.8413447, Φ(−2) = 0.0227501.
    one(Unary::Gelu, 1.0, 0.841_344_7);
    one(Unary::Gelu, -2.0, -0.045_500_2);
    one(Unary::Identity, -0.0, -0.0);
    one(Unary::Log, 10.0, std::f32::consts::LN_10);
    one(Unary::Log, -1.0, NAN);
    one(Unary::Neg, 3.0, -3.0);
    one(Unary::Reciprocal, 4.0, 0.25);
    one(Unary::Relu, -3.0, 0.0);
    one(Unary::Relu, NAN, NAN);
    one(Unary::Sigmoid, 0.0, 0.5);
    one(Unary::Sigmoid, -1000.0, 0.0);
    one(Unary::Sigmoid, 2.0, 0.880_797_1);
    one(Unary::Silu, 2.0, 1.761_594_2);
    one(Unary::Silu, -1000.0, 0.0);
    one(Unary::Sin, 1.0, 0.841_471);
    one(Unary::Sqrt, 2.0, std::f32::consts::SQRT_2);
    one(Unary::Tan, 1.0, 1.557_407_7);
    one(Unary::Tanh, 100.0, 1.0);
    one(Unary::Tanh, 0.5, 0.462_117_15);
}

#[test]
fn integers_stay_exact_and_wrap() {
    let big = Tensor::from_i64(&[2], &[(1 << 53) + 1, i64::MIN]).unwrap();
    let one = Tensor::from_i64(&[], &[1]).unwrap();
    let sum = run(Op::Binary(Binary::Sub), &[&big, &one]);
    assert_eq!(sum, Tensor::from_i64(&[2], &[1 << 53, i64::MAX]).unwrap());
    let a = i(&[5], &[7, -7, 5, i32::MIN, 2]);
    let b = i(&[5], &[2, 2, 0, -1, -1]);
    assert_eq!(
        run(Op::Binary(Binary::Div), &[&a, &b]),
        i(&[5], &[3, -3, 0, i32::MIN, -2])
    );
    assert_eq!(
        run(Op::Binary(Binary::Pow), &[&a, &b]),
        i(&[5], &[49, 49, 1, 0, 0])
    );
    let minus = i(&[2], &[-1, -1]);
    assert_eq!(
        run(Op::Binary(Binary::Pow), &[&minus, &i(&[2], &[-3, -2])]),
        i(&[2], &[-1, 1])
    );
    assert_eq!(
        run(Op::Unary(Unary::Neg), &[&i(&[1], &[i32::MIN])]),
        i(&[1], &[i32::MIN])
    );
    assert_eq!(
        run(
            Op::Binary(Binary::Mul),
            &[&u8s(&[1], &[200]), &u8s(&[1], &[2])]
        ),
        u8s(&[1], &[144])
    );
    let most = Tensor::from_bytes(DataType::U64, &[1], &[0xff; 8]).unwrap();
    let product = run(Op::Binary(Binary::Mul), &[&most, &most]);
    assert_eq!(product.bytes(), 1u64.to_le_bytes());
    assert!(matches!(
        fails(Op::Unary(Unary::Exp), &[&a]),
        EvaluateError::Unsupported { op: "exp", .. }
    ));
}

#[test]
fn binary_values_broadcast() {
    let a = f(&[2, 1], &[1.0, 4.0]);
    let b = f(&[3], &[1.0, 2.0, 0.0]);
    let both = |op, expected: [f32; 6]| {
        close(
            &run(Op::Binary(op), &[&a, &b]),
            &f(&[2, 3], &expected),
            1e-7,
        );
    };
    both(Binary::Add, [2.0, 3.0, 1.0, 5.0, 6.0, 4.0]);
    both(Binary::Sub, [0.0, -1.0, 1.0, 3.0, 2.0, 4.0]);
    both(Binary::Mul, [1.0, 2.0, 0.0, 4.0, 8.0, 0.0]);
    both(Binary::Div, [1.0, 0.5, INF, 4.0, 2.0, INF]);
    both(Binary::Max, [1.0, 2.0, 1.0, 4.0, 4.0, 4.0]);
    both(Binary::Min, [1.0, 1.0, 0.0, 1.0, 2.0, 0.0]);
    both(Binary::Pow, [1.0, 1.0, 1.0, 4.0, 16.0, 1.0]);
    for op in [Binary::Max, Binary::Min] {
        let x = f(&[2], &[NAN, 1.0]);
        let y = f(&[2], &[1.0, NAN]);
        close(&run(Op::Binary(op), &[&x, &y]), &f(&[2], &[NAN, NAN]), 0.0);
    }
}

/// f32 results are those of f32 arithmetic, not of a wider one.
#[test]
fn rounds_to_the_type() {
    let a = f(&[1], &[1.0]);
    let b = f(&[1], &[2f32.powi(-25)]);
    assert_eq!(run(Op::Binary(Binary::Add), &[&a, &b]), a);
    let half = |bits: u16| Tensor::from_bytes(DataType::F16, &[1], &bits.to_le_bytes()).unwrap();
    // 2048 + 1 is half way between two f16 and goes to the even one; 60000 + 60000 is beyond all.
    let sum = run(Op::Binary(Binary::Add), &[&half(0x6800), &half(0x3c00)]);
    assert_eq!(sum, half(0x6800));
    let sum = run(Op::Binary(Binary::Add), &[&half(0x7b53), &half(0x7b53)]);
    assert_eq!(sum, half(0x7c00));
}

#[test]
fn comparisons_and_logic() {
    let a = f(&[4], &[1.0, 2.0, NAN, -0.0]);
    let b = f(&[4], &[1.0, 1.0, NAN, 0.0]);
    let compare = |op, expected: [u8; 4]| {
        assert_eq!(run(Op::Compare(op), &[&a, &b]), u8s(&[4], &expected));
    };
    compare(Compare::Equal, [1, 0, 0, 1]);
    compare(Compare::NotEqual, [0, 1, 1, 0]);
    compare(Compare::Greater, [0, 1, 0, 0]);
    compare(Compare::GreaterOrEqual, [1, 1, 0, 1]);
    compare(Compare::Lesser, [0, 0, 0, 0]);
    compare(Compare::LesserOrEqual, [1, 0, 0, 1]);
    let near = [(1i64 << 60) + 1, 1 << 60].map(|n| Tensor::from_i64(&[1], &[n]).unwrap());
    assert_eq!(
        run(Op::Compare(Compare::Greater), &[&near[0], &near[1]]),
        u8s(&[1], &[1])
    );
    let (x, y) = (u8s(&[4], &[0, 0, 7, 1]), u8s(&[4], &[0, 2, 0, 1]));
    let logic = |op, expected: [u8; 4]| {
        assert_eq!(run(Op::Logical(op), &[&x, &y]), u8s(&[4], &expected));
    };
    logic(Logical::And, [0, 0, 0, 1]);
    logic(Logical::Or, [0, 1, 1, 1]);
    logic(Logical::Xor, [0, 1, 1, 0]);
}

#[test]
fn clamps() {
    let clamp = |min, max| Op::Clamp { min, max };
    let got = run(clamp(-1.0, 2.0), &[&f(&[4], &[-3.0, 0.5, INF, NAN])]);
    close(&got, &f(&[4], &[-1.0, 0.5, 2.0, NAN]), 0.0);
    // min(max(x, lower), upper): the upper bound has the last word.
    assert_eq!(run(clamp(3.0, 1.0), &[&f(&[1], &[2.0])]), f(&[1], &[1.0]));
    assert_eq!(
        run(clamp(-1.5, INF), &[&i(&[2], &[-9, 9])]),
        i(&[2], &[-1, 9])
    );
}

#[test]
fn casts() {
    let to = |to| Op::Cast { to };
    let x = f(&[5], &[1.9, -1.9, NAN, 1e20, -1e20]);
    assert_eq!(
        run(to(DataType::I32), &[&x]),
        i(&[5], &[1, -1, 0, i32::MAX, i32::MIN])
    );
    assert_eq!(run(to(DataType::U8), &[&x]), u8s(&[5], &[1, 0, 0, 255, 0]));
    let wide = Tensor::from_i64(&[2], &[300, -1]).unwrap();
    assert_eq!(run(to(DataType::U8), &[&wide]), u8s(&[2], &[44, 255]));
    let exact = Tensor::from_i64(&[1], &[(1 << 53) + 1]).unwrap();
    assert_eq!(run(to(DataType::I64), &[&exact]), exact);
    // Just above half way between two f32: through f64 it would be rounded twice, the wrong way.
    let hard = Tensor::from_i64(&[1], &[(1 << 62) + (1 << 38) + 1]).unwrap();
    assert_eq!(
        run(to(DataType::F32), &[&hard]),
        f(&[1], &[(2f32.powi(62)).next_up()])
    );
    let half = run(to(DataType::F16), &[&f(&[2], &[65504.0, 1e-8])]);
    assert_eq!(half.bytes(), [0xff, 0x7b, 0, 0]);
    assert_eq!(run(to(DataType::F32), &[&half]), f(&[2], &[65504.0, 0.0]));
    let bits = run(to(DataType::Bool), &[&f(&[3], &[0.0, 0.1, -2.0])]);
    assert_eq!(bits.bytes(), [0, 1, 1]);
}

#[test]
fn fused_chains_round_after_each_step() {
    // max((x + row) · 3, 0), clamped to 10
    let op = Op::Fused(Fused {
        steps: vec![
            Step::Binary(Binary::Add, Operand::Input(0), Operand::Input(1)),
            Step::Binary(Binary::Mul, Operand::Step(0), Operand::Number(3.0)),
            Step::Unary(Unary::Relu, Operand::Step(1)),
            Step::Clamp(Operand::Step(2), -1.0, 10.0),
        ],
    });
    let x = f(&[2, 2], &[1.0, -5.0, 4.0, 1.0]);
    let row = f(&[2], &[1.0, 2.0]);
    assert_eq!(run(op, &[&x, &row]), f(&[2, 2], &[6.0, 0.0, 10.0, 9.0]));
    let small = 2f32.powi(-25);
    let op = Op::Fused(Fused {
        steps: vec![
            Step::Binary(Binary::Add, Operand::Input(0), Operand::Number(1.0)),
            Step::Binary(Binary::Sub, Operand::Step(0), Operand::Number(1.0)),
        ],
    });
    assert_eq!(run(op, &[&f(&[1], &[small])]), f(&[1], &[0.0]));
    let wrong = Op::Fused(Fused {
        steps: vec![Step::Unary(Unary::Abs, Operand::Step(3))],
    });
    assert!(matches!(
        fails(wrong, &[&x]),
        EvaluateError::Unsupported { .. }
    ));
}
