//! Block formats: quantized weights in blocks along a tensor's last dimension, each block with its own scale.
//!
//! The layouts are GGUF's (ggml's `block_q4_0` … `block_q6_K`), bit for bit, so that a file's bytes go
//! to a back end unchanged; and three of our own for what ONNX files quantize with a scale and a zero point in f32:
//!
//! | format | block of 32 weights, `w = d (q − z)` |
//! | --- | --- |
//! | `q2_z` | f32 d, f32 z, 8 bytes: weights j, j + 8, j + 16, j + 24 in byte j, from its lowest bits on |
//! | `q4_z` | f32 d, f32 z, 16 bytes of nibbles as in `q4_0` |
//! | `q8_z` | f32 d, f32 z, 32 unsigned bytes |

use std::fmt;

/// A block layout of quantized weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum BlockFormat {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
    Q2Z,
    Q4Z,
    Q8Z,
}

impl BlockFormat {
    pub const ALL: [BlockFormat; 13] = [
        BlockFormat::Q4_0,
        BlockFormat::Q4_1,
        BlockFormat::Q5_0,
        BlockFormat::Q5_1,
        BlockFormat::Q8_0,
        BlockFormat::Q2K,
        BlockFormat::Q3K,
        BlockFormat::Q4K,
        BlockFormat::Q5K,
        BlockFormat::Q6K,
        BlockFormat::Q2Z,
        BlockFormat::Q4Z,
        BlockFormat::Q8Z,
    ];

    /// Weights in one block.
    pub const fn elements(self) -> usize {
        match self {
            BlockFormat::Q4_0
            | BlockFormat::Q4_1
            | BlockFormat::Q5_0
            | BlockFormat::Q5_1
            | BlockFormat::Q8_0
            | BlockFormat::Q2Z
            | BlockFormat::Q4Z
            | BlockFormat::Q8Z => 32,
            BlockFormat::Q2K
            | BlockFormat::Q3K
            | BlockFormat::Q4K
            | BlockFormat::Q5K
            | BlockFormat::Q6K => 256,
        }
    }

    /// Bytes of one block.
    pub const fn bytes(self) -> usize {
        match self {
            BlockFormat::Q4_0 => 18,
            BlockFormat::Q4_1 => 20,
            BlockFormat::Q5_0 => 22,
            BlockFormat::Q5_1 => 24,
            BlockFormat::Q8_0 => 34,
            BlockFormat::Q2K => 84,
            BlockFormat::Q3K => 110,
            BlockFormat::Q4K => 144,
            BlockFormat::Q5K => 176,
            BlockFormat::Q6K => 210,
            BlockFormat::Q2Z => 16,
            BlockFormat::Q4Z => 24,
            BlockFormat::Q8Z => 40,
        }
    }

    /// Whether a block begins with its scale and zero point in f32; the others have f16 scales, GGUF's.
    pub const fn has_zero_point(self) -> bool {
        matches!(self, BlockFormat::Q2Z | BlockFormat::Q4Z | BlockFormat::Q8Z)
    }

    /// Bits a weight takes, scales and offsets counted.
    pub fn bits_per_weight(self) -> f64 {
        8.0 * self.bytes() as f64 / self.elements() as f64
    }

    /// The format's name, as GGUF's users know it.
    pub const fn name(self) -> &'static str {
        match self {
            BlockFormat::Q4_0 => "q4_0",
            BlockFormat::Q4_1 => "q4_1",
            BlockFormat::Q5_0 => "q5_0",
            BlockFormat::Q5_1 => "q5_1",
            BlockFormat::Q8_0 => "q8_0",
            BlockFormat::Q2K => "q2_k",
            BlockFormat::Q3K => "q3_k",
            BlockFormat::Q4K => "q4_k",
            BlockFormat::Q5K => "q5_k",
            BlockFormat::Q6K => "q6_k",
            BlockFormat::Q2Z => "q2_z",
            BlockFormat::Q4Z => "q4_z",
            BlockFormat::Q8Z => "q8_z",
        }
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
