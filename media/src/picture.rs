//! A picture out of a file.

use std::io::Cursor;

use fewbit_engine::input::image::{ImageError, MAX_EDGE, Picture, check_size};
use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::error::{ImageError as DecodeError, ImageResult, LimitErrorKind};
use image::{ColorType, ImageDecoder, Limits};

use crate::error::{MediaError, begins, words};

/// The most bytes of a picture as its decoder gives it: 64 Mi pixels of RGBA.
const MAX_DECODED_BYTES: u64 = 256 << 20;
/// What a decoder may allocate in all.
const MAX_DECODER_BYTES: u64 = 512 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PictureFormat {
    Png,
    Jpeg,
    WebP,
    Gif,
    Bmp,
}

impl PictureFormat {
    /// By a file's first bytes.
    pub fn guess(bytes: &[u8]) -> Option<PictureFormat> {
        match bytes {
            [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n', ..] => Some(PictureFormat::Png),
            [0xff, 0xd8, 0xff, ..] => Some(PictureFormat::Jpeg),
            [
                b'R',
                b'I',
                b'F',
                b'F',
                _,
                _,
                _,
                _,
                b'W',
                b'E',
                b'B',
                b'P',
                ..,
            ] => Some(PictureFormat::WebP),
            [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => Some(PictureFormat::Gif),
            [b'B', b'M', ..] => Some(PictureFormat::Bmp),
            _ => None,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            PictureFormat::Png => "PNG",
            PictureFormat::Jpeg => "JPEG",
            PictureFormat::WebP => "WebP",
            PictureFormat::Gif => "GIF",
            PictureFormat::Bmp => "BMP",
        }
    }

    /// The most pixels that a byte of the file can stand for, if there is such a number.
    fn pixels_a_byte(self) -> Option<u64> {
        match self {
            // Deflate packs 1032 to 1; 8 pixels of one bit each.
            PictureFormat::Png => Some(8 * 1032),
            // A block of 8 × 8 pixels takes a bit at the least.
            PictureFormat::Jpeg => Some(8 * 64),
            // A code of 12 bits stands for 4096 pixels at most.
            PictureFormat::Gif => Some(4096),
            // Run lengths can skip, and a lossless WebP of one colour has no bits but its header.
            PictureFormat::Bmp | PictureFormat::WebP => None,
        }
    }
}

/// The picture in a PNG, JPEG, WebP, GIF or BMP file, as PIL's `convert("RGB")` has it after `exif_transpose`: turned as its
/// Exif orientation says, alpha dropped, palettes and grey spread to RGB, the high byte of 16-bit channels. Colour
/// profiles are left alone, as they are there. Of an animation the first frame.
///
/// # Errors
/// Another format, a size beyond the limits of [`fewbit_engine::input::image`] or beyond what the file can hold, or a
/// file that its decoder refuses.
pub fn decode_image(bytes: &[u8]) -> Result<Picture, MediaError> {
    let format = PictureFormat::guess(bytes).ok_or_else(|| MediaError::UnknownFormat {
        known: "PNG, JPEG, WebP, GIF or BMP",
        begins: begins(bytes),
    })?;
    let file = Cursor::new(bytes);
    match format {
        PictureFormat::Png => read(format, bytes, PngDecoder::with_limits(file, limits())),
        PictureFormat::Jpeg => read(format, bytes, JpegDecoder::new(file)),
        PictureFormat::WebP => read(format, bytes, WebPDecoder::new(file)),
        PictureFormat::Gif => read(format, bytes, GifDecoder::new(file)),
        PictureFormat::Bmp => read(format, bytes, BmpDecoder::new(file)),
    }
}

fn limits() -> Limits {
    // Filled in, since more fields may come.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_DECODER_BYTES);
    limits
}

fn read<D: ImageDecoder>(
    format: PictureFormat,
    bytes: &[u8],
    decoder: ImageResult<D>,
) -> Result<Picture, MediaError> {
    let refused = |error| refused(format, error);
    let mut decoder = decoder.map_err(refused)?;
    let (width, height) = decoder.dimensions();
    let pixels =
        check_size(width as usize, height as usize).map_err(|error| wrapped(format, error))? as u64;
    if let Some(most) = format.pixels_a_byte()
        && pixels > most.saturating_mul(bytes.len() as u64)
    {
        return Err(MediaError::Claim {
            format: format.name(),
            width,
            height,
            bytes: bytes.len(),
        });
    }
    let total = decoder.total_bytes();
    if total > MAX_DECODED_BYTES {
        return Err(MediaError::DecodedBytes {
            format: format.name(),
            bytes: total,
            limit: MAX_DECODED_BYTES,
        });
    }
    decoder.set_limits(limits()).map_err(refused)?;
    // One that cannot be read turns nothing.
    let orientation = decoder.orientation().map_or(1, |found| found.to_exif());
    let color = decoder.color_type();
    let mut pixels = vec![0; total as usize];
    decoder.read_image(&mut pixels).map_err(refused)?;
    let picture = to_rgb(format, width as usize, height as usize, color, pixels)?;
    Ok(picture.oriented(orientation))
}

fn to_rgb(
    format: PictureFormat,
    width: usize,
    height: usize,
    color: ColorType,
    mut pixels: Vec<u8>,
) -> Result<Picture, MediaError> {
    let channels = usize::from(color.channel_count());
    match usize::from(color.bytes_per_pixel()) / channels {
        1 => {}
        2 => halve(&mut pixels),
        _ => {
            return Err(MediaError::Unsupported {
                format: format.name(),
                what: format!("a picture of {color:?}"),
            });
        }
    }
    let picture = match channels {
        1 => Picture::from_grey(width, height, &pixels),
        2 => {
            // Grey with alpha.
            let grey: Vec<u8> = pixels.chunks_exact(2).map(|pixel| pixel[0]).collect();
            drop(pixels);
            Picture::from_grey(width, height, &grey)
        }
        3 => Picture::from_rgb(width, height, pixels),
        _ => Picture::from_rgba(width, height, pixels),
    };
    picture.map_err(|error| wrapped(format, error))
}

/// 16-bit channels to their high bytes, in place. The decoder gives them in this machine's byte order.
fn halve(channels: &mut Vec<u8>) {
    let half = channels.len() / 2;
    for i in 0..half {
        let pair = [channels[2 * i], channels[2 * i + 1]];
        channels[i] = (u16::from_ne_bytes(pair) >> 8) as u8;
    }
    channels.truncate(half);
}

fn wrapped(format: PictureFormat, error: ImageError) -> MediaError {
    MediaError::Image {
        format: format.name(),
        error,
    }
}

fn refused(format: PictureFormat, error: DecodeError) -> MediaError {
    let format = format.name();
    match error {
        DecodeError::Unsupported(error) => MediaError::Unsupported {
            format,
            what: words(error),
        },
        DecodeError::Limits(error) if error.kind() == LimitErrorKind::InsufficientMemory => {
            MediaError::DecodedBytes {
                format,
                bytes: MAX_DECODER_BYTES + 1,
                limit: MAX_DECODER_BYTES,
            }
        }
        error => MediaError::Corrupt {
            format,
            reason: words(error),
        },
    }
}

// What a decoder gives must fit a picture's limits in memory, on 32 bits too.
const _: () = assert!(MAX_EDGE * MAX_EDGE <= u32::MAX as usize);
