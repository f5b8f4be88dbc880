//! A decoder's cache in place.
//!
//! In a file the cache comes in with `past` tokens and goes out with those and the run's. Here it is a state with room for
//! `capacity` tokens, written from `position` on. So what has an axis of all tokens (`past + tokens`: keys, masks, biases by
//! distance) gets one of `capacity`, whose elements up to the last token are what the file computes; what comes after them
//! only causal attention may see, which does not look at it. What reads the *number* of tokens in the cache reads the
//! position. Operators that would see what is behind the tokens are refused.

use std::collections::BTreeSet;

use fewbit_engine::graph::op::{Attention, Binary, Compare, CumulativeSum, Slice};
use fewbit_engine::graph::pass::prune;
use fewbit_engine::graph::{Dim, Graph, GraphBuilder, GraphError, Node, Op, Source, ValueId};
use fewbit_engine::tensor::{DataType, ElementType};

use super::length::{Lengths, uniform};
use super::{COUNTS, CacheName};
use crate::counting::tokens_that_count;

/// A decoder with its caches in place.
pub(super) struct InPlace {
    /// Inputs `input_ids`, `position`, `rows` and what the file has beside the caches; output `logits`.
    pub(super) graph: Graph,
    /// How many layers have a cache.
    pub(super) layers: usize,
    /// The rows of the smallest table that is read by position: no more tokens make a context.
    pub(super) positions: usize,
    /// The logits are of all positions, not of those in `rows`.
    pub(super) all_rows: bool,
}

/// The graph under way.
struct Change<'a> {
    old: &'a Graph,
    b: GraphBuilder,
    map: Vec<Option<ValueId>>,
    lengths: Lengths,
    rows: ValueId,
    /// Of the old graph: caches that came in, and with the run's tokens behind them.
    caches: BTreeSet<ValueId>,
    written: BTreeSet<ValueId>,
    positions: usize,
}

/// # Errors
/// In words, what a decoder does with its cache that cannot be done in place.
pub(super) fn in_place(graph: &Graph) -> Result<InPlace, String> {
    let told = |e: GraphError| e.to_string();
    let mut change = Change::new(graph)?;
    change.sources().map_err(told)?;
    for node in &graph.nodes {
        change.node(node)?;
    }
    let logits = graph.outputs.iter().find(|(name, _)| name == "logits");
    let Some((name, id)) = logits else {
        return Err("no logits".to_owned());
    };
    let id = change.get(*id)?;
    change.b.output(name, id).map_err(told)?;
    if change.written.len() != change.caches.len() {
        return Err("a cache to which nothing is joined".to_owned());
    }
    let all_rows = change.b.shape(id).len() == 3;
    Ok(InPlace {
        layers: change.caches.len() / 2,
        positions: change.positions,
        all_rows,
        graph: prune(&change.b.finish()),
    })
}

impl<'a> Change<'a> {
    fn new(old: &'a Graph) -> Result<Change<'a>, String> {
        let told = |e: GraphError| e.to_string();
        let is_ids = |id: &ValueId| matches!(&old.value(*id).source, Source::Input(name) if name == "input_ids");
        let mut inputs = old.inputs.iter().copied();
        let ids = inputs.find(is_ids).map(|id| old.value(id).shape.clone());
        let Some([_, tokens]) = ids.as_deref() else {
            return Err("no input_ids [batch, tokens]".to_owned());
        };
        let mut b = GraphBuilder::new();
        let position = b.input("position", DataType::I32, vec![Dim::symbol("batch")]);
        let rows = b.input("rows", DataType::I32, vec![Dim::symbol("rows")]);
        let lengths = Lengths::new(&mut b, position.map_err(told)?, tokens).map_err(told)?;
        Ok(Change {
            old,
            rows: rows.map_err(told)?,
            b,
            map: vec![None; old.values.len()],
            lengths,
            caches: BTreeSet::new(),
            written: BTreeSet::new(),
            positions: usize::MAX,
        })
    }

    /// Inputs, weights and constants.
    fn sources(&mut self) -> Result<(), GraphError> {
        let old = self.old;
        for (at, value) in old.values.iter().enumerate() {
            let id = ValueId(at as u32);
            let plain = value.element.plain().unwrap_or(DataType::F32);
            self.map[at] = match &value.source {
                Source::Input(name) => match (name.as_str(), CacheName::of(name)) {
                    ("rows", _) => Some(self.rows),
                    (COUNTS, _) => {
                        let counts = tokens_that_count(&mut self.b, self.rows)?;
                        Some(self.b.cast(counts, plain)?)
                    }
                    (_, Some(cache)) => {
                        let mut shape = value.shape.clone();
                        if cache.own {
                            self.caches.insert(id);
                            shape[2] = Dim::symbol("capacity");
                        }
                        let state = self.b.state(&cache.state(), DataType::F32, shape)?;
                        // A file's own cache may be of narrower floats; what is written is cast with what is read.
                        match cache.own {
                            true => Some(state),
                            false => Some(self.b.cast(state, plain)?),
                        }
                    }
                    _ => Some(self.b.input(name, plain, value.shape.clone())?),
                },
                Source::Weight(name) => {
                    let shape = value.fixed_shape()?;
                    Some(self.b.weight(name, value.element, &shape)?)
                }
                Source::Constant(tensor) => Some(self.b.shared_constant(tensor.clone())),
                Source::State(_) | Source::Node(..) => None,
            };
        }
        Ok(())
    }

    fn get(&self, old: ValueId) -> Result<ValueId, String> {
        self.map[old.index()]
            .ok_or_else(|| "a tensor as long as the cache, which has no length in place".to_owned())
    }

    fn shape(&self, old: ValueId) -> &'a [Dim] {
        &self.old.value(old).shape
    }

