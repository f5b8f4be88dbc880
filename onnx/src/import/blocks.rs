//! Quantized weights as `com.microsoft` has them, brought to block formats without being decoded.
//!
//! A row of `k` weights is cut into blocks of `size`, of which the last may be partly filled. A block's codes stand in
//! `size · bits / 8` bytes, from the lowest bits on; its weights are `scale · (code − zero)`. Blocks of 32 and more become one or
//! several of ours with the same scale; a block of 16 takes half of one of 32, the other half being met by zeros.
//!
//! Nothing is brought over beforehand: [`Repacked`] is a file whose bytes are made of the parts' bytes when they are read.

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};
use fewbit_engine::tensor::{BlockFormat, DataType, ElementType};

use super::error::{Refusal, unsupported, wrong};
use super::model::Stored;

/// Weights of one of our blocks.
const OURS: usize = 32;

/// How a file quantizes a matrix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Quantization {
    pub(crate) rows: usize,
    /// Weights of a row.
    pub(crate) k: usize,
    pub(crate) bits: usize,
    /// Weights that share a scale.
    pub(crate) size: usize,
}

impl Quantization {
    /// # Errors
    /// What the operators' specifications do not allow.
    pub(crate) fn new(rows: i64, k: i64, bits: i64, size: i64) -> Result<Quantization, Refusal> {
        let number = |what: &str, value: i64| match usize::try_from(value) {
            Ok(value) if value > 0 && value < 1 << 31 => Ok(value),
            _ => wrong(format!("{what} of {value}")),
        };
        let (rows, k) = (number("N", rows)?, number("K", k)?);
        let (bits, size) = (number("bits", bits)?, number("block_size", size)?);
        if !matches!(bits, 2 | 4 | 8) {
            return unsupported(format!("{bits} bits"));
        }
        if size < 16 || !size.is_power_of_two() || size > 1 << 20 {
            return wrong(format!("blocks of {size}"));
        }
        Ok(Quantization {
            rows,
            k,
            bits,
            size,
        })
    }

    /// Blocks of a row.
    pub(crate) fn blocks(&self) -> usize {
        self.k.div_ceil(self.size)
    }

    /// Bytes of a block's codes.
    fn code_bytes(&self) -> usize {
        self.size * self.bits / 8
    }

    /// Bytes of a row's zero points, packed like codes.
    fn zero_bytes(&self) -> usize {
        (self.blocks() * self.bits).div_ceil(8)
    }

    /// Columns of the block weight.
    pub(crate) fn columns(&self) -> usize {
        self.blocks() * self.size.max(OURS)
    }

    /// The zero point where the file has none.
    fn middle(&self) -> f32 {
        f32::from(1u8 << (self.bits - 1))
    }
}

/// The parts of a quantized matrix, where they lie.
pub(crate) struct Parts {
    pub(crate) codes: Stored,
    pub(crate) scales: Stored,
    pub(crate) zeros: Option<Stored>,
}

/// The matrix in a block format: GGUF's where scales are of 16 bits and there are no zero points, else ours.
///
/// # Errors
/// Parts whose types or lengths are not what the sizes say.
pub(crate) fn repacked(of: Quantization, parts: Parts, name: &str) -> Result<Stored, Refusal> {
    let Some(blocks) = of.rows.checked_mul(of.blocks()) else {
        return wrong(format!("{} rows of {} blocks", of.rows, of.blocks()));
    };
    if parts.codes.element != DataType::U8.into() {
        return wrong(format!("codes of {}", parts.codes.element));
    }
    check(&parts.codes, "codes", blocks.checked_mul(of.code_bytes()))?;
    floats(&parts.scales, "scales", blocks)?;
    match &parts.zeros {
        Some(zeros) if zeros.element == DataType::U8.into() => {
            check(zeros, "zero points", of.rows.checked_mul(of.zero_bytes()))?;
        }
        Some(zeros) => floats(zeros, "zero points", blocks)?,
        None => {}
    }
    let halves = parts.scales.element == DataType::F16.into() && parts.zeros.is_none();
    let format = match (of.bits, halves && of.size >= OURS) {
        (4, true) => BlockFormat::Q4_0,
        (8, true) => BlockFormat::Q8_0,
        (2, _) => BlockFormat::Q2Z,
        (4, _) => BlockFormat::Q4Z,
        _ => BlockFormat::Q8Z,
    };
    let shape = vec![of.rows, of.columns()];
    let element = ElementType::Block(format);
    let bytes = element
        .byte_len(&shape)
        .and_then(|len| u64::try_from(len).ok());
    let Some(bytes) = bytes else {
        return wrong(format!("{shape:?} weights"));
    };
    let source = Repacked {
        of,
        parts,
        format,
        name: name.to_owned(),
        bytes,
    };
    Ok(Stored {
        element,
        shape,
        source: Rc::new(source),
        offset: 0,
        bytes,
    })
}

fn check(stored: &Stored, what: &str, wanted: Option<usize>) -> Result<(), Refusal> {
    match wanted {
        Some(wanted) if u64::try_from(wanted) == Ok(stored.bytes) => Ok(()),
        _ => {
            let len = stored.bytes;
            wrong(format!("{len} bytes of {what} where {wanted:?} are wanted"))
        }
    }
}

