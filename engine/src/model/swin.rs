//! Layers of the Swin transformer (Liu et al. 2021) over a grid of patches: attention within windows, every second
//! time of windows that are shifted by half, and merging of neighbouring patches between stages.

use super::block::{FeedForward, Linear, MultiHead, Norm};
use super::{ConfigError, ModelError, Weights};
use crate::graph::op::{Op, Pad, PadMode};
use crate::graph::{Dim, GraphBuilder, ValueId};
use crate::tensor::Tensor;

/// What a score is given that no window may see: far below others, as the reference implementation has it.
const HIDDEN: f32 = -100.0;

/// A grid of patches: rows and columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Grid {
    pub(super) rows: usize,
    pub(super) columns: usize,
}

/// A layer over a grid, with its tensors under `name`.
pub(super) struct SwinLayer<'a> {
    pub(super) name: &'a str,
    pub(super) grid: Grid,
    pub(super) channels: usize,
    pub(super) heads: usize,
    /// Side of a window; the grid is no smaller.
    pub(super) window: usize,
    /// How far windows are shifted.
    pub(super) shift: usize,
    pub(super) epsilon: f32,
    pub(super) feed_forward: FeedForward,
}

impl SwinLayer<'_> {
    /// `x [batch, rows · columns, channels]`
    pub(super) fn apply(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let norm = Norm::layer(self.channels, self.epsilon);
        let before = format!("{}.layernorm_before", self.name);
        let normal = norm.apply(b, weights, &before, x)?;
        let attended = self.attention(b, weights, normal)?;
        let x = b.add_values(x, attended)?;
        let after = format!("{}.layernorm_after", self.name);
        let normal = norm.apply(b, weights, &after, x)?;
        let fed = self.feed_forward.apply(b, weights, normal)?;
        Ok(b.add_values(x, fed)?)
    }

    fn attention(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        x: ValueId,
    ) -> Result<ValueId, ModelError> {
        let batch = b.shape(x)[0].clone();
        let sized = |[rows, columns]: [usize; 2]| {
            let sizes = [rows, columns, self.channels].map(Dim::from);
            [vec![batch.clone()], sizes.to_vec()].concat()
        };
        let Grid { rows, columns } = self.grid;
        let padded = self.padded();
        let mut image = b.reshape(x, sized([rows, columns]))?;
        if padded != self.grid {
            let pad = Pad {
                before: vec![0; 4],
                after: vec![0, padded.rows - rows, padded.columns - columns, 0],
                mode: PadMode::Constant(0.0),
            };
            image = b.op(Op::Pad(pad), &[image])?;
        }
        image = roll(b, image, self.shift)?;
        let windows = self.partition(b, image)?;
        let bias = self.bias(b, weights, &batch)?;
        let head_size = self.channels / self.heads;
        let name = |part: &str| format!("{}.attention.{part}", self.name);
        let attention = MultiHead {
            query: name("self.query"),
            key: name("self.key"),
            value: name("self.value"),
            output: name("output.dense"),
            hidden: self.channels,
            heads: self.heads,
            head_size,
            scale: MultiHead::usual_scale(head_size),
        };
        let attended = attention.to_itself(b, weights, windows, Some(bias))?;
        let image = self.join(b, attended, &batch)?;
        let image = match self.shift {
            0 => image,
            shift => roll_by(b, image, [padded.rows - shift, padded.columns - shift])?,
        };
        let image = b.slice_axis(image, 1, Dim::from(0), Dim::from(rows))?;
        let image = b.slice_axis(image, 2, Dim::from(0), Dim::from(columns))?;
        let flat = vec![batch, Dim::from(rows * columns), Dim::from(self.channels)];
        Ok(b.reshape(image, flat)?)
    }

    /// The grid that whole windows fill.
    fn padded(&self) -> Grid {
        Grid {
            rows: self.grid.rows.next_multiple_of(self.window),
            columns: self.grid.columns.next_multiple_of(self.window),
        }
    }

    fn windows(&self) -> usize {
        let padded = self.padded();
        (padded.rows / self.window) * (padded.columns / self.window)
    }

    /// `[batch, rows, columns, channels]` as `[batch · windows, window², channels]`.
    fn partition(&self, b: &mut GraphBuilder, image: ValueId) -> Result<ValueId, ModelError> {
        let batch = b.shape(image)[0].clone();
        let (window, padded) = (self.window, self.padded());
        let (down, across) = (padded.rows / window, padded.columns / window);
        let sizes = [down, window, across, window, self.channels].map(Dim::from);
        let x = b.reshape(image, [vec![batch.clone()], sizes.to_vec()].concat())?;
        let x = b.transpose(x, &[0, 1, 3, 2, 4, 5])?;
        let count = batch * self.windows() as i64;
        let shape = vec![count, Dim::from(window * window), Dim::from(self.channels)];
        Ok(b.reshape(x, shape)?)
    }

    /// The other way round.
    fn join(
        &self,
        b: &mut GraphBuilder,
        windows: ValueId,
        batch: &Dim,
    ) -> Result<ValueId, ModelError> {
        let (window, padded) = (self.window, self.padded());
        let (down, across) = (padded.rows / window, padded.columns / window);
        let sizes = [down, across, window, window, self.channels].map(Dim::from);
        let x = b.reshape(windows, [vec![batch.clone()], sizes.to_vec()].concat())?;
        let x = b.transpose(x, &[0, 1, 3, 2, 4, 5])?;
        let sizes = [padded.rows, padded.columns, self.channels].map(Dim::from);
        Ok(b.reshape(x, [vec![batch.clone()], sizes.to_vec()].concat())?)
    }

    /// What is added to the scores: the learned number for the place of key to query, and what hides patches that
    /// the shift has brought together. `[batch · windows, heads, window², window²]`
    fn bias(
        &self,
        b: &mut GraphBuilder,
        weights: &Weights<'_>,
        batch: &Dim,
    ) -> Result<ValueId, ModelError> {
        let side = 2 * self.window - 1;
        let places = self.window * self.window;
        let name = format!("{}.attention.self.relative_position_bias_table", self.name);
        let table = weights.matrix(b, &name, side * side, self.heads)?;
        let index = Tensor::from_i32(&[places, places], &relative_places(self.window))?;
        let index = b.constant(index);
        let bias = b.embedding(table, index)?;
        let bias = b.transpose(bias, &[2, 0, 1])?;
        let windows = self.windows();
        let square = [places, places];
        let mut bias = b.reshape(bias, dims(&[1, 1, self.heads, places, places]))?;
        if self.shift > 0 {
            let mask = shift_mask(self.padded(), self.window, self.shift);
            let shape = [1, windows, 1, square[0], square[1]];
            let mask = b.constant(Tensor::from_f32(&shape, &mask)?);
            bias = b.add_values(bias, mask)?;
        }
        let sizes = dims(&[windows, self.heads, places, places]);
        let bias = b.expand(bias, [vec![batch.clone()], sizes].concat())?;
        let sizes = dims(&[self.heads, places, places]);
        let count = batch.clone() * windows as i64;
        Ok(b.reshape(bias, [vec![count], sizes].concat())?)
    }
}

