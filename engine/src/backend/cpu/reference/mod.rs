//! The scalar reference: every operator as plain loops, the oracle for every kernel and the
//! evaluator behind constant folding.
//!
//! Floats are computed in f64 and rounded to the operator's type once, at the end (in a fused chain after
//! each step, as its decomposition would); integers are computed in 128 bits and wrap. What moves
//! elements moves their bytes.

mod attention;
mod cache;
mod elementwise;
mod extension;
mod gather;
mod graph;
mod indexing;
mod movement;
mod normalization;
mod numbers;
mod product;
mod reduction;
mod rotary;
mod scatter;
#[cfg(test)]
mod tests;
mod window;

pub use graph::{Evaluated, evaluate_graph};

use crate::graph::{GraphBuilder, GraphError, Op};
use crate::tensor::{DataType, DecodeError, ElementType, Tensor, TensorError};

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
    #[error("{op}: input {input} of {element} {shape:?} has {bytes} bytes")]
    Bytes {
        op: &'static str,
        input: usize,
        element: ElementType,
        shape: Vec<usize>,
        bytes: usize,
    },
    #[error("no value is given for {kind} {name}")]
    NotGiven { kind: &'static str, name: String },
    #[error("{kind} {name}: {element} {shape:?} given, {wanted} wanted")]
    Given {
        kind: &'static str,
        name: String,
        element: ElementType,
        shape: Vec<usize>,
        wanted: String,
    },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// What `op` makes of `inputs`, whose shapes are numbers.
///
/// # Errors
/// Inputs that do not go with the operator (the graph's own errors), bytes that do not go with their
/// shape, an operator that has no meaning over these types ([`EvaluateError::Unsupported`]).
pub fn evaluate(op: &Op, inputs: &[View<'_>]) -> Result<Tensor, EvaluateError> {
    let output = describe(op, inputs)?;
    let case = Case { op, inputs, output };
    match op {
        Op::Unary(unary) => elementwise::unary(&case, *unary),
        Op::Binary(binary) => elementwise::binary(&case, *binary),
        Op::Compare(compare) => elementwise::compare(&case, *compare),
        Op::Logical(logical) => elementwise::logical(&case, *logical),
        Op::Clamp { min, max } => elementwise::clamp(&case, *min, *max),
        Op::Where => movement::select(&case),
        Op::Cast { .. } => elementwise::cast(&case),
        Op::Fused(fused) => elementwise::fused(&case, fused),
        Op::Reduce(reduce) => reduction::reduce(&case, reduce),
        Op::Softmax { axis } => reduction::softmax(&case, *axis),
        Op::LayerNormalization(attributes) => normalization::layer_normalization(&case, attributes),
        Op::CumulativeSum(sum) => reduction::cumulative_sum(&case, *sum),
        Op::Conv2d(conv) => window::conv2d(&case, conv),
        Op::Pool2d(pool) => window::pool2d(&case, pool),
        Op::Matmul => product::matmul(&case),
        Op::Reshape { .. } => movement::reshape(&case),
        Op::Transpose { permutation } => movement::transpose(&case, permutation),
        Op::Concat { axis } => movement::concat(&case, *axis),
        Op::Slice(slice) => movement::slice(&case, slice),
        Op::Pad(pad) => movement::pad(&case, pad),
        Op::Expand { .. } => movement::expand(&case),
        Op::Gather { axis, decode } => gather::gather(&case, *axis, *decode),
        Op::RmsNormalization { epsilon } => normalization::rms_normalization(&case, *epsilon),
        Op::RotaryEmbedding(attributes) => rotary::rotary_embedding(&case, *attributes),
        Op::Attention(attributes) => attention::attention(&case, *attributes),
        Op::BlockMatmul { bias, .. } => product::block_matmul(&case, *bias),
        Op::KvAppend => cache::kv_append(&case),
        Op::DequantizeBlocks => product::dequantize_blocks(&case),
        Op::ScatterNd(scatter) => scatter::scatter_nd(&case, *scatter),
        Op::Extension(extension) => extension::extension(&case, *extension),
    }
}

/// One call: operator, inputs and what comes out, all checked against each other.
struct Case<'a> {
    op: &'a Op,
    inputs: &'a [View<'a>],
    output: Output,
}

struct Output {
    data_type: DataType,
    shape: Vec<usize>,
}

impl Case<'_> {
    fn unsupported(&self) -> EvaluateError {
        let elements: Vec<String> = self.inputs.iter().map(|v| v.element.to_string()).collect();
        EvaluateError::Unsupported {
            op: self.op.name(),
            elements: elements.join(", "),
        }
    }

    /// An output of zeros.
    fn zeros(&self) -> Result<Tensor, EvaluateError> {
        Ok(Tensor::zeros(self.output.data_type, &self.output.shape)?)
    }

    /// The bytes of one element of input `input`, which is plain.
    fn element_bytes(&self, input: usize) -> Result<usize, EvaluateError> {
        let plain = self.inputs[input].element.plain();
        Ok(plain.ok_or_else(|| self.unsupported())?.bytes())
    }

    /// Input `input` as f32, whatever it is stored in.
    fn floats(&self, input: usize) -> Result<Vec<f32>, EvaluateError> {
        let view = &self.inputs[input];
        let mut values = vec![0.0; view.shape.iter().product()];
        crate::tensor::decode(view.element, view.bytes, &mut values)?;
        Ok(values)
    }
}

/// The output's type and shape by the graph's own rules, which also check the inputs.
fn describe(op: &Op, inputs: &[View<'_>]) -> Result<Output, EvaluateError> {
    let mut builder = GraphBuilder::new();
    let mut ids = Vec::with_capacity(inputs.len());
    for (input, view) in inputs.iter().enumerate() {
        if view.element.byte_len(view.shape) != Some(view.bytes.len()) {
            return Err(EvaluateError::Bytes {
                op: op.name(),
                input,
                element: view.element,
                shape: view.shape.to_vec(),
                bytes: view.bytes.len(),
            });
        }
        ids.push(builder.weight(&input.to_string(), view.element, view.shape)?);
    }
    let output = builder.op(op.clone(), &ids)?;
    let symbols = || GraphError::NotSpecialized(format!("{:?}", builder.shape(output)));
    let shape = crate::graph::fixed_shape(builder.shape(output)).ok_or_else(symbols)?;
    let element = builder.element(output);
    let data_type = element.plain().ok_or(GraphError::Type {
        op: op.name(),
        got: element,
        wanted: "a plain type",
    })?;
    Ok(Output { data_type, shape })
}
