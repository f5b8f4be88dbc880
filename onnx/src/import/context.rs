//! The graph while it is built: the builder, with ONNX's types beside its values and constants computed at once.
//!
//! ONNX's `bool` is u8 of 0 and 1 in a graph, as WebNN has it; a [`Value`] remembers which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fewbit_engine::backend::cpu::reference;
use fewbit_engine::graph::op::{
    Binary, Compare, CumulativeSum, Logical, Reduce, ReduceKind, Slice, Unary,
};
use fewbit_engine::graph::{Dim, GraphBuilder, GraphError, Op, Shape, ValueId, fixed_shape};
use fewbit_engine::tensor::{DataType, Tensor};

use super::blocks::Quantization;
use super::error::{Refusal, unsupported, wrong};
use super::filling::Counts;
use super::model::Stored;
use super::place::TensorSource;
use super::symbolic::{self, Expressions};

/// Results of at most so many bytes are computed while the graph is built: shape arithmetic and small tables.
const MOST_FOLDED: usize = 1 << 16;

/// No tensor that is computed with has more elements.
const MOST_ELEMENTS: usize = match usize::BITS {
    64 => 1usize.wrapping_shl(40),
    _ => 1 << 30,
};

/// Places are picked by a list of at most so many.
pub(crate) const MOST_PLACES: usize = 1 << 20;

/// No graph has more nodes, nor more bytes of constants that are not in the file.
const MOST_NODES: usize = 1 << 21;
const MOST_CONSTANTS: usize = 1 << 30;

/// More steps of a loop than are spelled out one after another.
pub(crate) const MOST_STEPS: usize = 1 << 12;

/// Initializers up to so many bytes are constants of the graph, others its weights.
pub(crate) const MOST_CONSTANT: usize = 1 << 12;

/// A value of the graph, and its element type as ONNX has it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Value {
    pub(crate) id: ValueId,
    pub(crate) data_type: DataType,
}

/// Codes, scales, zero points, and how they quantize.
pub(crate) type QuantizedParts = (ValueId, ValueId, Option<ValueId>, Quantization);

pub(crate) type Made = Result<Value, Refusal>;

#[derive(Default)]
pub(crate) struct Context {
    pub(crate) builder: GraphBuilder,
    /// What each computed value is computed from.
    from: BTreeMap<ValueId, Vec<ValueId>>,
    /// Values that are expressions over sizes.
    followed: BTreeMap<ValueId, Expressions>,
    pub(crate) inputs: BTreeMap<ValueId, String>,
    /// The initializers that are weights, by name.
    weights: BTreeMap<ValueId, String>,
    /// Where each weight's bytes are.
    pub(crate) stored: BTreeMap<String, Stored>,
    /// The weights whose numbers are in memory.
    pub(crate) known_weights: BTreeMap<String, Rc<Tensor>>,
    /// Weights in block formats, by the parts that they are made of.
    pub(crate) quantized: BTreeMap<QuantizedParts, Value>,
    /// What tells which tokens of a run, or of its source, count.
    pub(crate) counts: Vec<Counts>,
    /// In a decoder whose cache is in place: how many tokens of each row are in it, i32 `[batch]`.
    pub(crate) position: Option<Value>,
    /// The values that are caches, or count a token's place from `position` on.
    pub(crate) caches: BTreeSet<ValueId>,
    pub(crate) counted: BTreeSet<ValueId>,
    /// The fewest positions that rotary tables over a cache in place have.
    pub(crate) positions: Option<usize>,
    /// Such tables with more rows, by what they were.
    pub(crate) longer: BTreeMap<ValueId, Value>,
    /// Nodes and bytes of constants that were made: a small file must not make a large graph.
    nodes: usize,
    bytes: usize,
}

/// The type that values of an ONNX type have in a graph.
fn stored(data_type: DataType) -> DataType {
    match data_type {
        DataType::Bool => DataType::U8,
        other => other,
    }
}

pub(crate) fn dims(shape: &[usize]) -> Shape {
    shape.iter().map(|&size| Dim::from(size)).collect()
}

impl Context {
    /// Whether a value is a cache that is written in place.
    pub(crate) fn is_cache(&self, x: Value) -> bool {
        self.caches.contains(&x.id)
    }

    /// Whether a value is `position[b] + t` for every token.
    pub(crate) fn counts_from_position(&self, x: Value) -> bool {
        self.counted.contains(&x.id)
    }

    /// A tensor as a constant; `bool` becomes u8 of 0 and 1.
    pub(crate) fn constant(&mut self, tensor: Tensor) -> Made {
        let data_type = tensor.data_type();
        self.spend(0, tensor.bytes().len())?;
        let id = self.builder.constant(without_bool(tensor)?);
        Ok(Value { id, data_type })
    }

