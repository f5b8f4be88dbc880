//! Resizing as PIL does it, bit for bit, since that is what the models were trained behind
//! (Pillow's `src/libImaging/Resample.c` and `Geometry.c`).
//!
//! Two passes of a separable convolution, rows first, with the filter widened by the scale where the picture
//! shrinks (antialias). Weights are fixed point of 22 bits; the first pass rounds to 8 bits.
//! Pillow 13 takes columns first for some shapes, which differs by one step of 255; versions before it never do.

use std::f64::consts::PI;

use super::{ImageError, Picture};

/// PIL's resampling filters, under PIL's numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Filter {
    Nearest,
    Lanczos,
    Bilinear,
    Bicubic,
    Box,
    Hamming,
}

/// The most bytes between the two passes.
const MAX_BETWEEN: usize = 512 << 20;
/// Bits of a weight's fraction: 32 less 8 of the pixel and 2 of head-room.
const FRACTION_BITS: u32 = 22;

impl Filter {
    /// By the number that `resample` has in a config.
    pub fn from_pil(number: usize) -> Option<Filter> {
        use Filter::{Bicubic, Bilinear, Box, Hamming, Lanczos, Nearest};
        [Nearest, Lanczos, Bilinear, Bicubic, Box, Hamming]
            .get(number)
            .copied()
    }

    /// Half the width, in source pixels at scale 1.
    fn support(self) -> f64 {
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => 0.5,
            Filter::Bilinear | Filter::Hamming => 1.0,
            Filter::Bicubic => 2.0,
            Filter::Lanczos => 3.0,
        }
    }

    fn weight(self, x: f64) -> f64 {
        let sinc = |x: f64| {
            if x == 0.0 {
                1.0
            } else {
                (x * PI).sin() / (x * PI)
            }
        };
        match self {
            Filter::Nearest => 0.0,
            Filter::Box => f64::from(u8::from(x > -0.5 && x <= 0.5)),
            Filter::Bilinear => (1.0 - x.abs()).max(0.0),
            Filter::Hamming => match x.abs() {
                0.0 => 1.0,
                x if x >= 1.0 => 0.0,
                x => sinc(x) * (0.54 + 0.46 * (x * PI).cos()),
            },
            Filter::Bicubic => {
                // Keys' kernel with a = -0.5.
                const A: f64 = -0.5;
                match x.abs() {
                    x if x < 1.0 => ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0,
                    x if x < 2.0 => (((x - 5.0) * x + 8.0) * x - 4.0) * A,
                    _ => 0.0,
                }
            }
            Filter::Lanczos if (-3.0..3.0).contains(&x) => sinc(x) * sinc(x / 3.0),
            Filter::Lanczos => 0.0,
        }
    }
}

/// `picture` at `width` × `height`.
///
/// # Errors
/// The rows between the passes would take more than 512 MiB, or the new size is none a [`Picture`] can have.
pub fn resize(
    picture: &Picture,
    width: usize,
    height: usize,
    filter: Filter,
) -> Result<Picture, ImageError> {
    super::check_size(width, height)?;
    if (width, height) == (picture.width(), picture.height()) {
        return Ok(picture.clone());
    }
    // Both factors are at most MAX_EDGE.
    if (width as u64) * (picture.height() as u64) * 3 > MAX_BETWEEN as u64 {
        return Err(ImageError::Resized {
            from_width: picture.width(),
            from_height: picture.height(),
            width,
            height,
            what: "bytes of rows",
            limit: MAX_BETWEEN,
        });
    }
    if filter == Filter::Nearest {
        return Ok(nearest(picture, width, height));
    }
    let rows = if width == picture.width() {
        picture.clone()
    } else {
        horizontally(picture, &Windows::new(picture.width(), width, filter))?
    };
    if height == rows.height() {
        return Ok(rows);
    }
    vertically(&rows, &Windows::new(rows.height(), height, filter))
}

/// Which source pixels make each pixel of the result, and their weights.
struct Windows {
    /// First source pixel and how many.
    bounds: Vec<(usize, usize)>,
    /// `most` weights a pixel of the result, those beyond its window unused.
    weights: Vec<i32>,
    most: usize,
}