/// As many floats of 16 or 32 bits as there must be.
fn floats(stored: &Stored, what: &str, count: usize) -> Result<(), Refusal> {
    match stored.element {
        ElementType::Plain(DataType::F32 | DataType::F16 | DataType::Bf16) => {
            check(stored, what, stored.element.byte_len(&[count]))
        }
        other => wrong(format!("{what} of {other}")),
    }
}

/// The blocks of a matrix as a file.
struct Repacked {
    of: Quantization,
    parts: Parts,
    format: BlockFormat,
    name: String,
    bytes: u64,
}

/// What of the parts some of the file's blocks need.
struct Read {
    codes: Vec<u8>,
    scales: Vec<f32>,
    /// Empty where there are none.
    zeros: Vec<f32>,
}

impl Repacked {
    /// Our blocks in one of the file's.
    fn each(&self) -> usize {
        (self.of.size / OURS).max(1)
    }

    /// The parts of the file's blocks `from .. from + count`.
    async fn read(&self, from: usize, count: usize) -> Result<Read, SourceError> {
        let mut codes = vec![0; count * self.of.code_bytes()];
        let at = (from * self.of.code_bytes()) as u64;
        let stored = &self.parts.codes;
        stored
            .source
            .read_at(stored.offset + at, &mut codes)
            .await?;
        let scales = self.parts.scales.floats(from, count).await?;
        let zeros = match &self.parts.zeros {
            None => Vec::new(),
            Some(zeros) if zeros.element == DataType::U8.into() => {
                self.packed_zeros(zeros, from, count).await?
            }
            Some(zeros) => zeros.floats(from, count).await?,
        };
        Ok(Read {
            codes,
            scales,
            zeros,
        })
    }

    /// Zero points that are packed row by row like codes.
    async fn packed_zeros(
        &self,
        stored: &Stored,
        from: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        let (blocks, row) = (self.of.blocks(), self.of.zero_bytes());
        let rows = from / blocks..(from + count).div_ceil(blocks);
        let mut bytes = vec![0; rows.len() * row];
        let at = stored.offset + (rows.start * row) as u64;
        stored.source.read_at(at, &mut bytes).await?;
        let zero = |block: usize| {
            let row = &bytes[(block / blocks - rows.start) * row..];
            f32::from(code(row, self.of.bits, block % blocks))
        };
        Ok((from..from + count).map(zero).collect())
    }
}

impl ByteSource for Repacked {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> u64 {
        self.bytes
    }

    fn read_at<'a>(
        &'a self,
        offset: u64,
        buffer: &'a mut [u8],
    ) -> LocalFuture<'a, Result<(), SourceError>> {
        Box::pin(async move {
            let end = self.end_of(offset, buffer.len())?;
            if buffer.is_empty() {
                return Ok(());
            }
            // Of a matrix that is in memory's reach: its bytes are counted by a usize.
            let each = self.each() * self.format.bytes();
            let (offset, end) = (offset as usize, end as usize);
            let from = offset / each;
            let read = self.read(from, end.div_ceil(each) - from).await?;
            let mut made = Vec::with_capacity(read.scales.len() * each);
            let size = self.of.code_bytes();
            for (block, (&scale, own)) in read
                .scales
                .iter()
                .zip(read.codes.chunks_exact(size))
                .enumerate()
            {
                let zero = read.zeros.get(block).copied();
                let zero = zero.unwrap_or(self.of.middle());
                for start in (0..self.of.size).step_by(OURS) {
                    let mut codes = [0; OURS];
                    for (i, to) in codes[..OURS.min(self.of.size)].iter_mut().enumerate() {
                        *to = code(own, self.of.bits, start + i);
                    }
                    write(self.format, scale, zero, &codes, &mut made);
                }
            }
            buffer.copy_from_slice(&made[offset - from * each..][..buffer.len()]);
            Ok(())
        })
    }
}

/// Number `at` of codes that are packed from the lowest bits on.
fn code(bytes: &[u8], bits: usize, at: usize) -> u8 {
    let byte = bytes[at * bits / 8];
    match bits {
        8 => byte,
        _ => byte >> (at * bits % 8) & ((1 << bits) - 1),
    }
}

/// One block of 32 codes.
fn write(format: BlockFormat, scale: f32, zero: f32, codes: &[u8; OURS], out: &mut Vec<u8>) {
    match format {
        // Scales of f16, that is exactly.
        BlockFormat::Q4_0 | BlockFormat::Q8_0 => {
            out.extend(half::f16::from_f32(scale).to_le_bytes());
        }
        _ => {
            out.extend(scale.to_le_bytes());
            out.extend(zero.to_le_bytes());
        }
    }
    match format {
        BlockFormat::Q2Z => out.extend(
            (0..8).map(|j| codes[j] | codes[j + 8] << 2 | codes[j + 16] << 4 | codes[j + 24] << 6),
        ),
        BlockFormat::Q4_0 | BlockFormat::Q4Z => {
            out.extend((0..16).map(|j| codes[j] | codes[j + 16] << 4));
        }
        BlockFormat::Q8_0 => out.extend(codes.iter().map(|&code| code ^ 0x80)),
        _ => out.extend(codes),
    }
}