    /// A weight of the graph. No two have one name.
    pub(crate) fn weight(&mut self, name: &str, stored: Stored, data_type: DataType) -> Made {
        let id = self.builder.weight(name, stored.element, &stored.shape)?;
        self.weights.insert(id, name.to_owned());
        self.stored.insert(name.to_owned(), stored);
        Ok(Value { id, data_type })
    }

    /// A weight whose elements are in memory.
    pub(crate) fn weight_in_memory(&mut self, name: &str, tensor: Tensor) -> Made {
        let data_type = tensor.data_type();
        let tensor = Rc::new(without_bool(tensor)?);
        let stored = Stored {
            element: tensor.data_type().into(),
            shape: tensor.shape().to_vec(),
            offset: 0,
            bytes: tensor.bytes().len() as u64,
            source: Rc::new(TensorSource::new(name, tensor.clone())),
        };
        self.known_weights.insert(name.to_owned(), tensor);
        self.weight(name, stored, data_type)
    }

    /// Where the bytes of a weight or a constant are; `None` for what is computed in a run.
    pub(crate) fn stored(&self, x: Value) -> Option<Stored> {
        if let Some(name) = self.weights.get(&x.id) {
            return self.stored.get(name).cloned();
        }
        let tensor = self.builder.constant_of(x.id)?;
        Some(Stored {
            element: tensor.data_type().into(),
            shape: tensor.shape().to_vec(),
            offset: 0,
            bytes: tensor.bytes().len() as u64,
            source: Rc::new(TensorSource::new("a constant", tensor)),
        })
    }

    fn spend(&mut self, nodes: usize, bytes: usize) -> Result<(), Refusal> {
        (self.nodes, self.bytes) = (self.nodes + nodes, self.bytes + bytes);
        if self.nodes > MOST_NODES || self.bytes > MOST_CONSTANTS {
            return unsupported(format!(
                "a graph of more than {MOST_NODES} nodes or {MOST_CONSTANTS} bytes of constants"
            ));
        }
        Ok(())
    }

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

    /// Adds a node, or computes its result where everything it takes is known and the result is small.
    pub(crate) fn op(&mut self, op: Op, inputs: &[Value], data_type: DataType) -> Made {
        self.spend(1, 0)?;
        let ids: Vec<ValueId> = inputs.iter().map(|x| x.id).collect();
        let constants: Option<Vec<Rc<Tensor>>> =
            ids.iter().map(|&id| self.builder.constant_of(id)).collect();
        let made = self.builder.op(op.clone(), &ids);
        let id = made.map_err(|error| self.refusal(error, &ids))?;
        let bytes = fixed_shape(self.builder.shape(id))
            .and_then(|shape| self.builder.element(id).byte_len(&shape));
        if let Some(constants) = constants
            && !constants.is_empty()
            && bytes.is_some_and(|bytes| bytes <= MOST_FOLDED)
        {
            let views: Vec<_> = constants.iter().map(|t| t.as_ref().into()).collect();
            if let Ok(tensor) = reference::evaluate(&op, &views) {
                self.spend(0, tensor.bytes().len())?;
                let id = self.builder.constant(tensor);
                return Ok(Value { id, data_type });
            }
        }
        if let Some(followed) = self.follow(&op, &ids, id) {
            if let Some(integers) = followed.integers() {
                let numbers: Vec<f64> = integers.iter().map(|&n| n as f64).collect();
                let tensor = of_numbers(stored(data_type), &followed.shape, &numbers)?;
                let id = self.builder.constant(tensor);
                return Ok(Value { id, data_type });
            }
            self.followed.insert(id, followed);
        }
        self.from.insert(id, ids);
        Ok(Value { id, data_type })
    }

    /// What does not fit for symbols may fit for sizes.
    fn refusal(&self, error: GraphError, inputs: &[ValueId]) -> Refusal {
        let dims: Vec<Dim> = inputs
            .iter()
            .flat_map(|&id| self.builder.shape(id).to_vec())
            .collect();
        match fixed_shape(&dims) {
            Some(_) => error.into(),
            None => Refusal::sizes(&dims),
        }
    }

    /// The expressions that a node makes of expressions, if it does.
    fn follow(&self, op: &Op, inputs: &[ValueId], output: ValueId) -> Option<Expressions> {
        if !inputs.iter().any(|id| self.followed.contains_key(id)) {
            return None;
        }
        let shape = fixed_shape(self.builder.shape(output))?;
        let inputs: Option<Vec<Expressions>> =
            inputs.iter().map(|&id| self.expressions(id)).collect();
        let floats = self.builder.element(output).plain()?.is_float();
        symbolic::evaluate(op, &inputs?, &shape, floats)
    }

    fn expressions(&self, id: ValueId) -> Option<Expressions> {
        match self.followed.get(&id) {
            Some(followed) => Some(followed.clone()),
            None => Expressions::of(self.builder.constant_of(id)?.as_ref()),
        }
    }

