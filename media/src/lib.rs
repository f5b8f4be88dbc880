//! Pictures and sound out of files: PNG, JPEG, WebP, GIF (its first frame) and BMP; WAV, FLAC, MP3 and Ogg Vorbis.
//!
//! What comes out is what [`fewbit_engine::input`] takes: a [`Picture`] of 8-bit RGB, mono samples at the rate that a model
//! wants. Files are hostile: sizes are checked before anything is allocated for them, and memory is bounded by
//! the limits of [`fewbit_engine::input::image`] and [`fewbit_engine::input::audio`] however small the file.
//!
//! The decoders are libraries: `image`, and `symphonia` (MPL-2.0, linked unchanged).

mod error;
mod picture;
mod sound;

pub use error::MediaError;
pub use fewbit_engine::input::image::Picture;
pub use picture::{PictureFormat, decode_image};
pub use sound::{SoundFormat, decode_audio};
