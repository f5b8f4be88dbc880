//! What goes over the pipes between the host and a child: a request a line, and for each any number of reports and one
//! answer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::job::{Job, LoadOptions, RunError};
use crate::runner::Progress;
use crate::store::ModelFiles;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Request {
    /// Whether the provider computes here; answered by [`Probed`].
    Probe,
    Load {
        model: ModelFiles,
        options: LoadOptions,
    },
    /// Any but those that only a page takes.
    Job(Box<Job>),
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Reply {
    Progress(Progress),
    Done(Value),
    Failed(RunError),
}

/// A provider that computes here.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probed {
    /// Of ONNX Runtime.
    pub version: String,
    /// As ONNX Runtime lists them for the provider; empty where it lists none.
    pub devices: Vec<String>,
}
