//! Matrix products, with weights of every type.

use super::draw::Random;
use super::{Case, Draft};
use crate::backend::WeightUse;
use crate::graph::Op;
use crate::tensor::{BlockFormat, DataType, ElementType};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = matmul();
    cases.extend(block_matmul());
    cases.extend(exact());
    cases.extend(dequantize());
    cases
}

fn matmul() -> Vec<Case> {
    let shapes: [(&[usize], &[usize]); 6] = [
        (&[3, 5], &[5, 7]),
        (&[1, 64], &[64, 33]),
        (&[2, 3, 17, 9], &[2, 3, 9, 13]),
        (&[2, 1, 4, 8], &[3, 8, 5]),
        (&[65, 31], &[31, 66]),
        (&[2, 2, 1], &[1, 3]),
    ];
    shapes
        .into_iter()
        .map(|(a, b)| {
            let mut random = Random::new(40);
            let inputs = vec![random.tensor(a), random.tensor(b)];
            Draft::of(format!("matmul {a:?} {b:?}"), Op::Matmul, inputs)
        })
        .collect()
}

fn elements() -> impl Iterator<Item = ElementType> {
    let plain = [DataType::F32, DataType::F16, DataType::Bf16].map(ElementType::from);
    plain
        .into_iter()
        .chain(BlockFormat::ALL.map(ElementType::from))
}

/// One row as in decoding, a few, and more than a tile; rows and columns that no tile divides.
fn block_matmul() -> Vec<Case> {
    let mut cases = Vec::new();
    for element in elements() {
        let unit = element.block().map_or(20, BlockFormat::elements);
        for (m, n, k) in [
            (1, 5, unit),
            (1, 100, 2 * unit),
            (3, 67, 2 * unit),
            (37, 33, 3 * unit),
        ] {
            for bias in [false, true] {
                let mut random = Random::new((m * n) as u64);
                let mut draft = Draft::new(format!(
                    "block_matmul of {element} {m}x{k} {n}x{k}, bias {bias}"
                ));
                let usage = WeightUse {
                    matmul: true,
                    ..WeightUse::default()
                };
                let x = draft.input(random.tensor(&[1, m, k]));
                let bytes = random.weights(element, n * k);
                let weight = draft.weight(element, &[n, k], bytes, usage);
                let mut inputs = vec![x, weight];
                if bias {
                    inputs.push(draft.input(random.tensor(&[n])));
                }
                let op = Op::BlockMatmul { bias, exact: false };
                let y = draft.op(op, &inputs);
                cases.push(draft.case(y));
            }
        }
    }
    cases
}

/// Whole numbers that 8 bits do not hold: a back end that quantizes activations leaves these alone.
fn exact() -> Vec<Case> {
    let element = ElementType::from(BlockFormat::Q8Z);
    let shapes = [(1, 5, 32), (3, 67, 64), (37, 33, 96)];
    let case = |(m, n, k): (usize, usize, usize)| {
        let mut random = Random::new(43);
        let mut draft = Draft::new(format!("exact block_matmul of {element} {m}x{k} {n}x{k}"));
        let usage = WeightUse {
            matmul: true,
            ..WeightUse::default()
        };
        let x = draft.input(random.integers(&[1, m, k], -255, 255));
        let x = draft.op(Op::Cast { to: DataType::F32 }, &[x]);
        let bytes = random.weights(element, n * k);
        let weight = draft.weight(element, &[n, k], bytes, usage);
        let op = Op::BlockMatmul {
            bias: false,
            exact: true,
        };
        let y = draft.op(op, &[x, weight]);
        draft.case(y)
    };
    shapes.into_iter().map(case).collect()
}

fn dequantize() -> Vec<Case> {
    BlockFormat::ALL
        .into_iter()
        .map(|format| {
            let mut random = Random::new(41);
            let mut draft = Draft::new(format!("dequantize_blocks of {format}"));
            let usage = WeightUse {
                plain: true,
                ..WeightUse::default()
            };
            let bytes = random.weights(format.into(), 3 * 512);
            let weight = draft.weight(format.into(), &[3, 512], bytes, usage);
            let y = draft.op(Op::DequantizeBlocks, &[weight]);
            draft.case(y)
        })
        .collect()
}
