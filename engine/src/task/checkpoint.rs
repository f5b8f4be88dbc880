//! From a model's files to its graph: which of them are the weights, and what describes them.

use std::rc::Rc;

use super::handover::HandoverError;
use crate::format::{
    Checkpoint, FormatError, Metadata, ctranslate2, gguf, pytorch, read_tensor, safetensors,
    safetensors_index,
};
use crate::model::{self, BuildOptions, BuiltModel, Config, ConfigError, ModelError};
use crate::session::WeightSource;
use crate::source::{ByteSource, SourceError};
use crate::tensor::{DataType, ElementType, Tensor};

/// A configuration file larger than this is no configuration file.
const MAX_TEXT_FILE: u64 = 64 << 20;

/// The files of one model, by the names its repository gives them.
#[derive(Clone, Default)]
pub struct ModelFiles {
    files: Vec<Rc<dyn ByteSource>>,
}

impl ModelFiles {
    pub fn new(files: Vec<Rc<dyn ByteSource>>) -> ModelFiles {
        ModelFiles { files }
    }

    /// The file of this name (`/` between folders).
    pub fn find(&self, name: &str) -> Option<&Rc<dyn ByteSource>> {
        self.files.iter().find(|file| file.name() == name)
    }

    /// A whole small file; `None` if it is not there.
    pub async fn read(&self, name: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let Some(file) = self.find(name) else {
            return Ok(None);
        };
        if file.len() > MAX_TEXT_FILE {
            return Err(SourceError::Read {
                file: name.to_owned(),
                message: format!("{} bytes are too many for a configuration file", file.len()),
            });
        }
        let mut bytes = vec![0; file.len() as usize];
        file.read_at(0, &mut bytes).await?;
        Ok(Some(bytes))
    }

    /// The names that end so.
    pub fn names_ending<'a>(&'a self, ending: &'a str) -> impl Iterator<Item = &'a str> {
        let names = self.files.iter().map(|file| file.name());
        names.filter(move |name| name.ends_with(ending))
    }

