//! Room for sizes that grow.
//!
//! Where numbers in inputs decide a size (as many keys as a decoder has so far), each number would be a plan of its own. Here the
//! axis gets room for more, so that few plans do for all: its elements up to the size are what the file computes, and what
//! comes after them is kept out of sums, maxima and products by a mask that compares places with the size, which a run
//! computes. A graph in which something else would see those elements stays as it is.

use std::collections::BTreeMap;

use fewbit_engine::graph::op::{Compare, Reduce, ReduceKind, Slice};
use fewbit_engine::graph::pass::{Rewriter, prune};
use fewbit_engine::graph::{
    Dim, Factor, Graph, GraphBuilder, GraphError, Node, Op, Source, ValueId,
};
use fewbit_engine::model::{Count, Room};
use fewbit_engine::tensor::{DataType, ElementType};

use super::context::of_numbers;
use crate::counting::{counted, integers, length};

/// Why there is no room: `None` where an operator would see it.
type Refused = Option<GraphError>;

const SEEN: Refused = None;

/// No axis is longer.
const MOST: usize = u32::MAX as usize;

/// The graph with room, and the room; `None` where the sizes that `counts` tell must be exact.
///
/// # Errors
/// What a builder says of a graph that contradicts itself.
pub(super) fn with_room(
    graph: &Graph,
    counts: &[Count],
) -> Result<Option<(Graph, Vec<Room>)>, GraphError> {
    let mut change = Change {
        old: graph,
        counts,
        rooms: BTreeMap::new(),
        sizes: BTreeMap::new(),
    };
    let told = graph.values.iter().flat_map(|value| &value.shape);
    for dim in told {
        if change.grows(dim) {
            let symbol = format!("room for {dim}");
            let most = MOST;
            let of = dim.clone();
            let room = Room { symbol, of, most };
            change.rooms.insert(dim.clone(), room);
        }
    }
    if change.rooms.is_empty() {
        return Ok(None);
    }
    let outputs = graph.outputs.iter().map(|&(_, id)| id);
    if outputs
        .chain(graph.inputs.iter().copied())
        .any(|id| change.has_room(id))
    {
        return Ok(None);
    }
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        match change.node(&mut rewriter, node) {
            Ok(()) => {}
            Err(None) => return Ok(None),
            Err(Some(error)) => return Err(error),
        }
    }
    let graph = prune(&rewriter.finish()?);
    Ok(Some((graph, change.rooms.into_values().collect())))
}

struct Change<'a> {
    old: &'a Graph,
    counts: &'a [Count],
    rooms: BTreeMap<Dim, Room>,
    /// The sizes as numbers of a run, i32 `[1]`.
    sizes: BTreeMap<Dim, ValueId>,
}

