//! Why a conversion cannot be done.

use std::io;
use std::path::PathBuf;

use fewbit_engine::format::FormatError;
use fewbit_engine::task::checkpoint::CheckpointError;
use fewbit_engine::tensor::DecodeError;
use fewbit_onnx::ExportError;

use crate::inspect::InspectError;

#[derive(Debug, thiserror::Error)]
pub enum ConvertError {
    #[error(
        "{0}: write OUT.onnx or OUT.safetensors, or a folder with --to onnx or --to safetensors"
    )]
    NoFormat(PathBuf),
    #[error("{path} ends like {named} and --to says {asked}")]
    TwoFormats {
        path: PathBuf,
        named: &'static str,
        asked: &'static str,
    },
    #[error(
        "{0} is there already and not the result of a conversion that is known; --force replaces it"
    )]
    Exists(PathBuf),
    #[error("{0} is one of the files that are converted")]
    OntoItself(PathBuf),
    #[error("an encoder-decoder is two ONNX files: {0} must be a folder (--to onnx)")]
    TwoFiles(PathBuf),
    #[error("{0} is an ONNX file already, which is converted to nothing else")]
    FromOnnx(String),
    #[error("{path}: {error}")]
    Write { path: PathBuf, error: io::Error },
    #[error("{name}: {error}")]
    Decode { name: String, error: DecodeError },
    #[error("the header of {0} bytes is more than a safetensors file may have (100 MB)")]
    Header(usize),
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Inspect(#[from] InspectError),
    #[error(transparent)]
    Read(#[from] io::Error),
}

impl ConvertError {
    pub(super) fn write(path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> ConvertError {
        let path = path.into();
        move |error| ConvertError::Write { path, error }
    }
}
