//! Copies and gathers.

use super::*;
use crate::graph::Op;
use crate::graph::op::Slice;

#[test]
fn transpose_slice_expand_and_concat() {
    for gpu in &mut gpus() {
        let x = Random(1).tensor(&[2, 3, 4]);
        let values = x.as_f32().unwrap().to_vec();
        let at = |i: usize, j: usize, k: usize| values[(i * 3 + j) * 4 + k];

        let mut case = Case::default();
        let id = case.input(x.clone());
        let y = case.builder.transpose(id, &[2, 0, 1]).unwrap();
        let y = case.run(gpu, y).unwrap();
        let mut expected = Vec::new();
        for k in 0..4 {
            for i in 0..2 {
                for j in 0..3 {
                    expected.push(at(i, j, k));
                }
            }
        }
        assert_eq!(y.as_f32().unwrap(), expected);

        let mut case = Case::default();
        let id = case.input(x.clone());
        let slice = Slice {
            starts: dims(&[1, 0, 1]),
            sizes: dims(&[1, 3, 3]),
            strides: vec![1, 2, 2],
        };
        let y = case.builder.op(Op::Slice(slice), &[id]).unwrap();
        let y = case.run(gpu, y).unwrap();
        assert_eq!(y.shape(), [1, 2, 2]);
        let expected = [at(1, 0, 1), at(1, 0, 3), at(1, 2, 1), at(1, 2, 3)];
        assert_eq!(y.as_f32().unwrap(), expected);

        let mut case = Case::default();
        let id = case.input(Tensor::from_f32(&[3, 1], &[1.0, 2.0, 3.0]).unwrap());
        let y = case.builder.expand(id, dims(&[2, 3, 2])).unwrap();
        let y = case.run(gpu, y).unwrap();
        let once = [1.0, 1.0, 2.0, 2.0, 3.0, 3.0];
        assert_eq!(y.as_f32().unwrap(), [once, once].concat());

        let mut case = Case::default();
        let a = case.input(x.clone());
        let b = case.input(Random(2).tensor(&[2, 2, 4]));
        let other = case.inputs[1].1.as_f32().unwrap().to_vec();
        let y = case.builder.concat(&[a, b], 1).unwrap();
        let y = case.run(gpu, y).unwrap();
        let expected = [&values[..12], &other[..8], &values[12..], &other[8..]].concat();
        assert_eq!(y.as_f32().unwrap(), expected);
    }
}

#[test]
fn gather_along_an_axis_by_long_integers() {
    for gpu in &mut gpus() {
        let x = Random(4).tensor(&[2, 5, 3]);
        let mut case = Case::default();
        let id = case.input(x.clone());
        let indices = case.input(Tensor::from_i64(&[2], &[-1, 2]).unwrap());
        let y = case.builder.gather(id, indices, 1).unwrap();
        let y = case.run(gpu, y).unwrap();
        let x = x.as_f32().unwrap();
        let expected = [&x[12..15], &x[6..9], &x[27..30], &x[21..24]].concat();
        assert_eq!(y.as_f32().unwrap(), expected);
    }
}
