//! Products with packed weights, packing itself, and products of run-time operands.

use fewbit_kernels::element::{BlockFormat, DataType, ElementType};
use fewbit_kernels::threads::Serial;
use fewbit_kernels::{Activations, Matmul, PackError, PackedWeights, Packer};
use half::{bf16, f16};

use super::random::Random;
use super::{assert_close, on_each};

/// Where a block's f16 scales stand.
fn scales(format: BlockFormat) -> &'static [usize] {
    match format {
        BlockFormat::Q4_0 | BlockFormat::Q5_0 | BlockFormat::Q8_0 => &[0],
        BlockFormat::Q4_1 | BlockFormat::Q5_1 | BlockFormat::Q4K | BlockFormat::Q5K => &[0, 2],
        BlockFormat::Q2K => &[80, 82],
        BlockFormat::Q3K => &[108],
        BlockFormat::Q6K => &[208],
        // Both in f32.
        BlockFormat::Q2Z | BlockFormat::Q4Z | BlockFormat::Q8Z => &[],
    }
}

/// Random weights as a file has them, with scales of either sign about 0.01.
fn random_bytes(random: &mut Random, element: ElementType, n: usize, k: usize) -> Vec<u8> {
    match element {
        ElementType::Plain(DataType::F32) => bytemuck::cast_slice(&random.floats(n * k)).to_vec(),
        ElementType::Plain(DataType::F16) => (0..n * k)
            .flat_map(|_| f16::from_f32(random.float()).to_le_bytes())
            .collect(),
        ElementType::Plain(_) => (0..n * k)
            .flat_map(|_| bf16::from_f32(random.float()).to_le_bytes())
            .collect(),
        ElementType::Block(format) => {
            let mut bytes = random.bytes(n * k / format.elements() * format.bytes());
            for block in bytes.chunks_exact_mut(format.bytes()) {
                if format.has_zero_point() {
                    let scale = random.float() * 0.02;
                    let zero = 4.0 + 4.0 * random.float();
                    block[..4].copy_from_slice(&scale.to_le_bytes());
                    block[4..8].copy_from_slice(&zero.to_le_bytes());
                }
                for &at in scales(format) {
                    let scale = f16::from_f32(random.float() * 0.02).to_le_bytes();
                    block[at..at + 2].copy_from_slice(&scale);
                }
            }
            bytes
        }
    }
}

fn elements() -> Vec<ElementType> {
    let plain = [DataType::F32, DataType::F16, DataType::Bf16].map(ElementType::from);
    let blocks = BlockFormat::ALL.map(ElementType::from);
    plain.into_iter().chain(blocks).collect()
}

fn unit(element: ElementType) -> usize {
    element.block().map_or(1, BlockFormat::elements)
}

/// Activations after the rounding to 8 bits, as `d` and integers.
fn rounded(x: &[f32]) -> Vec<f64> {
    let mut out = Vec::new();
    for block in x.chunks(32) {
        let largest = block.iter().fold(0f32, |a, x| a.max(x.abs()));
        let d = f64::from(largest / 127.0);
        for x in block {
            let q = if largest == 0.0 {
                0.0
            } else {
                (x * (127.0 / largest)).round_ties_even()
            };
            out.push(d * f64::from(q));
        }
    }
    out
}

#[test]
fn every_type_times_activations() {
    on_each(|kernels| {
        let mut random = Random::new(7);
        for element in elements() {
            for m in [1, 1, 2, 3, 5, 17] {
                let n = 1 + random.below(70);
                let k = unit(element) * (1 + random.below(if unit(element) > 32 { 3 } else { 9 }));
                let bytes = random_bytes(&mut random, element, n, k);
                let weights = PackedWeights::pack(element, n, k, &bytes).unwrap();
                let x = random.floats(m * k);
                let bias = random.floats(n);
                let bias = (random.below(2) == 0).then_some(&bias[..]);
                for activations in [Activations::Float, Activations::Int8] {
                    let x64: Vec<f64> = match (element, activations) {
                        (ElementType::Block(_), Activations::Int8) => rounded(&x),
                        _ => x.iter().map(|&x| f64::from(x)).collect(),
                    };
                    let (mut want, mut scale) = (vec![0f64; m * n], vec![0f64; m * n]);
                    let mut row = vec![0f32; k];
                    for j in 0..n {
                        weights.row(j, &mut row);
                        for i in 0..m {
                            let (mut sum, mut size) = (bias.map_or(0.0, |b| f64::from(b[j])), 1.0);
                            for (w, x) in row.iter().zip(&x64[i * k..]) {
                                sum += f64::from(*w) * x;
                                size += (f64::from(*w) * x).abs();
                            }
                            (want[i * n + j], scale[i * n + j]) = (sum, size);
                        }
                    }
                    let mut got = vec![f32::NAN; m * n];
                    kernels.linear(&Serial, &x, &weights, bias, activations, &mut got);
                    let what = format!("{:?} {element} {m}×{k}×{n} {activations:?}", kernels.isa());
                    assert_close(&got, &want, &scale, 3e-6, &what);
                }
            }
        }
    });
}

