//! Integers of 64 bits on a device that keeps 32 of them: a plan is compiled where those of its graph fit, for inputs that are
//! no larger than some limit, and a run holds its inputs against that.

use crate::backend::BackendError;
use crate::graph::range::{beyond_32_bits, is_limited, is_wide};
use crate::graph::{Graph, Node};
use crate::tensor::Tensor;

/// Powers of two that inputs may reach at most, from all that the device has on. The last is one that ids of tokens are
/// rarely below.
const REACHES: [u32; 6] = [31, 28, 24, 20, 16, 12];

/// How far from 0 integers in inputs may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limit {
    most: i64,
    /// What would not fit past that.
    op: &'static str,
}

impl Limit {
    /// The widest limit with which all integers of 64 bits in a graph without symbols fit in 32; `None` where the graph has
    /// none, or they do whatever the inputs are.
    ///
    /// # Errors
    /// [`BackendError::Unsupported`] with the operator whose integers do not fit with any.
    pub(super) fn of(graph: &Graph) -> Result<Option<Limit>, BackendError> {
        let wide = |node: &Node| {
            let outputs = node
                .outputs
                .iter()
                .map(|&id| graph.value(id).element.plain());
            outputs.flatten().any(is_wide)
        };
        if !graph.nodes.iter().any(wide) {
            return Ok(None);
        }
        let mut op = None;
        for reach in REACHES {
            match (beyond_32_bits(graph, 1 << reach), op) {
                (None, None) => return Ok(None),
                (None, Some(op)) => {
                    return Ok(Some(Limit {
                        most: 1 << reach,
                        op,
                    }));
                }
                (Some(beyond), _) => op = Some(beyond),
            }
        }
        Err(unsupported(
            op.unwrap_or_default(),
            "its integers of 64 bits may not fit in the 32 that the device keeps".to_owned(),
        ))
    }

    /// # Errors
    /// [`BackendError::Unsupported`] with the operator that may be wrong for these inputs.
    pub(super) fn hold(self, inputs: &[(&str, &Tensor)]) -> Result<(), BackendError> {
        for (name, tensor) in inputs.iter().filter(|(_, t)| is_limited(t.data_type())) {
            let beyond = |number: &f64| number.abs() > self.most as f64;
            if let Some(number) = tensor.to_f64_vec().into_iter().find(beyond) {
                let reason = format!(
                    "with {number} in input {name} its integers of 64 bits may not fit in the 32 that the device keeps"
                );
                return Err(unsupported(self.op, reason));
            }
        }
        Ok(())
    }
}

fn unsupported(op: &str, reason: String) -> BackendError {
    let op = op.to_owned();
    BackendError::Unsupported { op, reason }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::op::Binary;
    use crate::graph::{Dim, GraphBuilder};
    use crate::tensor::DataType;

    fn graph(op: Option<Binary>, times: usize) -> Graph {
        let mut b = GraphBuilder::new();
        let x = b.input("x", DataType::I64, vec![Dim::from(2)]).unwrap();
        let mut y = b.reshape(x, vec![Dim::from(2), Dim::from(1)]).unwrap();
        for _ in 0..times {
            y = b.binary(op.unwrap_or(Binary::Max), y, y).unwrap();
        }
        b.output("y", y).unwrap();
        b.finish()
    }

    fn x(values: [i64; 2]) -> Tensor {
        Tensor::from_i64(&[2], &values).unwrap()
    }

    #[test]
    fn inputs_are_held_against_what_the_graph_takes() {
        assert_eq!(Limit::of(&graph(None, 1)).unwrap(), None);
        let limit = Limit::of(&graph(Some(Binary::Add), 1)).unwrap().unwrap();
        assert_eq!((limit.most, limit.op), (1 << 28, "add"));
        limit.hold(&[("x", &x([1 << 28, -5]))]).unwrap();
        let error = limit.hold(&[("x", &x([3, -(1 << 29)]))]).unwrap_err();
        assert!(
            matches!(&error, BackendError::Unsupported { op, .. } if op == "add"),
            "{error:?}"
        );
    }

    #[test]
    fn what_does_not_fit_for_any_ids_is_refused_by_name() {
        let error = Limit::of(&graph(Some(Binary::Mul), 5)).unwrap_err();
        assert!(
            matches!(&error, BackendError::Unsupported { op, .. } if op == "mul"),
            "{error:?}"
        );
    }
}
