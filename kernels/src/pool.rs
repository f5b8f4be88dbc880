//! Pools: the mean or the largest of what each window of an image sees. Tasks are planes.

use crate::op::{Pool2d, PoolKind};
use crate::threads::{Parallel, Shared, split};

use super::Kernels;

impl Kernels {
    /// `out [planes, height', width']` of `x [planes, height, width]`; the sizes are `[height, width]`.
    ///
    /// # Panics
    /// If the lengths are no whole planes.
    pub fn pool2d(
        self,
        parallel: &dyn Parallel,
        pool: &Pool2d,
        x: &[f32],
        size: [usize; 2],
        out: &mut [f32],
        out_size: [usize; 2],
    ) {
        let (plane, out_plane) = (size[0] * size[1], out_size[0] * out_size[1]);
        if out.is_empty() {
            return;
        }
        let planes = out.len() / out_plane;
        assert_eq!(out.len(), planes * out_plane);
        assert_eq!(x.len(), planes * plane);
        let out = Shared::new(out);
        split(parallel, planes, &|range| {
            for at in range {
                // Tasks write different planes.
                let to = out.at(at * out_plane);
                let out = unsafe { std::slice::from_raw_parts_mut(to, out_plane) };
                plane_of(pool, &x[at * plane..][..plane], size, out, out_size);
            }
        });
    }
}

fn plane_of(
    pool: &Pool2d,
    x: &[f32],
    [height, width]: [usize; 2],
    out: &mut [f32],
    [_, out_width]: [usize; 2],
) {
    let [top, _, left, _] = pool.window.padding;
    let [down, along] = pool.window.strides;
    for (row, out) in out.chunks_exact_mut(out_width).enumerate() {
        let rows = seen(pool, 0, row * down, top, height);
        for (column, out) in out.iter_mut().enumerate() {
            let columns = seen(pool, 1, column * along, left, width);
            let values = rows
                .clone()
                .flat_map(|row| columns.clone().map(move |column| x[row * width + column]));
            *out = match pool.kind {
                PoolKind::Average => {
                    let count = rows.clone().count() * columns.clone().count();
                    values.sum::<f32>() / count as f32
                }
                PoolKind::Max => values.fold(f32::NEG_INFINITY, |most, x| {
                    if x > most || x.is_nan() { x } else { most }
                }),
            };
        }
    }
}

/// The places from `first − padding` on that a window sees along an axis of `size`.
fn seen(
    pool: &Pool2d,
    axis: usize,
    first: usize,
    padding: usize,
    size: usize,
) -> impl Iterator<Item = usize> + Clone + use<> {
    let dilation = pool.window.dilations[axis];
    // Taps before the image are left out, so that the range begins in it.
    let skipped = padding.saturating_sub(first).div_ceil(dilation);
    let start = (first + skipped * dilation).saturating_sub(padding);
    let taps = pool.size[axis].saturating_sub(skipped);
    (0..taps)
        .map(move |tap| start + tap * dilation)
        .take_while(move |&place| place < size)
}
