//! From a checkpoint to another format: `fewbit convert`.

mod error;
mod hugging_face;
mod onnx;
mod safetensors;
mod staged;
#[cfg(feature = "results")]
pub mod standing;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fewbit_engine::format::{gguf, pytorch, safetensors as reader};
use fewbit_engine::model::BuildOptions;
use fewbit_engine::session::WeightSource;
use fewbit_engine::source::ByteSource;
use fewbit_engine::task::checkpoint::{self, CheckpointError};
use fewbit_native_backends::FileSource;
use serde::{Deserialize, Serialize};

pub use error::ConvertError;

use crate::store::{ModelFile, ModelFiles};
use hugging_face::HuggingFace;
use staged::Staged;

/// What is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// The model's graph with its weights; opset 21, sizes left open, weights in f32.
    Onnx,
    /// The checkpoint's tensors under their names; block formats become f32.
    Safetensors,
}

impl Format {
    pub const fn name(self) -> &'static str {
        match self {
            Format::Onnx => "onnx",
            Format::Safetensors => "safetensors",
        }
    }

    fn of_ending(path: &Path) -> Option<Format> {
        match path.extension()?.to_str()? {
            "onnx" => Some(Format::Onnx),
            "safetensors" => Some(Format::Safetensors),
            _ => None,
        }
    }
}

/// How to convert; kept in the registry as JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    pub to: Format,
    /// ONNX: the weights in a file beside the model, as they are in any case beyond 2 GiB.
    pub external_data: bool,
    /// Tokens that the model's tables reach; without it, what its files say.
    pub context: Option<usize>,
}

impl Options {
    /// The format that `out` and `--to` say together, and whether the result is a folder.
    pub fn format(out: &Path, to: Option<Format>) -> Result<(Format, bool), ConvertError> {
        match (Format::of_ending(out), to) {
            (Some(named), Some(asked)) if named != asked => Err(ConvertError::TwoFormats {
                path: out.to_path_buf(),
                named: named.name(),
                asked: asked.name(),
            }),
            (Some(named), _) => Ok((named, false)),
            (None, Some(asked)) => Ok((asked, true)),
            (None, None) => Err(ConvertError::NoFormat(out.to_path_buf())),
        }
    }
}

/// Told how many bytes of how many of a file are written.
pub type OnConvert<'a> = &'a dyn Fn(u64, u64);

/// Converts a model into the file or folder `out`, which is there whole afterwards or as it was. Gives the paths of the
/// result's files.
///
/// A folder gets what describes the model (configuration, tokenizer, preprocessor) beside the weights.
///
/// # Errors
/// Files that are no model's, an operator that ONNX has not, a full disk: nothing is left of the result then.
pub fn convert(
    files: &ModelFiles,
    out: &Path,
    is_folder: bool,
    options: &Options,
    on: OnConvert<'_>,
) -> Result<Vec<PathBuf>, ConvertError> {
    if !files.files.iter().any(|file| is_checkpoint(&file.name)) {
        return Err(ConvertError::FromOnnx(files.name.clone()));
    }
    let target = out.canonicalize().unwrap_or_else(|_| out.to_path_buf());
    if files.files.iter().any(|file| file.path == target) || target == files.folder {
        return Err(ConvertError::OntoItself(out.to_path_buf()));
    }
    let sources = sources(files)?;
    let build = BuildOptions {
        context_length: options.context,
        ..BuildOptions::default()
    };
    let model_files = checkpoint::ModelFiles::new(sources.clone());
    let opened = pollster::block_on(checkpoint::open(&model_files, build));
    let mut staged = Staged::new(out, is_folder)?;
    match options.to {
        Format::Onnx => {
            let single = (!is_folder).then_some(out);
            onnx::write(&opened?, &mut staged, single, options.external_data, on)?;
        }
        Format::Safetensors => {
            let name = match (is_folder, out.file_name()) {
                (false, Some(name)) => name.to_string_lossy().into_owned(),
                _ => "model.safetensors".to_owned(),
            };
            let source = tensors(opened, &sources)?;
            let hugging_face = is_folder
                .then(|| HuggingFace::of(&source.checkpoint))
                .flatten();
            let tensors = match hugging_face {
                Some(HuggingFace { tensors, config }) => {
                    let mut file = staged.create("config.json")?;
                    file.write_all(format!("{config:#}\n").as_bytes())?;
                    file.finish()?;
                    tensors
                }
                None => safetensors::all(&source),
            };
            let mut file = staged.create(&name)?;
            pollster::block_on(safetensors::write(&source, tensors, &mut file, on))?;
            file.finish()?;
        }
    }
    if is_folder {
        for file in files.files.iter().filter(|file| describes(&file.name)) {
            if staged.has(&file.name) {
                continue;
            }
            copy(file, &mut staged)?;
        }
    }
    staged.commit()
}

/// The checkpoint of a model, or of files that no model can be made of but whose tensors can be read.
fn tensors(
    opened: Result<checkpoint::OpenModel, CheckpointError>,
    sources: &[Rc<dyn ByteSource>],
) -> Result<WeightSource, ConvertError> {
    let error = match opened {
        Ok(model) => return Ok(model.source),
        Err(
            error @ (CheckpointError::Model(_)
            | CheckpointError::Config(_)
            | CheckpointError::NoConfig(_)),
        ) => error,
        Err(error) => return Err(error.into()),
    };
    let mut weights = sources.iter().filter(|source| is_checkpoint(source.name()));
    let (Some(source), None) = (weights.next(), weights.next()) else {
        return Err(error.into());
    };
    let name = source.name();
    let checkpoint = if name.ends_with(".gguf") {
        pollster::block_on(gguf::read_header(source.as_ref()))?.checkpoint
    } else if name.ends_with(".safetensors") {
        pollster::block_on(reader::read_header(source.as_ref()))?
    } else {
        pollster::block_on(pytorch::read_header(source.as_ref()))?
    };
    Ok(WeightSource {
        checkpoint,
        files: vec![source.clone()],
    })
}

fn sources(files: &ModelFiles) -> Result<Vec<Rc<dyn ByteSource>>, ConvertError> {
    let mut sources: Vec<Rc<dyn ByteSource>> = Vec::new();
    for file in &files.files {
        sources.push(Rc::new(FileSource::open(&file.name, &file.path)?));
    }
    Ok(sources)
}

fn is_checkpoint(name: &str) -> bool {
    [".gguf", ".safetensors", ".bin", ".pt", ".pth"]
        .iter()
        .any(|end| name.ends_with(end))
}

/// What stands beside a model's weights and is of its model whatever their format; the index of shards is not.
fn describes(name: &str) -> bool {
    let endings = [".json", ".jinja", ".txt", ".model", ".md"];
    let licence = ["LICENSE", "LICENCE", "NOTICE"]
        .iter()
        .any(|begin| name.starts_with(begin));
    let index = name.ends_with(".index.json");
    (endings.iter().any(|end| name.ends_with(end)) || licence) && !index
}

fn copy(file: &ModelFile, staged: &mut Staged) -> Result<(), ConvertError> {
    let mut from = std::fs::File::open(&file.path)?;
    let mut to = staged.create(&file.name)?;
    std::io::copy(&mut from, &mut to)?;
    to.finish()
}
