//! 64-bit integers as pairs of 32-bit words, for devices that have no others.
//!
//! Each int64 or uint64 value becomes a uint32 value with one more dimension of size 2, which has the lower word and
//! the higher one: the very bytes of the tensor ([`to_words`]). What moves elements moves pairs; arithmetic is made of
//! uint32 arithmetic, which wraps.

mod arithmetic;
mod lines;

use fewbit_engine::graph::op::{Binary, Extension, Pad, PadMode, Slice, Unary};
use fewbit_engine::graph::{Dim, Graph, GraphError, Node, Op, Source, ValueId};
use fewbit_engine::tensor::{DataType, Tensor, TensorError};

use crate::emit::{Emit, Made};
use crate::error::beyond;

/// Why a graph cannot be computed in pairs.
#[derive(Debug, thiserror::Error)]
pub enum PairsError {
    #[error("{op} over 64-bit integers in pairs of 32-bit words: {reason}")]
    Unsupported { op: &'static str, reason: String },
    #[error(transparent)]
    Graph(#[from] GraphError),
}

fn is_long(data_type: Option<DataType>) -> bool {
    matches!(data_type, Some(DataType::I64 | DataType::U64))
}

/// Whether a graph computes with 64-bit integers. (Places that a `top_k` finds always fit in 32 bits.)
pub fn needed(graph: &Graph) -> bool {
    graph.values.iter().any(|value| {
        let place = match value.source {
            Source::Node(node, _) => {
                matches!(graph.node(node).op, Op::Extension(Extension::TopK { .. }))
            }
            _ => false,
        };
        is_long(value.element.plain()) && !place
    })
}

/// A tensor as the graph in pairs takes it: one of 64-bit integers as words, any other as it is.
pub fn to_words(tensor: &Tensor) -> Result<Tensor, TensorError> {
    if !is_long(Some(tensor.data_type())) {
        return Ok(tensor.clone());
    }
    let mut shape = tensor.shape().to_vec();
    shape.push(2);
    Tensor::from_bytes(DataType::U32, &shape, tensor.bytes())
}

/// What [`to_words`] was given: words as integers of a 64-bit type, anything else as it is.
///
/// # Errors
/// Words of another number than pairs.
pub fn from_words(tensor: &Tensor, data_type: DataType) -> Result<Tensor, TensorError> {
    let words = is_long(Some(data_type)) && tensor.data_type() == DataType::U32;
    match (words, tensor.shape()) {
        (true, [shape @ .., _]) => Tensor::from_bytes(data_type, shape, tensor.bytes()),
        _ => Ok(tensor.clone()),
    }
}

/// The graph with pairs in the place of 64-bit integers.
///
/// # Errors
/// An operator over 64-bit integers that is not made of words: division, powers, lines of more than 65,536 sums; a
/// graph that still has symbols, weights or states of 64-bit integers.
pub fn split(graph: &Graph) -> Result<Graph, PairsError> {
    let mut rewriting = Rewriting {
        from: graph,
        emit: Emit::default(),
        made: Vec::with_capacity(graph.values.len()),
    };
    for value in &graph.values {
        let data_type = value.element.plain();
        let made = match &value.source {
            Source::Input(name) => {
                let mut shape = value.shape.clone();
                let data_type = match data_type {
                    Some(DataType::I64 | DataType::U64) => {
                        shape.push(Dim::from(2));
                        DataType::U32
                    }
                    Some(other) => other,
                    None => return Err(refused("input", "no plain type")),
                };
                rewriting.emit.graph.input(name, data_type, shape)?
            }
            Source::Constant(tensor) => {
                let words = to_words(tensor).map_err(GraphError::from)?;
                rewriting.emit.graph.constant(words)
            }
            Source::Weight(name) if !is_long(data_type) => {
                let shape = value.fixed_shape()?;
                let element = value.element;
                rewriting.emit.graph.weight(name, element, &shape)?
            }
            Source::Weight(_) => return Err(refused("weight", "a weight of 64-bit integers")),
            Source::State(_) => return Err(refused("state", "a graph with states")),
            Source::Node(node, _) => {
                let node = graph.node(*node);
                rewriting
                    .node(node)
                    .map_err(|fault| PairsError::Unsupported {
                        op: node.op.name(),
                        reason: fault.rule,
                    })?
            }
        };
        rewriting.made.push(made);
    }
    for (name, id) in &graph.outputs {
        let value = rewriting.made[id.index()];
        rewriting.emit.graph.output(name, value)?;
    }
    Ok(rewriting.emit.graph.finish())
}

fn refused(op: &'static str, reason: &str) -> PairsError {
    PairsError::Unsupported {
        op,
        reason: reason.to_owned(),
    }
}

struct Rewriting<'g> {
    from: &'g Graph,
    emit: Emit,
    /// The new value of each value of the graph.
    made: Vec<ValueId>,
}

impl Rewriting<'_> {
    fn data_type(&self, id: ValueId) -> Option<DataType> {
        self.from.value(id).element.plain()
    }

