//! Shapes, which may have symbols in them: what they are, and what is made to fit them.

use fewbit_engine::graph::op::{CumulativeSum, Pad, PadMode, ReduceKind, Slice};
use fewbit_engine::graph::{Dim, Op, Shape, fixed_shape};
use fewbit_engine::tensor::{DataType, Tensor};

use super::context::{Context, MOST_FOLDED, Made, Value};
use super::error::{Refusal, unsupported, wrong};
use super::symbolic::Expressions;

/// No tensor that is computed with has more elements.
const MOST_ELEMENTS: usize = match usize::BITS {
    64 => 1usize.wrapping_shl(40),
    _ => 1 << 30,
};

pub(crate) fn dims(shape: &[usize]) -> Shape {
    shape.iter().map(|&size| Dim::from(size)).collect()
}

impl Context {
    /// The sizes of a value as numbers; what is computed with them stays in range, as no product of any of them is over
    /// [`MOST_ELEMENTS`].
    ///
    /// # Errors
    /// The symbols in them, so that whoever imports may give their sizes.
    pub(crate) fn shape(&self, x: Value) -> Result<Vec<usize>, Refusal> {
        let dims = self.dims(x)?;
        fixed_shape(&dims).ok_or_else(|| Refusal::sizes(&dims))
    }

    /// The dimensions of a value, which may be symbols. Of those that are numbers no product is over [`MOST_ELEMENTS`].
    pub(crate) fn dims(&self, x: Value) -> Result<Shape, Refusal> {
        let dims = self.builder.shape(x.id);
        let sizes = dims.iter().filter_map(Dim::fixed).map(|size| size.max(1));
        let mut product = sizes
            .clone()
            .try_fold(1usize, |n, size| n.checked_mul(size));
        product = product.filter(|&n| n <= MOST_ELEMENTS);
        match product {
            Some(_) => Ok(dims.to_vec()),
            None => unsupported(format!("over a tensor of {dims:?}")),
        }
    }

    pub(crate) fn rank(&self, x: Value) -> usize {
        self.builder.shape(x.id).len()
    }

    /// Sizes as a vector of i64: what a run computes of them is the number of ones in so many.
    pub(crate) fn sizes(&mut self, dims: &[Dim]) -> Made {
        if let Some(integers) = dims.iter().map(Dim::integer).collect::<Option<Vec<_>>>() {
            return self.integers(&[integers.len()], &integers);
        }
        let mut parts = Vec::with_capacity(dims.len());
        for dim in dims {
            if let Some(integer) = dim.integer() {
                parts.push(self.integers(&[1], &[integer])?);
                continue;
            }
            let one = self.integers(&[1], &[1])?;
            let ones = self.expand_to(one, vec![dim.clone()])?;
            let count = self.reduce(ReduceKind::Sum, ones, &[0], true)?;
            let followed = Expressions {
                shape: vec![1],
                values: vec![dim.clone()],
            };
            self.followed.insert(count.id, followed);
            parts.push(count);
        }
        self.concat(&parts, 0)
    }

    pub(crate) fn reshape(&mut self, x: Value, shape: &[usize]) -> Made {
        self.reshape_to(x, dims(shape))
    }

    pub(crate) fn reshape_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape {
            return Ok(x);
        }
        self.op(Op::Reshape { shape }, &[x], x.data_type)
    }

    pub(crate) fn expand(&mut self, x: Value, shape: &[usize]) -> Made {
        self.expand_to(x, dims(shape))
    }

    pub(crate) fn expand_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape {
            return Ok(x);
        }
        self.op(Op::Expand { shape }, &[x], x.data_type)
    }

    /// `x` from `start` on, `size` elements of one axis.
    pub(crate) fn slice(&mut self, x: Value, axis: usize, start: usize, size: usize) -> Made {
        self.slice_dims(x, axis, Dim::from(start), Dim::from(size))
    }

    /// The same with bounds that may be symbols; whether they are inside of the axis is seen when these have sizes.
    pub(crate) fn slice_dims(&mut self, x: Value, axis: usize, start: Dim, size: Dim) -> Made {
        let shape = self.dims(x)?;
        if axis >= shape.len() {
            return wrong(format!("axis {axis} of {} dimensions", shape.len()));
        }
        if start.fixed() == Some(0) && size == shape[axis] {
            return Ok(x);
        }
        let (mut starts, mut sizes) = (vec![Dim::from(0); shape.len()], shape.clone());
        starts[axis] = start;
        sizes[axis] = size;
        let slice = Slice {
            starts,
            sizes,
            strides: vec![1; shape.len()],
        };
        self.op(Op::Slice(slice), &[x], x.data_type)
    }

    /// `0, 1, …` along `axis` of `rank` dimensions, the others being 1.
    pub(crate) fn iota(&mut self, size: impl Into<Dim>, axis: usize, rank: usize) -> Made {
        let size = size.into();
        let mut shape = vec![Dim::from(1); rank];
        shape[axis] = size.clone();
        let Some(fixed) = size.fixed() else {
            let one = self.integers(&vec![1; rank], &[1])?;
            let ones = self.expand_to(one, shape)?;
            let sum = CumulativeSum {
                axis,
                exclusive: true,
                reversed: false,
            };
            return self.op(Op::CumulativeSum(sum), &[ones], DataType::I64);
        };
        if fixed > MOST_FOLDED {
            return unsupported(format!("over an axis of {fixed}"));
        }
        let mut shape = vec![1; rank];
        shape[axis] = fixed;
        let values: Vec<i64> = (0..fixed as i64).collect();
        self.integers(&shape, &values)
    }

    /// The sizes of a value of so many dimensions.
    pub(crate) fn of_rank<const N: usize>(&self, x: Value) -> Result<[Dim; N], Refusal> {
        let sizes = self.dims(x)?;
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
        self.expand_to(one, vec![batch.clone()])
    }
}
