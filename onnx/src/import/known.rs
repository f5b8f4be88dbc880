//! What a value is before anything runs: constants, weights that were read, expressions over sizes.

use std::collections::BTreeSet;
use std::rc::Rc;

use fewbit_engine::graph::{Dim, fixed_shape};
use fewbit_engine::tensor::{DataType, Tensor};

use super::context::{Context, Value};
use super::error::{Refusal, unsupported, wrong};

impl Context {
    /// Integers that may be expressions over sizes.
    ///
    /// # Errors
    /// As [`Context::known`].
    pub(crate) fn known_dims(&self, x: Value) -> Result<Vec<Dim>, Refusal> {
        match self.followed.get(&x.id) {
            Some(followed) => Ok(followed.values.clone()),
            None => Ok(self.known_ints(x)?.into_iter().map(Dim::from_i64).collect()),
        }
    }

    /// What a value is, where that is known before anything runs.
    ///
    /// # Errors
    /// The inputs of the graph that it depends on, so that whoever imports may give their values.
    pub(crate) fn known(&self, x: Value) -> Result<Rc<Tensor>, Refusal> {
        if let Some(tensor) = self.builder.constant_of(x.id) {
            return Ok(tensor);
        }
        if let Some(name) = self.weights.get(&x.id) {
            let known = self.known_weights.get(name).cloned();
            return known.ok_or_else(|| Refusal::Weight(name.clone()));
        }
        let (mut names, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![x.id]);
        let mut dims = Vec::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                names.extend(self.inputs.get(&id).cloned());
                dims.extend_from_slice(self.builder.shape(id));
                open.extend(self.from.get(&id).into_iter().flatten());
            }
        }
        if !names.is_empty() {
            return Err(Refusal::Value(names.into_iter().collect()));
        }
        match fixed_shape(&dims) {
            Some(_) => unsupported("a shape is computed from more than is computed beforehand"),
            None => Err(Refusal::sizes(&dims)),
        }
    }

    pub(crate) fn known_ints(&self, x: Value) -> Result<Vec<i64>, Refusal> {
        let tensor = self.known(x)?;
        let bytes = tensor.bytes();
        match tensor.data_type() {
            DataType::I64 => Ok(bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b))
                .collect()),
            DataType::F64 | DataType::F32 | DataType::F16 | DataType::Bf16 | DataType::U64 => {
                wrong(format!("{} where integers are wanted", tensor.data_type()))
            }
            _ => Ok(tensor.to_f64_vec().into_iter().map(|v| v as i64).collect()),
        }
    }

    pub(crate) fn known_floats(&self, x: Value) -> Result<Vec<f64>, Refusal> {
        Ok(self.known(x)?.to_f64_vec())
    }

    pub(crate) fn known_int(&self, x: Value) -> Result<i64, Refusal> {
        match self.known_ints(x)?[..] {
            [value] => Ok(value),
            ref other => wrong(format!("{} numbers where one is wanted", other.len())),
        }
    }

    pub(crate) fn known_float(&self, x: Value) -> Result<f64, Refusal> {
        match self.known_floats(x)?[..] {
            [value] => Ok(value),
            ref other => wrong(format!("{} numbers where one is wanted", other.len())),
        }
    }
}
