//! The scalar reference: every operator as plain loops, the oracle for every kernel and the
//! evaluator behind constant folding.

use crate::graph::Op;
use crate::tensor::{ElementType, Tensor, TensorError};

/// An operand in its stored form, so that block-quantized weights can be given too.
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    pub element: ElementType,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl<'a> From<&'a Tensor> for View<'a> {
    fn from(tensor: &'a Tensor) -> View<'a> {
        View {
            element: tensor.data_type().into(),
            shape: tensor.shape(),
            bytes: tensor.bytes(),
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error("{op} over {elements}: no reference for it")]
    Unsupported { op: &'static str, elements: String },
    #[error(transparent)]
    Graph(#[from] crate::graph::GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
}

/// What `op` makes of `inputs`, whose shapes are numbers.
pub fn evaluate(op: &Op, inputs: &[View<'_>]) -> Result<Tensor, EvaluateError> {
    let elements: Vec<String> = inputs.iter().map(|v| v.element.to_string()).collect();
    Err(EvaluateError::Unsupported {
        op: op.name(),
        elements: elements.join(", "),
    })
}
