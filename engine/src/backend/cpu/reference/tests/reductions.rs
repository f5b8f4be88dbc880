use super::*;
use crate::graph::op::{LayerNormalization, Reduce, ReduceKind};

fn reduce(kind: ReduceKind, axes: &[usize], keep_dimensions: bool) -> Op {
    Op::Reduce(Reduce {
        kind,
        axes: axes.to_vec(),
        keep_dimensions,
    })
}

#[test]
fn reductions() {
    let x = f(&[2, 2], &[1.0, -2.0, 3.0, 4.0]);
    let rows = |kind, expected: [f32; 2]| {
        close(
            &run(reduce(kind, &[1], false), &[&x]),
            &f(&[2], &expected),
            1e-7,
        );
        close(
            &run(reduce(kind, &[1], true), &[&x]),
            &f(&[2, 1], &expected),
            1e-7,
        );
    };
    rows(ReduceKind::L1, [3.0, 7.0]);
    rows(ReduceKind::L2, [5f32.sqrt(), 5.0]);
    rows(ReduceKind::LogSum, [f32::NAN, 7f32.ln()]);
    rows(ReduceKind::LogSumExp, [1.048_587_4, 4.313_261_5]);
    rows(ReduceKind::Max, [1.0, 4.0]);
    rows(ReduceKind::Mean, [-0.5, 3.5]);
    rows(ReduceKind::Min, [-2.0, 3.0]);
    rows(ReduceKind::Product, [-2.0, 12.0]);
    rows(ReduceKind::Sum, [-1.0, 7.0]);
    rows(ReduceKind::SumSquare, [5.0, 25.0]);
}

#[test]
fn reduces_other_axes() {
    let values: Vec<f32> = (0..24).map(|n| n as f32).collect();
    let x = f(&[2, 3, 4], &values);
    let sum = |axes: &[usize]| run(reduce(ReduceKind::Sum, axes, false), &[&x]);
    assert_eq!(sum(&[0, 2]), f(&[3], &[60.0, 92.0, 124.0]));
    assert_eq!(sum(&[0, 1, 2]), f(&[], &[276.0]));
    assert_eq!(sum(&[]), x);
    let squares = run(
        reduce(ReduceKind::SumSquare, &[], false),
        &[&f(&[2], &[3.0, -2.0])],
    );
    assert_eq!(squares, f(&[2], &[9.0, 4.0]));
    let middle = run(reduce(ReduceKind::Max, &[1], true), &[&x]);
    assert_eq!(
        middle,
        f(&[2, 1, 4], &[8.0, 9.0, 10.0, 11.0, 20.0, 21.0, 22.0, 23.0])
    );
}

#[test]
fn reduces_extremes_and_nothing() {
    let big = f(&[2], &[1000.0, 1000.0]);
    let got = run(reduce(ReduceKind::LogSumExp, &[0], false), &[&big]);
    close(&got, &f(&[], &[1000.0 + 2f32.ln()]), 1e-7);
    let none = f(&[2, 0], &[]);
    let over = |kind, expected: f32| {
        close(
            &run(reduce(kind, &[1], false), &[&none]),
            &f(&[2], &[expected; 2]),
            0.0,
        );
    };
    over(ReduceKind::Sum, 0.0);
    over(ReduceKind::Product, 1.0);
    over(ReduceKind::Max, f32::NEG_INFINITY);
    over(ReduceKind::Min, f32::INFINITY);
    over(ReduceKind::Mean, f32::NAN);
    over(ReduceKind::LogSumExp, f32::NEG_INFINITY);
    let ints = i(&[3], &[5, -9, 2]);
    let of = |kind| run(reduce(kind, &[0], false), &[&ints]);
    assert_eq!(of(ReduceKind::Sum), i(&[], &[-2]));
    assert_eq!(of(ReduceKind::Max), i(&[], &[5]));
    assert_eq!(of(ReduceKind::Min), i(&[], &[-9]));
    assert_eq!(of(ReduceKind::Product), i(&[], &[-90]));
    assert_eq!(of(ReduceKind::L1), i(&[], &[16]));
    assert_eq!(of(ReduceKind::SumSquare), i(&[], &[110]));
    let error = fails(reduce(ReduceKind::Mean, &[0], false), &[&ints]);
    assert!(matches!(
        error,
        EvaluateError::Unsupported {
            op: "reduce_mean",
            ..
        }
    ));
}

#[test]
fn softmax_by_axis() {
    let x = f(&[2, 2], &[0.0, 2f32.ln(), 1000.0, 1000.0]);
    let got = run(Op::Softmax { axis: 1 }, &[&x]);
    close(&got, &f(&[2, 2], &[1.0 / 3.0, 2.0 / 3.0, 0.5, 0.5]), 1e-7);
    let got = run(
        Op::Softmax { axis: 0 },
        &[&f(&[2, 1], &[f32::NEG_INFINITY, 0.0])],
    );
    close(&got, &f(&[2, 1], &[0.0, 1.0]), 0.0);
}

#[test]
fn layer_normalization_over_last_and_first_axes() {
    let op = |axes: &[usize], epsilon, scale, bias| {
        Op::LayerNormalization(LayerNormalization {
            axes: axes.to_vec(),
            epsilon,
            scale,
            bias,
        })
    };
    // Mean 2, variance 1 in each row.
    let x = f(&[2, 2], &[1.0, 3.0, 3.0, 1.0]);
    assert_eq!(
        run(op(&[1], 0.0, false, false), &[&x]),
        f(&[2, 2], &[-1.0, 1.0, 1.0, -1.0])
    );
    let (scale, bias) = (f(&[2], &[2.0, 3.0]), f(&[2], &[10.0, 20.0]));
    let got = run(op(&[1], 3.0, true, true), &[&x, &scale, &bias]);
    assert_eq!(got, f(&[2, 2], &[9.0, 21.5, 11.0, 18.5]));
    let got = run(op(&[1], 0.0, false, true), &[&x, &bias]);
    assert_eq!(got, f(&[2, 2], &[9.0, 21.0, 11.0, 19.0]));
    let tall = f(&[2, 3], &[1.0, 5.0, 0.0, 3.0, 1.0, 0.0]);
    let got = run(op(&[0], 1e-12, true, false), &[&tall, &scale]);
    close(&got, &f(&[2, 3], &[-2.0, 2.0, 0.0, 3.0, -3.0, 0.0]), 1e-6);
    // Scale and bias have the shape of the axes, both of them.
    let four = f(&[2, 2], &[1.0, 2.0, 3.0, 4.0]);
    let got = run(
        op(&[0, 1], 0.0, true, false),
        &[&f(&[2, 2], &[-1.0, 1.0, -1.0, 1.0]), &four],
    );
    assert_eq!(got, f(&[2, 2], &[-1.0, 2.0, -3.0, 4.0]));
}

#[test]
fn rms_normalization() {
    // Root mean square 5 with the epsilon's help: (9 + 16) / 2 + 12.5 = 25.
    let x = f(&[1, 2], &[3.0, 4.0]);
    let scale = f(&[2], &[10.0, 100.0]);
    let got = run(Op::RmsNormalization { epsilon: 12.5 }, &[&x, &scale]);
    assert_eq!(got, f(&[1, 2], &[6.0, 80.0]));
}
