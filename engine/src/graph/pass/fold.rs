//! Computes at once what depends on constants only.

use std::rc::Rc;

use crate::backend::cpu::reference::{self, EvaluateError};
use crate::graph::{Graph, GraphError, Source};

use super::{Rewriter, prune};

/// Constants beyond this many bytes are left to the back end: folding is for shape arithmetic and masks.
const MAX_FOLDED_BYTES: usize = 1 << 20;

/// Replaces nodes whose inputs are all constants by their results.
pub fn fold_constants(graph: &Graph) -> Result<Graph, GraphError> {
    let mut rewriter = Rewriter::new(graph)?;
    for node in &graph.nodes {
        let inputs = rewriter.get_all(&node.inputs)?;
        let built = rewriter.builder();
        let constants: Option<Vec<_>> = inputs.iter().map(|&id| built.constant_of(id)).collect();
        let small = graph
            .value(node.outputs[0])
            .fixed_shape()
            .ok()
            .and_then(|shape| graph.value(node.outputs[0]).element.byte_len(&shape))
            .is_some_and(|bytes| bytes <= MAX_FOLDED_BYTES);
        match constants {
            Some(constants) if small && !constants.is_empty() => {
                let refs: Vec<_> = constants
                    .iter()
                    .map(|tensor| tensor.as_ref().into())
                    .collect();
                match reference::evaluate(&node.op, &refs) {
                    Ok(tensor) => {
                        let new = rewriter.builder().constant(tensor);
                        rewriter.replace(node.outputs[0], new);
                    }
                    Err(EvaluateError::Unsupported { .. }) => rewriter.copy(node)?,
                    Err(error) => return Err(GraphError::Fold(error.to_string())),
                }
            }
            _ => rewriter.copy(node)?,
        }
    }
    Ok(prune(&rewriter.finish()?))
}

impl crate::graph::GraphBuilder {
    /// The constant a value is, if it is one that the graph carries.
    pub fn constant_of(&self, id: crate::graph::ValueId) -> Option<Rc<crate::tensor::Tensor>> {
        match &self.source(id) {
            Source::Constant(tensor) => Some(tensor.clone()),
            _ => None,
        }
    }
}
