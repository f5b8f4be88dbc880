//! From a graph with symbols to one without.

use super::op::{Op, Slice};
use super::pass::Rewriter;
use super::{Bindings, Dim, Graph, GraphError, Shape};

impl Graph {
    /// Puts numbers for symbols and infers every shape anew. Symbols that `bindings` does not name stay.
    ///
    /// # Errors
    /// A binding for a symbol the graph has not, or shapes that do not fit any more.
    pub fn specialize(&self, bindings: &Bindings) -> Result<Graph, GraphError> {
        let symbols = self.symbols();
        if let Some(unknown) = bindings.keys().find(|name| !symbols.contains(*name)) {
            return Err(GraphError::UnknownSymbol(unknown.clone()));
        }
        let mut rewriter = Rewriter::with_shapes(self, |shape| bind_shape(shape, bindings))?;
        for node in &self.nodes {
            let op = bind_op(&node.op, bindings)?;
            rewriter.copy_as(node, op)?;
        }
        rewriter.finish()
    }
}

fn bind_shape(shape: &[Dim], bindings: &Bindings) -> Result<Shape, GraphError> {
    shape.iter().map(|dim| dim.bind(bindings)).collect()
}

fn bind_op(op: &Op, bindings: &Bindings) -> Result<Op, GraphError> {
    Ok(match op {
        Op::Reshape { shape } => Op::Reshape {
            shape: bind_shape(shape, bindings)?,
        },
        Op::Expand { shape } => Op::Expand {
            shape: bind_shape(shape, bindings)?,
        },
        Op::Slice(slice) => Op::Slice(Slice {
            starts: bind_shape(&slice.starts, bindings)?,
            sizes: bind_shape(&slice.sizes, bindings)?,
            strides: slice.strides.clone(),
        }),
        other => other.clone(),
    })
}
