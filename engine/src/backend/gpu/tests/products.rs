//! `block_matmul` in every weight format and by every path; `matmul`; weights in parts.

use super::*;
use crate::tensor::{BlockFormat, decode};

/// Random blocks, with scales that keep the weights near 1.
fn random_weight(random: &mut Random, element: ElementType, n: usize, k: usize) -> Vec<u8> {
    let bytes = element.byte_len(&[n, k]).unwrap();
    let format = match element {
        ElementType::Plain(data_type) => {
            let values = random.values(n * k);
            return match data_type {
                DataType::F16 => values
                    .iter()
                    .flat_map(|&x| half::f16::from_f32(x).to_le_bytes())
                    .collect(),
                DataType::Bf16 => values
                    .iter()
                    .flat_map(|&x| half::bf16::from_f32(x).to_le_bytes())
                    .collect(),
                _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
            };
        }
        ElementType::Block(format) => format,
    };
    let mut data = random.bytes(bytes);
    let halves: &[usize] = match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q4_1 | BlockFormat::Q5_1 | BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
        BlockFormat::Q2K => &[80, 82],
        BlockFormat::Q3K => &[108],
        BlockFormat::Q6K => &[208],
        // Both in f32.
        BlockFormat::Q2Z | BlockFormat::Q4Z | BlockFormat::Q8Z => &[],
    };
    // The largest product of scale and quant.
    let range = match format {
        BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q4Z => 16.0,
        BlockFormat::Q5_0 | BlockFormat::Q5_1 => 32.0,
        BlockFormat::Q8_0 => 128.0,
        BlockFormat::Q2K => 64.0,
        BlockFormat::Q3K => 128.0,
        BlockFormat::Q4K => 1024.0,
        BlockFormat::Q5K => 2048.0,
        BlockFormat::Q6K => 4096.0,
        BlockFormat::Q2Z => 4.0,
        BlockFormat::Q8Z => 256.0,
    };
    for block in data.chunks_mut(format.bytes()) {
        if format.has_zero_point() {
            let scale = (1.0 + random.next() * 0.5) / range;
            let zero = range * (0.5 + 0.5 * random.next());
            block[..4].copy_from_slice(&scale.to_le_bytes());
            block[4..8].copy_from_slice(&zero.to_le_bytes());
        }
        for &at in halves {
            let scale = half::f16::from_f32((1.0 + random.next() * 0.5) / range);
            block[at..at + 2].copy_from_slice(&scale.to_le_bytes());
        }
    }
    data
}

fn decoded(element: ElementType, bytes: &[u8], count: usize) -> Vec<f32> {
    let mut out = vec![0.0; count];
    decode(element, bytes, &mut out).unwrap();
    out
}

struct Product<'a> {
    m: usize,
    n: usize,
    k: usize,
    x: &'a [f32],
    w: &'a [f32],
}

impl Product<'_> {
    fn expected(&self, bias: Option<&[f32]>, residual: Option<&[f32]>) -> Vec<f32> {
        let mut y = Vec::with_capacity(self.m * self.n);
        for i in 0..self.m {
            for j in 0..self.n {
                let (x, w) = (&self.x[i * self.k..], &self.w[j * self.k..]);
                let sum: f64 = (0..self.k).map(|l| f64::from(x[l]) * f64::from(w[l])).sum();
                let more = bias.map_or(0.0, |b| b[j]) + residual.map_or(0.0, |r| r[i * self.n + j]);
                y.push((sum + f64::from(more)) as f32);
            }
        }
        y
    }
}

fn elements() -> impl Iterator<Item = ElementType> {
    [DataType::F32, DataType::F16, DataType::Bf16]
        .map(ElementType::from)
        .into_iter()
        .chain(BlockFormat::ALL.map(ElementType::from))
}

/// `x · wᵀ` with and without bias and the addition after it.
fn block_matmul(gpu: &mut Gpu, element: ElementType, (m, n, k): (usize, usize, usize), atol: f64) {
    let mut random = Random((m * 1000 + n * 10 + k) as u64);
    let bytes = random_weight(&mut random, element, n, k);
    let w = decoded(element, &bytes, n * k);
    let x = random.tensor(&[1, m, k]);
    let bias = random.tensor(&[n]);
    let residual = random.tensor(&[1, m, n]);
    for (with_bias, with_residual) in [(false, false), (true, false), (true, true)] {
        let mut case = Case::default();
        let x_id = case.input(x.clone());
        let w_id = case.weight(element, &[n, k], bytes.clone());
        let bias_id = with_bias.then(|| case.input(bias.clone()));
        let mut y = case.builder.block_matmul(x_id, w_id, bias_id).unwrap();
        if with_residual {
            let r = case.input(residual.clone());
            y = case.builder.add_values(r, y).unwrap();
        }
        let y = case.run(gpu, y).unwrap();
        assert_eq!(y.shape(), [1, m, n]);
        let product = Product {
            m,
            n,
            k,
            x: x.as_f32().unwrap(),
            w: &w,
        };
        let expected = product.expected(
            with_bias.then(|| bias.as_f32().unwrap()),
            with_residual.then(|| residual.as_f32().unwrap()),
        );
        let what = format!("{element} {m}x{n}x{k} {:?}", gpu.path());
        compare_within(&what, y.as_f32().unwrap(), &expected, atol, RTOL);
    }
}

