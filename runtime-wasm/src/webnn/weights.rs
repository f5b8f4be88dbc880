//! Weights as the file has them, outside of wasm memory, and the constants that are made of them.

use fewbit_engine::backend::BackendError;
use fewbit_engine::tensor::{DataType, ElementType, decode};
use js_sys::{ArrayBuffer, Uint8Array};

/// How much is decoded at a time. wasm memory never shrinks.
const DECODED_ELEMENTS: usize = 1 << 20;

pub(super) struct Weight {
    pub(super) name: String,
    pub(super) element: ElementType,
    pub(super) shape: Vec<usize>,
    stored: Uint8Array,
    written: u64,
}

impl Weight {
    pub(super) fn new(
        name: &str,
        element: ElementType,
        shape: &[usize],
    ) -> Result<Weight, BackendError> {
        let bytes = element
            .byte_len(shape)
            .and_then(|bytes| u32::try_from(bytes).ok());
        let bytes = bytes.ok_or_else(|| {
            fault(
                name,
                format!("{element} {shape:?} has no whole number of blocks, or too many"),
            )
        })?;
        Ok(Weight {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            stored: Uint8Array::new_with_length(bytes),
            written: 0,
        })
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let end = self.written + bytes.len() as u64;
        if offset != self.written || end > self.held() {
            let there = (self.written, self.held());
            return Err(fault(
                &self.name,
                format!(
                    "{} bytes written at {offset}; {} of {} are there",
                    bytes.len(),
                    there.0,
                    there.1
                ),
            ));
        }
        self.stored
            .subarray(offset as u32, end as u32)
            .copy_from(bytes);
        self.written = end;
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), BackendError> {
        if self.written == self.held() {
            return Ok(());
        }
        Err(fault(
            &self.name,
            format!("{} of {} bytes were written", self.written, self.held()),
        ))
    }

    /// Bytes held.
    pub(super) fn held(&self) -> u64 {
        u64::from(self.stored.length())
    }

    /// Elements `from..to` of the outermost dimension as f32.
    pub(super) fn decoded(&self, from: usize, to: usize) -> Result<ArrayBuffer, BackendError> {
        let too_large = || fault(&self.name, "more bytes than a buffer can have".into());
        let inner: usize = self.shape.iter().skip(1).product();
        let (first, count) = (from * inner, (to - from) * inner);
        let bytes = count.checked_mul(4).and_then(|n| u32::try_from(n).ok());
        let out = Uint8Array::new_with_length(bytes.ok_or_else(too_large)?);
        // Whole rows, so that blocks are whole.
        let row = self.shape.last().copied().unwrap_or(1).max(1);
        let step = (DECODED_ELEMENTS / row).max(1) * row;
        let mut values = vec![0.0f32; step.min(count)];
        let mut stored = Vec::new();
        let mut at = 0;
        while at < count {
            let size = step.min(count - at);
            let start = self.stored_bytes(first + at);
            stored.resize(self.stored_bytes(first + at + size) - start, 0);
            self.stored
                .subarray(start as u32, (start + stored.len()) as u32)
                .copy_to(&mut stored);
            decode(self.element, &stored, &mut values[..size])
                .map_err(|error| fault(&self.name, error.to_string()))?;
            let bytes: Vec<u8> = values[..size]
                .iter()
                .flat_map(|x| x.to_le_bytes())
                .collect();
            out.subarray(4 * at as u32, 4 * (at + size) as u32)
                .copy_from(&bytes);
            at += size;
        }
        Ok(out.buffer())
    }

    /// The same elements as they are stored.
    pub(super) fn stored(&self, from: usize, to: usize) -> ArrayBuffer {
        let inner: usize = self.shape.iter().skip(1).product();
        let (start, end) = (
            self.stored_bytes(from * inner),
            self.stored_bytes(to * inner),
        );
        self.stored.slice(start as u32, end as u32).buffer()
    }

    /// The type in which a graph sees the weight when it does not decode it.
    pub(super) fn plain(&self) -> Option<DataType> {
        self.element.plain()
    }

    /// Where element number `count` begins.
    fn stored_bytes(&self, count: usize) -> usize {
        match self.element {
            ElementType::Plain(data_type) => count * data_type.bytes(),
            ElementType::Block(format) => count / format.elements() * format.bytes(),
        }
    }
}

fn fault(name: &str, message: String) -> BackendError {
    BackendError::Weight {
        name: name.to_owned(),
        message,
    }
}
