//! Convolutions over images: `out[n][o][p] = Σ filter[o][t]·x[n][place of tap t of window p] (+ bias[o])`.
//!
//! A convolution is a product of the filter (outputs × taps) with what the windows see (taps × places). The latter
//! is never whole in memory: each group of 16 places is gathered from a copy of the image with its padding, taken in
//! place where a window is one element. Groups of channels are products of their own. Tasks are groups of 16 places.

use crate::op::Window;
use crate::threads::{Parallel, Shared};

use super::Kernels;
use super::matmul::{Job, Left, Right};
use super::scratch::with_scratch;
use super::tile::{COLUMNS, pack_panels};

/// Sizes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Convolution {
    pub batch: usize,
    /// Channels, height and width of an image.
    pub image: [usize; 3],
    /// Channels, height and width of what comes out of it.
    pub out: [usize; 3],
    /// Height and width of the window.
    pub size: [usize; 2],
    pub window: Window,
    pub groups: usize,
}

/// A filter `[outputs, taps]` in the layout that products read, a group of outputs after the other.
#[derive(Clone, Debug)]
pub struct PackedFilter {
    panels: Vec<f32>,
    groups: usize,
}

impl PackedFilter {
    /// The groups it is packed for.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        4 * self.panels.len()
    }
}

impl Convolution {
    /// Outputs of a group and taps of a window, over all of a group's channels.
    fn product(&self) -> [usize; 2] {
        let taps = self.image[0] / self.groups * self.size[0] * self.size[1];
        [self.out[0] / self.groups, taps]
    }

    /// The image with its padding: a row's and a plane's elements.
    fn padded(&self) -> [usize; 2] {
        let [top, bottom, left, right] = self.window.padding;
        let row = self.image[2] + left + right;
        [row, row * (self.image[1] + top + bottom)]
    }
}

impl Kernels {
    /// Packs a filter of `outputs` rows, in `groups`.
    pub fn pack_filter(self, filter: &[f32], outputs: usize, groups: usize) -> PackedFilter {
        let mut panels = vec![0.0; filter.len()];
        self.pack_into(filter, outputs, groups, &mut panels);
        PackedFilter { panels, groups }
    }

    fn pack_into(self, filter: &[f32], outputs: usize, groups: usize, panels: &mut [f32]) {
        let rows = outputs / groups;
        let taps = filter.len().checked_div(outputs).unwrap_or(0);
        if rows * taps == 0 {
            return;
        }
        for (filter, panels) in filter
            .chunks_exact(rows * taps)
            .zip(panels.chunks_exact_mut(rows * taps))
        {
            // `isa` is available and both have `rows · taps` floats.
            unsafe {
                pack_panels(
                    self.isa,
                    filter.as_ptr(),
                    taps,
                    rows,
                    taps,
                    panels.as_mut_ptr(),
                )
            };
        }
    }

    /// Computes `conv` by a packed filter.
    ///
    /// # Panics
    /// If a slice's length is not what `conv` says, or the filter was packed for other groups.
    pub fn conv2d(
        self,
        parallel: &dyn Parallel,
        conv: &Convolution,
        x: &[f32],
        filter: &PackedFilter,
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        assert_eq!(filter.groups, conv.groups);
        self.convolve(parallel, conv, x, &filter.panels, bias, out);
    }

    /// The same by a filter that is computed anew for each run, `[outputs, taps]`.
    pub fn conv2d_unpacked(
        self,
        parallel: &dyn Parallel,
        conv: &Convolution,
        x: &[f32],
        filter: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        with_scratch(filter.len(), |panels| {
            self.pack_into(filter, conv.out[0], conv.groups, panels);
            self.convolve(parallel, conv, x, panels, bias, out);
        });
    }

