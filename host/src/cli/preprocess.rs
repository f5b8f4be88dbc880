//! `fewbit preprocess`: what a vision or audio model would be fed for a file.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::Args;
use fewbit_engine::input::audio::{AudioPreprocessor, WhisperFeatures};
use fewbit_engine::input::preprocessor::Preprocessor;
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_media::decode_audio;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use serde_json::{Value, json};

use crate::input::{prepare, preprocessor, read};
use crate::job::InputFile;
use crate::store::Store;

/// Write what a model would be fed for a picture or a recording, as safetensors.
///
/// The model's folder has a preprocessor_config.json (or processor_config.json). Pictures are PNG, JPEG, WebP, GIF or BMP, and
/// become pixel_values (and pixel_mask for DETR); sound is WAV, FLAC, MP3 or Ogg Vorbis, mixed and resampled to the model's
/// rate, and becomes input_features (and is_longer for CLAP) or input_values. Several files make a batch.
#[derive(Args)]
pub(crate) struct Preprocess {
    /// A folder, or a name from `fewbit models list` whose files are here.
    model: String,
    /// Pictures or recordings.
    #[arg(required = true)]
    files: Vec<PathBuf>,
    /// Where to write. The file appears there only when it is whole.
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// Which piece of a long recording CLAP hears.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// All of a recording, not only the first chunk (Whisper).
    #[arg(long)]
    whole: bool,
    /// One JSON object on standard output.
    #[arg(long)]
    json: bool,
}

type Named = BTreeMap<String, Tensor>;

impl Preprocess {
    pub(crate) fn run(self) -> anyhow::Result<ExitCode> {
        let folder = folder(&self.model)?;
        let preprocessor = preprocessor(&folder)?;
        let named = match &preprocessor {
            Preprocessor::Audio(AudioPreprocessor::Whisper(whisper)) if self.whole => {
                self.whole_recording(whisper)?
            }
            _ if self.whole => bail!("--whole is for Whisper and one file"),
            _ => prepare(&preprocessor, &self.inputs()?, self.seed)?.tensors,
        };
        write(&self.output, &named)?;
        self.tell(&named);
        Ok(ExitCode::SUCCESS)
    }

    fn inputs(&self) -> anyhow::Result<Vec<InputFile>> {
        let files = self.files.iter().map(|path| {
            Ok(InputFile {
                name: path.display().to_string(),
                data: read(path)?,
            })
        });
        files.collect()
    }

    fn whole_recording(&self, whisper: &WhisperFeatures) -> anyhow::Result<Named> {
        let [file] = self.files.as_slice() else {
            bail!("--whole is for Whisper and one file");
        };
        let clip = decode_audio(&read(file)?, whisper.rate());
        let clip = clip.with_context(|| file.display().to_string())?;
        let features = whisper.whole(&clip)?;
        Ok([("input_features".to_owned(), features)].into())
    }

    fn tell(&self, named: &Named) {
        let tensors: Vec<Value> = named
            .iter()
            .map(|(name, tensor)| {
                json!({
                    "name": name,
                    "data_type": tensor.data_type().to_string(),
                    "shape": tensor.shape(),
                })
            })
            .collect();
        if self.json {
            let output = self.output.display().to_string();
            println!("{}", json!({ "output": output, "tensors": tensors }));
        } else {
            for (name, tensor) in named {
                println!("{name} {} {:?}", tensor.data_type(), tensor.shape());
            }
        }
    }
}

/// The folder of a model's files. Unlike for running it, no weights need be there.
fn folder(model: &str) -> anyhow::Result<PathBuf> {
    let path = Path::new(model);
    if path.is_dir() {
        return Ok(path.to_path_buf());
    }
    if path.exists() {
        bail!("{model} is not a folder");
    }
    let store = Store::open()?;
    let folder = store.folder_of(store.entry(model)?);
    if !folder.is_dir() {
        bail!("{model} is not here: `fewbit models pull {model}` gets it");
    }
    Ok(folder)
}

