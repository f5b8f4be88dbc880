//! What convolutions and pools have in common: kernel, strides, dilations and padding, an axis each.
//!
//! The graph's windows are over two axes. One axis is a width; three are planes and a depth.

use fewbit_engine::graph::op::{Pad, PadMode, Window};
use fewbit_engine::graph::{Dim, Op, fixed_shape};

use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;

/// How a window goes over the spatial axes, which are one, two or three.
#[derive(Clone, Debug)]
pub(super) struct Sliding {
    pub(super) kernel: Vec<usize>,
    pub(super) strides: Vec<usize>,
    pub(super) dilations: Vec<usize>,
    pub(super) before: Vec<usize>,
    pub(super) after: Vec<usize>,
}

/// No attribute of a window is as large in any model; sums of two products stay in range.
const MOST: i64 = 1 << 20;

/// A list of sizes, one an axis, from an attribute.
pub(super) fn list(
    node: &Node<'_>,
    name: &str,
    count: usize,
    least: i64,
) -> Result<Option<Vec<usize>>, Refusal> {
    let Some(values) = node.ints(name)? else {
        return Ok(None);
    };
    if values.iter().any(|&v| v < 0) {
        return unsupported(format!("{name} of {values:?}"));
    }
    if values.len() != count || values.iter().any(|v| !(least..=MOST).contains(v)) {
        return wrong(format!("{name} of {values:?}"));
    }
    Ok(Some(values.iter().map(|&v| v as usize).collect()))
}

impl Sliding {
    /// Reads the attributes for an input of these sizes.
    pub(super) fn read(
        node: &Node<'_>,
        sizes: &[usize],
        kernel: Vec<usize>,
    ) -> Result<Sliding, Refusal> {
        let axes = sizes.len();
        let strides = list(node, "strides", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
        let dilations = list(node, "dilations", axes, 1)?.unwrap_or_else(|| vec![1; axes]);
        let pads = list(node, "pads", 2 * axes, 0)?.unwrap_or_else(|| vec![0; 2 * axes]);
        let mut sliding = Sliding {
            kernel,
            strides,
            dilations,
            before: pads[..axes].to_vec(),
            after: pads[axes..].to_vec(),
        };
        if sliding.kernel.len() != axes || sliding.kernel.contains(&0) {
            return wrong(format!("a kernel of {:?}", sliding.kernel));
        }
        match node.word("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => {}
            "VALID" => (sliding.before, sliding.after) = (vec![0; axes], vec![0; axes]),
            mode @ ("SAME_UPPER" | "SAME_LOWER") => {
                for (axis, &size) in sizes.iter().enumerate() {
                    let out = size.div_ceil(sliding.strides[axis]);
                    let reached =
                        out.saturating_sub(1) * sliding.strides[axis] + sliding.reach(axis);
                    let total = reached.saturating_sub(size);
                    let (less, more) = (total / 2, total - total / 2);
                    (sliding.before[axis], sliding.after[axis]) = match mode {
                        "SAME_UPPER" => (less, more),
                        _ => (more, less),
                    };
                }
            }
            other => return wrong(format!("auto_pad {other:?}")),
        }
        Ok(sliding)
    }

    /// How many places of the axis a window spans.
    pub(super) fn reach(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Refuses an input that no window fits into.
    pub(super) fn fits(&self, sizes: &[usize]) -> Result<(), Refusal> {
        for (axis, &size) in sizes.iter().enumerate() {
            if size.saturating_add(self.before[axis] + self.after[axis]) < self.reach(axis) {
                return wrong(format!("a window of {} over {size}", self.reach(axis)));
            }
        }
        Ok(())
    }

    /// Of the last two axes alone.
    pub(super) fn of_planes(&self) -> Sliding {
        let last = |values: &[usize]| values[values.len().saturating_sub(2)..].to_vec();
        Sliding {
            kernel: last(&self.kernel),
            strides: last(&self.strides),
            dilations: last(&self.dilations),
            before: last(&self.before),
            after: last(&self.after),
        }
    }

    /// Of the first axis alone, as a height; the width stays as it is.
    pub(super) fn of_depth(&self) -> Sliding {
        Sliding {
            kernel: vec![self.kernel[0], 1],
            strides: vec![self.strides[0], 1],
            dilations: vec![self.dilations[0], 1],
            before: vec![self.before[0], 0],
            after: vec![self.after[0], 0],
        }
    }

    /// How many windows there are along an axis of `size`.
    pub(super) fn windows(&self, axis: usize, size: usize) -> usize {
        let padded = size + self.before[axis] + self.after[axis];
        match padded.checked_sub(self.reach(axis)) {
            Some(left) => left / self.strides[axis] + 1,
            None => 0,
        }
    }

    /// The places of a padded axis that a tap of each of so many windows takes.
    pub(super) fn places(&self, axis: usize, tap: usize, windows: usize) -> Vec<usize> {
        let first = tap * self.dilations[axis];
        (0..windows)
            .map(|at| first + at * self.strides[axis])
            .collect()
    }

    /// The window over height and width; one axis is a width.
    pub(super) fn window(&self) -> Window {
        match self.kernel.len() {
            1 => Window {
                padding: [0, 0, self.before[0], self.after[0]],
                strides: [1, self.strides[0]],
                dilations: [1, self.dilations[0]],
            },
            _ => Window {
                padding: [self.before[0], self.after[0], self.before[1], self.after[1]],
                strides: [self.strides[0], self.strides[1]],
                dilations: [self.dilations[0], self.dilations[1]],
            },
        }
    }

    /// The kernel's height and width.
    pub(super) fn size(&self) -> [usize; 2] {
        match self.kernel.as_slice() {
            [width] => [1, *width],
            [height, width, ..] => [*height, *width],
            [] => [1, 1],
        }
    }
}

/// The sizes of the spatial axes, which must be one, two or three.
pub(super) fn spatial(shape: &[Dim]) -> Result<Vec<usize>, Refusal> {
    match shape.len() {
        3..=5 => fixed_shape(&shape[2..]).ok_or_else(|| Refusal::sizes(&shape[2..])),
        rank => unsupported(format!("over {} spatial axes", rank.saturating_sub(2))),
    }
}

/// With a height of 1 where there is only a width.
pub(super) fn as_image(cx: &mut Context, x: Value) -> Made {
    let mut shape = cx.dims(x)?;
    if shape.len() == 3 {
        shape.insert(2, Dim::from(1));
    }
    cx.reshape_to(x, shape)
}

/// Without the height that [`as_image`] put in.
pub(super) fn of_image(cx: &mut Context, y: Value, rank: usize) -> Made {
    let mut shape = cx.dims(y)?;
    if rank == 3 {
        shape.remove(2);
    }
    cx.reshape_to(y, shape)
}

/// With `value` around the spatial axes.
pub(super) fn surrounded(
    cx: &mut Context,
    x: Value,
    before: &[usize],
    after: &[usize],
    value: f32,
) -> Made {
    if before.iter().chain(after).all(|&by| by == 0) {
        return Ok(x);
    }
    let pad = Pad {
        before: [&[0, 0], before].concat(),
        after: [&[0, 0], after].concat(),
        mode: PadMode::Constant(value),
    };
    cx.op(Op::Pad(pad), &[x], x.data_type)
}
