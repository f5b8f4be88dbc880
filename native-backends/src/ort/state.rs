//! States that outlive a run, as values that ONNX Runtime made.

use fewbit_engine::backend::BackendError;
use fewbit_engine::tensor::{DataType, Tensor};
use ort::memory::AllocationDevice;
use ort::value::{DynTensorValueType, DynValue};

use super::backend::fault;
use super::value::{shape_of, tensor, value};

/// The axis that tokens stand along: `[batch, heads, tokens, size]`.
const TOKENS: usize = 2;

pub(super) struct State {
    data_type: DataType,
    /// As large as the state may become.
    shape: Vec<usize>,
    /// What is in it: all of it, or as many tokens as there are.
    value: Option<DynValue>,
}

impl State {
    pub(super) fn new(data_type: DataType, shape: &[usize]) -> State {
        State {
            data_type,
            shape: shape.to_vec(),
            value: None,
        }
    }

    pub(super) fn reset(&mut self, shape: &[usize]) {
        self.shape = shape.to_vec();
        self.value = None;
    }

    /// Makes it larger; what is in it follows before it is read.
    pub(super) fn grow(&mut self, axis: usize, size: usize) {
        if let Some(dim) = self.shape.get_mut(axis) {
            *dim = size;
        }
    }

    /// Bytes of what is in it.
    pub(super) fn held(&self) -> u64 {
        let shape = self.value.as_ref().map(shape_of).unwrap_or_default();
        match self.value {
            Some(_) => (shape.iter().product::<usize>() * self.data_type.bytes()) as u64,
            None => 0,
        }
    }

    pub(super) fn put(&mut self, value: DynValue) {
        self.value = Some(value);
    }

    /// The first `tokens` tokens of it.
    ///
    /// # Errors
    /// [`BackendError::Internal`] where fewer are there.
    pub(super) fn tokens(&mut self, tokens: usize) -> Result<&DynValue, BackendError> {
        let there = self.value.as_ref().map_or(0, |value| {
            shape_of(value).get(TOKENS).copied().unwrap_or_default()
        });
        if there < tokens {
            return Err(BackendError::Internal(format!(
                "a run begins at token {tokens}, and a state has {there}"
            )));
        }
        let mut shape = self.shape.clone();
        if let Some(dim) = shape.get_mut(TOKENS) {
            *dim = tokens;
        }
        if there != tokens || self.value.is_none() {
            self.fit(&shape)?;
        }
        self.value.as_ref().ok_or_else(nothing)
    }

    /// All of it, with zeros where nothing was written.
    pub(super) fn whole(&mut self) -> Result<&DynValue, BackendError> {
        if self.value.as_ref().map(shape_of).as_ref() != Some(&self.shape) {
            self.fit(&self.shape.clone())?;
        }
        self.value.as_ref().ok_or_else(nothing)
    }

    /// Gives the value another number of tokens, in host memory.
    fn fit(&mut self, shape: &[usize]) -> Result<(), BackendError> {
        let mut content = Tensor::zeros(self.data_type, shape)?;
        if let Some(old) = self.value.take() {
            let old = tensor(&on_host(old)?)?;
            let strip = |shape: &[usize]| {
                let inner: usize = shape.iter().skip(TOKENS).product();
                inner * self.data_type.bytes()
            };
            let (from, to) = (strip(old.shape()), strip(shape));
            let rows = |shape: &[usize]| shape.iter().take(TOKENS).product::<usize>();
            if rows(old.shape()) != rows(shape) {
                let (old, own) = (old.shape(), shape);
                let told = format!("a state is {old:?} where {own:?} is asked for");
                return Err(BackendError::Internal(told));
            }
            let size = from.min(to);
            if size > 0 {
                let strips = old.bytes().chunks_exact(from);
                for (strip, target) in strips.zip(content.bytes_mut().chunks_exact_mut(to)) {
                    target[..size].copy_from_slice(&strip[..size]);
                }
            }
        }
        self.value = Some(value(self.data_type, shape, content.bytes())?);
        Ok(())
    }
}

/// A value in memory that the host reads.
fn on_host(value: DynValue) -> Result<DynValue, BackendError> {
    let told = |error: ort::Error| fault("a state", &error);
    let value = value.downcast::<DynTensorValueType>().map_err(told)?;
    if value.memory_info().is_cpu_accessible() {
        return Ok(value.into_dyn());
    }
    let copy = value.to(AllocationDevice::CPU, 0).map_err(told)?;
    Ok(copy.into_dyn())
}

fn nothing() -> BackendError {
    BackendError::Internal("a state has no value".into())
}
