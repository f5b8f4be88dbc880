//! Tensors on their way over the boundary: `{ name, type, shape, data }`, elements little-endian.

use fewbit_engine::task::forward::Named;
use fewbit_engine::tensor::{DataType, Tensor};
use js_sys::{Array, Object, Reflect, Uint8Array};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    /// A tensor with a name.
    pub type JsTensor;

    #[wasm_bindgen(method, getter)]
    fn name(this: &JsTensor) -> String;

    #[wasm_bindgen(method, getter, js_name = type)]
    fn data_type(this: &JsTensor) -> String;

    #[wasm_bindgen(method, getter)]
    fn shape(this: &JsTensor) -> Vec<f64>;

    #[wasm_bindgen(method, getter)]
    fn data(this: &JsTensor) -> Uint8Array;
}

/// A tensor that cannot be used: which, and why.
#[derive(Debug, thiserror::Error)]
#[error("tensor {name}: {what}")]
pub struct BadTensor {
    name: String,
    what: String,
}

/// The tensors by name.
///
/// # Errors
/// The first one whose type, shape and bytes do not go together.
pub fn from_js(tensors: Vec<JsTensor>) -> Result<Named, BadTensor> {
    tensors
        .into_iter()
        .map(|tensor| {
            let name = tensor.name();
            let wrong = |what: String| BadTensor {
                name: name.clone(),
                what,
            };
            let type_name = tensor.data_type();
            let data_type = DataType::named(&type_name)
                .ok_or_else(|| wrong(format!("{type_name} is no data type")))?;
            let shape: Option<Vec<usize>> = tensor
                .shape()
                .into_iter()
                .map(|size| {
                    let whole = size.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&size);
                    whole.then_some(size as usize)
                })
                .collect();
            let shape = shape.ok_or_else(|| wrong("a size of its shape is no count".into()))?;
            let value = Tensor::from_bytes(data_type, &shape, &tensor.data().to_vec())
                .map_err(|error| wrong(error.to_string()))?;
            Ok((name, value))
        })
        .collect()
}

/// The tensors as JavaScript objects.
pub fn to_js(tensors: &Named) -> Array {
    tensors
        .iter()
        .map(|(name, tensor)| {
            let shape: Array = tensor
                .shape()
                .iter()
                .map(|&size| JsValue::from(size as f64))
                .collect();
            let object = Object::new();
            for (key, value) in [
                ("name", JsValue::from(name)),
                ("type", JsValue::from(tensor.data_type().name())),
                ("shape", shape.into()),
                ("data", Uint8Array::from(tensor.bytes()).into()),
            ] {
                // Setting a property of a fresh object cannot fail.
                let _ = Reflect::set(&object, &key.into(), &value);
            }
            object
        })
        .collect()
}
