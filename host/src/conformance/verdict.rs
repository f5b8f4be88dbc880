//! How a case ended, and how what went wrong is told.

use std::time::Duration;

#[cfg(feature = "native")]
use fewbit_engine::backend::BackendError;
#[cfg(feature = "native")]
use fewbit_engine::session::SessionError;
use fewbit_onnx::ImportError;

use crate::job::Outcome;

/// A case may take so long; what takes longer is left behind.
pub(super) const MOST_TIME: Duration = Duration::from_secs(60);

/// How a case ended.
#[derive(Clone, Debug, PartialEq)]
pub struct Verdict {
    pub outcome: Outcome,
    /// Why, where it did not pass.
    pub reason: Option<String>,
    /// The operators in the case's model.
    pub operators: Vec<String>,
    /// Nodes that were left for the target; 0 where all was computed while the model was read.
    pub nodes: Option<usize>,
}

/// How a case failed, and why.
pub(super) type Failure = (Outcome, String);

pub(super) fn of_import(error: &ImportError) -> Failure {
    let outcome = match error.is_unsupported() {
        true => Outcome::Unsupported,
        false => Outcome::Error,
    };
    (outcome, error.to_string())
}

#[cfg(feature = "native")]
pub(super) fn of_session(error: &SessionError) -> Failure {
    let outcome = match error {
        SessionError::Backend(BackendError::Unsupported { .. }) => Outcome::Unsupported,
        SessionError::Backend(BackendError::Unavailable(_)) => Outcome::Unavailable,
        _ => Outcome::Error,
    };
    (outcome, error.to_string())
}

pub(super) fn wrong(message: impl ToString) -> Failure {
    (Outcome::Error, message.to_string())
}
