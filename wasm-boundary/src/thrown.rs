//! What JavaScript threw, and what it is thrown.

use js_sys::{Error, Reflect};
use wasm_bindgen::prelude::*;

/// An `Error` with a `code` of `FewbitErrorCode` (`web/src/error.ts`).
pub fn error(code: &str, message: &str) -> Error {
    let error = Error::new(message);
    set(&error, "code", code);
    error
}

/// Sets a property of a fresh error.
pub fn set(error: &Error, property: &str, value: impl Into<JsValue>) {
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(error, &property.into(), &value.into());
}

/// What was thrown, as text.
pub fn text_of(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<Error>() {
        Some(error) => format!("{}: {}", error.name(), error.message()),
        None => thrown
            .as_string()
            .unwrap_or_else(|| "a value that is no error was thrown".to_owned()),
    }
}