/// Between stages: each square of four patches becomes one of twice the channels, its tensors under `name`.
pub(super) fn merge_patches(
    b: &mut GraphBuilder,
    weights: &Weights<'_>,
    name: &str,
    grid: Grid,
    channels: usize,
    epsilon: f32,
    x: ValueId,
) -> Result<(ValueId, Grid), ModelError> {
    if !grid.rows.is_multiple_of(2) || !grid.columns.is_multiple_of(2) {
        return Err(ConfigError::Value {
            key: "depths".into(),
            got: format!(
                "a stage that ends with {} × {} patches",
                grid.rows, grid.columns
            ),
            wanted: "even numbers of patches to merge",
        }
        .into());
    }
    let batch = b.shape(x)[0].clone();
    let half = Grid {
        rows: grid.rows / 2,
        columns: grid.columns / 2,
    };
    let sizes = dims(&[half.rows, 2, half.columns, 2, channels]);
    let x = b.reshape(x, [vec![batch.clone()], sizes].concat())?;
    // The four stand in the order of columns first.
    let x = b.transpose(x, &[0, 1, 3, 4, 2, 5])?;
    let sizes = dims(&[half.rows * half.columns, 4 * channels]);
    let x = b.reshape(x, [vec![batch], sizes].concat())?;
    let norm = Norm::layer(4 * channels, epsilon);
    let x = norm.apply(b, weights, &format!("{name}.norm"), x)?;
    let merged = Linear {
        name: &format!("{name}.reduction"),
        inputs: 4 * channels,
        outputs: 2 * channels,
    }
    .apply(b, weights, x)?;
    Ok((merged, half))
}

