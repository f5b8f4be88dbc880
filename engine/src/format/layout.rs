//! The checks every reader makes on where tensors lie: sizes from shapes, ranges inside the file, no overlap.

use super::checkpoint::TensorEntry;
use super::error::{Fault, FormatError};
use crate::tensor::ElementType;

/// The highest rank a tensor may have. ggml has 4; safetensors names no limit.
pub(crate) const RANK_LIMIT: usize = 16;

/// A shape as the file gives it, as one this machine can address, and the bytes it takes.
///
/// `shape` is row-major. The product is also checked with zero dimensions left out, so that no
/// part of it can overflow later.
pub(crate) fn checked_shape(
    shape: &[u64],
    element: ElementType,
) -> Result<(Vec<usize>, u64), Fault> {
    let too_large = || Fault::ShapeTooLarge {
        shape: shape.to_vec(),
        element: element.to_string(),
    };
    let sizes: Vec<usize> = shape
        .iter()
        .map(|&d| usize::try_from(d))
        .collect::<Result<_, _>>()
        .map_err(|_| too_large())?;
    sizes
        .iter()
        .filter(|&&d| d != 0)
        .try_fold(1usize, |n, &d| n.checked_mul(d))
        .ok_or_else(too_large)?;
    if let ElementType::Block(format) = element {
        let row = sizes.last().copied().unwrap_or(1);
        if row % format.elements() != 0 {
            return Err(Fault::PartialBlock {
                shape: shape.to_vec(),
                element: element.to_string(),
                block: format.elements(),
            });
        }
    }
    // In 64 bits also where memory has 32: a large tensor goes to a device piece by piece.
    let elements: usize = sizes.iter().product();
    let bytes = match element {
        ElementType::Plain(data_type) => (elements as u64).checked_mul(data_type.bytes() as u64),
        ElementType::Block(format) => {
            ((elements / format.elements()) as u64).checked_mul(format.bytes() as u64)
        }
    };
    Ok((sizes, bytes.ok_or_else(too_large)?))
}

/// The range `offset..offset + bytes` counted from `data_begin`, from the file's start; an error unless
/// it lies before `data_end`.
pub(crate) fn checked_range(
    offset: u64,
    bytes: u64,
    data_begin: u64,
    data_end: u64,
) -> Result<u64, Fault> {
    // In 128 bits nothing here overflows.
    let begin = u128::from(data_begin) + u128::from(offset);
    let end = begin + u128::from(bytes);
    if end > u128::from(data_end) {
        return Err(Fault::OutOfRange {
            begin,
            end,
            data_begin,
            data_end,
        });
    }
    Ok(begin as u64)
}

/// Turns away entries of one file that share bytes. Returns them in the order in which they lie.
pub(crate) fn in_file_order<'a>(
    file: &str,
    entries: impl Iterator<Item = &'a TensorEntry>,
) -> Result<Vec<&'a TensorEntry>, FormatError> {
    let mut order: Vec<&TensorEntry> = entries.collect();
    order.sort_by_key(|entry| (entry.offset, entry.bytes));
    let mut last: Option<&TensorEntry> = None;
    for entry in order.iter().filter(|entry| entry.bytes > 0) {
        if let Some(last) = last.filter(|last| last.offset + last.bytes > entry.offset) {
            let other = last.name.clone();
            return Err(FormatError::new(file, Fault::Overlap { other })
                .tensor(&entry.name)
                .at(entry.offset));
        }
        last = Some(entry);
    }
    Ok(order)
}