impl Change<'_> {
    fn grows(&self, dim: &Dim) -> bool {
        dim.symbols()
            .any(|name| self.counts.iter().any(|count| count.symbol == name))
    }

    fn shape(&self, id: ValueId) -> &[Dim] {
        &self.old.value(id).shape
    }

    fn has_room(&self, id: ValueId) -> bool {
        self.shape(id)
            .iter()
            .any(|dim| self.rooms.contains_key(dim))
    }

    fn roomy(&self, shape: &[Dim]) -> Vec<Dim> {
        let change = |dim: &Dim| match self.rooms.get(dim) {
            Some(room) => Dim::symbol(&room.symbol),
            None => dim.clone(),
        };
        shape.iter().map(change).collect()
    }

    fn node(&mut self, rewriter: &mut Rewriter<'_>, node: &Node) -> Result<(), Refused> {
        let concerned = node.inputs.iter().chain(&node.outputs);
        if !concerned.copied().any(|id| self.has_room(id)) {
            return Ok(rewriter.copy(node)?);
        }
        let x = *node.inputs.first().ok_or(SEEN)?;
        let from = self.shape(x).to_vec();
        let has_room = |axis: &usize| from.get(*axis).is_some_and(|dim| self.grows(dim));
        let op = match &node.op {
            Op::Unary(_)
            | Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(_)
            | Op::Clamp { .. }
            | Op::Where
            | Op::Cast { .. }
            | Op::Transpose { .. } => node.op.clone(),
            Op::Expand { shape } => Op::Expand {
                shape: self.roomy(shape),
            },
            Op::Reshape { shape } if self.stays(&from, shape) => Op::Reshape {
                shape: self.roomy(shape),
            },
            Op::Slice(slice) => Op::Slice(self.slice(&from, slice)?),
            Op::Softmax { axis } => {
                if has_room(axis) {
                    return self.masked(rewriter, node, &[(0, *axis)], f64::NEG_INFINITY);
                }
                node.op.clone()
            }
            Op::Reduce(reduce) => {
                let axes: Vec<usize> = reduce.axes.iter().copied().filter(has_room).collect();
                if !axes.is_empty() {
                    let nothing = nothing(reduce).ok_or(SEEN)?;
                    let axes: Vec<_> = axes.into_iter().map(|axis| (0, axis)).collect();
                    return self.masked(rewriter, node, &axes, nothing);
                }
                node.op.clone()
            }
            Op::CumulativeSum(sum) if !sum.reversed || !has_room(&sum.axis) => node.op.clone(),
            Op::Gather { axis, .. } if !has_room(axis) => node.op.clone(),
            Op::Concat { axis } if !has_room(axis) && self.joins(node, *axis) => node.op.clone(),
            Op::Matmul => {
                let second = self.shape(node.inputs[1]).len();
                let (last, first) = (from.len().wrapping_sub(1), second.wrapping_sub(2));
                if has_room(&last) {
                    return self.masked(rewriter, node, &[(0, last), (1, first)], 0.0);
                }
                node.op.clone()
            }
            Op::BlockMatmul { .. } => node.op.clone(),
            Op::LayerNormalization(norm) if !norm.axes.iter().any(has_room) => node.op.clone(),
            Op::RmsNormalization { .. } if !has_room(&from.len().wrapping_sub(1)) => {
                node.op.clone()
            }
            _ => return Err(SEEN),
        };
        Ok(rewriter.copy_as(node, op)?)
    }

    /// Whether a reshape leaves each axis with room where it is: as many elements before it, and after it.
    fn stays(&self, from: &[Dim], to: &[Dim]) -> bool {
        let around = |shape: &[Dim]| -> Vec<(Dim, Dim, Dim)> {
            let product = |dims: &[Dim]| {
                let all = dims.iter().cloned();
                all.fold(Dim::from(1), |product, dim| product * dim)
            };
            let axes = shape.iter().enumerate();
            let grown = axes.filter(|(_, dim)| self.grows(dim));
            let parts = grown.map(|(axis, dim)| {
                let (before, after) = (&shape[..axis], &shape[axis + 1..]);
                (product(before), dim.clone(), product(after))
            });
            parts.collect()
        };
        around(from) == around(to)
    }

    /// Whether all that is joined has the same room.
    fn joins(&self, node: &Node, axis: usize) -> bool {
        let others = |id: &ValueId| {
            let mut shape = self.shape(*id).to_vec();
            shape[axis] = Dim::from(1);
            shape
        };
        let mut all = node.inputs.iter().map(others);
        let along = node.inputs.iter().map(|&id| &self.shape(id)[axis]);
        let first = all.next();
        all.all(|shape| Some(shape) == first) && !along.clone().any(|dim| self.grows(dim))
    }

    fn slice(&mut self, from: &[Dim], slice: &Slice) -> Result<Slice, Refused> {
        let mut sizes = slice.sizes.clone();
        for (axis, size) in sizes.iter_mut().enumerate() {
            let (whole, start) = (&from[axis], &slice.starts[axis]);
            let grown = [whole, start, size].map(|dim| self.grows(dim));
            let start = start.fixed();
            match (grown, start, whole.fixed()) {
                ([false, false, false], ..) => {}
                // Elements that are there before the size is reached.
                ([true, false, false], Some(_), _)
                    if (whole.clone() - slice.starts[axis].clone() - size.clone()).is_size() => {}
                ([true, false, true], Some(0), _) if size == whole && slice.strides[axis] == 1 => {}
                ([false, false, true], Some(start), Some(whole)) if slice.strides[axis] == 1 => {
                    let room = self.rooms.get_mut(size).ok_or(SEEN)?;
                    room.most = room.most.min(whole.checked_sub(start).ok_or(SEEN)?);
                }
                _ => return Err(SEEN),
            }
            *size = self.roomy(std::slice::from_ref(size)).remove(0);
        }
        Ok(Slice {
            sizes,
            ..slice.clone()
        })
    }

    /// The node over inputs that are `nothing` behind the sizes of these axes, each an input and an axis of it.
    fn masked(
        &mut self,
        rewriter: &mut Rewriter<'_>,
        node: &Node,
        axes: &[(usize, usize)],
        nothing: f64,
    ) -> Result<(), Refused> {
        let mut inputs = rewriter.get_all(&node.inputs)?;
        for &(at, axis) in axes {
            let shape = self.shape(node.inputs[at]).to_vec();
            let dim = shape.get(axis).ok_or(SEEN)?;
            let size = match self.sizes.get(dim) {
                Some(&size) => size,
                None => {
                    let size = self.size(rewriter, dim)?;
                    self.sizes.insert(dim.clone(), size);
                    size
                }
            };
            let room = Dim::symbol(&self.rooms.get(dim).ok_or(SEEN)?.symbol);
            let b = rewriter.builder();
            let places = counted(b, room.clone())?;
            let inside = b.compare(Compare::Lesser, places, size)?;
            let mut spread = vec![Dim::from(1); shape.len()];
            spread[axis] = room;
            let inside = b.reshape(inside, spread)?;
            let element = b.element(inputs[at]);
            let other = number(b, element, nothing).ok_or(SEEN)?;
            inputs[at] = b.op(Op::Where, &[inside, inputs[at], other])?;
        }
        let made = rewriter.builder().op(node.op.clone(), &inputs)?;
        rewriter.replace(node.outputs[0], made);
        Ok(())
    }

    /// A size as a run computes it, i32 `[1]`.
    fn size(&self, rewriter: &mut Rewriter<'_>, dim: &Dim) -> Result<ValueId, Refused> {
        let constant = i32::try_from(dim.constant()).map_err(|_| SEEN)?;
        let mut sum = integers(rewriter.builder(), &[1], &[constant])?;
        for (factor, factors) in dim.parts() {
            let [Factor::Symbol(name)] = factors.as_slice() else {
                return Err(SEEN);
            };
            let told = self.counts.iter().find(|count| count.symbol == *name);
            let number = match told {
                Some(count) => self.told(rewriter, count)?,
                None => length(rewriter.builder(), Dim::symbol(name))?,
            };
            let factor = i32::try_from(factor).map_err(|_| SEEN)?;
            let b = rewriter.builder();
            let factor = integers(b, &[1], &[factor])?;
            let term = b.mul(number, factor)?;
            sum = b.add_values(sum, term)?;
        }
        Ok(sum)
    }

    /// The number in an input, i32 `[1]`.
    fn told(&self, rewriter: &mut Rewriter<'_>, count: &Count) -> Result<ValueId, Refused> {
        let input = self.old.inputs.iter().copied().find(|&id| {
            let source = &self.old.value(id).source;
            matches!(source, Source::Input(name) if *name == count.input)
        });
        let id = rewriter.get(input.ok_or(SEEN)?)?;
        let b = rewriter.builder();
        let number = match b.shape(id).len() {
            0 => b.reshape(id, vec![Dim::from(1)])?,
            _ => b.slice_axis(id, 0, Dim::from(count.at), Dim::from(1))?,
        };
        Ok(b.cast(number, DataType::I32)?)
    }
}

/// What a reduction does not see; `None` for one that counts its elements.
fn nothing(reduce: &Reduce) -> Option<f64> {
    Some(match reduce.kind {
        ReduceKind::Sum
        | ReduceKind::SumSquare
        | ReduceKind::L1
        | ReduceKind::L2
        | ReduceKind::LogSum => 0.0,
        ReduceKind::Product => 1.0,
        ReduceKind::Max | ReduceKind::LogSumExp => f64::NEG_INFINITY,
        ReduceKind::Min => f64::INFINITY,
        ReduceKind::Mean => return None,
    })
}

/// A number of this type without dimensions, where the type has it.
fn number(b: &mut GraphBuilder, element: ElementType, value: f64) -> Option<ValueId> {
    let data_type = element.plain()?;
    if !value.is_finite() && !data_type.is_float() {
        return None;
    }
    let number = of_numbers(data_type, &[], &[value]).ok()?;
    Some(b.constant(number))
}
