//! The only way to add to a graph: every shape is inferred and checked on the way in.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

use super::infer::{Described, infer};
use super::op::{
    Attention, Binary, Compare, Conv2d, CumulativeSum, LayerNormalization, Op, Pad, PadMode,
    Pool2d, PoolKind, Reduce, ReduceKind, RotaryEmbedding, Slice, Unary, Window,
};
use super::{Dim, Graph, GraphError, Node, NodeId, Shape, Source, Value, ValueId};
use crate::tensor::{DataType, ElementType, Tensor};

/// Builds a [`Graph`] in topological order.
///
/// Its methods are not inlined: models call them thousands of times over, and once each at load, so that code that
/// is small is worth more than code that is fast.
#[derive(Default)]
pub struct GraphBuilder {
    graph: Graph,
    names: BTreeSet<(&'static str, String)>,
    weights: BTreeMap<String, ValueId>,
}

type Built = Result<ValueId, GraphError>;

impl GraphBuilder {
    pub fn new() -> GraphBuilder {
        GraphBuilder::default()
    }

    pub fn finish(self) -> Graph {
        self.graph
    }

    pub fn shape(&self, id: ValueId) -> &[Dim] {
        &self.graph.value(id).shape
    }

    pub(crate) fn source(&self, id: ValueId) -> &Source {
        &self.graph.value(id).source
    }

    pub fn element(&self, id: ValueId) -> ElementType {
        self.graph.value(id).element
    }

    /// A value given anew for each run.
    pub fn input(&mut self, name: &str, data_type: DataType, shape: Shape) -> Built {
        self.claim("input", name)?;
        let id = self.add(data_type.into(), shape, Source::Input(name.into()));
        self.graph.inputs.push(id);
        Ok(id)
    }

    /// A weight of the checkpoint.
    pub fn weight(&mut self, name: &str, element: ElementType, shape: &[usize]) -> Built {
        let shape = shape.iter().map(|&n| Dim::from(n)).collect();
        // A tied weight may be asked for twice; it is one value.
        if let Some(&id) = self.weights.get(name) {
            let value = self.graph.value(id);
            return match value.element == element && value.shape == shape {
                true => Ok(id),
                false => Err(GraphError::Duplicate {
                    kind: "weight",
                    name: name.into(),
                }),
            };
        }
        let id = self.add(element, shape, Source::Weight(name.into()));
        self.weights.insert(name.to_owned(), id);
        Ok(id)
    }

    /// A small constant carried by the graph.
    #[inline(never)]
    pub fn constant(&mut self, tensor: Tensor) -> ValueId {
        self.shared_constant(Rc::new(tensor))
    }

    pub fn shared_constant(&mut self, tensor: Rc<Tensor>) -> ValueId {
        let shape = tensor.shape().iter().map(|&n| Dim::from(n)).collect();
        self.add(tensor.data_type().into(), shape, Source::Constant(tensor))
    }

    /// A number, as an f32 constant without dimensions.
    #[inline(never)]
    pub fn number(&mut self, value: f32) -> Built {
        Ok(self.constant(Tensor::from_f32(&[], &[value])?))
    }

    /// A state that outlives a run, zero at first.
    pub fn state(&mut self, name: &str, data_type: DataType, shape: Shape) -> Built {
        self.claim("state", name)?;
        Ok(self.add(data_type.into(), shape, Source::State(name.into())))
    }

    /// Names a value as a result of the graph.
    pub fn output(&mut self, name: &str, id: ValueId) -> Result<(), GraphError> {
        self.claim("output", name)?;
        self.graph.outputs.push((name.into(), id));
        Ok(())
    }

    /// Adds a node of any operator.
    #[inline(never)]
    pub fn op(&mut self, op: Op, inputs: &[ValueId]) -> Built {
        let described: Vec<Described> = inputs
            .iter()
            .map(|&id| {
                let value = self.graph.value(id);
                Described {
                    element: value.element,
                    shape: value.shape.clone(),
                }
            })
            .collect();
        let Described { element, shape } = infer(&op, &described)?;
        let node = NodeId(self.graph.nodes.len() as u32);
        let output = self.add(element, shape, Source::Node(node, 0));
        self.graph.nodes.push(Node {
            op,
            inputs: inputs.to_vec(),
            outputs: vec![output],
        });
        Ok(output)
    }

