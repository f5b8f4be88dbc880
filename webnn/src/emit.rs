//! What operators are composed of: the engine's operators over values whose sizes are numbers.

use fewbit_engine::graph::op::{Binary, Compare, Logical, Pad, PadMode, ReduceKind, Slice, Unary};
use fewbit_engine::graph::{Dim, GraphBuilder, Op, Shape, ValueId, fixed_shape};
use fewbit_engine::tensor::{DataType, Tensor};

use crate::error::{Fault, beyond};
use crate::types::{self, Descriptor};
use crate::value::Number;

pub(crate) type Made = Result<ValueId, Fault>;

/// Constants that lowering makes (places along an axis, weights of an interpolation) have at most so many elements.
const MOST_CONSTANT: usize = 1 << 26;

/// The engine's graph under way.
#[derive(Default)]
pub(crate) struct Emit {
    pub(crate) graph: GraphBuilder,
}

pub(crate) fn dims(shape: &[usize]) -> Shape {
    shape.iter().map(|&size| Dim::from(size)).collect()
}

impl Emit {
    pub(crate) fn shape(&self, x: ValueId) -> Vec<usize> {
        // All sizes are numbers from the inputs on.
        fixed_shape(self.graph.shape(x)).unwrap_or_default()
    }

    pub(crate) fn data_type(&self, x: ValueId) -> DataType {
        self.graph.element(x).plain().unwrap_or(DataType::F32)
    }

    /// Type and shape as the API has them.
    pub(crate) fn descriptor(&self, x: ValueId) -> Result<Descriptor, Fault> {
        let own = self.data_type(x);
        let found = types::DataType::ALL.into_iter().find(|t| t.engine() == own);
        match found {
            Some(data_type) => Ok(Descriptor {
                data_type,
                shape: self.shape(x),
            }),
            None => beyond(format!("a value of {own}")),
        }
    }

    pub(crate) fn op(&mut self, op: Op, inputs: &[ValueId]) -> Made {
        Ok(self.graph.op(op, inputs)?)
    }

    pub(crate) fn constant(&mut self, data_type: DataType, shape: &[usize], bytes: &[u8]) -> Made {
        let tensor = Tensor::from_bytes(data_type, shape, bytes)?;
        Ok(self.graph.constant(tensor))
    }

    /// A number without dimensions, of the type that another value has.
    pub(crate) fn number_like(&mut self, x: ValueId, number: Number) -> Made {
        let data_type = self.descriptor(x)?.data_type;
        let bytes = data_type.encode(data_type.cast(number));
        self.constant(data_type.engine(), &[], &bytes)
    }

    /// A float without dimensions, of the type that another value has.
    pub(crate) fn float_like(&mut self, x: ValueId, number: f64) -> Made {
        self.number_like(x, Number::Float(number))
    }

    pub(crate) fn integers(&mut self, shape: &[usize], values: &[i32]) -> Made {
        let tensor = Tensor::from_i32(shape, values)?;
        Ok(self.graph.constant(tensor))
    }

    /// `first, first + 1, …` on the axis `axis` of `rank`, in i32.
    pub(crate) fn places(&mut self, size: usize, axis: usize, rank: usize, first: i64) -> Made {
        if size > MOST_CONSTANT {
            return beyond(format!("{size} places on an axis"));
        }
        let place = |at: usize| {
            let place = at as i64 + first;
            place.clamp(i32::MIN.into(), i32::MAX.into()) as i32
        };
        let values: Vec<i32> = (0..size).map(place).collect();
        let mut shape = vec![1; rank];
        shape[axis] = size;
        self.integers(&shape, &values)
    }

    pub(crate) fn unary(&mut self, op: Unary, x: ValueId) -> Made {
        Ok(self.graph.unary(op, x)?)
    }

    pub(crate) fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> Made {
        Ok(self.graph.binary(op, a, b)?)
    }

    /// `x` and a number.
    pub(crate) fn with(&mut self, op: Binary, x: ValueId, number: f64) -> Made {
        let number = self.float_like(x, number)?;
        self.binary(op, x, number)
    }

