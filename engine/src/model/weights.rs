//! The tensors of a checkpoint as a builder asks for them: by name, with the shape the config promises.

use super::ModelError;
use crate::format::Checkpoint;
use crate::graph::{GraphBuilder, ValueId};
use crate::tensor::{DataType, ElementType};

/// Looks up tensors and adds them to a graph as weights.
pub struct Weights<'a> {
    checkpoint: &'a Checkpoint,
    /// Put before every name; some checkpoints of the same model have a prefix such as `bert.`.
    prefix: String,
}

impl<'a> Weights<'a> {
    pub fn new(checkpoint: &'a Checkpoint) -> Weights<'a> {
        Weights {
            checkpoint,
            prefix: String::new(),
        }
    }

    /// The same tensors under `prefix`, if `probe` is only there with it.
    pub fn with_optional_prefix(&self, prefix: &str, probe: &str) -> Weights<'a> {
        let prefixed = format!("{}{prefix}", self.prefix);
        let found = self.checkpoint.contains(&format!("{prefixed}{probe}"));
        Weights {
            checkpoint: self.checkpoint,
            prefix: if found { prefixed } else { self.prefix.clone() },
        }
    }

    /// The tensors whose names begin with `prefix`, to be named without it.
    pub fn within(&self, prefix: &str) -> Weights<'a> {
        Weights {
            checkpoint: self.checkpoint,
            prefix: self.full(prefix),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.checkpoint.contains(&self.full(name))
    }

    /// A matrix of any float or block type, `[rows, columns]`.
    #[inline(never)]
    pub fn matrix(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        rows: usize,
        columns: usize,
    ) -> Result<ValueId, ModelError> {
        let float = |element: ElementType| element.plain().is_none_or(DataType::is_float);
        self.add(b, name, &[rows, columns], float)
    }

    /// A vector in f32 (f16 and bf16 ones are cast).
    #[inline(never)]
    pub fn vector(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        size: usize,
    ) -> Result<ValueId, ModelError> {
        let float = |element: ElementType| element.plain().is_some_and(DataType::is_float);
        let id = self.add(b, name, &[size], float)?;
        Ok(b.cast(id, DataType::F32)?)
    }

    /// A vector that not every checkpoint has.
    #[inline(never)]
    pub fn optional_vector(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        size: usize,
    ) -> Result<Option<ValueId>, ModelError> {
        if self.contains(name) {
            self.vector(b, name, size).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The first dimension of a tensor, where only the checkpoint knows a size.
    pub fn rows(&self, name: &str) -> Option<usize> {
        let entry = self.checkpoint.find(&self.full(name))?;
        entry.shape.first().copied()
    }

    /// The second dimension of a tensor.
    pub fn columns(&self, name: &str) -> Option<usize> {
        let entry = self.checkpoint.find(&self.full(name))?;
        entry.shape.get(1).copied()
    }

    /// A filter that the checkpoint has as `stored`, as the four dimensions that `conv2d` takes: one over time,
    /// `[outputs, inputs, kernel]`, gets a height of 1. A graph may group a weight's elements in another shape than the file.
    #[inline(never)]
    pub fn filter(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        stored: &[usize],
    ) -> Result<ValueId, ModelError> {
        let float = |element: ElementType| element.plain().is_some_and(DataType::is_float);
        let mut shape = stored.to_vec();
        while shape.len() < 4 {
            shape.insert(2, 1);
        }
        self.add_as(b, name, stored, &shape, float)
    }

    /// A tensor of any shape in f32 (f16 and bf16 ones are cast).
    #[inline(never)]
    pub fn tensor(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[usize],
    ) -> Result<ValueId, ModelError> {
        let float = |element: ElementType| element.plain().is_some_and(DataType::is_float);
        let id = self.add(b, name, shape, float)?;
        Ok(b.cast(id, DataType::F32)?)
    }

    fn add(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        shape: &[usize],
        fits: fn(ElementType) -> bool,
    ) -> Result<ValueId, ModelError> {
        self.add_as(b, name, shape, shape, fits)
    }

    #[inline(never)]
    fn add_as(
        &self,
        b: &mut GraphBuilder,
        name: &str,
        stored: &[usize],
        shape: &[usize],
        fits: fn(ElementType) -> bool,
    ) -> Result<ValueId, ModelError> {
        let name = self.full(name);
        let Some(entry) = self.checkpoint.find(&name) else {
            return Err(ModelError::MissingTensor {
                file: self.checkpoint.file.clone(),
                name,
            });
        };
        if entry.shape != stored || !fits(entry.element) {
            return Err(ModelError::TensorShape {
                file: self.checkpoint.file.clone(),
                name,
                element: entry.element,
                got: entry.shape.clone(),
                wanted: stored.to_vec(),
            });
        }
        Ok(b.weight(&name, entry.element, shape)?)
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }
}
