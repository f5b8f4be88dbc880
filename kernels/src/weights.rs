//! Weight matrices in the layout that the kernels read, packed once while a model loads.
//!
//! Rows are taken in groups of [`GROUP`] = 16. A packed group takes exactly the bytes its rows took
//! in the file, so packing works in place and a weight is never in memory twice. A short last group
//! is filled up with zero rows.
//!
//! - f32, f16, bf16: `[k][16]`.
//! - `q4_0`, `q4_1`, `q8_0`, `q4_z`, `q8_z`: one record after the other, a record holding one block of each of the
//!   16 rows with its scales first (see [`block`](super::block)).
//! - `q5_0`, `q5_1`, `q4_k`, `q5_k`, `q6_k`: records of the file's larger blocks.
//! - other block formats: the file's own rows, decoded group by group when used.

use crate::element::{BlockFormat, DataType, ElementType};

use super::block::{self, is_long};
use super::scratch::Aligned;

/// Rows in a group.
pub(crate) const GROUP: usize = 16;

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum PackError {
    #[error("weights of type {0} are not multiplied with; f32, f16, bf16 and block formats are")]
    Type(ElementType),
    #[error("{element} rows of {k} weights are no whole number of blocks")]
    Blocks { element: ElementType, k: usize },
    #[error("no memory for a {n}×{k} matrix of {element}")]
    Memory {
        element: ElementType,
        n: usize,
        k: usize,
    },
    #[error("{len} bytes at offset {offset} lie outside a matrix of {size} bytes")]
    Range {
        offset: usize,
        len: usize,
        size: usize,
    },
    #[error("bytes at offset {offset} were written twice")]
    Twice { offset: usize },
    #[error("{missing} of {size} bytes were never written")]
    Incomplete { missing: usize, size: usize },
}

/// An `n × k` matrix ready for [`Kernels::linear`](super::Kernels::linear).
pub struct PackedWeights {
    pub(crate) element: ElementType,
    pub(crate) n: usize,
    pub(crate) k: usize,
    pub(crate) data: Aligned,
}

impl PackedWeights {
    /// Packs the whole matrix `bytes`: `n` rows of `k` weights as the file has them.
    pub fn pack(
        element: ElementType,
        n: usize,
        k: usize,
        bytes: &[u8],
    ) -> Result<PackedWeights, PackError> {
        let mut packer = Packer::new(element, n, k)?;
        packer.write(0, bytes)?;
        packer.finish()
    }

    pub fn element(&self) -> ElementType {
        self.element
    }

    /// Rows: how many outputs.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Columns: how many inputs.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        self.data.as_slice().len()
    }

    pub(crate) fn group_bytes(&self) -> usize {
        GROUP * row_bytes(self.element, self.k)
    }

    pub(crate) fn groups(&self) -> usize {
        self.n.div_ceil(GROUP)
    }

    pub(crate) fn group(&self, group: usize) -> &[u8] {
        let size = self.group_bytes();
        &self.data.as_slice()[group * size..][..size]
    }

    /// Writes row `i` to `out` (of `k` floats).
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn row(&self, i: usize, out: &mut [f32]) {
        assert!(i < self.n, "row {i} of {}", self.n);
        assert_eq!(out.len(), self.k);
        let (group, lane) = (self.group(i / GROUP), i % GROUP);
        match self.element {
            ElementType::Block(format) => block::packed_row(format, group, lane, out),
            ElementType::Plain(DataType::F32) => {
                for (k, out) in out.iter_mut().enumerate() {
                    let at = (k * GROUP + lane) * 4;
                    *out = bytemuck::pod_read_unaligned(&group[at..at + 4]);
                }
            }
            ElementType::Plain(data_type) => {
                for (k, out) in out.iter_mut().enumerate() {
                    let at = (k * GROUP + lane) * 2;
                    let bits = u16::from_le_bytes([group[at], group[at + 1]]);
                    *out = match data_type {
                        DataType::F16 => half::f16::from_bits(bits).to_f32(),
                        _ => half::bf16::from_bits(bits).to_f32(),
                    };
                }
            }
        }
    }
}

impl std::fmt::Debug for PackedWeights {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PackedWeights({}×{} {})", self.n, self.k, self.element)
    }
}

/// Takes a matrix's bytes as they arrive, in pieces and in any order, and packs each group of rows
/// as soon as all bytes before its end are there.
pub struct Packer {
    weights: PackedWeights,
    size: usize,
    /// Bytes written that nothing is missing before, and pieces that lie after a gap.
    prefix: usize,
    ahead: Vec<(usize, usize)>,
    packed_groups: usize,
    group: Vec<u8>,
}