    pub(crate) fn add(&mut self, a: ValueId, b: ValueId) -> Made {
        self.binary(Binary::Add, a, b)
    }

    pub(crate) fn sub(&mut self, a: ValueId, b: ValueId) -> Made {
        self.binary(Binary::Sub, a, b)
    }

    pub(crate) fn mul(&mut self, a: ValueId, b: ValueId) -> Made {
        self.binary(Binary::Mul, a, b)
    }

    pub(crate) fn compare(&mut self, op: Compare, a: ValueId, b: ValueId) -> Made {
        Ok(self.graph.compare(op, a, b)?)
    }

    pub(crate) fn compare_with(&mut self, op: Compare, x: ValueId, number: f64) -> Made {
        let number = self.float_like(x, number)?;
        self.compare(op, x, number)
    }

    pub(crate) fn logical(&mut self, op: Logical, a: ValueId, b: ValueId) -> Made {
        self.op(Op::Logical(op), &[a, b])
    }

    pub(crate) fn select(&mut self, condition: ValueId, a: ValueId, b: ValueId) -> Made {
        self.op(Op::Where, &[condition, a, b])
    }

    pub(crate) fn cast(&mut self, x: ValueId, to: DataType) -> Made {
        Ok(self.graph.cast(x, to)?)
    }

    pub(crate) fn reduce(
        &mut self,
        kind: ReduceKind,
        x: ValueId,
        axes: &[usize],
        keep: bool,
    ) -> Made {
        Ok(self.graph.reduce(kind, x, axes, keep)?)
    }

    pub(crate) fn matmul(&mut self, a: ValueId, b: ValueId) -> Made {
        Ok(self.graph.matmul(a, b)?)
    }

    pub(crate) fn reshape(&mut self, x: ValueId, shape: &[usize]) -> Made {
        Ok(self.graph.reshape(x, dims(shape))?)
    }

    pub(crate) fn expand(&mut self, x: ValueId, shape: &[usize]) -> Made {
        Ok(self.graph.expand(x, dims(shape))?)
    }

    pub(crate) fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> Made {
        if permutation.iter().copied().eq(0..permutation.len()) {
            return Ok(x);
        }
        Ok(self.graph.transpose(x, permutation)?)
    }

    pub(crate) fn concat(&mut self, values: &[ValueId], axis: usize) -> Made {
        match values {
            [one] => Ok(*one),
            _ => Ok(self.graph.concat(values, axis)?),
        }
    }

    pub(crate) fn gather(&mut self, x: ValueId, indices: ValueId, axis: usize) -> Made {
        Ok(self.graph.gather(x, indices, axis)?)
    }

    /// `sizes` elements from `starts` on, every `strides`-th of them.
    pub(crate) fn slice(
        &mut self,
        x: ValueId,
        starts: &[usize],
        sizes: &[usize],
        strides: &[usize],
    ) -> Made {
        let slice = Slice {
            starts: dims(starts),
            sizes: dims(sizes),
            strides: strides.to_vec(),
        };
        self.op(Op::Slice(slice), &[x])
    }

    /// A part of one axis.
    pub(crate) fn part(&mut self, x: ValueId, axis: usize, start: usize, size: usize) -> Made {
        let mut sizes = self.shape(x);
        if start == 0 && sizes[axis] == size {
            return Ok(x);
        }
        let mut starts = vec![0; sizes.len()];
        starts[axis] = start;
        sizes[axis] = size;
        let strides = vec![1; sizes.len()];
        self.slice(x, &starts, &sizes, &strides)
    }

    pub(crate) fn pad(
        &mut self,
        x: ValueId,
        before: &[usize],
        after: &[usize],
        mode: PadMode,
    ) -> Made {
        if before.iter().chain(after).all(|&size| size == 0) {
            return Ok(x);
        }
        let pad = Pad {
            before: before.to_vec(),
            after: after.to_vec(),
            mode,
        };
        self.op(Op::Pad(pad), &[x])
    }

