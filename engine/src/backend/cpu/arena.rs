//! Addresses of a plan's values, and the bytes behind them during a run.

use std::rc::Rc;

use crate::backend::{BackendError, StateId, WeightId};
use crate::tensor::Tensor;

/// A 64-byte line, so that vector loads of the arena's values are aligned.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Memory for the values that live only during a run.
#[derive(Default)]
pub(super) struct Arena {
    lines: Vec<Line>,
}

impl Arena {
    /// Makes the arena at least this large.
    pub(super) fn reserve(&mut self, bytes: usize) -> Result<(), BackendError> {
        let lines = bytes.div_ceil(64);
        let more = lines.saturating_sub(self.lines.len());
        self.lines
            .try_reserve_exact(more)
            .map_err(|_| BackendError::OutOfMemory(format!("{bytes} bytes for a plan's values")))?;
        if more > 0 {
            self.lines.resize(lines, Line([0; 64]));
        }
        Ok(())
    }

    pub(super) fn bytes(&self) -> usize {
        self.lines.len() * 64
    }

    pub(super) fn pointer(&mut self) -> *mut u8 {
        self.lines.as_mut_ptr().cast()
    }
}

/// Where a value's bytes are.
#[derive(Clone, Debug)]
pub(super) enum Address {
    Arena {
        offset: usize,
        bytes: usize,
    },
    /// The run's input of this number.
    Input(usize),
    Weight(WeightId),
    Constant(Rc<Tensor>),
    State(StateId),
}

/// A value of a plan: where it is and what shape it has.
#[derive(Clone, Debug)]
pub(super) struct Place {
    pub(super) address: Address,
    pub(super) element: crate::tensor::ElementType,
    pub(super) shape: Vec<usize>,
}

impl Place {
    /// The last dimension, 1 for a single number.
    pub(super) fn row(&self) -> usize {
        self.shape.last().copied().unwrap_or(1)
    }
}