impl Packer {
    /// A packer for `n` rows of `k` weights.
    ///
    /// # Errors
    /// For element types that are no weights, rows of no whole number of blocks, and if memory does
    /// not suffice.
    pub fn new(element: ElementType, n: usize, k: usize) -> Result<Packer, PackError> {
        let known = match element {
            ElementType::Plain(t) => {
                matches!(t, DataType::F32 | DataType::F16 | DataType::Bf16)
            }
            ElementType::Block(_) => true,
        };
        if !known {
            return Err(PackError::Type(element));
        }
        if let ElementType::Block(format) = element
            && !k.is_multiple_of(format.elements())
        {
            return Err(PackError::Blocks { element, k });
        }
        let memory = PackError::Memory { element, n, k };
        let padded = n.checked_next_multiple_of(GROUP);
        let (Some(size), Some(bytes)) = (
            element.byte_len(&[n, k]),
            padded.and_then(|rows| element.byte_len(&[rows, k])),
        ) else {
            return Err(memory);
        };
        let data = Aligned::new(bytes).ok_or(memory)?;
        Ok(Packer {
            weights: PackedWeights {
                element,
                n,
                k,
                data,
            },
            size,
            prefix: 0,
            ahead: Vec::new(),
            packed_groups: 0,
            group: Vec::new(),
        })
    }

    /// Takes `bytes`, which stand at `offset` in the file's matrix.
    ///
    /// # Errors
    /// If they reach beyond the matrix or were written before.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) -> Result<(), PackError> {
        if bytes.is_empty() {
            return Ok(());
        }
        let end = offset
            .checked_add(bytes.len())
            .filter(|&end| end <= self.size)
            .ok_or(PackError::Range {
                offset,
                len: bytes.len(),
                size: self.size,
            })?;
        let at = self.ahead.partition_point(|&(start, _)| start < offset);
        let before = at.checked_sub(1).map_or(self.prefix, |i| self.ahead[i].1);
        let after = self.ahead.get(at).map_or(self.size, |&(start, _)| start);
        if offset < before || end > after {
            return Err(PackError::Twice { offset });
        }
        self.weights.data.as_mut_slice()[offset..end].copy_from_slice(bytes);
        self.ahead.insert(at, (offset, end));
        let joined = self
            .ahead
            .iter()
            .scan(self.prefix, |prefix, &(start, end)| {
                (start == *prefix).then(|| *prefix = end)
            })
            .count();
        if joined > 0 {
            self.prefix = self.ahead[joined - 1].1;
            self.ahead.drain(..joined);
        }
        self.pack_groups();
        Ok(())
    }

    /// The packed matrix.
    ///
    /// # Errors
    /// If bytes are missing.
    pub fn finish(self) -> Result<PackedWeights, PackError> {
        if self.prefix < self.size {
            let ahead: usize = self.ahead.iter().map(|(start, end)| end - start).sum();
            return Err(PackError::Incomplete {
                missing: self.size - self.prefix - ahead,
                size: self.size,
            });
        }
        Ok(self.weights)
    }

    fn pack_groups(&mut self) {
        let size = self.weights.group_bytes();
        let whole = match self.prefix {
            prefix if prefix == self.size => self.weights.groups(),
            prefix => prefix.checked_div(size).unwrap_or(0),
        };
        let k = self.weights.k;
        for group in self.packed_groups..whole {
            let bytes = &mut self.weights.data.as_mut_slice()[group * size..][..size];
            self.group.clear();
            self.group.extend_from_slice(bytes);
            match self.weights.element {
                ElementType::Plain(DataType::F32) => interleave::<4>(&self.group, k, bytes),
                ElementType::Plain(_) => interleave::<2>(&self.group, k, bytes),
                ElementType::Block(format) => block::pack_group(format, &self.group, bytes),
            }
        }
        self.packed_groups = whole.max(self.packed_groups);
    }
}

/// `[16][k]` elements of `B` bytes to `[k][16]`.
fn interleave<const B: usize>(rows: &[u8], k: usize, packed: &mut [u8]) {
    let (rows, _) = rows.as_chunks::<B>();
    let (packed, _) = packed.as_chunks_mut::<B>();
    for (column, packed) in packed.chunks_exact_mut(GROUP).enumerate() {
        for (row, packed) in packed.iter_mut().enumerate() {
            *packed = rows[row * k + column];
        }
    }
}

fn row_bytes(element: ElementType, k: usize) -> usize {
    match element {
        ElementType::Plain(data_type) => data_type.bytes() * k,
        ElementType::Block(format) => k / format.elements() * format.bytes(),
    }
}

/// Whether `format` has a packed layout of its own, besides the file's rows.
pub(crate) fn has_records(format: BlockFormat) -> bool {
    matches!(
        format,
        BlockFormat::Q4_0
            | BlockFormat::Q4_1
            | BlockFormat::Q8_0
            | BlockFormat::Q4Z
            | BlockFormat::Q8Z
    ) || is_long(format)
}