#[test]
fn every_weight_format_by_every_path() {
    for gpu in &mut gpus() {
        for element in elements() {
            let k = if matches!(element, ElementType::Block(format) if format.elements() == 256) {
                768
            } else {
                288
            };
            for m in [1, 2, 3, 5, 37] {
                // Sums of hundreds of products of numbers up to 4: more than f32's own error, less than a wrong bit.
                block_matmul(gpu, element, (m, 71, k), 1e-3);
            }
        }
    }
}

#[test]
fn plain_weights_of_odd_width() {
    for gpu in &mut gpus() {
        for element in [DataType::F32, DataType::F16, DataType::Bf16] {
            for (m, n, k) in [(1, 5, 7), (6, 9, 30), (1, 1, 1), (5, 3, 36)] {
                block_matmul(gpu, element.into(), (m, n, k), ATOL);
            }
        }
    }
}

#[test]
fn half_precision_products() {
    for gpu in &mut gpus_with(half()) {
        if !gpu.adapter().f16 {
            println!("skipped: {} has no shader-f16", gpu.adapter().name);
            continue;
        }
        for element in [
            ElementType::from(DataType::F16),
            BlockFormat::Q4_1.into(),
            BlockFormat::Q6K.into(),
        ] {
            // Rounded to 11 bits: of sums of 768 products, a few hundredths.
            block_matmul(gpu, element, (37, 71, 768), 0.05);
        }
        // f32 weights stay in f32.
        block_matmul(gpu, DataType::F32.into(), (37, 71, 288), 1e-3);
    }
}

#[test]
fn weights_larger_than_a_binding_are_split() {
    let options = GpuOptions {
        max_binding: Some(20_000),
        ..GpuOptions::default()
    };
    for gpu in &mut gpus_with(options) {
        for element in [
            ElementType::from(DataType::F32),
            DataType::F16.into(),
            BlockFormat::Q4_0.into(),
            BlockFormat::Q8_0.into(),
        ] {
            for m in [1, 9] {
                block_matmul(gpu, element, (m, 150, 288), 1e-3);
            }
        }
        block_matmul(gpu, DataType::F32.into(), (3, 150, 99), 1e-3);
    }
}

#[test]
fn a_split_table_is_gathered_from() {
    let options = GpuOptions {
        max_binding: Some(8_000),
        ..GpuOptions::default()
    };
    for gpu in &mut gpus_with(options) {
        for element in elements() {
            let k = if matches!(element, ElementType::Block(format) if format.elements() == 256) {
                256
            } else {
                96
            };
            let rows = 301;
            let mut random = Random(7);
            let bytes = random_weight(&mut random, element, rows, k);
            let table = decoded(element, &bytes, rows * k);
            let mut case = Case::default();
            let usage = WeightUse {
                gather: true,
                ..WeightUse::default()
            };
            let table_id = case.weight_for(element, &[rows, k], bytes, usage);
            let ids = [3, 300, 0, -1, 17, 1000, 151];
            let indices = case.input(Tensor::from_i32(&[1, 7], &ids).unwrap());
            let y = case.builder.embedding(table_id, indices).unwrap();
            let y = case.run(gpu, y).unwrap();
            let expected: Vec<f32> = [3, 300, 0, 300, 17, 300, 151]
                .iter()
                .flat_map(|&row| table[row * k..(row + 1) * k].iter().copied())
                .collect();
            assert_eq!(y.shape(), [1, 7, k]);
            compare(&format!("{element}"), y.as_f32().unwrap(), &expected);
        }
    }
}

#[test]
fn batched_products_broadcast() {
    for gpu in &mut gpus() {
        for (a_shape, b_shape) in [
            (vec![5, 7], vec![7, 3]),
            (vec![2, 3, 5, 7], vec![2, 3, 7, 6]),
            (vec![2, 1, 5, 7], vec![3, 7, 6]),
            (vec![3, 1, 9], vec![1, 9, 33]),
        ] {
            let mut random = Random(11);
            let (a, b) = (random.tensor(&a_shape), random.tensor(&b_shape));
            let mut case = Case::default();
            let (a_id, b_id) = (case.input(a.clone()), case.input(b.clone()));
            let y = case.builder.matmul(a_id, b_id).unwrap();
            let y = case.run(gpu, y).unwrap();
            let (a, b) = (a.as_f32().unwrap(), b.as_f32().unwrap());
            let [m, n] = y.shape()[y.shape().len() - 2..] else {
                panic!()
            };
            let k = a_shape[a_shape.len() - 1];
            let batch = &y.shape()[..y.shape().len() - 2];
            let at = |shape: &[usize], index: usize| {
                let own = &shape[..shape.len() - 2];
                let (mut rest, mut offset, mut stride) = (index, 0, 1);
                for (d, &size) in batch.iter().enumerate().rev() {
                    let i = rest % size;
                    rest /= size;
                    if let Some(d) = d.checked_sub(batch.len() - own.len()) {
                        offset += if own[d] == 1 { 0 } else { i * stride };
                        stride *= own[d];
                    }
                }
                offset
            };
            let mut expected = Vec::new();
            for index in 0..batch.iter().product() {
                let (a0, b0) = (at(&a_shape, index) * m * k, at(&b_shape, index) * k * n);
                for i in 0..m {
                    for j in 0..n {
                        let terms = (0..k).map(|l| a[a0 + i * k + l] * b[b0 + l * n + j]);
                        expected.push(terms.sum());
                    }
                }
            }
            compare("matmul", y.as_f32().unwrap(), &expected);
        }
    }
}
