//! Pictures and recordings as a model takes them: decoded and preprocessed as its files say.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use fewbit_engine::input::audio::AudioError;
use fewbit_engine::input::image::ImageError;
use fewbit_engine::input::{ConfigError, preprocessor::Preprocessor};
use fewbit_engine::tensor::Tensor;
use fewbit_media::{MediaError, decode_audio, decode_image};
use serde_json::Value;

use crate::job::InputFile;

/// A file of pictures or sound, and every file that describes a model.
const MAX_FILE_BYTES: u64 = 2 << 30;

#[derive(Debug, thiserror::Error)]
pub enum InputError {
    #[error("{path}: {error}")]
    Read { path: PathBuf, error: io::Error },
    #[error("{0}: longer than {MAX_FILE_BYTES} bytes")]
    TooLong(PathBuf),
    #[error("{path}: {error}")]
    Json {
        path: PathBuf,
        error: serde_json::Error,
    },
    #[error("{path}: {error}")]
    Config { path: PathBuf, error: ConfigError },
    #[error("{0} has no preprocessor_config.json")]
    NoPreprocessor(PathBuf),
    #[error("{name}: {error}")]
    Media { name: String, error: MediaError },
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error(transparent)]
    Audio(#[from] AudioError),
}

/// What a model is fed.
pub struct Prepared {
    pub tensors: BTreeMap<String, Tensor>,
    /// Width and height in pixels of each picture as it was given; none for sound.
    pub sizes: Vec<[usize; 2]>,
}

/// What stands before the model in `folder`.
///
/// # Errors
/// Its files do not say, or something that is not known.
pub fn preprocessor(folder: &Path) -> Result<Preprocessor, InputError> {
    // Without a config of the model itself, the preprocessor's own must say what it is for.
    let model_type = match folder.join("config.json") {
        path if path.is_file() => {
            let config: Value = serde_json::from_slice(&read(&path)?)
                .map_err(|error| InputError::Json { path, error })?;
            config["model_type"].as_str().map(str::to_owned)
        }
        _ => None,
    };
    for name in ["preprocessor_config.json", "processor_config.json"] {
        let path = folder.join(name);
        if path.is_file() {
            return Preprocessor::from_json(&read(&path)?, model_type.as_deref())
                .map_err(|error| InputError::Config { path, error });
        }
    }
    // A checkpoint of Wav2Vec2 alone, as `save_pretrained` of the model writes it: its input is always the same.
    if model_type.as_deref() == Some("wav2vec2") {
        return Preprocessor::from_json(b"{}", model_type.as_deref()).map_err(|error| {
            let path = folder.to_path_buf();
            InputError::Config { path, error }
        });
    }
    Err(InputError::NoPreprocessor(folder.to_path_buf()))
}

/// A batch of files as the model's input. `seed` decides which piece of a long clip CLAP hears.
///
/// # Errors
/// A file that is no picture (or sound), and whatever the preprocessor says.
pub fn prepare(
    preprocessor: &Preprocessor,
    files: &[InputFile],
    seed: u64,
) -> Result<Prepared, InputError> {
    let mut sizes = Vec::new();
    let named = match preprocessor {
        Preprocessor::Image(image) => {
            let mut pictures = Vec::with_capacity(files.len());
            for file in files {
                let picture = decode_image(&file.data).map_err(|error| fault(file, error))?;
                sizes.push([picture.width(), picture.height()]);
                pictures.push(picture);
            }
            image.run(&pictures)?.into_named()
        }
        Preprocessor::Audio(audio) => {
            let mut clips = Vec::with_capacity(files.len());
            for file in files {
                let clip = decode_audio(&file.data, audio.rate());
                clips.push(clip.map_err(|error| fault(file, error))?);
            }
            let clips: Vec<&[f32]> = clips.iter().map(Vec::as_slice).collect();
            audio.run(&clips, seed)?
        }
    };
    let tensors = named.into_iter();
    let tensors = tensors.map(|(name, tensor)| (name.to_owned(), tensor));
    Ok(Prepared {
        tensors: tensors.collect(),
        sizes,
    })
}

fn fault(file: &InputFile, error: MediaError) -> InputError {
    let name = file.name.clone();
    InputError::Media { name, error }
}

/// A whole file.
///
/// # Errors
/// It cannot be read, or is longer than such files are.
pub fn read(path: &Path) -> Result<Vec<u8>, InputError> {
    let fault = |error| InputError::Read {
        path: path.to_path_buf(),
        error,
    };
    let file = File::open(path).map_err(fault)?;
    let mut bytes = Vec::new();
    // A pipe has no length: what is read counts.
    file.take(MAX_FILE_BYTES + 1)
        .read_to_end(&mut bytes)
        .map_err(fault)?;
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return Err(InputError::TooLong(path.to_path_buf()));
    }
    Ok(bytes)
}
