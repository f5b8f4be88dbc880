use super::*;
use crate::graph::op::Slice;

#[test]
fn reshape_and_transpose() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let got = run(
        Op::Reshape {
            shape: dims(&[3, 2]),
        },
        &[&x],
    );
    assert_eq!(got, i(&[3, 2], &[1, 2, 3, 4, 5, 6]));
    let transpose = |permutation: &[usize]| Op::Transpose {
        permutation: permutation.to_vec(),
    };
    assert_eq!(
        run(transpose(&[1, 0]), &[&x]),
        i(&[3, 2], &[1, 4, 2, 5, 3, 6])
    );
    let cube = u8s(&[2, 2, 2], &[0, 1, 2, 3, 4, 5, 6, 7]);
    let got = run(transpose(&[2, 0, 1]), &[&cube]);
    assert_eq!(got, u8s(&[2, 2, 2], &[0, 2, 4, 6, 1, 3, 5, 7]));
}

#[test]
fn concat_and_slice() {
    let (a, b) = (i(&[2, 1], &[1, 2]), i(&[2, 2], &[3, 4, 5, 6]));
    let got = run(Op::Concat { axis: 1 }, &[&a, &b]);
    assert_eq!(got, i(&[2, 3], &[1, 3, 4, 2, 5, 6]));
    let got = run(Op::Concat { axis: 0 }, &[&b, &b, &i(&[0, 2], &[])]);
    assert_eq!(got, i(&[4, 2], &[3, 4, 5, 6, 3, 4, 5, 6]));
    let values: Vec<i32> = (0..20).collect();
    let x = i(&[4, 5], &values);
    let slice = |starts: [usize; 2], sizes: [usize; 2], strides: [usize; 2]| {
        Op::Slice(Slice {
            starts: dims(&starts),
            sizes: dims(&sizes),
            strides: strides.to_vec(),
        })
    };
    assert_eq!(
        run(slice([1, 2], [2, 3], [1, 1]), &[&x]),
        i(&[2, 3], &[7, 8, 9, 12, 13, 14])
    );
    assert_eq!(
        run(slice([0, 1], [4, 4], [3, 3]), &[&x]),
        i(&[2, 2], &[1, 4, 16, 19])
    );
}

#[test]
fn expand_and_where() {
    let got = run(
        Op::Expand {
            shape: dims(&[2, 2, 3]),
        },
        &[&i(&[2, 1], &[1, 2])],
    );
    assert_eq!(got, i(&[2, 2, 3], &[1, 1, 1, 2, 2, 2, 1, 1, 1, 2, 2, 2]));
    let condition = u8s(&[2, 1], &[0, 9]);
    let (a, b) = (f(&[2], &[1.0, 2.0]), f(&[], &[f32::NAN]));
    let got = run(Op::Where, &[&condition, &a, &b]);
    close(&got, &f(&[2, 2], &[f32::NAN, f32::NAN, 1.0, 2.0]), 0.0);
}

#[test]
fn gather_counts_from_the_end_and_clamps() {
    let x = i(&[2, 3], &[1, 2, 3, 4, 5, 6]);
    let gather = |axis| Op::Gather {
        axis,
        decode: false,
    };
    let indices = i(&[2, 2], &[0, -1, 7, -9]);
    let got = run(gather(1), &[&x, &indices]);
    assert_eq!(got, i(&[2, 2, 2], &[1, 3, 3, 1, 4, 6, 6, 4]));
    let got = run(gather(0), &[&x, &Tensor::from_i64(&[], &[1]).unwrap()]);
    assert_eq!(got, i(&[3], &[4, 5, 6]));
    let none = run(gather(0), &[&i(&[0, 2], &[]), &i(&[1], &[0])]);
    assert_eq!(none, i(&[1, 2], &[0, 0]));
    let half = run(Op::Cast { to: DataType::F16 }, &[&x]);
    let rows = run(
        Op::Gather {
            axis: 0,
            decode: true,
        },
        &[&half, &i(&[1], &[1])],
    );
    assert_eq!(rows, f(&[1, 3], &[4.0, 5.0, 6.0]));
}
