//! Pictures as vision models take them: what the image processors of Hugging Face `transformers` do behind a
//! `preprocessor_config.json`, for ViT, DeiT, CLIP and DETR.
//!
//! Only arithmetic: a decoder (the crate `fewbit-media`, or a browser's canvas) gives a [`Picture`].
//!
//! ```
//! use fewbit_engine::input::image::{ImagePreprocessor, Picture};
//!
//! let config = br#"{"image_processor_type": "ViTImageProcessor", "size": 32}"#;
//! let preprocessor = ImagePreprocessor::from_json(config, None)?;
//! let picture = Picture::from_rgb(2, 1, vec![255, 0, 0, 0, 0, 255])?;
//! let batch = preprocessor.run(&[picture])?;
//! assert_eq!(batch.pixel_values.shape(), [1, 3, 32, 32]);
//! # Ok::<(), fewbit_engine::input::image::ImageError>(())
//! ```

mod batch;
mod config;
mod crop;
mod error;
mod picture;
mod resize;
mod size;
#[cfg(test)]
mod tests;

pub use batch::ImageBatch;
pub use config::{ImageConfig, MAX_ASKED_EDGE, Processor, Size};
pub use error::ImageError;
pub use picture::{MAX_EDGE, MAX_PIXELS, Picture, check_size};
pub use resize::{Filter, resize};

use crate::input::preprocessor::{self, Preprocessor};

/// Makes a vision model's input of pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct ImagePreprocessor {
    config: ImageConfig,
}

impl ImagePreprocessor {
    /// What a `preprocessor_config.json` (or the `image_processor` of a `processor_config.json`) asks for;
    /// `model_type`, of the model's `config.json`, says what it is for where it names no class itself.
    ///
    /// # Errors
    /// No JSON, a processor that is not known, a field of another type or outside its range.
    pub fn from_json(
        json: &[u8],
        model_type: Option<&str>,
    ) -> Result<ImagePreprocessor, ImageError> {
        match Preprocessor::from_json(json, model_type)? {
            Preprocessor::Image(image) => Ok(image),
            Preprocessor::Audio(_) => Err(preprocessor::wrong_kind("audio").into()),
        }
    }

    pub fn new(config: ImageConfig) -> ImagePreprocessor {
        ImagePreprocessor { config }
    }

    pub fn config(&self) -> &ImageConfig {
        &self.config
    }

    /// The model's input for a batch of pictures.
    ///
    /// # Errors
    /// No picture, one too long and thin for the size asked for, pictures of several sizes without padding, or
    /// a batch beyond the limits.
    pub fn run(&self, pictures: &[Picture]) -> Result<ImageBatch, ImageError> {
        let mut sized = Vec::with_capacity(pictures.len());
        for picture in pictures {
            sized.push(self.sized(picture)?);
        }
        batch::assemble(&self.config, &sized)
    }

    /// Resized and cropped, still 8-bit RGB.
    fn sized(&self, picture: &Picture) -> Result<Picture, ImageError> {
        let resized = match self.config.resize {
            Some((size, filter)) => {
                let (width, height) = size.resolve(picture.width(), picture.height())?;
                resize(picture, width, height, filter)?
            }
            None => picture.clone(),
        };
        match self.config.center_crop {
            Some((height, width)) => crop::center(&resized, width, height),
            None => Ok(resized),
        }
    }
}
