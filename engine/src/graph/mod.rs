//! The intermediate representation that everything running a model goes through.
//!
//! A [`Graph`] is plain data: values (with element type and shape) and nodes (an [`Op`], the values it
//! takes and makes) in topological order. Operators are WebNN's, by the spec's names, plus composites
//! that matter for speed, each with a decomposition into WebNN operators ([`decompose`]).
//! [`GraphBuilder`] is the only way to add nodes: it infers and checks every shape, so that what comes
//! after may trust a graph.

mod builder;
pub mod decompose;
mod dim;
mod error;
mod extension;
mod infer;
pub mod memory;
pub mod op;
pub mod pass;
pub mod range;
mod specialize;
mod window;
pub mod wire;

pub use builder::GraphBuilder;
pub use dim::{Bindings, Dim, Factor, Shape, fixed_shape, product};
pub use error::GraphError;
pub use op::Op;

use crate::tensor::{ElementType, Tensor};

/// A value's index in [`Graph::values`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ValueId(pub u32);

/// A node's index in [`Graph::nodes`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32);

impl ValueId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

impl NodeId {
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Where a value comes from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Given anew for each run, by this name.
    Input(String),
    /// A weight, by its name in the checkpoint; its bytes live in the back end.
    Weight(String),
    /// A small constant that the graph itself carries.
    Constant(std::rc::Rc<Tensor>),
    /// A state that outlives a run (a KV cache), as it is before the run.
    State(String),
    /// Output number `.1` of a node.
    Node(NodeId, usize),
}

#[derive(Clone, Debug)]
pub struct Value {
    pub element: ElementType,
    pub shape: Shape,
    pub source: Source,
}

impl Value {
    /// The shape in numbers; an error naming the shape where a symbol is left.
    pub fn fixed_shape(&self) -> Result<Vec<usize>, GraphError> {
        fixed_shape(&self.shape)
            .ok_or_else(|| GraphError::NotSpecialized(format!("{:?}", self.shape)))
    }
}

#[derive(Clone, Debug)]
pub struct Node {
    pub op: Op,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<ValueId>,
}

/// Values and nodes in topological order, and what goes in and out by name.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    pub values: Vec<Value>,
    pub nodes: Vec<Node>,
    pub inputs: Vec<ValueId>,
    pub outputs: Vec<(String, ValueId)>,
}

impl Graph {
    pub fn value(&self, id: ValueId) -> &Value {
        &self.values[id.index()]
    }

    pub fn node(&self, id: NodeId) -> &Node {
        &self.nodes[id.index()]
    }

    /// The values whose source is a weight, with the weight's name.
    pub fn weights(&self) -> impl Iterator<Item = (ValueId, &str, &Value)> {
        self.values
            .iter()
            .enumerate()
            .filter_map(|(i, v)| match &v.source {
                Source::Weight(name) => Some((ValueId(i as u32), name.as_str(), v)),
                _ => None,
            })
    }

    /// The values whose source is a state, with the state's name.
    pub fn states(&self) -> impl Iterator<Item = (ValueId, &str, &Value)> {
        self.values
            .iter()
            .enumerate()
            .filter_map(|(i, v)| match &v.source {
                Source::State(name) => Some((ValueId(i as u32), name.as_str(), v)),
                _ => None,
            })
    }

    /// The names of all symbols in any shape.
    pub fn symbols(&self) -> std::collections::BTreeSet<String> {
        self.values
            .iter()
            .flat_map(|v| v.shape.iter().flat_map(Dim::symbols))
            .map(str::to_owned)
            .collect()
    }

    /// The node that makes `id`, if one does.
    pub fn producer(&self, id: ValueId) -> Option<NodeId> {
        match self.value(id).source {
            Source::Node(node, _) => Some(node),
            _ => None,
        }
    }
}
