//! Copies with elements added around, for elements of any size.

use crate::op::{Pad, PadMode};

/// For each place along each axis of the output, the place of the input it takes; `None` is the constant's.
#[derive(Clone, Debug)]
pub struct Padded {
    /// Of the outer dimensions, in order, and the elements from one place to the next.
    outer: Vec<(Vec<Option<usize>>, usize)>,
    inner: Vec<Option<usize>>,
    before: usize,
    size: usize,
    fill: f32,
}

impl Padded {
    /// `pad` of an input of `shape`, which has at least one dimension.
    pub fn new(shape: &[usize], pad: &Pad) -> Padded {
        let mut step = 1;
        let mut axes: Vec<(Vec<Option<usize>>, usize)> = Vec::new();
        for axis in (0..shape.len()).rev() {
            let (before, size) = (pad.before[axis], shape[axis]);
            let places = (0..before + size + pad.after[axis])
                .map(|place| source(pad.mode, place, before, size))
                .collect();
            axes.insert(0, (places, step));
            step *= size;
        }
        let (inner, _) = axes.pop().unwrap_or_default();
        Padded {
            outer: axes,
            inner,
            before: pad.before.last().copied().unwrap_or(0),
            size: shape.last().copied().unwrap_or(0),
            fill: match pad.mode {
                PadMode::Constant(value) => value,
                PadMode::Edge | PadMode::Reflection => 0.0,
            },
        }
    }

    /// Elements of f32.
    pub fn run(&self, from: &[f32], to: &mut [f32]) {
        let row = self.inner.len();
        if row == 0 {
            return;
        }
        for (at, to) in to.chunks_exact_mut(row).enumerate() {
            let Some(start) = self.start(at) else {
                to.fill(self.fill);
                continue;
            };
            let from = &from[start..][..self.size];
            let (middle, end) = (self.before, self.before + self.size);
            to[middle..end].copy_from_slice(from);
            for place in (0..middle).chain(end..row) {
                to[place] = self.inner[place].map_or(self.fill, |at| from[at]);
            }
        }
    }

    /// The first element of the input's row that row `at` of the output is made of.
    fn start(&self, at: usize) -> Option<usize> {
        let mut rest = at;
        let mut start = 0;
        for (places, step) in self.outer.iter().rev() {
            start += places[rest % places.len()]? * step;
            rest /= places.len();
        }
        Some(start)
    }
}

fn source(mode: PadMode, place: usize, before: usize, size: usize) -> Option<usize> {
    let last = size.saturating_sub(1);
    match (place.checked_sub(before), mode) {
        (Some(inside), _) if inside < size => Some(inside),
        (_, PadMode::Constant(_)) => None,
        (None, PadMode::Edge) => Some(0),
        (Some(_), PadMode::Edge) => Some(last),
        (None, PadMode::Reflection) => Some(before - place),
        (Some(beyond), PadMode::Reflection) => Some(2 * last - beyond),
    }
}