    #[inline(never)]
    pub fn unary(&mut self, op: Unary, x: ValueId) -> Built {
        self.op(Op::Unary(op), &[x])
    }

    #[inline(never)]
    pub fn binary(&mut self, op: Binary, a: ValueId, b: ValueId) -> Built {
        self.op(Op::Binary(op), &[a, b])
    }

    #[inline(never)]
    pub fn add_values(&mut self, a: ValueId, b: ValueId) -> Built {
        self.binary(Binary::Add, a, b)
    }

    #[inline(never)]
    pub fn mul(&mut self, a: ValueId, b: ValueId) -> Built {
        self.binary(Binary::Mul, a, b)
    }

    #[inline(never)]
    pub fn compare(&mut self, op: Compare, a: ValueId, b: ValueId) -> Built {
        self.op(Op::Compare(op), &[a, b])
    }

    #[inline(never)]
    pub fn cast(&mut self, x: ValueId, to: DataType) -> Built {
        if self.element(x) == ElementType::Plain(to) {
            return Ok(x);
        }
        self.op(Op::Cast { to }, &[x])
    }

    #[inline(never)]
    pub fn reduce(
        &mut self,
        kind: ReduceKind,
        x: ValueId,
        axes: &[usize],
        keep_dimensions: bool,
    ) -> Built {
        let axes = axes.to_vec();
        self.op(
            Op::Reduce(Reduce {
                kind,
                axes,
                keep_dimensions,
            }),
            &[x],
        )
    }

    #[inline(never)]
    pub fn softmax(&mut self, x: ValueId, axis: usize) -> Built {
        self.op(Op::Softmax { axis }, &[x])
    }

    /// Normalizes over the last dimension.
    #[inline(never)]
    pub fn layer_normalization(
        &mut self,
        x: ValueId,
        scale: ValueId,
        bias: ValueId,
        epsilon: f32,
    ) -> Built {
        let last = self.shape(x).len().saturating_sub(1);
        self.op(
            Op::LayerNormalization(LayerNormalization {
                axes: vec![last],
                epsilon,
                scale: true,
                bias: true,
            }),
            &[x, scale, bias],
        )
    }

    #[inline(never)]
    pub fn rms_normalization(&mut self, x: ValueId, scale: ValueId, epsilon: f32) -> Built {
        self.op(Op::RmsNormalization { epsilon }, &[x, scale])
    }

    #[inline(never)]
    pub fn cumulative_sum(&mut self, x: ValueId, axis: usize) -> Built {
        self.op(
            Op::CumulativeSum(CumulativeSum {
                axis,
                exclusive: false,
                reversed: false,
            }),
            &[x],
        )
    }

    /// `x [batch, channels, height, width]` by `filter [outputs, channels / groups, height, width]`.
    #[inline(never)]
    pub fn conv2d(
        &mut self,
        x: ValueId,
        filter: ValueId,
        bias: Option<ValueId>,
        window: Window,
        groups: usize,
    ) -> Built {
        let mut inputs = vec![x, filter];
        inputs.extend(bias);
        self.op(
            Op::Conv2d(Conv2d {
                window,
                groups,
                bias: bias.is_some(),
            }),
            &inputs,
        )
    }

    #[inline(never)]
    pub fn pool2d(
        &mut self,
        kind: PoolKind,
        x: ValueId,
        size: [usize; 2],
        window: Window,
    ) -> Built {
        self.op(Op::Pool2d(Pool2d { kind, size, window }), &[x])
    }

    #[inline(never)]
    pub fn matmul(&mut self, a: ValueId, b: ValueId) -> Built {
        self.op(Op::Matmul, &[a, b])
    }

    /// `x · weightᵀ (+ bias)`
    #[inline(never)]
    pub fn block_matmul(&mut self, x: ValueId, weight: ValueId, bias: Option<ValueId>) -> Built {
        let mut inputs = vec![x, weight];
        inputs.extend(bias);
        self.op(
            Op::BlockMatmul {
                bias: bias.is_some(),
                exact: false,
            },
            &inputs,
        )
    }

