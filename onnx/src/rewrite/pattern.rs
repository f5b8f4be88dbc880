//! Questions about a graph that patterns ask.

use fewbit_engine::graph::op::{Binary, ReduceKind, Unary};
use fewbit_engine::graph::pass::Rewriter;
use fewbit_engine::graph::{Dim, Graph, GraphError, Node, Op, Source, ValueId};
use fewbit_engine::tensor::{DataType, ElementType, Tensor};

pub(super) struct View<'a> {
    graph: &'a Graph,
    /// How often each value is read or given out.
    uses: Vec<u32>,
}

impl<'a> View<'a> {
    pub(super) fn new(graph: &'a Graph) -> View<'a> {
        let mut uses = vec![0; graph.values.len()];
        let outputs = graph.outputs.iter().map(|(_, id)| id);
        let inputs = graph.nodes.iter().flat_map(|node| &node.inputs);
        for id in inputs.chain(outputs) {
            uses[id.index()] += 1;
        }
        View { graph, uses }
    }

    pub(super) fn uses(&self, id: ValueId) -> u32 {
        self.uses[id.index()]
    }

    /// The node that makes a value.
    pub(super) fn node(&self, id: ValueId) -> Option<&'a Node> {
        Some(self.graph.node(self.graph.producer(id)?))
    }