/// Rows and columns of an image moved up and left by `shift`, what falls out coming in on the other side.
fn roll(b: &mut GraphBuilder, image: ValueId, shift: usize) -> Result<ValueId, ModelError> {
    match shift {
        0 => Ok(image),
        shift => roll_by(b, image, [shift, shift]),
    }
}

fn roll_by(
    b: &mut GraphBuilder,
    mut image: ValueId,
    shifts: [usize; 2],
) -> Result<ValueId, ModelError> {
    for (axis, shift) in [(1, shifts[0]), (2, shifts[1])] {
        let size = b.shape(image)[axis].clone();
        let rest = size - Dim::from(shift);
        let first = b.slice_axis(image, axis, Dim::from(shift), rest)?;
        let last = b.slice_axis(image, axis, Dim::from(0), Dim::from(shift))?;
        image = b.concat(&[first, last], axis)?;
    }
    Ok(image)
}

/// Which row of the table each pair of places in a window has, `[window², window²]`.
fn relative_places(window: usize) -> Vec<i32> {
    let side = 2 * window - 1;
    let places = window * window;
    let mut rows = Vec::with_capacity(places * places);
    for query in 0..places {
        for key in 0..places {
            let down = query / window + window - 1 - key / window;
            let across = query % window + window - 1 - key % window;
            rows.push((down * side + across) as i32);
        }
    }
    rows
}

/// Which pairs of places in each window the shift has brought together from far apart, `[windows, window²,
/// window²]`: 0 for neighbours, far below any score for others.
fn shift_mask(grid: Grid, window: usize, shift: usize) -> Vec<f32> {
    // A row (or column) is of what stays together, of the last window before the seam, or beyond it.
    let region =
        |at: usize, size: usize| usize::from(at >= size - window) + usize::from(at >= size - shift);
    let (down, across) = (grid.rows / window, grid.columns / window);
    let places = window * window;
    let mut mask = Vec::with_capacity(down * across * places * places);
    for tile in 0..down * across {
        let (top, left) = (tile / across * window, tile % across * window);
        let regions: Vec<usize> = (0..places)
            .map(|place| {
                let row = region(top + place / window, grid.rows);
                3 * row + region(left + place % window, grid.columns)
            })
            .collect();
        for query in &regions {
            mask.extend(regions.iter().map(|key| match key == query {
                true => 0.0,
                false => HIDDEN,
            }));
        }
    }
    mask
}

fn dims(sizes: &[usize]) -> Vec<Dim> {
    sizes.iter().map(|&size| Dim::from(size)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_of_two_has_nine_relative_places() {
        let rows = relative_places(2);
        assert_eq!(rows[..4], [4, 3, 1, 0]);
        assert_eq!(rows[12..], [8, 7, 5, 4]);
    }

    #[test]
    fn a_shift_hides_what_it_brings_together() {
        let grid = Grid {
            rows: 4,
            columns: 4,
        };
        let mask = shift_mask(grid, 2, 1);
        assert_eq!(mask.len(), 4 * 16);
        assert!(
            mask[..16].iter().all(|&m| m == 0.0),
            "the first window is whole"
        );
        // The second has the seam between its columns, the last between rows too.
        assert_eq!(mask[16..20], [0.0, HIDDEN, 0.0, HIDDEN]);
        assert_eq!(mask[48..52], [0.0, HIDDEN, HIDDEN, HIDDEN]);
    }
}