/// Writes beside `path` and renames.
fn write(path: &Path, named: &Named) -> anyhow::Result<()> {
    let mut views = Vec::with_capacity(named.len());
    for (name, tensor) in named {
        let view = TensorView::new(dtype(tensor)?, tensor.shape().to_vec(), tensor.bytes())?;
        views.push((name.as_str(), view));
    }
    let bytes = safetensors::serialize(views, None)?;
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let context = || format!("write {}", path.display());
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fewbit-");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // As of any file made here: less what the user's mask takes.
        builder.permissions(fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).with_context(context)?;
    file.write_all(&bytes).with_context(context)?;
    file.as_file().sync_all().with_context(context)?;
    file.persist(path).with_context(context)?;
    Ok(())
}

fn dtype(tensor: &Tensor) -> anyhow::Result<Dtype> {
    Ok(match tensor.data_type() {
        DataType::F32 => Dtype::F32,
        DataType::I64 => Dtype::I64,
        DataType::I32 => Dtype::I32,
        DataType::Bool => Dtype::BOOL,
        other => bail!("a preprocessor made {other}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A 16-bit PCM WAV of one channel.
    fn wav(rate: u32, samples: &[i16]) -> Vec<u8> {
        let bytes = samples.len() as u32 * 2;
        let mut file = b"RIFF".to_vec();
        file.extend((36 + bytes).to_le_bytes());
        file.extend(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
        file.extend(rate.to_le_bytes());
        file.extend((rate * 2).to_le_bytes());
        file.extend(b"\x02\0\x10\0data");
        file.extend(bytes.to_le_bytes());
        file.extend(samples.iter().flat_map(|sample| sample.to_le_bytes()));
        file
    }

    fn command(model: &Path, file: &Path, output: &Path) -> Preprocess {
        Preprocess {
            model: model.display().to_string(),
            files: vec![file.to_path_buf()],
            output: output.to_path_buf(),
            seed: 0,
            whole: false,
            json: false,
        }
    }

    #[test]
    fn the_file_has_what_the_model_is_fed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("config.json"), r#"{"model_type": "wav2vec2"}"#).unwrap();
        fs::write(at("sound.wav"), wav(16_000, &[100, -100, 300, -300])).unwrap();
        let output = at("out.safetensors");
        command(folder.path(), &at("sound.wav"), &output)
            .run()
            .unwrap();
        let bytes = fs::read(&output).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let values = tensors.tensor("input_values").unwrap();
        assert_eq!((values.dtype(), values.shape()), (Dtype::F32, &[1, 4][..]));
        let first = f32::from_le_bytes(values.data()[..4].try_into().unwrap());
        // 100 / √50000, but for the 1e-7 that is added to the variance.
        assert!((first - 0.447_21).abs() < 1e-3, "{first}");
    }

    #[test]
    fn what_fails_leaves_no_file() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let output = at("out.safetensors");
        let run = || {
            let error = command(folder.path(), &at("picture.png"), &output).run();
            format!("{:#}", error.expect_err("must fail"))
        };
        assert!(run().contains("has no preprocessor_config.json"));
        let config = at("preprocessor_config.json");
        fs::write(
            &config,
            r#"{"image_processor_type": "ViTImageProcessor", "size": -1}"#,
        )
        .unwrap();
        let told = run();
        assert!(
            told.contains("preprocessor_config.json") && told.contains("`size` is -1"),
            "{told}"
        );
        fs::write(&config, r#"{"image_processor_type": "ViTImageProcessor"}"#).unwrap();
        assert!(run().contains("picture.png"));
        fs::write(at("picture.png"), b"GIF89a").unwrap();
        let told = run();
        assert!(
            told.contains("picture.png") && told.contains("GIF"),
            "{told}"
        );
        let left = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(left, 2, "the config and the picture");
    }
}
