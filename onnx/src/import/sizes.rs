//! What operators need of shapes that may have symbols in them.

use fewbit_engine::graph::op::{Pad, PadMode, Slice};
use fewbit_engine::graph::{Dim, Op, Shape};
use fewbit_engine::tensor::Tensor;

use super::context::{Context, Made, Value};
use super::error::{Refusal, wrong};

impl Context {
    /// A value's sizes as they are, numbers or not.
    pub(crate) fn sizes_of(&self, x: Value) -> Shape {
        self.builder.shape(x.id).to_vec()
    }

    /// The sizes of a value of so many dimensions.
    pub(crate) fn of_rank<const N: usize>(&self, x: Value) -> Result<[Dim; N], Refusal> {
        let sizes = self.sizes_of(x);
        sizes
            .try_into()
            .or_else(|sizes: Shape| wrong(format!("{sizes:?} where {N} dimensions are wanted")))
    }

    /// The size of an axis that counts from the end, as a number.
    pub(crate) fn fixed_from_end(&self, x: Value, back: usize) -> Result<usize, Refusal> {
        let sizes = self.builder.shape(x.id);
        let at = sizes.len().checked_sub(back);
        match at.and_then(|at| sizes[at].fixed()) {
            Some(size) => Ok(size),
            None => wrong(format!("no size {back} from the end in {sizes:?}")),
        }
    }

    pub(crate) fn reshaped_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape.as_slice() {
            return Ok(x);
        }
        self.op(Op::Reshape { shape }, &[x], x.data_type)
    }

    pub(crate) fn spread_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape.as_slice() {
            return Ok(x);
        }
        self.op(Op::Expand { shape }, &[x], x.data_type)
    }

    /// `x` from `start` on, `size` elements of one axis, the others whole.
    pub(crate) fn part(&mut self, x: Value, axis: usize, start: usize, size: usize) -> Made {
        let mut sizes = self.sizes_of(x);
        let rank = sizes.len();
        if axis >= rank {
            return wrong(format!("axis {axis} of {rank} dimensions"));
        }
        if start == 0 && sizes[axis] == Dim::from(size) {
            return Ok(x);
        }
        sizes[axis] = Dim::from(size);
        let mut starts = vec![Dim::from(0); rank];
        starts[axis] = Dim::from(start);
        let slice = Slice {
            starts,
            sizes,
            strides: vec![1; rank],
        };
        self.op(Op::Slice(slice), &[x], x.data_type)
    }

    /// `x` with so many zeros after its last axis.
    pub(crate) fn zeros_after(&mut self, x: Value, count: usize) -> Made {
        let rank = self.rank(x);
        if count == 0 || rank == 0 {
            return Ok(x);
        }
        let mut after = vec![0; rank];
        after[rank - 1] = count;
        let pad = Pad {
            before: vec![0; rank],
            after,
            mode: PadMode::Constant(0.0),
        };
        self.op(Op::Pad(pad), &[x], x.data_type)
    }

    /// A number for each row of a batch, i32 `[batch]`.
    pub(crate) fn each_row(&mut self, value: i32, batch: &Dim) -> Made {
        let one = self.constant(Tensor::from_i32(&[1], &[value])?)?;
        self.spread_to(one, vec![batch.clone()])
    }
}
