//! What the browser says it can: `opSupportLimits()`.

use fewbit_engine::backend::BackendError;
use js_sys::{Array, Object};
use wasm_bindgen::prelude::*;

use super::api::{self, Operand, get};

pub(super) struct Limits {
    told: Object,
}

impl Limits {
    pub(super) fn new(told: Object) -> Limits {
        Limits { told }
    }

    /// Bytes that a tensor may have at most.
    pub(super) fn tensor_bytes(&self) -> u64 {
        let told = get(&self.told, "maxTensorByteLength").as_f64();
        told.map_or(u64::MAX, |bytes| bytes as u64)
    }

    /// Whether `operator` takes these operands, in its arguments' names.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`], with the type or rank that the browser does not list.
    pub(super) fn check(
        &self,
        operator: &str,
        operands: &[(&str, &Operand)],
    ) -> Result<(), BackendError> {
        let refuse = |reason: String| BackendError::Unsupported {
            op: operator.to_owned(),
            reason: format!("opSupportLimits() of the browser: {reason}"),
        };
        let limits = get(&self.told, operator);
        if limits.is_undefined() {
            return Err(refuse("the operator is not there".into()));
        }
        for (argument, operand) in operands {
            let limit = get(&limits, argument);
            let types = get(&limit, "dataTypes");
            let data_type = operand.data_type();
            if let Some(types) = types.dyn_ref::<Array>()
                && !types.includes(&JsValue::from(&data_type), 0)
            {
                let types: String = types.join(", ").into();
                return Err(refuse(format!(
                    "{argument} cannot be {data_type}, but {types}"
                )));
            }
            let ranks = get(&limit, "rankRange");
            let rank = operand.shape().len() as f64;
            let (min, max) = (api::get(&ranks, "min"), api::get(&ranks, "max"));
            if min.as_f64().is_some_and(|min| rank < min)
                || max.as_f64().is_some_and(|max| rank > max)
            {
                return Err(refuse(format!(
                    "{argument} cannot have rank {rank}, but {} to {}",
                    min.as_f64().unwrap_or(0.0),
                    max.as_f64().unwrap_or(0.0)
                )));
            }
        }
        Ok(())
    }
}
