//! Decoding and preprocessing behind a JavaScript boundary, for a worker of the npm package `fewbit`.
//!
//! A module of its own, loaded when a task first takes a picture or a sound: a page that only talks to a language
//! model does not download codecs.
//!
//! Pictures come as files (`decodeImage`) or as a canvas's pixels (`Picture.fromRgba`); sound as files (`decodeAudio`)
//! or as an `AudioBuffer`'s channels (`mixAudio`). `preprocessImages` and `features` make of them what the model is fed.
//! Errors are `Error` objects with a `code`, `unsupported` or `bad_argument`, as those of the other module.
//!
//! No panic is meant to be reachable. Should one be, in one of the codecs, the module is poisoned and can be made
//! again: it holds nothing between calls.
#![cfg(target_arch = "wasm32")]

use fewbit_engine::input::audio::{AudioError, AudioPreprocessor, Resampler, mix};
use fewbit_engine::input::image::{self, ImageError, ImagePreprocessor};
use fewbit_engine::input::{ConfigError, preprocessor::Preprocessor};
use fewbit_engine::tensor::{DataType, Tensor};
use fewbit_media::{MediaError, decode_audio, decode_image};
use js_sys::{BigInt64Array, Float32Array, Int32Array, Uint8Array, Uint32Array};
use wasm_bindgen::prelude::*;

/// A decoded picture: 8-bit RGB, turned as it is to be seen.
#[wasm_bindgen]
pub struct Picture(image::Picture);

#[wasm_bindgen]
impl Picture {
    /// Of `width × height × 4` bytes, as `ImageData` and `VideoFrame.copyTo` give them. Alpha is dropped.
    #[wasm_bindgen(js_name = fromRgba)]
    pub fn from_rgba(width: u32, height: u32, rgba: Vec<u8>) -> Result<Picture, JsValue> {
        let picture = image::Picture::from_rgba(width as usize, height as usize, rgba);
        picture.map(Picture).map_err(|error| image_fault(&error))
    }

    #[wasm_bindgen(getter)]
    pub fn width(&self) -> u32 {
        self.0.width() as u32
    }

    #[wasm_bindgen(getter)]
    pub fn height(&self) -> u32 {
        self.0.height() as u32
    }

    /// `width × height × 3` bytes.
    pub fn rgb(&self) -> Uint8Array {
        self.0.rgb().into()
    }
}

/// The picture in a PNG, JPEG, WebP, GIF or BMP file.
#[wasm_bindgen(js_name = decodeImage)]
pub fn decode_image_file(file: &[u8]) -> Result<Picture, JsValue> {
    decode_image(file)
        .map(Picture)
        .map_err(|error| media_fault(&error))
}

/// The sound in a WAV, FLAC, MP3 or Ogg Vorbis file: one channel at `rate` hertz.
#[wasm_bindgen(js_name = decodeAudio)]
pub fn decode_audio_file(file: &[u8], rate: u32) -> Result<Float32Array, JsValue> {
    let samples = decode_audio(file, rate).map_err(|error| media_fault(&error))?;
    Ok(samples.as_slice().into())
}

/// Channels of equal length at one rate (`AudioBuffer.getChannelData`) as one channel at another.
#[wasm_bindgen(js_name = mixAudio)]
pub fn mix_audio(channels: Vec<Float32Array>, from: u32, to: u32) -> Result<Float32Array, JsValue> {
    let fault = |error| audio_fault(&error);
    let length = channels.first().map_or(0, Float32Array::length) as usize;
    if channels
        .iter()
        .any(|channel| channel.length() as usize != length)
    {
        return Err(error("bad_argument", "the channels have different lengths"));
    }
    let mut resampler = Resampler::new(from, to).map_err(fault)?;
    let mut out = Vec::new();
    // A second at a time, as all channels at once would be as much memory again.
    let piece = from as usize;
    let mut interleaved = Vec::new();
    let mut mono = Vec::new();
    for begin in (0..length).step_by(piece) {
        let frames = piece.min(length - begin);
        interleaved.clear();
        interleaved.resize(frames * channels.len(), 0.0);
        for (c, channel) in channels.iter().enumerate() {
            let end = (begin + frames) as u32;
            let samples = channel.subarray(begin as u32, end).to_vec();
            for (frame, sample) in samples.into_iter().enumerate() {
                interleaved[frame * channels.len() + c] = sample;
            }
        }
        mono.clear();
        mix(&interleaved, channels.len(), &mut mono).map_err(fault)?;
        resampler.push(&mono, &mut out);
    }
    resampler.finish(&mut out);
    Ok(out.as_slice().into())
}