/// Large shapes pass every stretch and panel boundary.
#[test]
fn long_rows_and_many_tokens() {
    on_each(|kernels| {
        let mut random = Random::new(8);
        for element in [ElementType::F32, BlockFormat::Q4_1.into()] {
            let (m, n, k) = (175, 19, 1120);
            let bytes = random_bytes(&mut random, element, n, k);
            let weights = PackedWeights::pack(element, n, k, &bytes).unwrap();
            let x = random.floats(m * k);
            let mut got = vec![f32::NAN; m * n];
            kernels.linear(&Serial, &x, &weights, None, Activations::Float, &mut got);
            let mut row = vec![0f32; k];
            for j in 0..n {
                weights.row(j, &mut row);
                for i in 0..m {
                    let products = row.iter().zip(&x[i * k..]);
                    let want: f64 = products.map(|(w, x)| f64::from(*w) * f64::from(*x)).sum();
                    let what = format!("{:?} {element} row {i} column {j}", kernels.isa());
                    assert_close(&[got[i * n + j]], &[want], &[100.0], 1e-6, &what);
                }
            }
        }
    });
}

/// Extreme integers: no intermediate sum may saturate.
#[test]
fn the_largest_products_are_exact() {
    on_each(|kernels| {
        for (format, body) in [
            (BlockFormat::Q4_0, 0x00),
            (BlockFormat::Q4_0, 0xff),
            (BlockFormat::Q8_0, 0x7f),
            (BlockFormat::Q8_0, 0x80),
        ] {
            let (n, k) = (3, 64);
            let mut block = vec![body; format.bytes()];
            block[..2].copy_from_slice(&f16::ONE.to_le_bytes());
            let bytes = block.repeat(n * k / 32);
            let weights = PackedWeights::pack(format.into(), n, k, &bytes).unwrap();
            let w = match (format, body) {
                (BlockFormat::Q4_0, 0) => -8.0,
                (BlockFormat::Q4_0, _) => 7.0,
                (_, 0x7f) => 127.0,
                _ => -128.0,
            };
            for m in [1, 6] {
                for sign in [127.0, -127.0] {
                    let mut got = vec![0f32; m * n];
                    let x = vec![sign; m * k];
                    kernels.linear(&Serial, &x, &weights, None, Activations::Int8, &mut got);
                    assert_eq!(
                        got,
                        vec![w * sign * k as f32; m * n],
                        "{format} {body:x} {m}"
                    );
                }
            }
        }
    });
}

/// Two blocks computed by hand.
#[test]
fn a_q4_1_row_by_hand() {
    // Weights 0.5·q − 1 with q = column / 2 in the first 32 columns; 2·3 + 0.25 in the next.
    let mut row = Vec::new();
    row.extend(f16::from_f32(0.5).to_le_bytes());
    row.extend(f16::from_f32(-1.0).to_le_bytes());
    row.extend((0..16u8).map(|j| (j / 2) | ((j + 16) / 2) << 4));
    row.extend(f16::from_f32(2.0).to_le_bytes());
    row.extend(f16::from_f32(0.25).to_le_bytes());
    row.extend([0x33; 16]);
    let weights = PackedWeights::pack(BlockFormat::Q4_1.into(), 1, 64, &row).unwrap();
    let mut read = vec![0f32; 64];
    weights.row(0, &mut read);
    for (column, w) in read.iter().enumerate() {
        let want = match column {
            0..32 => 0.5 * (column / 2) as f32 - 1.0,
            _ => 6.25,
        };
        assert_eq!(*w, want, "column {column}");
    }
    // x = 127 in columns 0 and 31 and 1 in column 40: exact in 8 bits.
    let mut x = vec![0f32; 64];
    (x[0], x[31], x[40]) = (127.0, 127.0, 1.0);
    on_each(|kernels| {
        for activations in [Activations::Int8, Activations::Float] {
            let mut got = [0f32];
            kernels.linear(&Serial, &x, &weights, None, activations, &mut got);
            let want: f32 = -127.0 + 127.0 * 6.5 + 6.25;
            assert!((got[0] - want).abs() < 1e-3, "{} for {want}", got[0]);
        }
    });
}

