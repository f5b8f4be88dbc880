//! Operators that move elements.

use super::draw::Random;
use super::{Case, Draft, dims};
use crate::backend::WeightUse;
use crate::graph::Op;
use crate::graph::op::Slice;
use crate::tensor::{BlockFormat, DataType, ElementType, Tensor};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = shapes();
    cases.extend(slices());
    cases.extend(gathers());
    cases.extend(decoding_gathers());
    cases
}

fn shapes() -> Vec<Case> {
    let mut random = Random::new(30);
    let mut cases = Vec::new();
    let x = random.tensor(&[2, 3, 4, 5]);
    for permutation in [
        vec![0, 2, 1, 3],
        vec![3, 2, 1, 0],
        vec![1, 0, 3, 2],
        vec![0, 1, 2, 3],
    ] {
        let name = format!("transpose {permutation:?}");
        cases.push(Draft::of(
            name,
            Op::Transpose { permutation },
            vec![x.clone()],
        ));
    }
    let integers = random.integers(&[5, 3], -9, 9);
    let op = Op::Transpose {
        permutation: vec![1, 0],
    };
    cases.push(Draft::of("transpose of i32", op, vec![integers]));
    let op = Op::Reshape {
        shape: dims(&[6, 20]),
    };
    cases.push(Draft::of("reshape", op, vec![x]));
    for (from, to) in [
        (vec![3, 1], vec![2, 3, 4]),
        (vec![1], vec![5]),
        (vec![2, 1, 3], vec![2, 4, 3]),
        (vec![], vec![2, 2]),
    ] {
        let x = random.tensor(&from);
        let op = Op::Expand { shape: dims(&to) };
        cases.push(Draft::of(format!("expand {from:?} {to:?}"), op, vec![x]));
    }
    for axis in 0..3 {
        let sizes = [1, 4, 2].map(|size| {
            let mut shape = vec![2, 3, 5];
            shape[axis] = size;
            random.tensor(&shape)
        });
        cases.push(Draft::of(
            format!("concat {axis}"),
            Op::Concat { axis },
            sizes.to_vec(),
        ));
    }
    cases
}

fn slices() -> Vec<Case> {
    let x = Random::new(31).tensor(&[4, 6, 8]);
    [
        ([0, 0, 0], [4, 6, 8], [1, 1, 1]),
        ([1, 2, 3], [2, 3, 4], [1, 1, 1]),
        ([0, 1, 0], [4, 5, 8], [2, 2, 3]),
        ([3, 5, 7], [1, 1, 1], [1, 1, 1]),
    ]
    .into_iter()
    .map(|(starts, sizes, strides)| {
        let op = Op::Slice(Slice {
            starts: dims(&starts),
            sizes: dims(&sizes),
            strides: strides.to_vec(),
        });
        Draft::of(
            format!("slice {starts:?} {sizes:?} {strides:?}"),
            op,
            vec![x.clone()],
        )
    })
    .collect()
}

fn gathers() -> Vec<Case> {
    let mut random = Random::new(32);
    let x = random.tensor(&[5, 4, 3]);
    let mut cases = Vec::new();
    for axis in 0..3 {
        let indices = Tensor::from_i32(&[2, 3], &[0, -1, 2, 1, 100, -100]).expect("six");
        let op = Op::Gather {
            axis,
            decode: false,
        };
        let name = format!("gather {axis}, also from the end and beyond");
        cases.push(Draft::of(name, op.clone(), vec![x.clone(), indices]));
        let long = Tensor::from_i64(&[2], &[-1, 1]).expect("two");
        cases.push(Draft::of(
            format!("gather {axis} by i64"),
            op,
            vec![x.clone(), long],
        ));
    }
    cases
}

fn decoding_gathers() -> Vec<Case> {
    let plain = [DataType::F32, DataType::F16, DataType::Bf16].map(ElementType::from);
    let blocks = BlockFormat::ALL.map(ElementType::from);
    plain
        .into_iter()
        .chain(blocks)
        .map(|element| {
            let mut random = Random::new(33);
            let mut draft = Draft::new(format!("gather of rows of {element}"));
            let usage = WeightUse {
                gather: true,
                ..WeightUse::default()
            };
            let bytes = random.weights(element, 7 * 256);
            let table = draft.weight(element, &[7, 256], bytes, usage);
            let indices = draft.input(random.integers(&[2, 3], 0, 6));
            let op = Op::Gather {
                axis: 0,
                decode: true,
            };
            let y = draft.op(op, &[table, indices]);
            draft.case(y)
        })
        .collect()
}