    fn node(&mut self, node: &Node) -> Made {
        let output = node.outputs[0];
        let inputs: Vec<ValueId> = node.inputs.iter().map(|id| self.made[id.index()]).collect();
        let mut long = node.inputs.iter().map(|&id| is_long(self.data_type(id)));
        if let Op::Extension(Extension::TopK { .. }) = node.op {
            let data_type = self.data_type(node.inputs[0]);
            return lines::top_k(&mut self.emit, node, &inputs, data_type);
        }
        if !is_long(self.data_type(output)) && !long.any(|long| long) {
            return self.emit.op(node.op.clone(), &inputs);
        }
        let from = self.data_type(node.inputs[0]);
        let signed = from == Some(DataType::I64);
        let emit = &mut self.emit;
        match &node.op {
            Op::Unary(unary) => match unary {
                Unary::Identity => Ok(inputs[0]),
                Unary::Abs => emit.long_abs(inputs[0]),
                Unary::Neg => emit.long_neg(inputs[0]),
                Unary::Relu => emit.long_relu(inputs[0]),
                other => beyond(other.name()),
            },
            Op::Binary(binary) => {
                let [a, b] = [inputs[0], inputs[1]];
                match binary {
                    Binary::Add => emit.long_add(a, b),
                    Binary::Sub => emit.long_sub(a, b),
                    Binary::Mul => emit.long_mul(a, b),
                    Binary::Max => {
                        let less = emit.long_less(a, b, signed)?;
                        emit.long_select(less, b, a)
                    }
                    Binary::Min => {
                        let less = emit.long_less(a, b, signed)?;
                        emit.long_select(less, a, b)
                    }
                    Binary::Div | Binary::Pow => beyond("there is no such kernel"),
                }
            }
            Op::Compare(compare) => emit.long_compare(*compare, inputs[0], inputs[1], signed),
            Op::Where => emit.long_select(inputs[0], inputs[1], inputs[2]),
            Op::Cast { to } => match from {
                Some(from) => emit.long_cast(inputs[0], from, *to),
                None => beyond("no plain type"),
            },
            Op::Reduce(reduce) => lines::reduce(emit, reduce, inputs[0], signed),
            Op::CumulativeSum(sum) => lines::cumulative_sum(emit, *sum, inputs[0]),
            op => match moved(op, &emit.shape(inputs[0])) {
                Some(op) => emit.op(op, &inputs),
                None => beyond("there is no such kernel"),
            },
        }
    }
}

/// An operator that moves elements, over pairs; `shape` is that of the pairs.
fn moved(op: &Op, shape: &[usize]) -> Option<Op> {
    let pair = |shape: &[Dim]| {
        let mut shape = shape.to_vec();
        shape.push(Dim::from(2));
        shape
    };
    Some(match op {
        Op::Reshape { shape } => Op::Reshape { shape: pair(shape) },
        Op::Expand { shape } => Op::Expand { shape: pair(shape) },
        Op::Transpose { permutation } => {
            let mut permutation = permutation.clone();
            permutation.push(shape.len() - 1);
            Op::Transpose { permutation }
        }
        Op::Slice(slice) => {
            let mut strides = slice.strides.clone();
            strides.push(1);
            let mut starts = slice.starts.clone();
            starts.push(Dim::from(0));
            Op::Slice(Slice {
                starts,
                sizes: pair(&slice.sizes),
                strides,
            })
        }
        Op::Pad(pad) if !matches!(pad.mode, PadMode::Constant(value) if value != 0.0) => {
            let (mut before, mut after) = (pad.before.clone(), pad.after.clone());
            before.push(0);
            after.push(0);
            Op::Pad(Pad {
                before,
                after,
                mode: pad.mode,
            })
        }
        Op::Concat { .. } | Op::Gather { decode: false, .. } | Op::ScatterNd(_) => op.clone(),
        _ => return None,
    })
}