impl Windows {
    fn new(from: usize, to: usize, filter: Filter) -> Windows {
        let scale = from as f64 / to as f64;
        let widened = scale.max(1.0);
        // Multiplied with, as there, since a weight may lie half-way between two fixed-point numbers.
        let narrowed = 1.0 / widened;
        let support = filter.support() * widened;
        let most = support.ceil() as usize * 2 + 1;
        let mut bounds = Vec::with_capacity(to);
        let mut weights = vec![0; to * most];
        let mut exact = vec![0.0; most];
        for (to, weights) in weights.chunks_exact_mut(most).enumerate() {
            let center = (to as f64 + 0.5) * scale;
            // Casts of floats saturate: what is below 0 begins at 0.
            let first = (center - support + 0.5) as usize;
            let end = ((center + support + 0.5) as usize).min(from);
            let count = end.saturating_sub(first);
            let mut sum = 0.0;
            for (i, exact) in exact[..count].iter_mut().enumerate() {
                *exact = filter.weight(((first + i) as f64 - center + 0.5) * narrowed);
                sum += *exact;
            }
            for (weight, exact) in weights.iter_mut().zip(&exact[..count]) {
                let exact = if sum == 0.0 { *exact } else { exact / sum };
                let fixed = exact * f64::from(1 << FRACTION_BITS);
                *weight = (fixed + 0.5f64.copysign(fixed)) as i32;
            }
            bounds.push((first, count));
        }
        Windows {
            bounds,
            weights,
            most,
        }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[i32])> {
        self.bounds
            .iter()
            .zip(self.weights.chunks_exact(self.most))
            .map(|(&(first, count), weights)| (first, &weights[..count]))
    }
}

const HALF: i32 = 1 << (FRACTION_BITS - 1);

/// The sum as a pixel. Weights of one window sum to one and their magnitudes to below two, so that a sum is
/// within 32 bits.
fn pixel(sum: i32) -> u8 {
    (sum >> FRACTION_BITS).clamp(0, 255) as u8
}

fn horizontally(picture: &Picture, windows: &Windows) -> Result<Picture, ImageError> {
    let width = windows.bounds.len();
    let mut rgb = Vec::with_capacity(width * picture.height() * 3);
    for y in 0..picture.height() {
        let row = picture.row(y);
        for (first, weights) in windows.iter() {
            let mut sums = [HALF; 3];
            let pixels = row[first * 3..].chunks_exact(3);
            for (pixel, &weight) in pixels.zip(weights) {
                for (sum, &value) in sums.iter_mut().zip(pixel) {
                    *sum += i32::from(value) * weight;
                }
            }
            rgb.extend(sums.map(pixel));
        }
    }
    Picture::from_rgb(width, picture.height(), rgb)
}

fn vertically(picture: &Picture, windows: &Windows) -> Result<Picture, ImageError> {
    let mut rgb = Vec::with_capacity(picture.width() * windows.bounds.len() * 3);
    let mut sums = vec![0; picture.width() * 3];
    for (first, weights) in windows.iter() {
        sums.fill(HALF);
        for (i, &weight) in weights.iter().enumerate() {
            for (sum, &value) in sums.iter_mut().zip(picture.row(first + i)) {
                *sum += i32::from(value) * weight;
            }
        }
        rgb.extend(sums.iter().map(|&sum| pixel(sum)));
    }
    Picture::from_rgb(picture.width(), windows.bounds.len(), rgb)
}

/// The pixel whose area the new one's centre falls into.
fn nearest(picture: &Picture, width: usize, height: usize) -> Picture {
    let columns = centers(picture.width(), width);
    let mut rgb = Vec::with_capacity(width * height * 3);
    for y in centers(picture.height(), height) {
        let row = picture.row(y);
        for &x in &columns {
            rgb.extend_from_slice(&row[x * 3..x * 3 + 3]);
        }
    }
    Picture::from_rgb(width, height, rgb).expect("one pixel is pushed for each of width × height")
}

/// PIL adds the step up, and so its rounding errors.
fn centers(from: usize, to: usize) -> Vec<usize> {
    let step = from as f64 / to as f64;
    let mut at = step * 0.5;
    (0..to)
        .map(|_| {
            let source = (at as usize).min(from - 1);
            at += step;
            source
        })
        .collect()
}
