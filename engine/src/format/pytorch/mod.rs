//! PyTorch checkpoints: what `torch.save` writes of a state dict (`pytorch_model.bin`, `*.pt`, `*.pth`).
//!
//! Layout (PyTorch 1.6 and later, `caffe2/serialize/inline_container.cc` and `torch/serialization.py`): a zip archive
//! of stored entries under one folder: `data.pkl`, the pickle of the object; `data/KEY`, the bytes of a storage each;
//! `byteorder`, which older versions leave out. The pickle names the storages by persistent ids.
//!
//! Nothing of a pickle is run: [`pickle`] understands the few opcodes and the few callables that a state dict needs,
//! and refuses the rest by name.

mod pickle;
#[cfg(test)]
mod tests;
mod zip;

use super::checkpoint::{Checkpoint, TensorEntry};
use super::error::{Fault, FormatError};
use super::layout::{checked_range, checked_shape};
use crate::source::ByteSource;
use crate::tensor::ElementType;
use pickle::Tensor;

/// How often, on average, a stored byte may be a tensor's: tied weights are one storage under several names.
const MOST_SHARING: u64 = 8;

/// Whether a file's name is one that PyTorch's users give.
pub(crate) fn is_named(name: &str) -> bool {
    [".bin", ".pt", ".pth"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// Reads where a file's tensors lie; the weights stay where they are.
///
/// # Errors
/// A failed read; an archive or a pickle that cannot be true of a file of this length; a pickle that names anything
/// else than what state dicts are made of; a storage that is compressed; a tensor that is no contiguous part of its
/// storage; a file of a PyTorch before 1.6.
pub async fn read_header(source: &dyn ByteSource) -> Result<Checkpoint, FormatError> {
    let file = source.name();
    let archive = zip::open(source).await?;
    let pickled_at = archive.get("data.pkl")?;
    let pickled = zip::read(source, pickled_at, pickle::LIMIT).await?;
    if let Some(order) = archive.find("byteorder") {
        let order = zip::read(source, order, 16).await?;
        if order != b"little" {
            let fault = Fault::Zip("its byteorder is not little, the only one that is supported");
            return Err(FormatError::new(file, fault));
        }
    }
    let mut checkpoint = Checkpoint {
        file: file.to_owned(),
        ..Checkpoint::default()
    };
    let mut room = source.len().saturating_mul(MOST_SHARING);
    let tensors = pickle::read(&pickled).map_err(|error| error.of(file, pickled_at.offset))?;
    for tensor in tensors {
        let failed = |fault| FormatError::new(file, fault).tensor(tensor.name);
        let storage = archive.get(&format!("data/{}", tensor.storage));
        let storage = storage.map_err(|error| error.tensor(tensor.name))?;
        let entry = entry(&tensor, storage).map_err(failed)?;
        // An empty tensor counts too, so that their number is bounded.
        room = room
            .checked_sub(entry.bytes.max(1))
            .ok_or_else(|| failed(Fault::Pickle("its tensors share storages too often")))?;
        checkpoint.add(entry).map_err(failed)?;
    }
    Ok(checkpoint)
}

/// Where a tensor of a storage is.
fn entry(tensor: &Tensor<'_>, storage: &TensorEntry) -> Result<TensorEntry, Fault> {
    let element = ElementType::Plain(tensor.data_type);
    let size = tensor.data_type.bytes() as u64;
    let expected = tensor.elements.saturating_mul(size);
    if expected != storage.bytes {
        let got = storage.bytes;
        return Err(Fault::Length { expected, got });
    }
    let (shape, bytes) = checked_shape(&tensor.shape, element)?;
    // Strides of dimensions with one element say nothing; an empty tensor has none at all.
    let mut step = 1;
    for (&size, &stride) in tensor.shape.iter().zip(&tensor.strides).rev() {
        if size > 1 && stride != step && bytes > 0 {
            return Err(Fault::Strides {
                shape: tensor.shape.clone(),
                strides: tensor.strides.clone(),
            });
        }
        step *= size.max(1);
    }
    let end = storage.offset + storage.bytes;
    let offset = tensor.offset.saturating_mul(size);
    Ok(TensorEntry {
        name: tensor.name.to_owned(),
        element,
        shape,
        file: 0,
        offset: checked_range(offset, bytes, storage.offset, end)?,
        bytes,
    })
}
