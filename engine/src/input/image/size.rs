//! Which size a picture is resized to (`transformers`' `image_transforms.py`, to the pixel).

use super::ImageError;
use super::config::{MAX_ASKED_EDGE, Size};

/// The most pixels after resizing.
const MAX_RESIZED_PIXELS: usize = 16 << 20;

impl Size {
    /// Width and height for a picture of `width` × `height`.
    ///
    /// # Errors
    /// The picture is so long and thin that its longer edge would exceed the limits.
    pub fn resolve(self, width: usize, height: usize) -> Result<(usize, usize), ImageError> {
        let (wide, high) = match self {
            Size::Exact { height, width } => (width, height),
            Size::Shortest {
                edge,
                longest: None,
            } => shortest(width, height, edge),
            Size::Shortest {
                edge,
                longest: Some(longest),
            } => shortest_and_longest(width, height, edge, longest),
            Size::Within {
                height: high,
                width: wide,
            } => within(width, height, wide, high),
        };
        let too_large = |what, limit| ImageError::Resized {
            from_width: width,
            from_height: height,
            width: wide,
            height: high,
            what,
            limit,
        };
        if wide.max(high) > MAX_ASKED_EDGE {
            return Err(too_large("pixels an edge", MAX_ASKED_EDGE));
        }
        if wide * high > MAX_RESIZED_PIXELS {
            return Err(too_large("pixels", MAX_RESIZED_PIXELS));
        }
        // A thin picture's shorter edge can come to 0, which PIL refuses.
        Ok((wide.max(1), high.max(1)))
    }
}

fn shortest(width: usize, height: usize, edge: usize) -> (usize, usize) {
    let longer = |long: usize, short: usize| (edge * long) / short;
    if width <= height {
        (edge, longer(height, width))
    } else {
        (longer(width, height), edge)
    }
}

fn shortest_and_longest(
    width: usize,
    height: usize,
    edge: usize,
    longest: usize,
) -> (usize, usize) {
    let least = width.min(height) as f64;
    let most = width.max(height) as f64;
    let limited = most / least * edge as f64 > longest as f64;
    let exact = if limited {
        longest as f64 * least / most
    } else {
        edge as f64
    };
    // Python's round: halves go to the even number.
    let edge = exact.round_ties_even() as usize;
    if (height <= width && height == edge) || (width <= height && width == edge) {
        (width, height)
    } else if width < height {
        (edge, (exact * height as f64 / width as f64) as usize)
    } else {
        ((exact * width as f64 / height as f64) as usize, edge)
    }
}

fn within(width: usize, height: usize, wide: usize, high: usize) -> (usize, usize) {
    let scale = (high as f64 / height as f64).min(wide as f64 / width as f64);
    (
        (width as f64 * scale) as usize,
        (height as f64 * scale) as usize,
    )
}
