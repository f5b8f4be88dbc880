//! A model's ONNX files opened as a model.

use fewbit_engine::model::{BuiltModel, Feedforward, ModelKind, ONNX};
use fewbit_engine::source::SourceError;
use fewbit_engine::task::checkpoint::{ModelFiles, OpenModel};

use crate::import::{ImportError, ImportOptions, import};

/// The file that is taken among several, as Hugging Face's repositories call them.
const PREFERRED: [&str; 4] = [
    "onnx/model.onnx",
    "model.onnx",
    "onnx/model_quantized.onnx",
    "model_quantized.onnx",
];

/// Why ONNX files have not become a model.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("no ONNX file among the files")]
    NoModel,
    #[error("{0}: several ONNX files, and none of them is the whole model")]
    Several(String),
    #[error("{file}: {bytes} bytes are more than memory can address")]
    TooLarge { file: String, bytes: u64 },
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Import(#[from] ImportError),
}

/// Opens the one ONNX file among `files`, or the one of the usual name, as a graph that runs once.
///
/// # Errors
/// None or several such files; what [`import`] says of one.
pub async fn open(files: &ModelFiles, options: &ImportOptions) -> Result<OpenModel, OpenError> {
    let names: Vec<&str> = files.names_ending(".onnx").collect();
    let usual = PREFERRED.into_iter().find(|name| names.contains(name));
    let name = match (usual, names.as_slice()) {
        (Some(name), _) | (None, &[name]) => name,
        (None, []) => return Err(OpenError::NoModel),
        (None, several) => return Err(OpenError::Several(several.join(", "))),
    };
    let file = files.find(name).ok_or(OpenError::NoModel)?;
    let bytes = usize::try_from(file.len()).map_err(|_| OpenError::TooLarge {
        file: name.to_owned(),
        bytes: file.len(),
    })?;
    let mut buffer = vec![0; bytes];
    file.read_at(0, &mut buffer).await?;
    let imported = import(&buffer, name, options)?;
    drop(buffer);
    Ok(OpenModel {
        source: imported.source,
        built: BuiltModel {
            architecture: ONNX,
            graph: imported.graph,
            kind: ModelKind::Feedforward(Feedforward::default()),
        },
        gguf: None,
    })
}
