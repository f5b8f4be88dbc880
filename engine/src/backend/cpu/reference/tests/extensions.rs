use super::*;
use crate::graph::op::{Bitwise, Extension, Scatter};

#[test]
fn elements_are_scattered_over_rows_and_over_single_places() {
    let x = f(&[3, 2], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let rows = i(&[2, 1], &[-1, 0]);
    let updates = f(&[2, 2], &[10.0, 20.0, 30.0, 40.0]);
    let got = run(Op::ScatterNd(Scatter::Replace), &[&x, &rows, &updates]);
    assert_eq!(got, f(&[3, 2], &[30.0, 40.0, 3.0, 4.0, 10.0, 20.0]));
    // Twice into one place, and beyond the last row: into that.
    let places = Tensor::from_i64(&[3, 2], &[1, 0, 1, 0, 9, 1]).unwrap();
    let updates = f(&[3], &[10.0, -20.0, 0.5]);
    for (scatter, third, last) in [
        (Scatter::Add, -7.0, 6.5),
        (Scatter::Mul, -600.0, 3.0),
        (Scatter::Max, 10.0, 6.0),
        (Scatter::Min, -20.0, 0.5),
    ] {
        let got = run(Op::ScatterNd(scatter), &[&x, &places, &updates]);
        assert_eq!(got, f(&[3, 2], &[1.0, 2.0, third, 4.0, 5.0, last]));
    }
}

#[test]
fn scattering_joins_integers_in_their_type_and_keeps_nan() {
    let x = u8s(&[2], &[200, 3]);
    let zero = i(&[1, 1], &[0]);
    let got = run(
        Op::ScatterNd(Scatter::Add),
        &[&x, &zero, &u8s(&[1], &[100])],
    );
    assert_eq!(got, u8s(&[2], &[44, 3]));
    let nan = f(&[1], &[f32::NAN]);
    let got = run(
        Op::ScatterNd(Scatter::Max),
        &[&nan, &zero, &f(&[1], &[1.0])],
    );
    assert!(got.as_f32().unwrap()[0].is_nan());
}

#[test]
fn scattering_refuses_updates_of_another_shape() {
    let (x, rows) = (f(&[3, 2], &[0.0; 6]), i(&[2, 1], &[0, 1]));
    fails(
        Op::ScatterNd(Scatter::Add),
        &[&x, &rows, &f(&[2], &[0.0; 2])],
    );
    fails(
        Op::ScatterNd(Scatter::Add),
        &[&x, &i(&[2, 3], &[0; 6]), &f(&[2], &[0.0; 2])],
    );
    fails(
        Op::ScatterNd(Scatter::Add),
        &[&x, &rows, &i(&[2, 2], &[0; 4])],
    );
}

#[test]
fn the_greatest_and_the_least_in_order() {
    let x = f(&[2, 4], &[1.0, 3.0, 3.0, -1.0, 0.0, f32::NAN, 7.0, 7.0]);
    let top = |axis, k, largest| Op::Extension(Extension::TopK { axis, k, largest });
    let longs = |shape: &[usize], values: &[i64]| Tensor::from_i64(shape, values).unwrap();
    assert_eq!(
        run(top(1, 3, true), &[&x]),
        longs(&[2, 3], &[1, 2, 0, 1, 2, 3])
    );
    assert_eq!(run(top(1, 2, false), &[&x]), longs(&[2, 2], &[3, 0, 0, 2]));
    assert_eq!(run(top(0, 1, true), &[&x]), longs(&[1, 4], &[0, 1, 1, 1]));
    assert_eq!(run(top(0, 0, true), &[&x]), longs(&[0, 4], &[]));
    fails(top(1, 5, true), &[&x]);
    let long = Tensor::from_i64(&[3], &[i64::MAX - 1, i64::MAX, i64::MIN]).unwrap();
    assert_eq!(run(top(0, 2, true), &[&long]), longs(&[2], &[1, 0]));
}

#[test]
fn bits_are_joined_and_taken_for_another_type() {
    let (a, b) = (i(&[3], &[-1, 6, 0]), i(&[1], &[12]));
    for (op, expected) in [
        (Bitwise::And, [12, 4, 0]),
        (Bitwise::Or, [-1, 14, 12]),
        (Bitwise::Xor, [-13, 10, 12]),
    ] {
        let got = run(Op::Extension(Extension::Bitwise(op)), &[&a, &b]);
        assert_eq!(got, i(&[3], &expected));
    }
    let cast = |to| Op::Extension(Extension::Bitcast { to });
    let got = run(cast(DataType::I32), &[&f(&[2], &[1.0, -0.0])]);
    assert_eq!(got, i(&[2], &[0x3f80_0000, i32::MIN]));
    fails(cast(DataType::F16), &[&a]);
    fails(
        Op::Extension(Extension::Bitwise(Bitwise::And)),
        &[&f(&[1], &[1.0]), &f(&[1], &[1.0])],
    );
}

#[test]
fn arctangents() {
    let x = f(&[3], &[0.0, 1.0, f32::NEG_INFINITY]);
    let got = run(Op::Extension(Extension::Atan), &[&x]);
    let half = std::f32::consts::FRAC_PI_2;
    close(&got, &f(&[3], &[0.0, half / 2.0, -half]), 1e-7);
    fails(Op::Extension(Extension::Atan), &[&i(&[1], &[1])]);
}

#[test]
fn four_bits_wrap_and_saturate() {
    let cast = |to| Op::Cast { to };
    let x = i(&[4], &[-9, -8, 7, 24]);
    let got = run(cast(DataType::I4), &[&x]);
    assert_eq!(got.to_f64_vec(), [7.0, -8.0, 7.0, -8.0]);
    let got = run(cast(DataType::U4), &[&x]);
    assert_eq!(got.to_f64_vec(), [7.0, 8.0, 7.0, 8.0]);
    let x = f(&[4], &[-9.5, -1.9, 7.0, 24.0]);
    assert_eq!(
        run(cast(DataType::I4), &[&x]).to_f64_vec(),
        [-8.0, -1.0, 7.0, 7.0]
    );
    assert_eq!(
        run(cast(DataType::U4), &[&x]).to_f64_vec(),
        [0.0, 0.0, 7.0, 15.0]
    );
}
