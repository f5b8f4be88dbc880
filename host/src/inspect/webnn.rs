//! What WebNN has of a model's graphs. What a browser refuses beyond that, it only says when it builds.

use std::collections::BTreeSet;

use fewbit_engine::graph::decompose::decompose;
use fewbit_engine::graph::op::Scatter;
use fewbit_engine::graph::{Bindings, Graph, GraphError, Op};
use fewbit_engine::tensor::DataType;

use super::coverage::{Claim, Coverage};

/// The claim for a browser that has all of WebNN.
pub(super) fn coverage(parts: &[(&Graph, Bindings)]) -> Coverage {
    let mut missing = BTreeSet::new();
    for (graph, sizes) in parts {
        match lacks(graph, sizes) {
            Ok(found) => missing.extend(found),
            Err(error) => {
                return Coverage {
                    target: String::new(),
                    outcome: Claim::Unsupported,
                    missing: Vec::new(),
                    reason: Some(error.to_string()),
                };
            }
        }
    }
    Coverage {
        target: String::new(),
        outcome: match missing.is_empty() {
            true => Claim::Supported,
            false => Claim::Unsupported,
        },
        missing: missing.into_iter().collect(),
        reason: None,
    }
}

/// Operators of ours that WebNN has not, and types of values.
fn lacks(graph: &Graph, sizes: &Bindings) -> Result<Vec<String>, GraphError> {
    let fixed = graph.specialize(sizes)?;
    let kept = |op: &Op| matches!(op, Op::BlockMatmul { .. } | Op::Gather { .. });
    let decomposed = decompose(&fixed, |op, _| kept(op))?;
    let mut found = Vec::new();
    for node in &decomposed.nodes {
        let outside = match &node.op {
            Op::Extension(_) => true,
            Op::ScatterNd(scatter) => *scatter != Scatter::Replace,
            _ => false,
        };
        if outside {
            found.push(node.op.name().to_owned());
        }
        let made = decomposed.value(node.outputs[0]).element.plain();
        if let Some(DataType::F64 | DataType::Bf16 | DataType::I16 | DataType::U16) = made {
            let name = made.map_or("", DataType::name);
            found.push(format!("{} of {name}", node.op.name()));
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use fewbit_engine::graph::op::{Extension, Unary};
    use fewbit_engine::graph::{Dim, GraphBuilder};

    #[test]
    fn operators_outside_of_webnn_are_named() {
        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::F32, vec![Dim::symbol("n")]).unwrap();
        let y = b.unary(Unary::Exp, x).unwrap();
        b.output("y", y).unwrap();
        let plain = b.finish();
        let sizes = Bindings::from([("n".to_owned(), 3)]);
        let claim = coverage(&[(&plain, sizes.clone())]);
        assert_eq!(claim.outcome, Claim::Supported);

        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::F32, vec![Dim::symbol("n")]).unwrap();
        let y = b.op(Op::Extension(Extension::Atan), &[x]).unwrap();
        b.output("y", y).unwrap();
        let claim = coverage(&[(&b.finish(), sizes)]);
        assert_eq!(
            (claim.outcome, claim.missing),
            (Claim::Unsupported, vec!["atan".to_owned()])
        );
    }
}
