//! A static memory plan: which values share one arena, and where in it.
//!
//! Values live from the node that makes them to the last that uses them; two that do not live at the
//! same time may share bytes. Larger values are placed first, each at the lowest offset that is free
//! for its whole life (greedy by size, Pisarchyk & Lee 2020).

use super::{Graph, GraphError, Op, Source, ValueId};

/// Where the bytes of each value are.
#[derive(Debug)]
pub struct MemoryPlan {
    roots: Vec<ValueId>,
    regions: Vec<Option<Region>>,
    /// The arena's size in bytes.
    pub arena_bytes: usize,
}

/// A part of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    pub offset: usize,
    pub bytes: usize,
}

impl MemoryPlan {
    /// Plans a graph without symbols; offsets are multiples of `alignment` bytes.
    pub fn new(graph: &Graph, alignment: usize) -> Result<MemoryPlan, GraphError> {
        let roots = find_roots(graph);
        let mut lives: Vec<Life> = Vec::new();
        let mut life_of: Vec<Option<usize>> = vec![None; graph.values.len()];
        for (i, value) in graph.values.iter().enumerate() {
            let Source::Node(node, _) = value.source else {
                continue;
            };
            if roots[i].index() != i {
                continue;
            }
            let bytes = value
                .element
                .byte_len(&value.fixed_shape()?)
                .ok_or_else(|| GraphError::DimOverflow(format!("{:?}", value.shape)))?;
            life_of[i] = Some(lives.len());
            lives.push(Life {
                value: ValueId(i as u32),
                bytes: bytes.max(1).next_multiple_of(alignment),
                from: node.index(),
                to: node.index(),
            });
        }
        for (i, node) in graph.nodes.iter().enumerate() {
            for id in &node.inputs {
                if let Some(life) = life_of[roots[id.index()].index()] {
                    lives[life].to = lives[life].to.max(i);
                }
            }
        }
        for (_, id) in &graph.outputs {
            if let Some(life) = life_of[roots[id.index()].index()] {
                lives[life].to = graph.nodes.len();
            }
        }
        let (regions, arena_bytes) = place(&mut lives, graph.values.len());
        Ok(MemoryPlan {
            roots,
            regions,
            arena_bytes,
        })
    }

    /// The value whose bytes `id` shares: itself, or what it is a reshaped view (or the new state) of.
    pub fn root(&self, id: ValueId) -> ValueId {
        self.roots[id.index()]
    }

    /// The region of a value, or `None` where its root is an input, weight, constant or state.
    pub fn region(&self, id: ValueId) -> Option<Region> {
        self.regions[self.root(id).index()]
    }
}

struct Life {
    value: ValueId,
    bytes: usize,
    from: usize,
    to: usize,
}

fn find_roots(graph: &Graph) -> Vec<ValueId> {
    let mut roots: Vec<ValueId> = (0..graph.values.len() as u32).map(ValueId).collect();
    for node in &graph.nodes {
        if matches!(node.op, Op::Reshape { .. } | Op::KvAppend) {
            roots[node.outputs[0].index()] = roots[node.inputs[0].index()];
        }
    }
    roots
}

fn place(lives: &mut [Life], values: usize) -> (Vec<Option<Region>>, usize) {
    lives.sort_by(|a, b| b.bytes.cmp(&a.bytes).then(a.value.cmp(&b.value)));
    let mut regions = vec![None; values];
    let mut placed: Vec<(usize, usize, Region)> = Vec::new();
    let mut arena_bytes = 0;
    for life in lives.iter() {
        let mut busy: Vec<Region> = placed
            .iter()
            .filter(|(from, to, _)| *from <= life.to && life.from <= *to)
            .map(|(_, _, region)| *region)
            .collect();
        busy.sort_by_key(|region| region.offset);
        let mut offset = 0;
        for region in busy {
            if offset + life.bytes <= region.offset {
                break;
            }
            offset = offset.max(region.offset + region.bytes);
        }
        let region = Region {
            offset,
            bytes: life.bytes,
        };
        arena_bytes = arena_bytes.max(offset + life.bytes);
        placed.push((life.from, life.to, region));
        regions[life.value.index()] = Some(region);
    }
    (regions, arena_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::Unary;
    use crate::graph::{Dim, GraphBuilder};
    use crate::tensor::DataType;

    #[test]
    fn a_chain_needs_two_buffers_and_live_values_never_overlap() {
        let mut b = GraphBuilder::new();
        let mut x = b.input("x", DataType::F32, vec![Dim::from(100)]).unwrap();
        let mut made = Vec::new();
        for _ in 0..6 {
            x = b.unary(Unary::Exp, x).unwrap();
            made.push(x);
        }
        let view = b.reshape(x, vec![Dim::from(10), Dim::from(10)]).unwrap();
        b.output("y", view).unwrap();
        let graph = b.finish();
        let plan = MemoryPlan::new(&graph, 64).unwrap();
        assert_eq!(plan.arena_bytes, 2 * 448);
        assert_eq!(plan.region(view), plan.region(x));
        for pair in made.windows(2) {
            assert_ne!(plan.region(pair[0]), plan.region(pair[1]));
        }
        assert_eq!(plan.region(graph.inputs[0]), None);
    }
}
