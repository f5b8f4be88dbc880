//! A weight as the CPU keeps it: packed for products and row look-ups, and plain where anything else reads it.

use crate::backend::{BackendError, WeightUse};
use crate::tensor::{DataType, ElementType, Tensor};

use super::kernels::{Kernels, PackError, PackedFilter, PackedWeights, Packer};

pub(super) struct Weight {
    pub(super) name: String,
    usage: WeightUse,
    packer: Option<Packer>,
    /// Packed for convolutions.
    pub(super) filter: Option<PackedFilter>,
    pub(super) packed: Option<PackedWeights>,
    pub(super) plain: Option<Tensor>,
    /// Stored bytes of a block-quantized weight that something reads element by element.
    pub(super) blocks: Option<Vec<u8>>,
    written: u64,
    bytes: u64,
}

impl Weight {
    pub(super) fn new(
        name: &str,
        element: ElementType,
        shape: &[usize],
        usage: WeightUse,
    ) -> Result<Weight, BackendError> {
        let bytes = element.byte_len(shape).ok_or_else(|| {
            fault(
                name,
                format!("{element} {shape:?} has no whole number of blocks"),
            )
        })?;
        // Rows of an f32 table are read where they are; any other table is decoded from its packed form.
        let decodes = usage.gather && element != ElementType::F32;
        let packs = packable(element) && shape.len() == 2 && (usage.matmul || decodes);
        let packer = match (packs, shape) {
            (true, &[n, k]) => Some(Packer::new(element, n, k).map_err(|e| packing(name, e))?),
            _ => None,
        };
        let (mut plain, mut blocks) = (None, None);
        if packer.is_none() || usage.plain {
            match element {
                ElementType::Plain(data_type) => plain = Some(Tensor::zeros(data_type, shape)?),
                ElementType::Block(_) => blocks = Some(vec![0; bytes]),
            }
        }
        Ok(Weight {
            name: name.to_owned(),
            usage,
            packer,
            filter: None,
            packed: None,
            plain,
            blocks,
            written: 0,
            bytes: bytes as u64,
        })
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let end = offset.checked_add(bytes.len() as u64);
        if offset != self.written || end.is_none_or(|end| end > self.bytes) {
            return Err(fault(
                &self.name,
                format!(
                    "{} bytes written at {offset}; {} of {} are there",
                    bytes.len(),
                    self.written,
                    self.bytes
                ),
            ));
        }
        self.written += bytes.len() as u64;
        let range = offset as usize..offset as usize + bytes.len();
        if let Some(packer) = &mut self.packer {
            packer
                .write(range.start, bytes)
                .map_err(|e| packing(&self.name, e))?;
        }
        if let Some(plain) = &mut self.plain {
            plain.bytes_mut()[range.clone()].copy_from_slice(bytes);
        }
        if let Some(blocks) = &mut self.blocks {
            blocks[range].copy_from_slice(bytes);
        }
        Ok(())
    }

    pub(super) fn finish(&mut self, kernels: Kernels) -> Result<(), BackendError> {
        if self.written != self.bytes {
            return Err(fault(
                &self.name,
                format!("{} of {} bytes were written", self.written, self.bytes),
            ));
        }
        if let Some(packer) = self.packer.take() {
            self.packed = Some(packer.finish().map_err(|e| packing(&self.name, e))?);
        }
        if let (Some(groups), Some(plain)) = (self.usage.filter, &self.plain) {
            let outputs = plain.shape().first().copied().unwrap_or(0);
            let mut values = vec![0.0; plain.elements()];
            let element = plain.data_type().into();
            crate::tensor::decode(element, plain.bytes(), &mut values)
                .map_err(|error| fault(&self.name, error.to_string()))?;
            self.filter = Some(kernels.pack_filter(&values, outputs, groups));
            if !self.usage.plain {
                self.plain = None;
            }
        }
        Ok(())
    }

    /// Bytes held.
    pub(super) fn held(&self) -> u64 {
        let packed = self.packed.as_ref().map_or(0, PackedWeights::bytes);
        let plain = self.plain.as_ref().map_or(0, |t| t.bytes().len());
        let blocks = self.blocks.as_ref().map_or(0, Vec::len);
        let filter = self.filter.as_ref().map_or(0, PackedFilter::bytes);
        (packed + plain + blocks + filter) as u64
    }
}

fn packable(element: ElementType) -> bool {
    matches!(
        element,
        ElementType::Block(_) | ElementType::Plain(DataType::F32 | DataType::F16 | DataType::Bf16)
    )
}

fn packing(name: &str, error: PackError) -> BackendError {
    match error {
        PackError::Memory { .. } => BackendError::OutOfMemory(format!("weight {name}: {error}")),
        error => fault(name, error.to_string()),
    }
}

fn fault(name: &str, message: String) -> BackendError {
    BackendError::Weight {
        name: name.to_owned(),
        message,
    }
}
