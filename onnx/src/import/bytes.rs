//! Matrices of bytes with a scale and a zero point, for all of a matrix or for each of its rows, as weights in blocks.
//!
//! As [`blocks`](super::blocks), nothing is brought over beforehand: the bytes are made when they are read.

use std::rc::Rc;

use fewbit_engine::source::{ByteSource, LocalFuture, SourceError};
use fewbit_engine::tensor::{BlockFormat, ElementType};

use super::model::Stored;

const FORMAT: BlockFormat = BlockFormat::Q8Z;

/// Weights of a block.
const BLOCK: usize = 32;

/// A number for all rows, or one for each.
#[derive(Clone)]
pub(crate) enum Factors {
    One(f32),
    Each(Stored),
}

/// `scale · (code − zero)`, `rows` of `k`.
#[derive(Clone)]
pub(crate) struct ByteMatrix {
    /// i8 or u8, `[rows, k]`; or `[k, rows]`.
    pub(crate) codes: Stored,
    pub(crate) turned: bool,
    pub(crate) rows: usize,
    pub(crate) k: usize,
    pub(crate) scale: Factors,
    pub(crate) zero: Factors,
    /// Whether the codes are i8.
    pub(crate) signed: bool,
}

impl ByteMatrix {
    /// Columns of the weight, the last block filled up.
    pub(crate) fn columns(&self) -> usize {
        self.k.next_multiple_of(BLOCK)
    }

    /// The matrix as a weight; `None` where a part has not the bytes that it must have.
    pub(crate) fn weight(self, name: &str) -> Option<Stored> {
        let shape = vec![self.rows, self.columns()];
        let element = ElementType::Block(FORMAT);
        let bytes = u64::try_from(element.byte_len(&shape)?).ok()?;
        let codes = u64::try_from(self.rows.checked_mul(self.k)?).ok()?;
        let each = |factors: &Factors| match factors {
            Factors::One(_) => Some(true),
            Factors::Each(stored) => {
                let wanted = stored.element.byte_len(&[self.rows])?;
                Some(u64::try_from(wanted) == Ok(stored.bytes))
            }
        };
        if self.codes.bytes != codes || !each(&self.scale)? || !each(&self.zero)? {
            return None;
        }
        let source = Blocks {
            name: name.to_owned(),
            matrix: self,
            bytes,
        };
        Some(Stored {
            element,
            shape,
            source: Rc::new(source),
            offset: 0,
            bytes,
        })
    }
}

/// The blocks of a matrix as a file.
struct Blocks {
    name: String,
    matrix: ByteMatrix,
    bytes: u64,
}

impl Blocks {
    /// The factors of rows `from .. from + count`.
    async fn factors(
        &self,
        factors: &Factors,
        from: usize,
        count: usize,
    ) -> Result<Vec<f32>, SourceError> {
        let stored = match factors {
            Factors::One(one) => return Ok(vec![*one; count]),
            Factors::Each(stored) => stored,
        };
        stored.floats(from, count).await
    }

    /// The codes of rows `from .. from + count`, row by row.
    async fn codes(&self, from: usize, count: usize) -> Result<Vec<u8>, SourceError> {
        let ByteMatrix { codes, rows, k, .. } = &self.matrix;
        let mut own = vec![0; count * k];
        if !self.matrix.turned {
            let at = codes.offset + (from * k) as u64;
            codes.source.read_at(at, &mut own).await?;
            return Ok(own);
        }
        // A part of every column, some columns at a time.
        let at_once = ((1 << 20) / rows).clamp(1, *k);
        let mut some = vec![0; at_once * rows];
        for first in (0..*k).step_by(at_once) {
            let columns = at_once.min(k - first);
            let at = codes.offset + (first * rows) as u64;
            let part = &mut some[..columns * rows];
            codes.source.read_at(at, part).await?;
            for (column, part) in part.chunks_exact(*rows).enumerate() {
                let part = &part[from..][..count];
                for (row, &code) in part.iter().enumerate() {
                    own[row * k + first + column] = code;
                }
            }
        }
        Ok(own)
    }
}

impl ByteSource for Blocks {
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
            let matrix = &self.matrix;
            let row = matrix.columns() / BLOCK * FORMAT.bytes();
            let (offset, end) = (offset as usize, end as usize);
            let from = offset / row;
            let count = end.div_ceil(row) - from;
            let scales = self.factors(&matrix.scale, from, count).await?;
            let zeros = self.factors(&matrix.zero, from, count).await?;
            let codes = self.codes(from, count).await?;
            // Bytes of i8 count from −128 on.
            let (flip, shift) = match matrix.signed {
                true => (0x80, 128.0),
                false => (0, 0.0),
            };
            let mut made = Vec::with_capacity(count * row);
            for (own, (scale, zero)) in codes.chunks_exact(matrix.k).zip(scales.iter().zip(&zeros))
            {
                for block in own.chunks(BLOCK) {
                    made.extend(scale.to_le_bytes());
                    made.extend((zero + shift).to_le_bytes());
                    made.extend(block.iter().map(|code| code ^ flip));
                    made.extend(std::iter::repeat_n(0, BLOCK - block.len()));
                }
            }
            buffer.copy_from_slice(&made[offset - from * row..][..buffer.len()]);
            Ok(())
        })
    }
}
