//! Normalizations, softmax and reductions.

use super::*;
use crate::graph::Op;
use crate::graph::op::{LayerNormalization, Reduce, ReduceKind};

#[test]
fn rms_and_layer_normalization() {
    for gpu in &mut gpus() {
        for (rows, n) in [(1, 576), (7, 33), (3, 4), (65, 300), (2, 1)] {
            let mut random = Random(n as u64);
            let x = random.tensor(&[rows, n]);
            let scale = random.tensor(&[n]);
            let bias = random.tensor(&[n]);
            let mut case = Case::default();
            let (x_id, scale_id) = (case.input(x.clone()), case.input(scale.clone()));
            let y = case
                .builder
                .rms_normalization(x_id, scale_id, 1e-5)
                .unwrap();
            let rms = case.run(gpu, y).unwrap();
            let mut case = Case::default();
            let ids = [x.clone(), scale.clone(), bias.clone()].map(|t| case.input(t));
            let op = Op::LayerNormalization(LayerNormalization {
                axes: vec![1],
                epsilon: 1e-5,
                scale: true,
                bias: true,
            });
            let y = case.builder.op(op, &ids).unwrap();
            let layer = case.run(gpu, y).unwrap();
            let (scale, bias) = (scale.as_f32().unwrap(), bias.as_f32().unwrap());
            let (mut rms_expected, mut layer_expected) = (Vec::new(), Vec::new());
            for row in x.as_f32().unwrap().chunks(n) {
                let mean = row.iter().sum::<f32>() / n as f32;
                let square = row.iter().map(|x| x * x).sum::<f32>() / n as f32;
                let variance = row.iter().map(|x| (x - mean).powi(2)).sum::<f32>() / n as f32;
                for (i, x) in row.iter().enumerate() {
                    rms_expected.push(x / (square + 1e-5).sqrt() * scale[i]);
                    layer_expected.push((x - mean) / (variance + 1e-5).sqrt() * scale[i] + bias[i]);
                }
            }
            let what = format!("{rows}x{n} {:?}", gpu.path());
            compare(&what, rms.as_f32().unwrap(), &rms_expected);
            compare(&what, layer.as_f32().unwrap(), &layer_expected);
        }
    }
}

#[test]
fn softmax_along_any_axis() {
    for gpu in &mut gpus() {
        let shape = [3, 37, 5];
        let x = Random(3).tensor(&shape);
        for axis in 0..3 {
            let mut case = Case::default();
            let id = case.input(x.clone());
            let y = case.builder.softmax(id, axis).unwrap();
            let y = case.run(gpu, y).unwrap();
            let x = x.as_f32().unwrap();
            let inner: usize = shape[axis + 1..].iter().product();
            let n = shape[axis];
            let expected: Vec<f32> = (0..x.len())
                .map(|i| {
                    let base = i / (inner * n) * inner * n + i % inner;
                    let sum: f32 = (0..n).map(|j| x[base + j * inner].exp()).sum();
                    x[i].exp() / sum
                })
                .collect();
            compare(
                &format!("axis {axis} {:?}", gpu.path()),
                y.as_f32().unwrap(),
                &expected,
            );
        }
    }
}

#[test]
fn reductions_over_any_axes() {
    let shape = [3, 4, 5];
    for gpu in &mut gpus() {
        for kind in ReduceKind::ALL {
            for axes in [vec![0], vec![2], vec![0, 2], vec![0, 1, 2], vec![1, 2]] {
                let mut random = Random(21);
                // Positive, for the logarithms.
                let values: Vec<f32> = random.values(60).iter().map(|x| x + 1.5).collect();
                let mut case = Case::default();
                let id = case.input(Tensor::from_f32(&shape, &values).unwrap());
                let op = Op::Reduce(Reduce {
                    kind,
                    axes: axes.clone(),
                    keep_dimensions: true,
                });
                let y = case.builder.op(op, &[id]).unwrap();
                let y = case.run(gpu, y).unwrap();
                let mut groups: BTreeMap<Vec<usize>, Vec<f64>> = BTreeMap::new();
                for (i, &value) in values.iter().enumerate() {
                    let mut index = vec![i / 20, i / 5 % 4, i % 5];
                    axes.iter().for_each(|&axis| index[axis] = 0);
                    groups.entry(index).or_default().push(value.into());
                }
                let expected: Vec<f32> = groups
                    .values()
                    .map(|v| {
                        let sum: f64 = v.iter().sum();
                        let square: f64 = v.iter().map(|x| x * x).sum();
                        let result = match kind {
                            ReduceKind::L1 | ReduceKind::Sum => sum,
                            ReduceKind::L2 => square.sqrt(),
                            ReduceKind::LogSum => sum.ln(),
                            ReduceKind::LogSumExp => v.iter().map(|x| x.exp()).sum::<f64>().ln(),
                            ReduceKind::Max => v.iter().copied().fold(f64::MIN, f64::max),
                            ReduceKind::Mean => sum / v.len() as f64,
                            ReduceKind::Min => v.iter().copied().fold(f64::MAX, f64::min),
                            ReduceKind::Product => v.iter().product(),
                            ReduceKind::SumSquare => square,
                        };
                        result as f32
                    })
                    .collect();
                compare(
                    &format!("{} {axes:?}", kind.name()),
                    y.as_f32().unwrap(),
                    &expected,
                );
            }
        }
    }
}
