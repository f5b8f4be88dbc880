//! The graph while it is built: the builder, with ONNX's types beside its values and constants computed at once.
//!
//! ONNX's `bool` is u8 of 0 and 1 in a graph, as WebNN has it; a [`Value`] remembers which it is.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use fewbit_engine::backend::cpu::reference;
use fewbit_engine::graph::{Dim, GraphBuilder, GraphError, Op, ValueId, fixed_shape};
use fewbit_engine::model::Count;
use fewbit_engine::tensor::{DataType, Tensor};

use super::blocks::Quantization;
use super::error::{Refusal, unsupported};
use super::filling::Counts;
use super::identity;
use super::model::Stored;
use super::place::TensorSource;
use super::symbolic::{self, Expressions};

/// Results of at most so many bytes are computed while the graph is built: shape arithmetic and small tables.
pub(super) const MOST_FOLDED: usize = 1 << 16;

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
    pub(super) from: BTreeMap<ValueId, Vec<ValueId>>,
    /// Values that are expressions over sizes.
    pub(super) followed: BTreeMap<ValueId, Expressions>,
    pub(crate) inputs: BTreeMap<ValueId, String>,
    /// The symbols that numbers in inputs tell.
    pub(super) told: Vec<Count>,
    /// How far such numbers reach into axes, and how long those are.
    pub(super) reaches: Vec<(Dim, usize)>,
    /// The initializers that are weights, by name.
    pub(super) weights: BTreeMap<ValueId, String>,
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
pub(super) fn stored(data_type: DataType) -> DataType {
    match data_type {
        DataType::Bool => DataType::U8,
        other => other,
    }
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

    /// Whether a size is the number of tokens before a run, as a decoder counts them that knows its cache by its length.
    pub(crate) fn is_before(&self, size: &Dim) -> bool {
        self.position.is_some() && size.clone() + Dim::symbol("tokens") == Dim::symbol("capacity")
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

    /// A weight by its name, a constant by its elements.
    pub(crate) fn called(&self, x: Value) -> String {
        if let Some(name) = self.weights.get(&x.id) {
            return name.clone();
        }
        let constant = self.builder.constant_of(x.id);
        constant.map_or(String::new(), |tensor| identity::of_constant(&tensor))
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
