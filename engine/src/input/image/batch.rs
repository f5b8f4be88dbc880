//! From 8-bit pictures to the floats a model takes.

use super::config::{ImageConfig, Processor};
use super::{ImageError, Picture};
use crate::tensor::{DataType, Tensor};

/// The most values of a batch: 1 GiB of f32.
const MAX_VALUES: usize = 256 << 20;

/// What a vision model is fed.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageBatch {
    /// f32, `[batch, 3, height, width]`.
    pub pixel_values: Tensor,
    /// i64, `[batch, height, width]`: 1 where there is picture, 0 where padding. Only models with padding (DETR)
    /// have it.
    pub pixel_mask: Option<Tensor>,
}

impl ImageBatch {
    /// The tensors under the names that `transformers` gives them.
    pub fn into_named(self) -> Vec<(&'static str, Tensor)> {
        let mut named = vec![("pixel_values", self.pixel_values)];
        named.extend(self.pixel_mask.map(|mask| ("pixel_mask", mask)));
        named
    }
}

/// Rescales, normalizes and pads pictures that are resized and cropped already.
pub(super) fn assemble(
    config: &ImageConfig,
    pictures: &[Picture],
) -> Result<ImageBatch, ImageError> {
    let (width, height) = batch_size(config, pictures)?;
    let tables = tables(config);
    let plane = width * height;
    let mut values = Tensor::zeros(DataType::F32, &[pictures.len(), 3, height, width])?;
    let floats: &mut [f32] = bytemuck::cast_slice_mut(values.bytes_mut());
    for (picture, planes) in pictures.iter().zip(floats.chunks_exact_mut(3 * plane)) {
        for (channel, (plane, table)) in planes.chunks_exact_mut(plane).zip(&tables).enumerate() {
            for (y, row) in plane
                .chunks_exact_mut(width)
                .take(picture.height())
                .enumerate()
            {
                let pixels = picture.row(y).chunks_exact(3);
                for (value, pixel) in row.iter_mut().zip(pixels) {
                    *value = table[usize::from(pixel[channel])];
                }
            }
        }
    }
    let has_mask = config.pad && config.processor == Processor::Detr;
    Ok(ImageBatch {
        pixel_values: values,
        pixel_mask: if has_mask {
            Some(mask(pictures, width, height)?)
        } else {
            None
        },
    })
}

/// Width and height that all pictures get.
fn batch_size(config: &ImageConfig, pictures: &[Picture]) -> Result<(usize, usize), ImageError> {
    let first = pictures.first().ok_or(ImageError::NoPicture)?;
    let (width, height) = if let Some((height, width)) = config.pad_size {
        (width, height)
    } else if config.pad {
        pictures.iter().fold((0, 0), |(width, height), picture| {
            (width.max(picture.width()), height.max(picture.height()))
        })
    } else {
        (first.width(), first.height())
    };
    for (index, picture) in pictures.iter().enumerate() {
        if !config.pad && (picture.width(), picture.height()) != (width, height) {
            return Err(ImageError::SizesDiffer {
                index,
                width: picture.width(),
                height: picture.height(),
                first_width: first.width(),
                first_height: first.height(),
            });
        }
        if picture.width() > width || picture.height() > height {
            return Err(ImageError::PadSize {
                width: picture.width(),
                height: picture.height(),
                pad_width: width,
                pad_height: height,
            });
        }
    }
    // Saturated, it is above the limit as well.
    let values = (3 * width)
        .saturating_mul(height)
        .saturating_mul(pictures.len());
    if values > MAX_VALUES {
        return Err(ImageError::Batch {
            pictures: pictures.len(),
            width,
            height,
            limit: MAX_VALUES,
        });
    }
    Ok((width, height))
}

/// For each channel, the float that each of the 256 values becomes, rounded as numpy rounds.
fn tables(config: &ImageConfig) -> [[f32; 256]; 3] {
    let mut tables = [[0.0; 256]; 3];
    for (channel, table) in tables.iter_mut().enumerate() {
        for (byte, value) in table.iter_mut().enumerate() {
            let scaled = match config.rescale {
                Some(factor) => (byte as f64 * factor) as f32,
                None => byte as f32,
            };
            *value = match config.normalize {
                Some((mean, deviation)) => {
                    (scaled - mean[channel] as f32) / deviation[channel] as f32
                }
                None => scaled,
            };
        }
    }
    tables
}

fn mask(pictures: &[Picture], width: usize, height: usize) -> Result<Tensor, ImageError> {
    let mut mask = Tensor::zeros(DataType::I64, &[pictures.len(), height, width])?;
    let ones: &mut [i64] = bytemuck::cast_slice_mut(mask.bytes_mut());
    for (picture, ones) in pictures.iter().zip(ones.chunks_exact_mut(width * height)) {
        for row in ones.chunks_exact_mut(width).take(picture.height()) {
            row[..picture.width()].fill(1);
        }
    }
    Ok(mask)
}
