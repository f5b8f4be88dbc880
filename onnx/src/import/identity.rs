//! What weights that are made of others are called: by what they are made of, so that two imports of one file, which may walk
//! over it differently, call the same weight the same and no other.

use std::hash::{DefaultHasher, Hash, Hasher};

use fewbit_engine::tensor::Tensor;

/// A constant by its type, shape and elements.
pub(crate) fn of_constant(tensor: &Tensor) -> String {
    let (data_type, shape) = (tensor.data_type(), tensor.shape());
    let part = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        (salt, shape, tensor.bytes()).hash(&mut hasher);
        hasher.finish()
    };
    format!("{data_type}{shape:?}{:016x}{:016x}", part(0), part(1))
}