    fn node(&mut self, node: &'a Node) -> Result<(), String> {
        let output = node.outputs[0];
        let made = match &node.op {
            Op::Concat { axis } if self.is_long(node, *axis) => Some(self.joined(node, *axis)?),
            Op::Slice(slice) if self.is_about_past(node, slice) => Some(self.sliced(node, slice)?),
            Op::Reduce(reduce) if reduce.axes.iter().any(|&axis| self.is_long(node, axis)) => {
                let counted = self.lengths.count(&mut self.b, self.old, node, &self.map)?;
                Some(counted)
            }
            // What is as long as the cache has no size here; what it is made for says what it is then.
            Op::Expand { shape } if self.lengths.in_place(shape).is_none() => None,
            Op::Cast { .. } if self.map[node.inputs[0].index()].is_none() => None,
            Op::Attention(attention) if self.written.contains(&node.inputs[1]) => {
                Some(self.attention(node, attention)?)
            }
            _ => Some(self.alike(node)?),
        };
        self.map[output.index()] = made;
        Ok(())
    }

    /// Whether one of a node's inputs has as many elements on an axis as the cache has tokens, or more.
    fn is_long(&self, node: &Node, axis: usize) -> bool {
        let mut inputs = node.inputs.iter();
        inputs.any(|&id| {
            let dim = self.shape(id).get(axis);
            dim.is_some_and(|dim| self.lengths.has_past(dim))
        })
    }

    fn is_about_past(&self, node: &Node, slice: &Slice) -> bool {
        let mut dims = slice.starts.iter().chain(&slice.sizes);
        let whole = self.shape(node.inputs[0]) == slice.sizes.as_slice();
        !whole && dims.any(|dim| self.lengths.has_past(dim))
    }

    /// The same operator, over `capacity` where the file has all tokens.
    fn alike(&mut self, node: &Node) -> Result<ValueId, String> {
        let told = |e: GraphError| e.to_string();
        let refused = || format!("{} over all tokens of the cache", node.op.name());
        let mut op = node.op.clone();
        match &mut op {
            Op::Reshape { shape } | Op::Expand { shape } => {
                *shape = self.lengths.in_place(shape).ok_or_else(refused)?;
            }
            Op::Slice(slice) => {
                slice.sizes = self.lengths.in_place(&slice.sizes).ok_or_else(refused)?;
            }
            _ => {}
        }
        if !self.is_local(node) {
            return Err(refused());
        }
        let inputs: Result<Vec<ValueId>, String> =
            node.inputs.iter().map(|&id| self.get(id)).collect();
        let made = self.b.op(op, &inputs?).map_err(told)?;
        let wanted = self.lengths.in_place(self.shape(node.outputs[0]));
        match wanted {
            Some(shape) if self.b.shape(made) == shape => Ok(made),
            _ => Err(refused()),
        }
    }