    fn with_ending(&self, ending: &str) -> Option<&Rc<dyn ByteSource>> {
        self.files.iter().find(|file| file.name().ends_with(ending))
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.files.iter().map(|file| file.name()).collect();
        names.join(", ")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    #[error(
        "no weights among the files ({0}): a .gguf, a CTranslate2 model.bin, model.safetensors or pytorch_model.bin, or the index of such shards, is needed"
    )]
    NoWeights(String),
    #[error("config.json is missing beside {0}")]
    NoConfig(String),
    #[error(transparent)]
    Format(#[from] FormatError),
    #[error(transparent)]
    Source(#[from] SourceError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("the model that was handed over: {0}")]
    Handover(#[from] HandoverError),
}

/// A model whose headers were read: its graph, and where its weights are.
pub struct OpenModel {
    pub built: BuiltModel,
    pub source: WeightSource,
    /// The metadata of a GGUF file.
    pub gguf: Option<Metadata>,
}

/// Reads headers and configuration and builds the graph; no weight is read.
pub async fn open(files: &ModelFiles, options: BuildOptions) -> Result<OpenModel, CheckpointError> {
    if let Some(file) = files.with_ending(".gguf") {
        return open_gguf(file, options).await;
    }
    if let Some(file) = files.find("model.bin") {
        return open_ctranslate2(file).await;
    }
    let (checkpoint, sources) = open_tensors(files).await?;
    let config = match files.read("config.json").await? {
        Some(json) => Config::parse(&json)?,
        None => return Err(CheckpointError::NoConfig(checkpoint.file)),
    };
    let built = model::from_config(&config, &checkpoint, &options)?;
    Ok(OpenModel {
        built,
        source: WeightSource {
            checkpoint,
            files: sources,
        },
        gguf: None,
    })
}

async fn open_gguf(
    file: &Rc<dyn ByteSource>,
    mut options: BuildOptions,
) -> Result<OpenModel, CheckpointError> {
    let header = gguf::read_header(file.as_ref()).await?;
    let checkpoint = header.checkpoint;
    let sources = vec![file.clone()];
    if let Some(entry) = checkpoint.find("rope_freqs.weight")
        && entry.element == ElementType::F32
    {
        let bytes = read_tensor(&sources, entry).await?;
        let tensor =
            Tensor::from_bytes(DataType::F32, &entry.shape, &bytes).map_err(ModelError::from)?;
        options.rope_divisors = Some(tensor.as_f32().map_err(ModelError::from)?.to_vec());
    }
    let built = model::from_gguf(&checkpoint.metadata, &checkpoint, &options)?;
    let gguf = Some(checkpoint.metadata.clone());
    Ok(OpenModel {
        built,
        source: WeightSource {
            checkpoint,
            files: sources,
        },
        gguf,
    })
}

/// A CTranslate2 model; the config.json beside it is of another kind than Hugging Face's, and not needed.
async fn open_ctranslate2(file: &Rc<dyn ByteSource>) -> Result<OpenModel, CheckpointError> {
    let checkpoint = ctranslate2::read_header(file.as_ref()).await?;
    let built = model::from_ctranslate2(&checkpoint)?;
    Ok(OpenModel {
        built,
        source: WeightSource {
            checkpoint,
            files: vec![file.clone()],
        },
        gguf: None,
    })
}

/// What holds tensors beside a model's weights: what it is verified by, and what a trainer leaves.
const BESIDE_WEIGHTS: [&str; 6] = [
    "reference.safetensors",
    "training_args.bin",
    "optimizer.pt",
    "scheduler.pt",
    "scaler.pt",
    "rng_state.pth",
];

/// Safetensors, or PyTorch's archives where there are none: shards with an index, else the one file of the usual
/// name, and only then one of another name (beside which may lie tensors that are not the model's).
async fn open_tensors(
    files: &ModelFiles,
) -> Result<(Checkpoint, Vec<Rc<dyn ByteSource>>), CheckpointError> {
    for (index_name, single) in [
        ("model.safetensors.index.json", "model.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin"),
    ] {
        if let Some(json) = files.read(index_name).await? {
            let index = safetensors_index::ShardIndex::parse(&json, index_name)?;
            let mut sources = Vec::new();
            for name in &index.files {
                let file = files.find(name).ok_or_else(|| SourceError::Read {
                    file: name.clone(),
                    message: format!("{index_name} names it, but it is not among the files"),
                })?;
                sources.push(file.clone());
            }
            return Ok((index.read_headers(&sources).await?, sources));
        }
        if let Some(file) = files.find(single) {
            return open_single(file).await;
        }
    }
    let first = |wanted: fn(&str) -> bool| {
        let mut files = files.files.iter();
        files.find(|file| wanted(file.name()) && !BESIDE_WEIGHTS.contains(&file.name()))
    };
    match first(is_safetensors).or_else(|| first(pytorch::is_named)) {
        Some(file) => open_single(file).await,
        None => Err(CheckpointError::NoWeights(files.names())),
    }
}

async fn open_single(
    file: &Rc<dyn ByteSource>,
) -> Result<(Checkpoint, Vec<Rc<dyn ByteSource>>), CheckpointError> {
    let checkpoint = match is_safetensors(file.name()) {
        true => safetensors::read_header(file.as_ref()).await?,
        false => pytorch::read_header(file.as_ref()).await?,
    };
    Ok((checkpoint, vec![file.clone()]))
}

fn is_safetensors(name: &str) -> bool {
    name.ends_with(".safetensors")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::MemorySource;

    #[test]
    fn what_lies_beside_the_weights_is_not_taken_for_them() {
        let archive = include_bytes!("../../tests/fixtures/reference/gpt2-bin/pytorch_model.bin");
        let file = |name: &str, bytes: &[u8]| -> Rc<dyn ByteSource> {
            Rc::new(MemorySource::new(name, bytes.to_vec()))
        };
        let beside = BESIDE_WEIGHTS.map(|name| file(name, b"no weights"));
        let mut files = ModelFiles::new(beside.to_vec());
        let none = pollster::block_on(open_tensors(&files));
        assert!(matches!(none, Err(CheckpointError::NoWeights(_))));
        files.files.push(file("model.pt", archive));
        let (checkpoint, sources) = pollster::block_on(open_tensors(&files)).unwrap();
        assert_eq!(sources[0].name(), "model.pt");
        assert!(checkpoint.contains("wte.weight"));
    }
}
