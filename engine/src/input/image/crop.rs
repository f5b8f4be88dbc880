//! The crop about the centre (`transformers`' `center_crop`).

use super::{ImageError, Picture};

/// `width` × `height` about the centre of `picture`; black where the picture is smaller.
pub(super) fn center(
    picture: &Picture,
    width: usize,
    height: usize,
) -> Result<Picture, ImageError> {
    let mut rgb = vec![0; super::check_size(width, height)? * 3];
    // Rounded down, and so further out where it sticks out.
    let begin = |have: usize, want: usize| (have as isize - want as isize).div_euclid(2);
    let left = begin(picture.width(), width);
    let top = begin(picture.height(), height);
    for y in 0..height {
        let Some(from_y) = inside(top + y as isize, picture.height()) else {
            continue;
        };
        let first = (-left).max(0) as usize;
        let end = (picture.width() as isize - left).clamp(0, width as isize) as usize;
        if first >= end {
            continue;
        }
        let from = (left + first as isize) as usize * 3;
        let count = (end - first) * 3;
        rgb[(y * width + first) * 3..][..count]
            .copy_from_slice(&picture.row(from_y)[from..from + count]);
    }
    Picture::from_rgb(width, height, rgb)
}

fn inside(at: isize, len: usize) -> Option<usize> {
    usize::try_from(at).ok().filter(|&at| at < len)
}
