//! Reductions, softmax, normalizations.

use super::draw::Random;
use super::{Case, Draft};
use crate::graph::Op;
use crate::graph::op::{LayerNormalization, Reduce, ReduceKind};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = reductions();
    cases.extend(softmax());
    cases.extend(normalizations());
    cases
}

fn reductions() -> Vec<Case> {
    let mut cases = Vec::new();
    for kind in ReduceKind::ALL {
        for (axes, keep_dimensions) in [
            (vec![2], true),
            (vec![0], false),
            (vec![0, 2], true),
            (vec![0, 1, 2], false),
            (vec![1, 2], false),
        ] {
            // Positive, for the logarithms.
            let x = Random::new(20).scaled(&[3, 4, 5], 0.8, 1.2);
            let name = format!("{} {axes:?} {keep_dimensions}", kind.name());
            let reduce = Reduce {
                kind,
                axes,
                keep_dimensions,
            };
            cases.push(Draft::of(name, Op::Reduce(reduce), vec![x]));
        }
    }
    let x = Random::new(21).tensor(&[2, 1000]);
    let reduce = Reduce {
        kind: ReduceKind::Mean,
        axes: vec![1],
        keep_dimensions: true,
    };
    cases.push(Draft::of(
        "reduce_mean of long rows",
        Op::Reduce(reduce),
        vec![x],
    ));
    cases
}

fn softmax() -> Vec<Case> {
    let mut cases = Vec::new();
    for (shape, axis) in [
        (vec![3, 37], 1),
        (vec![3, 37, 5], 0),
        (vec![3, 37, 5], 1),
        (vec![1, 1000], 1),
        (vec![4, 1], 1),
    ] {
        let x = Random::new(22).scaled(&shape, 20.0, 50.0);
        cases.push(Draft::of(
            format!("softmax {shape:?} {axis}"),
            Op::Softmax { axis },
            vec![x],
        ));
    }
    cases
}

fn normalizations() -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width) in [(1, 576), (7, 33), (3, 4), (2, 1), (17, 130)] {
        let mut random = Random::new(width as u64);
        let x = random.tensor(&[rows, width]);
        let (scale, bias) = (random.tensor(&[width]), random.tensor(&[width]));
        cases.push(Draft::of(
            format!("rms_normalization {rows} {width}"),
            Op::RmsNormalization { epsilon: 1e-5 },
            vec![x.clone(), scale.clone()],
        ));
        for (with_scale, with_bias) in [(true, true), (true, false), (false, false)] {
            let mut inputs = vec![x.clone()];
            if with_scale {
                inputs.push(scale.clone());
            }
            if with_bias {
                inputs.push(bias.clone());
            }
            let op = Op::LayerNormalization(LayerNormalization {
                axes: vec![1],
                epsilon: 1e-5,
                scale: with_scale,
                bias: with_bias,
            });
            let name = format!("layer_normalization {rows} {width} {with_scale} {with_bias}");
            cases.push(Draft::of(name, op, inputs));
        }
    }
    let mut random = Random::new(23);
    let op = Op::LayerNormalization(LayerNormalization {
        axes: vec![1, 2],
        epsilon: 1e-5,
        scale: true,
        bias: true,
    });
    let inputs = vec![
        random.tensor(&[2, 3, 5]),
        random.tensor(&[3, 5]),
        random.tensor(&[3, 5]),
    ];
    cases.push(Draft::of("layer_normalization over two axes", op, inputs));
    cases
}