    /// Whether each element of the result is of such elements of the operands as are there for the tokens so far.
    fn is_local(&self, node: &Node) -> bool {
        let long = |at: usize| -> Vec<usize> {
            let dims = self.shape(node.inputs[at]).iter().enumerate();
            dims.filter(|(_, dim)| self.lengths.has_past(dim))
                .map(|(axis, _)| axis)
                .collect()
        };
        if (0..node.inputs.len()).all(|at| long(at).is_empty()) {
            return true;
        }
        match &node.op {
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(_)
            | Op::Clamp { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::Transpose { .. }
            | Op::Expand { .. }
            | Op::Slice(_)
            | Op::Gather { .. } => true,
            Op::Reshape { shape } => {
                // No axis of all tokens is joined with another, or cut.
                let count = |dims: &[Dim]| dims.iter().filter(|d| self.lengths.has_past(d)).count();
                count(shape) == long(0).len()
            }
            Op::Concat { axis } => (0..node.inputs.len()).all(|at| !long(at).contains(axis)),
            Op::CumulativeSum(CumulativeSum { axis, reversed, .. }) => {
                !reversed || !long(0).contains(axis)
            }
            Op::Reduce(reduce) => long(0).iter().all(|axis| !reduce.axes.contains(axis)),
            Op::Softmax { axis } => !long(0).contains(axis),
            _ => false,
        }
    }

    /// A cache and the run's keys or values; or what is the same for all tokens before the run, and what is for the run's.
    fn joined(&mut self, node: &Node, axis: usize) -> Result<ValueId, String> {
        let told = |e: GraphError| e.to_string();
        let &[before, new] = node.inputs.as_slice() else {
            return Err("a cache joined with several".to_owned());
        };
        let fits = *self.lengths.tokens() == self.shape(new)[axis];
        if self.caches.contains(&before) && axis == 2 && fits {
            if !self.written.insert(node.outputs[0]) {
                return Err("a cache that is written twice".to_owned());
            }
            let (state, new) = (self.get(before)?, self.get(new)?);
            let turned = self.b.transpose(new, &[0, 2, 1, 3]).map_err(told)?;
            let turned = self.b.cast(turned, DataType::F32).map_err(told)?;
            let position = self.lengths.position();
            let whole = self.b.kv_append(state, turned, position).map_err(told)?;
            let narrow = self.old.value(node.outputs[0]).element.plain();
            let narrow = narrow.unwrap_or(DataType::F32);
            return self.b.cast(whole, narrow).map_err(told);
        }
        let same = uniform(self.old, before, axis).filter(|_| fits);
        let Some((same, casts)) = same else {
            return Err("concat with all tokens of the cache".to_owned());
        };
        let (mut same, new) = (self.get(same)?, self.get(new)?);
        for to in casts {
            same = self.b.cast(same, to).map_err(told)?;
        }
        self.behind(same, new, axis).map_err(told)
    }

    /// `new` from the position on, and `same` before it, along `axis`.
    fn behind(&mut self, same: ValueId, new: ValueId, axis: usize) -> Result<ValueId, GraphError> {
        let rank = self.b.shape(new).len();
        let places = self.lengths.all_places(&mut self.b)?;
        let start = self.lengths.start();
        let from = self.b.op(Op::Binary(Binary::Sub), &[places, start])?;
        let placed = self.b.gather(new, from, axis)?;
        let before = self.b.op(Op::Compare(Compare::Lesser), &[places, start])?;
        let mut shape = vec![Dim::from(1); rank];
        shape[axis] = Dim::symbol("capacity");
        let before = self.b.reshape(before, shape)?;
        self.b.op(Op::Where, &[before, same, placed])
    }

    /// Bounds that go by the number of tokens in the cache are places that go by the position.
    fn sliced(&mut self, node: &Node, slice: &Slice) -> Result<ValueId, String> {
        let told = |e: GraphError| e.to_string();
        let refused = || "a slice that ends with the tokens of the cache".to_owned();
        if slice.strides.iter().any(|&stride| stride != 1) {
            return Err(refused());
        }
        let mut y = self.get(node.inputs[0])?;
        for (axis, (start, size)) in slice.starts.iter().zip(&slice.sizes).enumerate() {
            let old = &self.shape(node.inputs[0])[axis];
            if size == old && !self.lengths.has_past(start) {
                continue;
            }
            y = if self.lengths.has_past(start) {
                if let Some(rows) = old.fixed() {
                    self.positions = self.positions.min(rows);
                }
                let b = &mut self.b;
                let places = self.lengths.places(b, start, size).ok_or_else(refused)?;
                let places = places.map_err(told)?;
                self.b.gather(y, places, axis).map_err(told)?
            } else {
                let size = self.lengths.in_place(std::slice::from_ref(size));
                let size = size.and_then(|mut size| size.pop()).ok_or_else(refused)?;
                if let (Some(rows), true) = (old.fixed(), size.fixed().is_none()) {
                    self.positions = self.positions.min(rows);
                }
                self.b
                    .slice_axis(y, axis, start.clone(), size)
                    .map_err(told)?
            };
        }
        Ok(y)
    }

    /// Attention over a cache: no token sees what is behind it.
    fn attention(&mut self, node: &Node, attention: &Attention) -> Result<ValueId, String> {
        let both = node.inputs[1..3].iter().all(|id| self.written.contains(id));
        if attention.causal || !both {
            return Err("attention to keys or values that are no cache".to_owned());
        }
        let mut inputs = Vec::new();
        for &id in &node.inputs {
            let own = self.get(id)?;
            inputs.push(match self.b.element(own) {
                ElementType::F32 => own,
                _ => self.b.cast(own, DataType::F32).map_err(|e| e.to_string())?,
            });
        }
        inputs.insert(3, self.lengths.position());
        let op = Op::Attention(Attention {
            causal: true,
            ..*attention
        });
        self.b.op(op, &inputs).map_err(|e| e.to_string())
    }
}
