//! States that outlive a run. `dispatch` refuses one tensor as input and output, so each state is two: a run reads one and
//! writes the other, and they change places.

use fewbit_engine::backend::BackendError;
use fewbit_engine::tensor::{self, DataType, ElementType, TensorError};
use js_sys::{ArrayBuffer, Uint8Array};

use super::api::Tensor;
use super::backend::Connection;

pub(super) struct State {
    data_type: DataType,
    shape: Vec<usize>,
    /// Along which axis it has grown since the tensors were made.
    grown: usize,
    made: Option<Made>,
}

struct Made {
    shape: Vec<usize>,
    now: Tensor,
    next: Tensor,
}

impl Drop for Made {
    fn drop(&mut self) {
        self.now.destroy_tensor();
        self.next.destroy_tensor();
    }
}

impl State {
    pub(super) fn new(data_type: DataType, shape: &[usize]) -> Result<State, BackendError> {
        // The tensors are made with the first run; what no buffer can hold is told now.
        let bytes = ElementType::Plain(data_type).byte_len(shape);
        if bytes.is_none_or(|bytes| u32::try_from(bytes).is_err()) {
            return Err(TensorError::TooLarge(shape.to_vec()).into());
        }
        Ok(State {
            data_type,
            shape: shape.to_vec(),
            grown: 0,
            made: None,
        })
    }

    /// The tensors are made larger before the next run.
    pub(super) fn grow(&mut self, axis: usize, size: usize) {
        self.shape[axis] = size;
        self.grown = axis;
    }

    /// Bytes of both tensors.
    pub(super) fn held(&self) -> u64 {
        2 * (self.shape.iter().product::<usize>() * self.data_type.bytes()) as u64
    }

    /// What the next run reads, and what it writes.
    pub(super) fn tensors(&self) -> Option<(&Tensor, &Tensor)> {
        self.made.as_ref().map(|made| (&made.now, &made.next))
    }

    /// The last run has written.
    pub(super) fn swap(&mut self) {
        if let Some(made) = &mut self.made {
            std::mem::swap(&mut made.now, &mut made.next);
        }
    }

    /// Makes the tensors as large as the state is, with the elements where they were and zeros after them.
    pub(super) async fn settle(&mut self, context: &Connection) -> Result<(), BackendError> {
        if self
            .made
            .as_ref()
            .is_some_and(|made| made.shape == self.shape)
        {
            return Ok(());
        }
        let mut content = tensor::Tensor::zeros(self.data_type, &self.shape)?;
        if let Some(made) = self.made.take() {
            let bytes: ArrayBuffer = context.read(&made.now).await?;
            let old = Uint8Array::new(&bytes).to_vec();
            let axis = self.grown;
            let inner = made.shape[axis + 1..].iter().product::<usize>() * self.data_type.bytes();
            let (from, to) = (made.shape[axis] * inner, self.shape[axis] * inner);
            if from > 0 && to >= from {
                let strips = old.chunks_exact(from);
                for (strip, target) in strips.zip(content.bytes_mut().chunks_exact_mut(to)) {
                    target[..from].copy_from_slice(strip);
                }
            }
        }
        let now = context
            .tensor(self.data_type, &self.shape, true, true)
            .await?;
        context.write(&now, content.bytes())?;
        let next = context
            .tensor(self.data_type, &self.shape, true, true)
            .await?;
        self.made = Some(Made {
            shape: self.shape.clone(),
            now,
            next,
        });
        Ok(())
    }
}
