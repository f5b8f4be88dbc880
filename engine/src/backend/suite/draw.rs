//! Numbers drawn at random, the same for the same seed.

use half::{bf16, f16};

use crate::tensor::{BlockFormat, DataType, ElementType, Tensor};

/// xorshift64*
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// From −1 to 1.
    pub(super) fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    }

    pub(super) fn floats(&mut self, count: usize) -> Vec<f32> {
        (0..count).map(|_| self.float()).collect()
    }

    pub(super) fn tensor(&mut self, shape: &[usize]) -> Tensor {
        self.scaled(shape, 1.0, 0.0)
    }

    /// f32 from `center − by` to `center + by`.
    pub(super) fn scaled(&mut self, shape: &[usize], by: f32, center: f32) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product())
            .map(|_| center + by * self.float())
            .collect();
        Tensor::from_f32(shape, &values).expect("as many as the shape has")
    }

    pub(super) fn integers(&mut self, shape: &[usize], least: i32, most: i32) -> Tensor {
        let range = (i64::from(most) - i64::from(least) + 1) as u64;
        let values: Vec<i32> = (0..shape.iter().product())
            .map(|_| (i64::from(least) + ((self.bits() >> 20) % range) as i64) as i32)
            .collect();
        Tensor::from_i32(shape, &values).expect("as many as the shape has")
    }

    /// u8 of 0 and 1.
    pub(super) fn booleans(&mut self, shape: &[usize]) -> Tensor {
        let values: Vec<u8> = (0..shape.iter().product())
            .map(|_| (self.bits() >> 40) as u8 & 1)
            .collect();
        Tensor::from_bytes(DataType::U8, shape, &values).expect("as many as the shape has")
    }

    /// Bytes of `count` weights from about −1 to 1, of a float type or a block format.
    pub(super) fn weights(&mut self, element: ElementType, count: usize) -> Vec<u8> {
        match element {
            ElementType::Block(format) => self.blocks(format, count / format.elements()),
            ElementType::Plain(data_type) => {
                let values = self.floats(count);
                values
                    .into_iter()
                    .flat_map(|x| bytes(data_type, x))
                    .collect()
            }
        }
    }

    /// Any bits but the scales', which bring the weights near 1.
    fn blocks(&mut self, format: BlockFormat, blocks: usize) -> Vec<u8> {
        // Where the scale is, and the largest code times scale code.
        let (at, range): (usize, f32) = match format {
            BlockFormat::Q4_0 | BlockFormat::Q4_1 | BlockFormat::Q4Z => (0, 16.0),
            BlockFormat::Q5_0 | BlockFormat::Q5_1 => (0, 32.0),
            BlockFormat::Q8_0 => (0, 128.0),
            BlockFormat::Q2K => (80, 48.0),
            BlockFormat::Q3K => (108, 128.0),
            BlockFormat::Q4K => (0, 1024.0),
            BlockFormat::Q5K => (0, 2048.0),
            BlockFormat::Q6K => (208, 4096.0),
            BlockFormat::Q2Z => (0, 4.0),
            BlockFormat::Q8Z => (0, 256.0),
        };
        let has_minimum = matches!(
            format,
            BlockFormat::Q4_1
                | BlockFormat::Q5_1
                | BlockFormat::Q2K
                | BlockFormat::Q4K
                | BlockFormat::Q5K
        );
        let mut out: Vec<u8> = (0..blocks * format.bytes())
            .map(|_| (self.bits() >> 40) as u8)
            .collect();
        for block in out.chunks_exact_mut(format.bytes()) {
            let scale = (1.0 + 0.5 * self.float()) / range;
            if format.has_zero_point() {
                let zero = range * (0.5 + 0.5 * self.float());
                block[..4].copy_from_slice(&scale.to_le_bytes());
                block[4..8].copy_from_slice(&zero.to_le_bytes());
                continue;
            }
            block[at..at + 2].copy_from_slice(&f16::from_f32(scale).to_le_bytes());
            if has_minimum {
                let minimum = self.float()
                    * if at == 0 && block.len() < 32 {
                        1.0
                    } else {
                        0.02
                    };
                block[at + 2..at + 4].copy_from_slice(&f16::from_f32(minimum).to_le_bytes());
            }
        }
        out
    }
}

fn bytes(data_type: DataType, value: f32) -> Vec<u8> {
    match data_type {
        DataType::F16 => f16::from_f32(value).to_le_bytes().to_vec(),
        DataType::Bf16 => bf16::from_f32(value).to_le_bytes().to_vec(),
        DataType::F64 => f64::from(value).to_le_bytes().to_vec(),
        _ => value.to_le_bytes().to_vec(),
    }
}
