//! What a model's `preprocessor_config.json` asks for, with the defaults of the image processors of
//! `transformers` where it is silent.

use serde_json::Value;

use super::resize::Filter;
use crate::input::fields::{ConfigError, Fields, count};

/// The longest edge that a config can ask for.
pub const MAX_ASKED_EDGE: usize = 8192;

/// The image processors of `transformers` that differ in their defaults and in what they give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Processor {
    Vit,
    Deit,
    Clip,
    Detr,
}

impl Processor {
    /// By the class's name: `ViTImageProcessor`, `CLIPFeatureExtractor`, `DetrImageProcessorFast`, ….
    pub fn from_class(name: &str) -> Option<Processor> {
        let name = name
            .strip_suffix("Fast")
            .or_else(|| name.strip_suffix("Pil"))
            .unwrap_or(name);
        let model = name
            .strip_suffix("ImageProcessor")
            .or_else(|| name.strip_suffix("FeatureExtractor"))?;
        match model {
            "ViT" => Some(Processor::Vit),
            "DeiT" => Some(Processor::Deit),
            "CLIP" => Some(Processor::Clip),
            "Detr" => Some(Processor::Detr),
            _ => None,
        }
    }

    /// By the `model_type` of the model's `config.json`, for configs that name no class.
    pub fn from_model_type(name: &str) -> Option<Processor> {
        match name {
            "vit" => Some(Processor::Vit),
            "deit" => Some(Processor::Deit),
            "clip" => Some(Processor::Clip),
            "detr" => Some(Processor::Detr),
            _ => None,
        }
    }
}

/// The size to resize to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Size {
    /// Exactly so, whatever the shape of the picture.
    Exact { height: usize, width: usize },
    /// The shorter edge to this, the longer in proportion, and not above `longest` if there is one.
    Shortest { edge: usize, longest: Option<usize> },
    /// As large as fits in, in proportion.
    Within { height: usize, width: usize },
}

/// What to do with a picture, in this order: resize, crop, rescale, normalize, pad.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageConfig {
    pub processor: Processor,
    pub resize: Option<(Size, Filter)>,
    /// Height and width of the crop about the centre.
    pub center_crop: Option<(usize, usize)>,
    /// What a pixel's value, 0 to 255, is multiplied with.
    pub rescale: Option<f64>,
    /// Mean and deviation a channel.
    pub normalize: Option<([f64; 3], [f64; 3])>,
    /// Pad at the right and at the bottom to the batch's largest.
    pub pad: bool,
    /// Height and width to pad to instead.
    pub pad_size: Option<(usize, usize)>,
}

const HALF: [f64; 3] = [0.5; 3];
const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];
const CLIP_MEAN: [f64; 3] = [0.48145466, 0.4578275, 0.40821073];
const CLIP_DEVIATION: [f64; 3] = [0.26862954, 0.26130258, 0.27577711];

impl ImageConfig {
    /// Reads the fields of `config` for a `processor`.
    pub(crate) fn new(
        processor: Processor,
        config: Fields<'_>,
    ) -> Result<ImageConfig, ConfigError> {
        let square = |edge| Size::Exact {
            height: edge,
            width: edge,
        };
        let (size, filter, crop, mean, deviation) = match processor {
            Processor::Vit => (square(224), Filter::Bilinear, false, HALF, HALF),
            Processor::Deit => (square(256), Filter::Bicubic, true, HALF, HALF),
            Processor::Clip => {
                let size = Size::Shortest {
                    edge: 224,
                    longest: None,
                };
                (size, Filter::Bicubic, true, CLIP_MEAN, CLIP_DEVIATION)
            }
            Processor::Detr => {
                let size = Size::Shortest {
                    edge: 800,
                    longest: Some(1333),
                };
                (
                    size,
                    Filter::Bilinear,
                    false,
                    IMAGENET_MEAN,
                    IMAGENET_DEVIATION,
                )
            }
        };
        let detr = processor == Processor::Detr;

        let resize = if config.flag("do_resize", true)? {
            let asked = match config.get("resample") {
                None => filter,
                Some(number) => {
                    let number = count("resample", number, (0, 5))?;
                    Filter::from_pil(number).ok_or(ConfigError::Missing("resample"))?
                }
            };
            Some((read_size(processor, config, size)?, asked))
        } else {
            None
        };
        let center_crop = if config.flag("do_center_crop", crop)? {
            Some(height_and_width(config, "crop_size")?.unwrap_or((224, 224)))
        } else {
            None
        };
        let rescale = if config.flag("do_rescale", true)? {
            Some(config.number("rescale_factor", 1.0 / 255.0, (-1e6, 1e6))?)
        } else {
            None
        };
        let normalize = if config.flag("do_normalize", true)? {
            Some((
                config.channels("image_mean", mean, (-1e6, 1e6))?,
                config.channels("image_std", deviation, (1e-6, 1e6))?,
            ))
        } else {
            None
        };
        // Its name in older files.
        let pad = config.flag("pad_and_return_pixel_mask", detr)?;
        let pad = config.flag("do_pad", pad)?;
        let pad_size = height_and_width(config, "pad_size")?;
        Ok(ImageConfig {
            processor,
            resize,
            center_crop,
            rescale,
            normalize,
            pad,
            pad_size: pad_size.filter(|_| pad),
        })
    }
}