    pub(super) fn shape(&self, id: ValueId) -> &'a [Dim] {
        &self.graph.value(id).shape
    }

    pub(super) fn element(&self, id: ValueId) -> ElementType {
        self.graph.value(id).element
    }

    pub(super) fn source(&self, id: ValueId) -> &'a Source {
        &self.graph.value(id).source
    }

    pub(super) fn is_f32(&self, id: ValueId) -> bool {
        self.graph.value(id).element == ElementType::F32
    }

    /// Whether a value is of floats that patterns are known in: those of 16 bits are computed with in f32.
    pub(super) fn is_float(&self, id: ValueId) -> bool {
        matches!(
            self.element(id),
            ElementType::Plain(DataType::F32 | DataType::F16 | DataType::Bf16)
        )
    }

    /// What a value is but for its width: what casts between floats take.
    pub(super) fn through_casts(&self, id: ValueId) -> ValueId {
        let mut id = id;
        while let Some(node) = self.node(id)
            && matches!(node.op, Op::Cast { .. })
            && self.is_float(id)
            && self.is_float(node.inputs[0])
        {
            id = node.inputs[0];
        }
        id
    }

    /// Whether a number that a value is computed with is `wanted`, to the rounding of its type.
    pub(super) fn is_about(&self, of: ValueId, number: f64, wanted: f64) -> bool {
        let rounding = match self.element(of) {
            ElementType::Plain(DataType::F16) => 5e-4,
            ElementType::Plain(DataType::Bf16) => 4e-3,
            _ => 1e-6,
        };
        (number - wanted).abs() <= rounding * wanted.abs()
    }

    /// Whether a value is a weight or a constant of floats.
    pub(super) fn is_stored(&self, id: ValueId) -> bool {
        let value = self.graph.value(id);
        matches!(value.source, Source::Weight(_) | Source::Constant(_))
            && value.element.plain().is_some_and(DataType::is_float)
    }

    /// Whether a value is a weight of the graph, not a constant that it carries.
    pub(super) fn is_weight(&self, id: ValueId) -> bool {
        matches!(self.graph.value(id).source, Source::Weight(_))
    }

    pub(super) fn constant(&self, id: ValueId) -> Option<&'a Tensor> {
        match &self.graph.value(id).source {
            Source::Constant(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The number that a constant of one element is.
    pub(super) fn number(&self, id: ValueId) -> Option<f64> {
        let tensor = self.constant(id)?;
        let one = tensor.shape().iter().all(|&size| size == 1);
        one.then(|| tensor.to_f64_vec()[0])
    }

    pub(super) fn unary(&self, id: ValueId, op: Unary) -> Option<ValueId> {
        let node = self.node(id)?;
        (node.op == Op::Unary(op)).then(|| node.inputs[0])
    }

    pub(super) fn binary(&self, id: ValueId, op: Binary) -> Option<[ValueId; 2]> {
        let node = self.node(id)?;
        (node.op == Op::Binary(op)).then(|| [node.inputs[0], node.inputs[1]])
    }

    /// Both orders of the operands of a sum or product.
    pub(super) fn either(&self, id: ValueId, op: Binary) -> Vec<[ValueId; 2]> {
        match self.binary(id, op) {
            Some([a, b]) => vec![[a, b], [b, a]],
            None => Vec::new(),
        }
    }

    /// `x op number`; for sums and products in either order.
    pub(super) fn with_number(&self, id: ValueId, op: Binary) -> Option<(ValueId, f64)> {
        let [a, b] = self.binary(id, op)?;
        match (self.number(b), op) {
            (Some(number), _) => Some((a, number)),
            (None, Binary::Add | Binary::Mul) => Some((b, self.number(a)?)),
            _ => None,
        }
    }

    /// `x²`, as a product or a power.
    pub(super) fn squared(&self, id: ValueId) -> Option<ValueId> {
        if let Some([a, b]) = self.binary(id, Binary::Mul) {
            return (a == b).then_some(a);
        }
        match self.with_number(id, Binary::Pow) {
            Some((x, 2.0)) => Some(x),
            _ => None,
        }
    }

    /// What a value is the mean of over the last axis, which stays as 1.
    pub(super) fn mean(&self, id: ValueId) -> Option<ValueId> {
        let node = self.node(id)?;
        let Op::Reduce(reduce) = &node.op else {
            return None;
        };
        let x = node.inputs[0];
        let last = self.shape(x).len().checked_sub(1)?;
        let fits =
            reduce.kind == ReduceKind::Mean && reduce.axes == [last] && reduce.keep_dimensions;
        fits.then_some(x)
    }

    /// Of `sqrt(x + epsilon)`, what they are.
    pub(super) fn root(&self, id: ValueId) -> Option<(ValueId, f32)> {
        let (x, epsilon) = self.with_number(self.unary(id, Unary::Sqrt)?, Binary::Add)?;
        (epsilon >= 0.0).then_some((x, epsilon as f32))
    }

    /// Whether a value is floats `[c]`, `c` being the last size of `x`.
    pub(super) fn is_of_last(&self, id: ValueId, x: ValueId) -> bool {
        let (own, of) = (self.shape(id), self.shape(x));
        self.is_float(id) && own.len() == 1 && own.last() == of.last()
    }

    pub(super) fn transposed(&self, id: ValueId, wanted: &[usize]) -> Option<ValueId> {
        let node = self.node(id)?;
        match &node.op {
            Op::Transpose { permutation } if permutation == wanted => Some(node.inputs[0]),
            _ => None,
        }
    }
}

/// A value of the new graph in f32.
pub(super) fn wide(rewriter: &mut Rewriter<'_>, id: ValueId) -> Result<ValueId, GraphError> {
    let id = rewriter.get(id)?;
    rewriter.builder().cast(id, DataType::F32)
}

/// Puts what was computed in f32 in the place of a value, in the value's own type.
pub(super) fn replace(
    view: &View<'_>,
    old: ValueId,
    new: ValueId,
    rewriter: &mut Rewriter<'_>,
) -> Result<(), GraphError> {
    let new = narrowed(view, old, new, rewriter)?;
    rewriter.replace(old, new);
    Ok(())
}

/// What was computed in f32 in the type that a value of the old graph has.
pub(super) fn narrowed(
    view: &View<'_>,
    of: ValueId,
    new: ValueId,
    rewriter: &mut Rewriter<'_>,
) -> Result<ValueId, GraphError> {
    match view.element(of).plain() {
        Some(data_type) => rewriter.builder().cast(new, data_type),
        None => Ok(new),
    }
}