#[test]
fn nan_and_infinite_activations_stay_visible() {
    on_each(|kernels| {
        let mut random = Random::new(3);
        let (n, k) = (5, 96);
        let bytes = random_bytes(&mut random, BlockFormat::Q4_1.into(), n, k);
        let weights = PackedWeights::pack(BlockFormat::Q4_1.into(), n, k, &bytes).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            for m in [1, 4] {
                let mut x = random.floats(m * k);
                x[40] = bad;
                let mut got = vec![0f32; m * n];
                kernels.linear(&Serial, &x, &weights, None, Activations::Int8, &mut got);
                assert!(got[..n].iter().all(|y| !y.is_finite()), "{bad}: {got:?}");
                assert!(got[n..].iter().all(|y| y.is_finite()), "{bad}: {got:?}");
            }
        }
    });
}

#[test]
fn pieces_in_any_order_pack_the_same() {
    let mut random = Random::new(11);
    for element in elements() {
        let (n, k) = (37, 2 * unit(element).max(8));
        let bytes = random_bytes(&mut random, element, n, k);
        let whole = PackedWeights::pack(element, n, k, &bytes).unwrap();
        let mut cuts: Vec<usize> = (0..6).map(|_| random.below(bytes.len())).collect();
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let mut pieces: Vec<(usize, usize)> = cuts.windows(2).map(|w| (w[0], w[1])).collect();
        for i in (1..pieces.len()).rev() {
            pieces.swap(i, random.below(i + 1));
        }
        let mut packer = Packer::new(element, n, k).unwrap();
        for (start, end) in pieces {
            packer.write(start, &bytes[start..end]).unwrap();
        }
        let pieced = packer.finish().unwrap();
        let (mut a, mut b) = (vec![0f32; k], vec![0f32; k]);
        for row in 0..n {
            whole.row(row, &mut a);
            pieced.row(row, &mut b);
            assert_eq!(a, b, "{element} row {row}");
        }
    }
}

#[test]
fn packing_refuses_what_does_not_fit() {
    assert_eq!(
        Packer::new(ElementType::I32, 4, 4).err(),
        Some(PackError::Type(ElementType::I32))
    );
    let q4 = ElementType::Block(BlockFormat::Q4_0);
    assert_eq!(
        Packer::new(q4, 4, 33).err(),
        Some(PackError::Blocks { element: q4, k: 33 })
    );
    assert!(matches!(
        Packer::new(ElementType::F32, usize::MAX / 8, 64).err(),
        Some(PackError::Memory { .. })
    ));
    let mut packer = Packer::new(ElementType::F32, 2, 3).unwrap();
    assert!(matches!(
        packer.write(20, &[0; 8]),
        Err(PackError::Range { size: 24, .. })
    ));
    assert!(matches!(
        packer.write(usize::MAX, &[0; 8]),
        Err(PackError::Range { .. })
    ));
    packer.write(8, &[0; 8]).unwrap();
    assert_eq!(
        packer.write(4, &[0; 8]),
        Err(PackError::Twice { offset: 4 })
    );
    assert_eq!(
        packer.write(12, &[0; 2]),
        Err(PackError::Twice { offset: 12 })
    );
    packer.write(0, &[0; 8]).unwrap();
    assert_eq!(
        packer.write(0, &[0; 1]),
        Err(PackError::Twice { offset: 0 })
    );
    assert_eq!(
        packer.finish().err(),
        Some(PackError::Incomplete {
            missing: 8,
            size: 24
        })
    );
}

#[test]
fn batched_products() {
    on_each(|kernels| {
        let mut random = Random::new(5);
        for _ in 0..30 {
            let (batch, m) = (1 + random.below(3), 1 + random.below(20));
            let (k, n) = (1 + random.below(40), 1 + random.below(50));
            let (shared, transposed) = (random.below(3) == 0, random.below(2) == 0);
            let a = random.floats(batch * m * k);
            let b = random.floats(if shared { k * n } else { batch * k * n });
            let product = Matmul {
                batch,
                m,
                k,
                n,
                a_step: m * k,
                b_step: if shared { 0 } else { k * n },
                transposed,
            };
            let mut want = vec![0f64; batch * m * n];
            for (index, want) in want.iter_mut().enumerate() {
                let (i, row, column) = (index / (m * n), index / n % m, index % n);
                for inner in 0..k {
                    let at = match transposed {
                        true => column * k + inner,
                        false => inner * n + column,
                    };
                    *want += f64::from(a[i * m * k + row * k + inner])
                        * f64::from(b[i * product.b_step + at]);
                }
            }
            let mut got = vec![f32::NAN; batch * m * n];
            kernels.matmul(&Serial, &product, &a, &b, &mut got);
            let scale = vec![k as f64; got.len()];
            let what = format!("{:?} {product:?}", kernels.isa());
            assert_close(&got, &want, &scale, 1e-6, &what);
        }
    });
}
