//! Weights as the file has them, and the initializers that are made of them.

use fewbit_engine::backend::BackendError;
use fewbit_engine::tensor::{DataType, ElementType, decode};
use ort::value::DynValue;

use super::value;

pub(super) struct Weight {
    name: String,
    element: ElementType,
    shape: Vec<usize>,
    bytes: Vec<u8>,
    whole: usize,
}

impl Weight {
    pub(super) fn new(
        name: &str,
        element: ElementType,
        shape: &[usize],
    ) -> Result<Weight, BackendError> {
        let mut weight = Weight {
            name: name.to_owned(),
            element,
            shape: shape.to_vec(),
            bytes: Vec::new(),
            whole: 0,
        };
        let whole = element.byte_len(shape);
        weight.whole = whole.ok_or_else(|| {
            weight.fault(format!("{element} {shape:?} has no whole number of blocks"))
        })?;
        Ok(weight)
    }

    /// Takes the next bytes.
    pub(super) fn write(&mut self, offset: u64, bytes: &[u8]) -> Result<(), BackendError> {
        let there = self.bytes.len();
        if offset != there as u64 || bytes.len() > self.whole - there {
            let (count, whole) = (bytes.len(), self.whole);
            return Err(self.fault(format!(
                "{count} bytes written at {offset}; {there} of {whole} are there"
            )));
        }
        if there == 0 {
            self.bytes.reserve_exact(self.whole);
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    pub(super) fn finish(&self) -> Result<(), BackendError> {
        let (there, whole) = (self.bytes.len(), self.whole);
        match there == whole {
            true => Ok(()),
            false => Err(self.fault(format!("{there} of {whole} bytes were written"))),
        }
    }

    /// Bytes held.
    pub(super) fn held(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The initializer of this type and shape: decoded to f32 where the weight is of another type.
    pub(super) fn initializer(
        &self,
        data_type: DataType,
        shape: &[usize],
    ) -> Result<DynValue, BackendError> {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        if elements(shape) != elements(&self.shape) {
            let own = &self.shape;
            return Err(self.fault(format!("{own:?} where the graph has {shape:?}")));
        }
        if self.element == ElementType::Plain(data_type) {
            return value::value(data_type, shape, &self.bytes);
        }
        let mut decoded = vec![0.0f32; elements(shape)];
        decode(self.element, &self.bytes, &mut decoded)
            .map_err(|error| self.fault(error.to_string()))?;
        value::made(shape, decoded)
    }

    fn fault(&self, message: String) -> BackendError {
        BackendError::Weight {
            name: self.name.clone(),
            message,
        }
    }
}
