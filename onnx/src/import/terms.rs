//! The operators that importers build with, a method each.

use fewbit_engine::graph::Op;
use fewbit_engine::graph::op::{Binary, Compare, Logical, Reduce, ReduceKind, Unary};
use fewbit_engine::tensor::{DataType, Tensor};

use super::context::{Context, Made, Value, of_numbers, stored};
use super::error::wrong;

impl Context {
    /// A number without dimensions, of this type.
    pub(crate) fn number(&mut self, value: f64, data_type: DataType) -> Made {
        let tensor = of_numbers(stored(data_type), &[], &[value])?;
        let id = self.builder.constant(tensor);
        Ok(Value { id, data_type })
    }

    pub(crate) fn zeros(&mut self, shape: &[usize], data_type: DataType) -> Made {
        let zero = self.number(0.0, data_type)?;
        self.expand(zero, shape)
    }

    /// i64 constants.
    pub(crate) fn integers(&mut self, shape: &[usize], values: &[i64]) -> Made {
        self.constant(Tensor::from_i64(shape, values)?)
    }

    pub(crate) fn floats(&mut self, shape: &[usize], values: &[f32]) -> Made {
        self.constant(Tensor::from_f32(shape, values)?)
    }

    pub(crate) fn unary(&mut self, op: Unary, x: Value) -> Made {
        self.op(Op::Unary(op), &[x], x.data_type)
    }

    pub(crate) fn binary(&mut self, op: Binary, a: Value, b: Value) -> Made {
        self.op(Op::Binary(op), &[a, b], a.data_type)
    }

    pub(crate) fn add(&mut self, a: Value, b: Value) -> Made {
        self.binary(Binary::Add, a, b)
    }

    pub(crate) fn sub(&mut self, a: Value, b: Value) -> Made {
        self.binary(Binary::Sub, a, b)
    }

    pub(crate) fn mul(&mut self, a: Value, b: Value) -> Made {
        self.binary(Binary::Mul, a, b)
    }

    pub(crate) fn div(&mut self, a: Value, b: Value) -> Made {
        self.binary(Binary::Div, a, b)
    }

    /// `x op value`, the number being of `x`'s type.
    pub(crate) fn with(&mut self, op: Binary, x: Value, value: f64) -> Made {
        let value = self.number(value, x.data_type)?;
        self.binary(op, x, value)
    }

    pub(crate) fn compare(&mut self, op: Compare, a: Value, b: Value) -> Made {
        self.op(Op::Compare(op), &[a, b], DataType::Bool)
    }

    pub(crate) fn compare_with(&mut self, op: Compare, x: Value, value: f64) -> Made {
        let value = self.number(value, x.data_type)?;
        self.compare(op, x, value)
    }

    pub(crate) fn logical(&mut self, op: Logical, a: Value, b: Value) -> Made {
        self.op(Op::Logical(op), &[a, b], DataType::Bool)
    }

    pub(crate) fn not(&mut self, x: Value) -> Made {
        let one = self.number(1.0, DataType::Bool)?;
        self.logical(Logical::Xor, x, one)
    }

    pub(crate) fn select(&mut self, condition: Value, a: Value, b: Value) -> Made {
        self.op(Op::Where, &[condition, a, b], a.data_type)
    }

    pub(crate) fn cast(&mut self, x: Value, to: DataType) -> Made {
        match (x.data_type, to) {
            (from, to) if from == to => Ok(x),
            (_, DataType::Bool) => self.compare_with(Compare::NotEqual, x, 0.0),
            // A `bool` is u8 of 0 and 1 already.
            (DataType::Bool, DataType::U8) => Ok(Value {
                id: x.id,
                data_type: to,
            }),
            // What is out of range is undefined in ONNX; its own cases keep the lower bits.
            (from, DataType::I4 | DataType::U4) if from.is_float() => {
                let whole = self.cast(x, DataType::I32)?;
                self.cast(whole, to)
            }
            (_, to) => self.op(Op::Cast { to }, &[x], to),
        }
    }

    pub(crate) fn transpose(&mut self, x: Value, permutation: &[usize]) -> Made {
        let permutation = permutation.to_vec();
        self.op(Op::Transpose { permutation }, &[x], x.data_type)
    }

    /// With its last two dimensions swapped.
    pub(crate) fn swapped(&mut self, x: Value) -> Made {
        let rank = self.rank(x);
        let mut permutation: Vec<usize> = (0..rank).collect();
        if rank >= 2 {
            permutation.swap(rank - 2, rank - 1);
        }
        self.transpose(x, &permutation)
    }

    pub(crate) fn reduce(
        &mut self,
        kind: ReduceKind,
        x: Value,
        axes: &[usize],
        keep: bool,
    ) -> Made {
        let reduce = Reduce {
            kind,
            axes: axes.to_vec(),
            keep_dimensions: keep,
        };
        self.op(Op::Reduce(reduce), &[x], x.data_type)
    }

    pub(crate) fn matmul(&mut self, a: Value, b: Value) -> Made {
        self.op(Op::Matmul, &[a, b], a.data_type)
    }

    pub(crate) fn concat(&mut self, values: &[Value], axis: usize) -> Made {
        match values {
            [] => wrong("nothing to join"),
            [one] => Ok(*one),
            [cache, new] if axis == 2 && self.is_cache(*cache) => self.appended(*cache, *new),
            [first, ..] => self.op(Op::Concat { axis }, values, first.data_type),
        }
    }

    pub(crate) fn gather(&mut self, x: Value, indices: Value, axis: usize) -> Made {
        let gather = Op::Gather {
            axis,
            decode: false,
        };
        self.op(gather, &[x, indices], x.data_type)
    }

    /// `x` with the elements of `axis` at these places, in this order.
    pub(crate) fn pick(&mut self, x: Value, axis: usize, places: &[usize]) -> Made {
        let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
        let indices = self.integers(&[places.len()], &places)?;
        self.gather(x, indices, axis)
    }

    /// f32 where `x` is of 16-bit floats.
    pub(crate) fn widened(&mut self, x: Value) -> Made {
        match x.data_type {
            DataType::F16 | DataType::Bf16 => self.cast(x, DataType::F32),
            _ => Ok(x),
        }
    }
}
