//! Errors on their way to JavaScript: an `Error` with a `code` of `FewbitErrorCode` (`web/src/error.ts`).

use fewbit_engine::backend::BackendError;
use fewbit_engine::session::SessionError;
use fewbit_engine::source::SourceError;
use wasm_bindgen::prelude::*;

/// An error with the code that callers branch on.
#[derive(Debug)]
pub(crate) struct Fault {
    code: &'static str,
    message: String,
}

impl Fault {
    pub(crate) fn new(code: &'static str, message: impl Into<String>) -> Fault {
        Fault {
            code,
            message: message.into(),
        }
    }

    pub(crate) fn bad_argument(message: impl Into<String>) -> Fault {
        Fault::new("bad_argument", message)
    }
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> JsValue {
        let error = js_sys::Error::new(&fault.message);
        // Setting a property of a fresh object cannot fail.
        let _ = js_sys::Reflect::set(&error, &"code".into(), &fault.code.into());
        error.into()
    }
}

impl From<SourceError> for Fault {
    fn from(error: SourceError) -> Fault {
        let code = match error {
            SourceError::Aborted => "aborted",
            SourceError::OutOfRange { .. } => "bad_model",
            SourceError::Read { .. } => "cache",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<BackendError> for Fault {
    fn from(error: BackendError) -> Fault {
        let code = match error {
            BackendError::DeviceLost(_) => "device_lost",
            BackendError::Unavailable(_) => "unavailable",
            BackendError::Unsupported { .. } => "unsupported",
            BackendError::OutOfMemory(_) => "out_of_memory",
            BackendError::Weight { .. } => "bad_model",
            BackendError::Input { .. } => "bad_argument",
            BackendError::Unknown { .. }
            | BackendError::Graph(_)
            | BackendError::Tensor(_)
            | BackendError::Internal(_) => "internal",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<SessionError> for Fault {
    fn from(error: SessionError) -> Fault {
        let code = match error {
            SessionError::Backend(error) => return error.into(),
            SessionError::Source(error) => return error.into(),
            _ if error.is_aborted() => "aborted",
            SessionError::Aborted => "aborted",
            SessionError::Format(_) => "bad_model",
            SessionError::LostAgain(_) => "device_lost",
            SessionError::UnknownOutput(_) => "bad_argument",
            SessionError::Graph(_) | SessionError::Tensor(_) => "internal",
        };
        Fault::new(code, error.to_string())
    }
}

/// What was thrown, as text.
pub(crate) fn text_of(thrown: &JsValue) -> String {
    match thrown.dyn_ref::<js_sys::Error>() {
        Some(error) => format!("{}: {}", error.name(), error.message()),
        None => thrown
            .as_string()
            .unwrap_or_else(|| "a value that is no error was thrown".to_owned()),
    }
}
