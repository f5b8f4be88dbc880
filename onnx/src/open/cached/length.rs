//! How long a cache is, where it is in place: `past` tokens are the position, all tokens are in the capacity.

use fewbit_engine::graph::op::{Binary, ReduceKind};
use fewbit_engine::graph::{Dim, Graph, GraphBuilder, GraphError, Node, Op, Shape, ValueId};
use fewbit_engine::tensor::DataType;

use super::PAST;
use crate::counting::{counted, integers, length};

/// The symbols of a file's lengths, and the values that tell them here.
pub(super) struct Lengths {
    tokens: Dim,
    /// `past + tokens`
    total: Dim,
    capacity: Dim,
    position: ValueId,
    /// i32 `[1]`: the position, of which a decoder that reads a source has one row.
    start: ValueId,
}

impl Lengths {
    pub(super) fn new(
        b: &mut GraphBuilder,
        position: ValueId,
        tokens: &Dim,
    ) -> Result<Lengths, GraphError> {
        Ok(Lengths {
            tokens: tokens.clone(),
            total: Dim::symbol(PAST) + tokens.clone(),
            capacity: Dim::symbol("capacity"),
            position,
            start: b.slice_axis(position, 0, Dim::from(0), Dim::from(1))?,
        })
    }

    pub(super) fn tokens(&self) -> &Dim {
        &self.tokens
    }

    pub(super) fn position(&self) -> ValueId {
        self.position
    }

    pub(super) fn start(&self) -> ValueId {
        self.start
    }

    pub(super) fn has_past(&self, dim: &Dim) -> bool {
        dim.symbols().any(|name| name == PAST)
    }

    /// The dimensions with the capacity for all tokens; `None` where another length of the cache is among them.
    pub(super) fn in_place(&self, dims: &[Dim]) -> Option<Shape> {
        let change = |dim: &Dim| match self.has_past(dim) {
            false => Some(dim.clone()),
            true if *dim == self.total => Some(self.capacity.clone()),
            true => None,
        };
        dims.iter().map(change).collect()
    }

    /// What is left of a length when the tokens before the run are taken away.
    fn after(&self, dim: &Dim) -> Option<Dim> {
        let rest = dim.clone() - Dim::symbol(PAST);
        (!self.has_past(&rest)).then_some(rest)
    }

    /// A length as a number, i32 `[1]`.
    fn number(&self, b: &mut GraphBuilder, dim: &Dim) -> Option<Result<ValueId, GraphError>> {
        let rest = self.after(dim)?;
        Some(match rest.integer() {
            Some(0) => Ok(self.start),
            Some(number) => integers(b, &[1], &[number as i32])
                .and_then(|number| b.add_values(self.start, number)),
            None => length(b, rest).and_then(|rest| b.add_values(self.start, rest)),
        })
    }

    /// `start, start + 1, …`, so many, i32; `None` where these are no such lengths.
    pub(super) fn places(
        &self,
        b: &mut GraphBuilder,
        start: &Dim,
        size: &Dim,
    ) -> Option<Result<ValueId, GraphError>> {
        if self.has_past(size) {
            return None;
        }
        let first = self.number(b, start)?;
        Some(first.and_then(|first| {
            let steps = counted(b, size.clone())?;
            b.add_values(first, steps)
        }))
    }

    /// The places of all tokens that there is room for, i32 `[capacity]`.
    pub(super) fn all_places(&self, b: &mut GraphBuilder) -> Result<ValueId, GraphError> {
        counted(b, self.capacity.clone())
    }

    /// What a sum of as many ones as there are tokens is: how graphs have the number in a size.
    ///
    /// # Errors
    /// In words, a reduction that is no such sum.
    pub(super) fn count(
        &self,
        b: &mut GraphBuilder,
        old: &Graph,
        node: &Node,
        map: &[Option<ValueId>],
    ) -> Result<ValueId, String> {
        let refused = || format!("{} over all tokens of the cache", node.op.name());
        let told = |e: GraphError| e.to_string();
        let Op::Reduce(reduce) = &node.op else {
            return Err(refused());
        };
        let (each, casts) = uniform(old, node.inputs[0], 0).ok_or_else(refused)?;
        let [dim] = old.value(node.inputs[0]).shape.as_slice() else {
            return Err(refused());
        };
        let one = map[each.index()].filter(|&id| b.shape(id).iter().all(Dim::is_one));
        let (Some(one), ReduceKind::Sum, []) = (one, reduce.kind, casts.as_slice()) else {
            return Err(refused());
        };
        let number = self.number(b, dim).ok_or_else(refused)?.map_err(told)?;
        let to = old.value(node.outputs[0]).element.plain();
        let number = b.cast(number, to.unwrap_or(DataType::I32)).map_err(told)?;
        let sum = b
            .op(Op::Binary(Binary::Mul), &[number, one])
            .map_err(told)?;
        let shape = old.value(node.outputs[0]).shape.clone();
        b.reshape(sum, shape).map_err(told)
    }
}

/// Of what is the same all along an axis, what it is spread from, and to what types that is cast then.
pub(super) fn uniform(old: &Graph, id: ValueId, axis: usize) -> Option<(ValueId, Vec<DataType>)> {
    let node = old.node(old.producer(id)?);
    match &node.op {
        Op::Cast { to } => {
            let (from, mut casts) = uniform(old, node.inputs[0], axis)?;
            casts.push(*to);
            Some((from, casts))
        }
        Op::Expand { shape } => {
            let from = &old.value(node.inputs[0]).shape;
            let lacking = shape.len() - from.len();
            let same = axis < lacking || from[axis - lacking].is_one();
            same.then(|| (node.inputs[0], Vec::new()))
        }
        _ => None,
    }
}