    fn convolve(
        self,
        parallel: &dyn Parallel,
        conv: &Convolution,
        x: &[f32],
        panels: &[f32],
        bias: Option<&[f32]>,
        out: &mut [f32],
    ) {
        let [rows, taps] = conv.product();
        let [channels, height, width] = conv.image;
        let places = conv.out[1] * conv.out[2];
        assert_eq!(x.len(), conv.batch * channels * height * width);
        assert_eq!(out.len(), conv.batch * conv.out[0] * places);
        assert_eq!(panels.len(), conv.out[0] * taps);
        assert!(bias.is_none_or(|bias| bias.len() == conv.out[0]));
        if out.is_empty() {
            return;
        }
        let pads = conv.window.padding != [0; 4];
        let [row, plane] = conv.padded();
        let padded = if pads {
            conv.batch * channels * plane
        } else {
            0
        };
        with_scratch(padded, |padded| {
            let mut image = x;
            if pads {
                pad(conv, x, padded);
                image = padded;
            }
            let patches = Patches {
                image,
                groups: conv.groups,
                group: channels / conv.groups * plane,
                columns: conv.out[2],
                down: conv.window.strides[0] * row,
                along: conv.window.strides[1],
                taps: offsets_of_taps(conv),
                // A window of one element reads the image where it is.
                plane: (conv.size == [1, 1]).then_some(plane),
            };
            let job = Job {
                batch: conv.batch * conv.groups,
                m: rows,
                k: taps,
                n: places,
                left: Left::Panels(panels),
                lefts: conv.groups,
                right: Right::Patches(&patches),
                bias,
                out: Shared::new(out),
            };
            job.run(self, parallel);
        });
    }
}

/// Every image with zeros around it.
fn pad(conv: &Convolution, x: &[f32], padded: &mut [f32]) {
    let [_, height, width] = conv.image;
    let [top, _, left, _] = conv.window.padding;
    let [row, plane] = conv.padded();
    padded.fill(0.0);
    if height * width == 0 {
        return;
    }
    for (x, padded) in x
        .chunks_exact(height * width)
        .zip(padded.chunks_exact_mut(plane))
    {
        let inner = padded[top * row..].chunks_mut(row);
        for (x, padded) in x.chunks_exact(width).zip(inner) {
            padded[left..left + width].copy_from_slice(x);
        }
    }
}

fn offsets_of_taps(conv: &Convolution) -> Vec<usize> {
    let [row, plane] = conv.padded();
    let [down, along] = conv.window.dilations;
    let channels = conv.image[0] / conv.groups;
    let [height, width] = conv.size;
    let mut taps = Vec::with_capacity(channels * height * width);
    for channel in 0..channels {
        for r in 0..height {
            for s in 0..width {
                taps.push(channel * plane + r * down * row + s * along);
            }
        }
    }
    taps
}

/// What the windows of a convolution see, as the columns of a matrix.
pub(super) struct Patches<'a> {
    /// The images with their padding.
    image: &'a [f32],
    groups: usize,
    /// Elements of a group of channels.
    group: usize,
    /// Places a row of the output has, and the elements from one place to that below and beside it.
    columns: usize,
    down: usize,
    along: usize,
    /// Where each tap of a window is, from the window's first element.
    taps: Vec<usize>,
    plane: Option<usize>,
}

impl Patches<'_> {
    /// The `width ≤ 16` columns from `first` on of one group of one image: rows of 16 floats and their distance, gathered
    /// to `to` where they are not in the image like that.
    #[inline(always)]
    pub(super) unsafe fn columns(
        &self,
        batch: usize,
        first: usize,
        width: usize,
        to: &mut [f32],
    ) -> (*const f32, usize) {
        debug_assert!(self.image.len() >= (batch + 1) * self.group && self.groups > 0);
        let image = self.image[batch * self.group..].as_ptr();
        let mut places = [0; COLUMNS];
        let (mut row, mut column) = (first / self.columns, first % self.columns);
        for at in 0..COLUMNS {
            places[at] = if at < width {
                row * self.down + column * self.along
            } else {
                places[at - 1]
            };
            column += 1;
            if column == self.columns {
                (row, column) = (row + 1, 0);
            }
        }
        let together = places[COLUMNS - 1] == places[0] + COLUMNS - 1
            && self.along == 1
            && places.windows(2).all(|pair| pair[1] == pair[0] + 1);
        let rows = to.chunks_exact_mut(COLUMNS).zip(&self.taps);
        // Each place is the first element of a window that lies in the image with its padding.
        unsafe {
            match (together, self.plane) {
                (true, Some(plane)) => return (image.add(places[0]), plane),
                (true, None) => {
                    for (to, tap) in rows {
                        let from = std::slice::from_raw_parts(image.add(places[0] + tap), COLUMNS);
                        to.copy_from_slice(from);
                    }
                }
                (false, _) => {
                    for (to, tap) in rows {
                        for (to, place) in to.iter_mut().zip(places) {
                            *to = *image.add(place + tap);
                        }
                    }
                }
            }
        }
        (to.as_ptr(), COLUMNS)
    }
}
