//! What every reader yields: named tensors and metadata.

use std::collections::BTreeMap;

use super::error::{Fault, FormatError};
use super::metadata::Metadata;
use crate::tensor::ElementType;

/// One tensor of a checkpoint and where its bytes are. A reader only makes entries whose range lies
/// inside the file and whose length is what type and shape ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorEntry {
    pub name: String,
    pub element: ElementType,
    /// Row-major, outermost dimension first (GGUF's `ne` reversed).
    pub shape: Vec<usize>,
    /// Which of the checkpoint's files it is in.
    pub file: usize,
    /// Where its bytes begin, from the file's start.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl TensorEntry {
    /// How many elements (weights) it has.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// Named tensors over one or more files, and the files' metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Checkpoint {
    /// The name by which errors call the checkpoint: the file, or the shards' index.
    pub file: String,
    pub tensors: BTreeMap<String, TensorEntry>,
    pub metadata: Metadata,
}

impl Checkpoint {
    /// The tensor of that name.
    ///
    /// # Errors
    /// [`Fault::MissingTensor`], naming file and tensor.
    pub fn get(&self, name: &str) -> Result<&TensorEntry, FormatError> {
        self.find(name)
            .ok_or_else(|| FormatError::new(&self.file, Fault::MissingTensor).tensor(name))
    }

    /// The tensor of that name, if there is one.
    pub fn find(&self, name: &str) -> Option<&TensorEntry> {
        self.tensors.get(name)
    }

    /// Adds a tensor of another name than those it has.
    #[inline(never)]
    pub(crate) fn add(&mut self, entry: TensorEntry) -> Result<(), Fault> {
        match self.tensors.insert(entry.name.clone(), entry) {
            Some(_) => Err(Fault::DuplicateTensor),
            None => Ok(()),
        }
    }

    pub fn contains(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// How many bytes all its tensors have together.
    pub fn total_bytes(&self) -> u64 {
        self.tensors.values().map(|entry| entry.bytes).sum()
    }
}
