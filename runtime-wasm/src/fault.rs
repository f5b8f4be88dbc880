//! Errors on their way to JavaScript: an `Error` with a `code` of `FewbitErrorCode` (`web/src/error.ts`).

use fewbit_engine::backend::BackendError;
use fewbit_engine::input::chat_template::ChatTemplateError;
use fewbit_engine::model::ModelError;
use fewbit_engine::session::SessionError;
use fewbit_engine::source::SourceError;
use fewbit_engine::task::checkpoint::CheckpointError;
use fewbit_engine::task::decoder::DecodeError;
use fewbit_engine::task::encoder::EncodeError;
use fewbit_engine::task::forward::ForwardError;
use fewbit_engine::task::generate::GenerateError;
use fewbit_engine::task::handover::HandoverError;
use fewbit_engine::task::sampling::SamplingError;
use fewbit_engine::task::score::ScoreError;
use fewbit_engine::task::{LoadError, TaskError};
use fewbit_wasm_boundary::tensor::BadTensor;
use fewbit_wasm_boundary::thrown::error;
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
        error(fault.code, &fault.message).into()
    }
}

impl From<BadTensor> for Fault {
    fn from(error: BadTensor) -> Fault {
        Fault::bad_argument(error.to_string())
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
            SessionError::Graph(_) | SessionError::Tensor(_) | SessionError::UnknownPart(_) => {
                "internal"
            }
        };
        Fault::new(code, error.to_string())
    }
}

impl From<CheckpointError> for Fault {
    fn from(error: CheckpointError) -> Fault {
        let code = match error {
            CheckpointError::Source(error) => return error.into(),
            CheckpointError::Handover(HandoverError::Source(error)) => return error.into(),
            CheckpointError::Format(ref error) if error.is_aborted() => "aborted",
            CheckpointError::Model(ModelError::UnknownArchitecture(_)) => "unsupported",
            _ => "bad_model",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<LoadError> for Fault {
    fn from(error: LoadError) -> Fault {
        let code = match error {
            LoadError::Checkpoint(error) => return error.into(),
            LoadError::Session(error) => return error.into(),
            LoadError::Template(_) => "template",
            LoadError::Tokenizer(_) | LoadError::Pooling(_) => "bad_model",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<DecodeError> for Fault {
    fn from(error: DecodeError) -> Fault {
        let code = match error {
            DecodeError::Session(error) => return error.into(),
            DecodeError::ContextFull { .. } => "context_full",
            DecodeError::Empty | DecodeError::NoSource | DecodeError::UnknownToken { .. } => {
                "bad_argument"
            }
        };
        Fault::new(code, error.to_string())
    }
}

impl From<SamplingError> for Fault {
    fn from(error: SamplingError) -> Fault {
        let code = match error {
            SamplingError::Parameter { .. } => "bad_argument",
            // The model's own numbers: damaged weights, or a fault of a kernel.
            SamplingError::NoLogits
            | SamplingError::NotFinite { .. }
            | SamplingError::NothingPossible(_) => "internal",
        };
        Fault::new(code, error.to_string())
    }
}

impl From<TaskError> for Fault {
    fn from(error: TaskError) -> Fault {
        let code = match error {
            TaskError::Generate(GenerateError::Decode(error)) => return error.into(),
            TaskError::Generate(GenerateError::Sampling(error)) => return error.into(),
            TaskError::Score(ScoreError::Decode(error)) => return error.into(),
            TaskError::Score(ScoreError::Logits(error)) => return error.into(),
            TaskError::Encode(EncodeError::Session(error)) => return error.into(),
            TaskError::Forward(ForwardError::Decode(error)) => return error.into(),
            TaskError::Forward(ForwardError::Session(error)) => return error.into(),
            TaskError::Forward(ForwardError::OtherNumbers(_)) => "other_numbers",
            TaskError::WrongKind { .. }
            | TaskError::NoTokenizer
            | TaskError::NoTemplate
            | TaskError::NoStart => "unsupported",
            TaskError::ContextFull { .. } => "context_full",
            TaskError::Template(ChatTemplateError::Refused(_)) => "bad_argument",
            TaskError::Template(_) => "template",
            TaskError::Generate(GenerateError::Ended) => "internal",
            TaskError::Generate(_)
            | TaskError::OneSource
            | TaskError::Messages(_)
            | TaskError::Tokenizer(_)
            | TaskError::Encode(_)
            | TaskError::Answer(_)
            | TaskError::Forward(_) => "bad_argument",
            TaskError::Pooling(_) => "bad_model",
        };
        Fault::new(code, error.to_string())
    }
}