    /// Integers that may be expressions over sizes.
    ///
    /// # Errors
    /// As [`Context::known`].
    pub(crate) fn known_dims(&self, x: Value) -> Result<Vec<Dim>, Refusal> {
        match self.followed.get(&x.id) {
            Some(followed) => Ok(followed.values.clone()),
            None => Ok(self.known_ints(x)?.into_iter().map(Dim::from_i64).collect()),
        }
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

    /// What a value is, where that is known before anything runs.
    ///
    /// # Errors
    /// The inputs of the graph that it depends on, so that whoever imports may give their values.
    pub(crate) fn known(&self, x: Value) -> Result<Rc<Tensor>, Refusal> {
        if let Some(tensor) = self.builder.constant_of(x.id) {
            return Ok(tensor);
        }
        if let Some(name) = self.weights.get(&x.id) {
            let known = self.known_weights.get(name).cloned();
            return known.ok_or_else(|| Refusal::Weight(name.clone()));
        }
        let (mut names, mut seen, mut open) = (BTreeSet::new(), BTreeSet::new(), vec![x.id]);
        let mut dims = Vec::new();
        while let Some(id) = open.pop() {
            if seen.insert(id) {
                names.extend(self.inputs.get(&id).cloned());
                dims.extend_from_slice(self.builder.shape(id));
                open.extend(self.from.get(&id).into_iter().flatten());
            }
        }
        if !names.is_empty() {
            return Err(Refusal::Value(names.into_iter().collect()));
        }
        match fixed_shape(&dims) {
            Some(_) => unsupported("a shape is computed from more than is computed beforehand"),
            None => Err(Refusal::sizes(&dims)),
        }
    }

    pub(crate) fn known_ints(&self, x: Value) -> Result<Vec<i64>, Refusal> {
        let tensor = self.known(x)?;
        let bytes = tensor.bytes();
        match tensor.data_type() {
            DataType::I64 => Ok(bytes
                .as_chunks()
                .0
                .iter()
                .map(|b| i64::from_le_bytes(*b))
                .collect()),
            DataType::F64 | DataType::F32 | DataType::F16 | DataType::Bf16 | DataType::U64 => {
                wrong(format!("{} where integers are wanted", tensor.data_type()))
            }
            _ => Ok(tensor.to_f64_vec().into_iter().map(|v| v as i64).collect()),
        }
    }

    pub(crate) fn known_floats(&self, x: Value) -> Result<Vec<f64>, Refusal> {
        Ok(self.known(x)?.to_f64_vec())
    }

    pub(crate) fn known_int(&self, x: Value) -> Result<i64, Refusal> {
        match self.known_ints(x)?[..] {
            [value] => Ok(value),
            ref other => wrong(format!("{} numbers where one is wanted", other.len())),
        }
    }

    pub(crate) fn known_float(&self, x: Value) -> Result<f64, Refusal> {
        match self.known_floats(x)?[..] {
            [value] => Ok(value),
            ref other => wrong(format!("{} numbers where one is wanted", other.len())),
        }
    }

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

    pub(crate) fn reshape(&mut self, x: Value, shape: &[usize]) -> Made {
        self.reshape_to(x, dims(shape))
    }

    pub(crate) fn reshape_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape {
            return Ok(x);
        }
        self.op(Op::Reshape { shape }, &[x], x.data_type)
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

    pub(crate) fn expand(&mut self, x: Value, shape: &[usize]) -> Made {
        self.expand_to(x, dims(shape))
    }

    pub(crate) fn expand_to(&mut self, x: Value, shape: Shape) -> Made {
        if self.builder.shape(x.id) == shape {
            return Ok(x);
        }
        self.op(Op::Expand { shape }, &[x], x.data_type)
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

    /// f32 where `x` is of 16-bit floats.
    pub(crate) fn widened(&mut self, x: Value) -> Made {
        match x.data_type {
            DataType::F16 | DataType::Bf16 => self.cast(x, DataType::F32),
            _ => Ok(x),
        }
    }
}

/// A tensor of u8 for one of `bool`, all being 0 or 1.
pub(crate) fn without_bool(tensor: Tensor) -> Result<Tensor, Refusal> {
    if tensor.data_type() != DataType::Bool {
        return Ok(tensor);
    }
    let bytes: Vec<u8> = tensor.bytes().iter().map(|&b| u8::from(b != 0)).collect();
    Ok(Tensor::from_bytes(DataType::U8, tensor.shape(), &bytes)?)
}

/// A tensor of these numbers, as the engine's own cast rounds them.
pub(crate) fn of_numbers(
    data_type: DataType,
    shape: &[usize],
    values: &[f64],
) -> Result<Tensor, Refusal> {
    let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
    let wide = Tensor::from_bytes(DataType::F64, shape, &bytes)?;
    let cast = Op::Cast { to: data_type };
    reference::evaluate(&cast, &[(&wide).into()]).map_err(|e| Refusal::Wrong(e.to_string()))
}