    #[inline(never)]
    pub fn reshape(&mut self, x: ValueId, shape: Shape) -> Built {
        if self.shape(x) == shape.as_slice() {
            return Ok(x);
        }
        self.op(Op::Reshape { shape }, &[x])
    }

    #[inline(never)]
    pub fn transpose(&mut self, x: ValueId, permutation: &[usize]) -> Built {
        let permutation = permutation.to_vec();
        self.op(Op::Transpose { permutation }, &[x])
    }

    #[inline(never)]
    pub fn concat(&mut self, values: &[ValueId], axis: usize) -> Built {
        self.op(Op::Concat { axis }, values)
    }

    /// `x` limited to `start..start+size` on one axis.
    #[inline(never)]
    pub fn slice_axis(&mut self, x: ValueId, axis: usize, start: Dim, size: Dim) -> Built {
        let mut sizes = self.shape(x).to_vec();
        let rank = sizes.len();
        if axis >= rank {
            return Err(GraphError::Operand {
                op: "slice",
                message: format!("axis {axis} of {rank} dimensions"),
            });
        }
        let mut starts = vec![Dim::from(0); rank];
        starts[axis] = start;
        sizes[axis] = size;
        self.op(
            Op::Slice(Slice {
                starts,
                sizes,
                strides: vec![1; rank],
            }),
            &[x],
        )
    }

    /// `x` with elements added on one axis.
    #[inline(never)]
    pub fn pad_axis(
        &mut self,
        x: ValueId,
        axis: usize,
        [first, last]: [usize; 2],
        mode: PadMode,
    ) -> Built {
        let rank = self.shape(x).len();
        let on_axis = |size| {
            (0..rank)
                .map(|at| if at == axis { size } else { 0 })
                .collect()
        };
        self.op(
            Op::Pad(Pad {
                before: on_axis(first),
                after: on_axis(last),
                mode,
            }),
            &[x],
        )
    }

    #[inline(never)]
    pub fn expand(&mut self, x: ValueId, shape: Shape) -> Built {
        if self.shape(x) == shape.as_slice() {
            return Ok(x);
        }
        self.op(Op::Expand { shape }, &[x])
    }

    #[inline(never)]
    pub fn gather(&mut self, x: ValueId, indices: ValueId, axis: usize) -> Built {
        self.op(
            Op::Gather {
                axis,
                decode: false,
            },
            &[x, indices],
        )
    }

    /// Rows of an embedding table of any element type, in f32.
    #[inline(never)]
    pub fn embedding(&mut self, table: ValueId, indices: ValueId) -> Built {
        let decode = self.element(table) != ElementType::F32;
        self.op(Op::Gather { axis: 0, decode }, &[table, indices])
    }

    #[inline(never)]
    pub fn rotary_embedding(
        &mut self,
        x: ValueId,
        cos: ValueId,
        sin: ValueId,
        position: ValueId,
        interleaved: bool,
    ) -> Built {
        self.op(
            Op::RotaryEmbedding(RotaryEmbedding { interleaved }),
            &[x, cos, sin, position],
        )
    }

    /// Attention; causal where a `position` is given.
    #[inline(never)]
    pub fn attention(
        &mut self,
        [q, k, v]: [ValueId; 3],
        scale: f32,
        position: Option<ValueId>,
        bias: Option<ValueId>,
    ) -> Built {
        let mut inputs = vec![q, k, v];
        inputs.extend(position);
        inputs.extend(bias);
        self.op(
            Op::Attention(Attention {
                scale,
                causal: position.is_some(),
                bias: bias.is_some(),
            }),
            &inputs,
        )
    }

    #[inline(never)]
    pub fn kv_append(&mut self, state: ValueId, new: ValueId, position: ValueId) -> Built {
        self.op(Op::KvAppend, &[state, new, position])
    }

    fn claim(&mut self, kind: &'static str, name: &str) -> Result<(), GraphError> {
        if self.names.insert((kind, name.to_owned())) {
            Ok(())
        } else {
            Err(GraphError::Duplicate {
                kind,
                name: name.into(),
            })
        }
    }

    fn add(&mut self, element: ElementType, shape: Shape, source: Source) -> ValueId {
        let id = ValueId(self.graph.values.len() as u32);
        self.graph.values.push(Value {
            element,
            shape,
            source,
        });
        id
    }
}