fn edge(field: &'static str, value: &Value) -> Result<usize, ConfigError> {
    count(field, value, (1, MAX_ASKED_EDGE))
}

/// `size`: a number, `[height, width]`, or an object of edges.
fn read_size(processor: Processor, config: Fields<'_>, default: Size) -> Result<Size, ConfigError> {
    let max_size = |field| config.get(field).map(|v| edge(field, v)).transpose();
    let Some(size) = config.get("size") else {
        return Ok(default);
    };
    match size {
        Value::Number(_) => {
            let edge = edge("size", size)?;
            Ok(match processor {
                Processor::Vit | Processor::Deit => Size::Exact {
                    height: edge,
                    width: edge,
                },
                Processor::Clip => Size::Shortest {
                    edge,
                    longest: None,
                },
                Processor::Detr => Size::Shortest {
                    edge,
                    longest: Some(max_size("max_size")?.unwrap_or(1333)),
                },
            })
        }
        Value::Array(edges) => match edges.as_slice() {
            [height, width] => Ok(Size::Exact {
                height: edge("size", height)?,
                width: edge("size", width)?,
            }),
            _ => Err(WRONG_SIZE),
        },
        Value::Object(_) => {
            let size = Fields::new(size)?;
            let read = |field| size.get(field).map(|v| edge(field, v)).transpose();
            let shortest = read("shortest_edge")?;
            let longest = read("longest_edge")?;
            let exact = (read("height")?, read("width")?);
            let within = (read("max_height")?, read("max_width")?);
            match (shortest, exact, within) {
                (Some(edge), _, _) => Ok(Size::Shortest { edge, longest }),
                (None, (Some(height), Some(width)), _) => Ok(Size::Exact { height, width }),
                (None, _, (Some(height), Some(width))) => Ok(Size::Within { height, width }),
                _ => Err(WRONG_SIZE),
            }
        }
        _ => Err(WRONG_SIZE),
    }
}

const WRONG_SIZE: ConfigError = ConfigError::Type {
    field: "size",
    expected: "a number, two, or an object with `shortest_edge`, `height` and `width`, or `max_height` and `max_width`",
};

/// A number for both, `[height, width]`, or `{height, width}`.
fn height_and_width(
    config: Fields<'_>,
    field: &'static str,
) -> Result<Option<(usize, usize)>, ConfigError> {
    let wrong = ConfigError::Type {
        field,
        expected: "a number, two, or an object with `height` and `width`",
    };
    let Some(value) = config.get(field) else {
        return Ok(None);
    };
    let (height, width) = match value {
        Value::Number(_) => (value, value),
        Value::Array(edges) => match edges.as_slice() {
            [height, width] => (height, width),
            _ => return Err(wrong),
        },
        Value::Object(edges) => match (edges.get("height"), edges.get("width")) {
            (Some(height), Some(width)) => (height, width),
            _ => return Err(wrong),
        },
        _ => return Err(wrong),
    };
    Ok(Some((edge(field, height)?, edge(field, width)?)))
}