    /// Copies of a number around, of any type and exactly.
    pub(crate) fn surround(
        &mut self,
        x: ValueId,
        before: &[usize],
        after: &[usize],
        number: Number,
    ) -> Made {
        match number {
            Number::Float(value) if self.data_type(x) == DataType::F32 => {
                return self.pad(x, before, after, PadMode::Constant(value as f32));
            }
            Number::Float(0.0) | Number::Integer(0) => {
                return self.pad(x, before, after, PadMode::Constant(0.0));
            }
            _ => {}
        }
        let mut x = x;
        let number = self.number_like(x, number)?;
        for axis in 0..before.len() {
            let mut shape = self.shape(x);
            let mut parts = Vec::new();
            for (size, then) in [(before[axis], Some(x)), (after[axis], None)] {
                shape[axis] = size;
                if size > 0 {
                    parts.push(self.expand(number, &shape)?);
                }
                parts.extend(then);
            }
            x = self.concat(&parts, axis)?;
        }
        Ok(x)
    }

    /// The elements of an axis in reverse.
    pub(crate) fn turn(&mut self, x: ValueId, axis: usize) -> Made {
        let size = self.shape(x)[axis];
        if size == 1 {
            return Ok(x);
        }
        if size > MOST_CONSTANT {
            return beyond(format!("{size} elements in reverse"));
        }
        let places: Vec<i32> = (0..size as i32).rev().collect();
        let places = self.integers(&[size], &places)?;
        self.gather(x, places, axis)
    }

    /// Each element of an axis `times` times.
    pub(crate) fn repeat(&mut self, x: ValueId, axis: usize, times: usize) -> Made {
        if times == 1 {
            return Ok(x);
        }
        let mut shape = self.shape(x);
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis + 1..].iter().product();
        let y = self.reshape(x, &[outer * shape[axis], 1, inner])?;
        let y = self.expand(y, &[outer * shape[axis], times, inner])?;
        shape[axis] *= times;
        self.reshape(y, &shape)
    }

    /// An axis `times` times over.
    pub(crate) fn tile(&mut self, x: ValueId, axis: usize, times: usize) -> Made {
        if times == 1 {
            return Ok(x);
        }
        let mut shape = self.shape(x);
        let outer: usize = shape[..axis].iter().product();
        let inner: usize = shape[axis..].iter().product();
        let y = self.reshape(x, &[outer, 1, inner])?;
        let y = self.expand(y, &[outer, times, inner])?;
        shape[axis] = shape[axis].saturating_mul(times);
        self.reshape(y, &shape)
    }

    /// Halves go to the even neighbour. Every step is exact; NaN and infinities stay.
    pub(crate) fn round_even(&mut self, x: ValueId) -> Made {
        let below = self.unary(Unary::Floor, x)?;
        let above = self.with(Binary::Add, below, 1.0)?;
        let rest = self.sub(x, below)?;
        let half = self.with(Binary::Mul, below, 0.5)?;
        let whole = self.unary(Unary::Floor, half)?;
        let even = self.compare(Compare::Equal, half, whole)?;
        let tie = self.select(even, below, above)?;
        let up = self.compare_with(Compare::Greater, rest, 0.5)?;
        let down = self.compare_with(Compare::Lesser, rest, 0.5)?;
        let rounded = self.select(down, below, tie)?;
        let rounded = self.select(up, above, rounded)?;
        // Infinities less themselves are NaN.
        let size = self.unary(Unary::Abs, x)?;
        let finite = self.compare_with(Compare::Lesser, size, f64::INFINITY)?;
        self.select(finite, rounded, x)
    }

    /// Computes in f32 what has a float16 operand, and rounds the result once.
    pub(crate) fn in_f32(
        &mut self,
        x: ValueId,
        compute: impl FnOnce(&mut Emit, ValueId) -> Made,
    ) -> Made {
        let data_type = self.data_type(x);
        let wide = self.cast(x, DataType::F32)?;
        let y = compute(self, wide)?;
        self.cast(y, data_type)
    }
}
