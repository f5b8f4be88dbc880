//! A decoded picture: 8-bit RGB, whatever the file held.

use super::ImageError;

/// The longest edge of a picture, in pixels: what JPEG can say at most.
pub const MAX_EDGE: usize = 65_535;
/// The most pixels of a picture: 192 MiB as RGB. The largest cameras of telephones stay below.
pub const MAX_PIXELS: usize = 64 << 20;

/// A picture of 8-bit RGB pixels, row after row from the top left.
#[derive(Clone, PartialEq, Eq)]
pub struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    /// A picture of `rgb`, `[height, width, 3]`.
    ///
    /// # Errors
    /// An edge is 0 or above [`MAX_EDGE`], there are more than [`MAX_PIXELS`] pixels, or `rgb` has not
    /// 3 bytes a pixel.
    pub fn from_rgb(width: usize, height: usize, rgb: Vec<u8>) -> Result<Picture, ImageError> {
        let pixels = check_size(width, height)?;
        check_bytes(rgb.len(), pixels * 3)?;
        Ok(Picture { width, height, rgb })
    }

    /// A picture of `rgba`, `[height, width, 4]`, as a canvas gives it. Alpha is dropped, not blended, as PIL's
    /// `convert("RGB")` does.
    ///
    /// # Errors
    /// As [`Picture::from_rgb`], for 4 bytes a pixel.
    pub fn from_rgba(width: usize, height: usize, rgba: Vec<u8>) -> Result<Picture, ImageError> {
        let pixels = check_size(width, height)?;
        check_bytes(rgba.len(), pixels * 4)?;
        let mut rgb = rgba;
        for pixel in 0..pixels {
            rgb.copy_within(pixel * 4..pixel * 4 + 3, pixel * 3);
        }
        rgb.truncate(pixels * 3);
        Ok(Picture { width, height, rgb })
    }

    /// A picture of grey values, `[height, width]`.
    ///
    /// # Errors
    /// As [`Picture::from_rgb`], for 1 byte a pixel.
    pub fn from_grey(width: usize, height: usize, grey: &[u8]) -> Result<Picture, ImageError> {
        let pixels = check_size(width, height)?;
        check_bytes(grey.len(), pixels)?;
        let rgb = grey.iter().flat_map(|&value| [value; 3]).collect();
        Ok(Picture { width, height, rgb })
    }

    pub fn width(&self) -> usize {
        self.width
    }

    pub fn height(&self) -> usize {
        self.height
    }

    /// `[height, width, 3]`.
    pub fn rgb(&self) -> &[u8] {
        &self.rgb
    }

    /// `[height, width, 3]`.
    pub fn into_rgb(self) -> Vec<u8> {
        self.rgb
    }

    pub(super) fn row(&self, y: usize) -> &[u8] {
        &self.rgb[y * self.width * 3..(y + 1) * self.width * 3]
    }

    /// The picture as its Exif orientation (1 to 8; anything else means 1) says it is to be seen.
    pub fn oriented(self, exif: u8) -> Picture {
        let (width, height) = (self.width, self.height);
        let (right, bottom) = (width - 1, height - 1);
        // Where the pixel at (x, y) of the turned picture comes from.
        let source: fn(usize, usize, usize, usize) -> (usize, usize) = match exif {
            2 => |x, y, right, _| (right - x, y),
            3 => |x, y, right, bottom| (right - x, bottom - y),
            4 => |x, y, _, bottom| (x, bottom - y),
            5 => |x, y, _, _| (y, x),
            6 => |x, y, _, bottom| (y, bottom - x),
            7 => |x, y, right, bottom| (right - y, bottom - x),
            8 => |x, y, right, _| (right - y, x),
            _ => return self,
        };
        let (wide, high) = if exif >= 5 {
            (height, width)
        } else {
            (width, height)
        };
        let mut rgb = Vec::with_capacity(self.rgb.len());
        for y in 0..high {
            for x in 0..wide {
                let (from_x, from_y) = source(x, y, right, bottom);
                let at = (from_y * width + from_x) * 3;
                rgb.extend_from_slice(&self.rgb[at..at + 3]);
            }
        }
        Picture {
            width: wide,
            height: high,
            rgb,
        }
    }
}

impl std::fmt::Debug for Picture {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Picture({}×{})", self.width, self.height)
    }
}

/// How many pixels there are, if the limits allow as many.
pub fn check_size(width: usize, height: usize) -> Result<usize, ImageError> {
    for (field, value) in [("width", width), ("height", height)] {
        if value == 0 {
            return Err(ImageError::Empty { field });
        }
        if value > MAX_EDGE {
            return Err(ImageError::Edge {
                field,
                value,
                limit: MAX_EDGE,
            });
        }
    }
    // At most MAX_EDGE², which fits 32 bits.
    let pixels = width * height;
    if pixels > MAX_PIXELS {
        return Err(ImageError::Pixels {
            width,
            height,
            limit: MAX_PIXELS,
        });
    }
    Ok(pixels)
}

fn check_bytes(got: usize, expected: usize) -> Result<(), ImageError> {
    if got == expected {
        Ok(())
    } else {
        Err(ImageError::Length { expected, got })
    }
}
