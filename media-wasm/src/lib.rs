//! Decoding and preprocessing behind a JavaScript boundary, for a worker of the npm package `fewbit`.
//!
//! A module of its own, loaded when a task first takes a picture or a sound: a page that only talks to a language
//! model does not download codecs.
//!
//! Pictures come as files (`decodeImage`) or as a canvas's pixels (`Picture.fromRgba`); sound as files (`decodeAudio`)
//! or as an `AudioBuffer`'s channels (`mixAudio`). A `Preprocessor` makes of them what the model is fed. Errors are `Error` objects with a
//! `code`, `unsupported`, `bad_argument` or `bad_model`, as those of the other module.
//!
//! No panic is meant to be reachable. Should one be, in one of the codecs, the module is poisoned and can be made
//! again: it holds nothing between calls.
#![cfg(target_arch = "wasm32")]

mod transcribe;

use fewbit_engine::input::audio::{AudioError, AudioPreprocessor, Resampler, mix};
use fewbit_engine::input::image::{self, ImageError};
use fewbit_engine::input::{ConfigError, preprocessor};
use fewbit_engine::tensor::Tensor;
use fewbit_media::{MediaError, decode_audio, decode_image};
use js_sys::{Array, Float32Array, Object, Reflect, Uint8Array};
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

/// What makes a model's input, as its `preprocessor_config.json` asks.
#[wasm_bindgen]
pub struct Preprocessor(preprocessor::Preprocessor);

#[wasm_bindgen]
impl Preprocessor {
    /// Of the bytes of a `preprocessor_config.json` or `processor_config.json`. `model_type`, of the model's `config.json`,
    /// decides for files that name no processor.
    #[wasm_bindgen(constructor)]
    pub fn new(config: &[u8], model_type: Option<String>) -> Result<Preprocessor, JsValue> {
        preprocessor::Preprocessor::from_json(config, model_type.as_deref())
            .map(Preprocessor)
            .map_err(|problem| config_fault(&problem))
    }

    /// The sampling rate of its clips, in hertz: what to give [`decode_audio_file`]. `undefined` for pictures.
    #[wasm_bindgen(getter)]
    pub fn rate(&self) -> Option<u32> {
        match &self.0 {
            preprocessor::Preprocessor::Image(_) => None,
            preprocessor::Preprocessor::Audio(audio) => Some(audio.rate()),
        }
    }

    /// The input for pictures: `{ name, type, shape, data }[]`, as the other module takes tensors.
    pub fn images(&self, pictures: Vec<Picture>) -> Result<Array, JsValue> {
        let preprocessor::Preprocessor::Image(images) = &self.0 else {
            return Err(error("bad_argument", "the model takes sound, not pictures"));
        };
        let pictures: Vec<_> = pictures.into_iter().map(|picture| picture.0).collect();
        let batch = images.run(&pictures).map_err(|error| image_fault(&error))?;
        to_js(&batch.into_named())
    }

    /// The input for clips of one channel at its sampling rate, likewise. `seed` decides which piece of a long clip CLAP hears.
    /// With `whole`, Whisper's features of one long clip are not cut to a chunk.
    pub fn clips(
        &self,
        clips: Vec<Float32Array>,
        seed: u32,
        whole: bool,
    ) -> Result<Array, JsValue> {
        let preprocessor::Preprocessor::Audio(audio) = &self.0 else {
            return Err(error("bad_argument", "the model takes pictures, not sound"));
        };
        let fault = |error| audio_fault(&error);
        let clips: Vec<Vec<f32>> = clips.iter().map(Float32Array::to_vec).collect();
        let clips: Vec<&[f32]> = clips.iter().map(Vec::as_slice).collect();
        let named = match (audio, whole, clips.as_slice()) {
            (AudioPreprocessor::Whisper(whisper), true, [clip]) => {
                vec![("input_features", whisper.whole(clip).map_err(fault)?)]
            }
            (_, false, clips) => audio.run(clips, u64::from(seed)).map_err(fault)?,
            _ => {
                let reason = "only one clip for Whisper can be taken whole";
                return Err(error("bad_argument", reason));
            }
        };
        to_js(&named)
    }
}

/// Tensors under the names that `transformers` gives them; elements little-endian.
fn to_js(named: &[(&'static str, Tensor)]) -> Result<Array, JsValue> {
    let tensors = Array::new();
    for (name, tensor) in named {
        let shape: Array = tensor
            .shape()
            .iter()
            .map(|&size| JsValue::from(size as f64))
            .collect();
        let object = Object::new();
        for (key, value) in [
            ("name", JsValue::from(*name)),
            ("type", tensor.data_type().name().into()),
            ("shape", shape.into()),
            ("data", Uint8Array::from(tensor.bytes()).into()),
        ] {
            Reflect::set(&object, &key.into(), &value)?;
        }
        tensors.push(&object);
    }
    Ok(tensors)
}

fn error(code: &str, message: &str) -> JsValue {
    let error = js_sys::Error::new(message);
    // Setting a property of a fresh object cannot fail.
    let _ = Reflect::set(&error, &"code".into(), &code.into());
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