/// What a model is fed: named tensors.
#[wasm_bindgen]
pub struct Fed(Vec<(&'static str, Tensor)>);

#[wasm_bindgen]
impl Fed {
    /// `pixel_values`, `pixel_mask`, `input_features`, `is_longer`, `input_values`, `attention_mask`, as `transformers` has
    /// them.
    pub fn names(&self) -> Vec<String> {
        self.0.iter().map(|(name, _)| (*name).to_owned()).collect()
    }

    /// Of the tensor called so; `undefined` if there is none.
    pub fn shape(&self, name: &str) -> Option<Uint32Array> {
        let shape: Vec<u32> = self.find(name)?.shape().iter().map(|&d| d as u32).collect();
        Some(shape.as_slice().into())
    }

    /// `float32`, `int64`, `int32` or `bool`.
    #[wasm_bindgen(js_name = dataType)]
    pub fn data_type(&self, name: &str) -> Option<String> {
        let name = match self.find(name)?.data_type() {
            DataType::F32 => "float32",
            DataType::I64 => "int64",
            DataType::I32 => "int32",
            DataType::Bool => "bool",
            // None of the preprocessors makes another.
            _ => return None,
        };
        Some(name.to_owned())
    }

    /// A `Float32Array`, `BigInt64Array`, `Int32Array` or, for bool, `Uint8Array`.
    pub fn data(&self, name: &str) -> JsValue {
        let Some(tensor) = self.find(name) else {
            return JsValue::UNDEFINED;
        };
        match tensor.data_type() {
            DataType::F32 => match tensor.as_f32() {
                Ok(values) => Float32Array::from(values).into(),
                Err(_) => JsValue::UNDEFINED,
            },
            DataType::I64 => {
                let bytes = Uint8Array::from(tensor.bytes());
                BigInt64Array::new(&bytes.buffer()).into()
            }
            DataType::I32 => {
                let bytes = Uint8Array::from(tensor.bytes());
                Int32Array::new(&bytes.buffer()).into()
            }
            _ => Uint8Array::from(tensor.bytes()).into(),
        }
    }
}

impl Fed {
    fn find(&self, name: &str) -> Option<&Tensor> {
        let found = self.0.iter().find(|(known, _)| *known == name);
        found.map(|(_, tensor)| tensor)
    }
}

/// The model's input for pictures, as its `preprocessor_config.json` asks. `model_type`, of its `config.json`, decides for files
/// that name no processor.
#[wasm_bindgen(js_name = preprocessImages)]
pub fn preprocess_images(
    config: &[u8],
    model_type: Option<String>,
    pictures: Vec<Picture>,
) -> Result<Fed, JsValue> {
    let fault = |error| image_fault(&error);
    let preprocessor =
        ImagePreprocessor::from_json(config, model_type.as_deref()).map_err(fault)?;
    let pictures: Vec<_> = pictures.into_iter().map(|picture| picture.0).collect();
    let batch = preprocessor.run(&pictures).map_err(fault)?;
    Ok(Fed(batch.into_named()))
}

/// The sampling rate, in hertz, that a model's `preprocessor_config.json` asks for: what to give [`decode_audio_file`].
#[wasm_bindgen(js_name = samplingRate)]
pub fn sampling_rate(config: &[u8], model_type: Option<String>) -> Result<u32, JsValue> {
    let preprocessor = AudioPreprocessor::from_json(config, model_type.as_deref())
        .map_err(|error| audio_fault(&error))?;
    Ok(preprocessor.rate())
}

/// Whether a model's `preprocessor_config.json` is for `image` or `audio`.
#[wasm_bindgen(js_name = preprocessorKind)]
pub fn preprocessor_kind(config: &[u8], model_type: Option<String>) -> Result<String, JsValue> {
    match Preprocessor::from_json(config, model_type.as_deref()) {
        Ok(Preprocessor::Image(_)) => Ok("image".into()),
        Ok(Preprocessor::Audio(_)) => Ok("audio".into()),
        Err(problem) => Err(config_fault(&problem)),
    }
}

/// The model's input for clips of one channel at its sampling rate. `seed` decides which piece of a long clip CLAP hears. With
/// `whole`, Whisper's features of one long clip are not cut to a chunk.
#[wasm_bindgen]
pub fn features(
    config: &[u8],
    model_type: Option<String>,
    clips: Vec<Float32Array>,
    seed: u32,
    whole: bool,
) -> Result<Fed, JsValue> {
    let fault = |error| audio_fault(&error);
    let preprocessor =
        AudioPreprocessor::from_json(config, model_type.as_deref()).map_err(fault)?;
    let clips: Vec<Vec<f32>> = clips.iter().map(Float32Array::to_vec).collect();
    let clips: Vec<&[f32]> = clips.iter().map(Vec::as_slice).collect();
    let named = match (&preprocessor, whole, clips.as_slice()) {
        (AudioPreprocessor::Whisper(whisper), true, [clip]) => {
            vec![("input_features", whisper.whole(clip).map_err(fault)?)]
        }
        (_, false, clips) => preprocessor.run(clips, u64::from(seed)).map_err(fault)?,
        _ => {
            let reason = "only one clip for Whisper can be taken whole";
            return Err(error("bad_argument", reason));
        }
    };
    Ok(Fed(named))
}

fn error(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a fresh object cannot fail.
    let _ = js_sys::Reflect::set(&error, &"code".into(), &code.into());
    error.into()
}

fn config_fault(problem: &ConfigError) -> JsValue {
    let code = match problem {
        ConfigError::Unsupported { .. } => "unsupported",
        _ => "bad_model",
    };
    error(code, &problem.to_string())
}

fn image_fault(problem: &ImageError) -> JsValue {
    match problem {
        ImageError::Config(problem) => config_fault(problem),
        problem => error("bad_argument", &problem.to_string()),
    }
}

fn audio_fault(problem: &AudioError) -> JsValue {
    match problem {
        AudioError::Config(problem) => config_fault(problem),
        problem => error("bad_argument", &problem.to_string()),
    }
}

fn media_fault(problem: &MediaError) -> JsValue {
    let code = match problem {
        MediaError::Unsupported { .. } | MediaError::UnknownFormat { .. } => "unsupported",
        _ => "bad_argument",
    };
    error(code, &problem.to_string())
}
