//! The bytes behind a plan's places while it runs.

use crate::backend::BackendError;
use crate::tensor::{ElementType, Tensor};

use super::arena::{Address, Arena, Place};
use super::device::Stores;

/// The bytes behind a plan's places during a run.
pub(super) struct Run<'r, 's> {
    arena: *mut u8,
    pub(super) stores: &'r mut Stores<'s>,
    inputs: &'r [&'r Tensor],
}

impl<'r, 's> Run<'r, 's> {
    pub(super) fn new(
        arena: &'r mut Arena,
        stores: &'r mut Stores<'s>,
        inputs: &'r [&'r Tensor],
    ) -> Run<'r, 's> {
        Run {
            arena: arena.pointer(),
            stores,
            inputs,
        }
    }

    /// A value after the run, copied out.
    pub(super) fn read(&self, place: &Place) -> Result<Tensor, BackendError> {
        let data_type = place
            .element
            .plain()
            .ok_or_else(|| BackendError::Internal("a block-quantized output".into()))?;
        Ok(Tensor::from_bytes(
            data_type,
            &place.shape,
            self.bytes(place)?,
        )?)
    }

    /// A value's bytes. The lifetime is not tied to `self`, so that a step may write its output beside them.
    pub(super) fn bytes<'b>(&self, place: &Place) -> Result<&'b [u8], BackendError>
    where
        'r: 'b,
        's: 'b,
    {
        let slice: &[u8] = match &place.address {
            Address::Arena { offset, bytes } => {
                // Inside the arena, which was reserved for the whole plan.
                return Ok(unsafe { std::slice::from_raw_parts(self.arena.add(*offset), *bytes) });
            }
            Address::Input(number) => self.inputs[*number].bytes(),
            Address::Constant(tensor) => tensor.bytes(),
            Address::State(id) => self.stores.states[id.0]
                .as_ref()
                .ok_or(BackendError::Unknown {
                    kind: "state",
                    id: id.0,
                })?
                .bytes(),
            Address::Weight(id) => {
                let weight = &self.stores.weights[id.0];
                match (&weight.plain, &weight.blocks) {
                    (Some(plain), _) => plain.bytes(),
                    (None, Some(blocks)) => blocks,
                    (None, None) => {
                        return Err(BackendError::Internal(format!(
                            "weight {} is only packed",
                            weight.name
                        )));
                    }
                }
            }
        };
        // Inputs, constants, weights and states live as long as the run and are not moved during it.
        Ok(unsafe { std::slice::from_raw_parts(slice.as_ptr(), slice.len()) })
    }

    pub(super) fn f32<'b>(&self, place: &Place) -> Result<&'b [f32], BackendError>
    where
        'r: 'b,
        's: 'b,
    {
        if place.element != ElementType::F32 {
            return Err(BackendError::Internal(format!(
                "{} where f32 is needed",
                place.element
            )));
        }
        Ok(bytemuck::cast_slice(self.bytes(place)?))
    }

    pub(super) fn i32<'b>(&self, place: &Place) -> Result<&'b [i32], BackendError>
    where
        'r: 'b,
        's: 'b,
    {
        if place.element != ElementType::I32 {
            return Err(BackendError::Internal(format!(
                "{} where i32 is needed",
                place.element
            )));
        }
        Ok(bytemuck::cast_slice(self.bytes(place)?))
    }

    /// A step's output. The memory plan keeps it apart from every value that is still needed, the step's own
    /// inputs among them, so nothing reads what is written here during the step.
    pub(super) fn output_bytes<'b>(&self, place: &Place) -> Result<&'b mut [u8], BackendError>
    where
        'r: 'b,
    {
        match place.address {
            Address::Arena { offset, bytes } => {
                Ok(unsafe { std::slice::from_raw_parts_mut(self.arena.add(offset), bytes) })
            }
            _ => Err(BackendError::Internal("an output outside the arena".into())),
        }
    }

    pub(super) fn output<'b>(&self, place: &Place) -> Result<&'b mut [f32], BackendError>
    where
        'r: 'b,
    {
        if place.element != ElementType::F32 {
            return Err(BackendError::Internal(format!(
                "{} where f32 is written",
                place.element
            )));
        }
        Ok(bytemuck::cast_slice_mut(self.output_bytes(place)?))
    }

    pub(super) fn state(&mut self, place: &Place) -> Result<&mut [f32], BackendError> {
        let Address::State(id) = place.address else {
            return Err(BackendError::Internal(
                "kv_append to what is no state".into(),
            ));
        };
        let state = self.stores.states[id.0]
            .as_mut()
            .ok_or(BackendError::Unknown {
                kind: "state",
                id: id.0,
            })?;
        Ok(bytemuck::cast_slice_mut(state.bytes_mut()))
    }
}
