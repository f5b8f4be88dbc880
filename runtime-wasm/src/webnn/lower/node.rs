//! Each operator as WebNN's builder has it.

use fewbit_engine::backend::BackendError;
use fewbit_engine::graph::op::{Logical, PadMode, PoolKind, Scatter, Unary, Window};
use fewbit_engine::graph::{Dim, GraphError, Node, Op, fixed_shape};
use fewbit_engine::tensor::DataType;
use js_sys::Array;
use wasm_bindgen::prelude::*;

use super::super::api::{Operand, list};
use super::super::backend::type_name;
use super::{Lower, Options};

type Made = Result<Operand, BackendError>;

impl Lower<'_> {
    /// Makes a node's operand.
    pub(in super::super) fn node(&mut self, node: &Node) -> Result<(), BackendError> {
        let operand = self.lowered(node)?;
        let output = node.outputs[0];
        let shape = self.graph.value(output).fixed_shape()?;
        let got = operand.shape();
        if !got
            .iter()
            .map(|&size| size as usize)
            .eq(shape.iter().copied())
        {
            let name = node.op.name();
            return Err(BackendError::Internal(format!(
                "{name}: WebNN infers shape {got:?} where the graph has {shape:?}"
            )));
        }
        self.operands[output.index()] = Some(operand);
        Ok(())
    }

    fn lowered(&mut self, node: &Node) -> Made {
        let ids = &node.inputs;
        let shape = self.graph.value(node.outputs[0]).fixed_shape()?;
        let sizes = || JsValue::from(list(shape.iter().copied()));
        match &node.op {
            Op::Gather { axis, decode } => {
                let table = match *decode || self.graph.value(ids[0]).element.block().is_some() {
                    true => self.float(ids[0])?,
                    false => self.operand(ids[0])?,
                };
                let indices = self.operand(ids[1])?;
                let options = Options::new().set("axis", *axis as f64);
                self.apply(
                    "gather",
                    &[("input", &table), ("indices", &indices)],
                    &[],
                    Some(options),
                )
            }
            Op::BlockMatmul { bias, .. } => {
                let x = self.float(ids[0])?;
                let weight = self.float(ids[1])?;
                let bias = match bias {
                    true => Some(self.float(ids[2])?),
                    false => None,
                };
                self.linear(&x, &weight, bias.as_ref(), &shape)
            }
            Op::DequantizeBlocks => self.float(ids[0]),
            Op::Cast { to: DataType::F32 } => self.float(ids[0]),
            Op::Conv2d(conv) => {
                let (x, filter) = (self.float(ids[0])?, self.float(ids[1])?);
                let bias = match conv.bias {
                    true => Some(self.float(ids[2])?),
                    false => None,
                };
                let options = window(conv.window)
                    .set("groups", conv.groups as f64)
                    .operand("bias", bias.as_ref());
                self.apply(
                    "conv2d",
                    &[("input", &x), ("filter", &filter)],
                    &[],
                    Some(options),
                )
            }
            op => {
                let inputs = ids.iter().map(|&id| self.operand(id));
                let inputs: Vec<Operand> = inputs.collect::<Result<_, _>>()?;
                self.plain_node(op, &inputs, sizes)
            }
        }
    }

    /// Operators whose inputs go in as they are.
    fn plain_node(&self, op: &Op, inputs: &[Operand], sizes: impl Fn() -> JsValue) -> Made {
        let name = camel(op.name());
        let unary =
            |more: &[JsValue], options| self.apply(&name, &[("input", &inputs[0])], more, options);
        let binary = || self.apply(&name, &[("a", &inputs[0]), ("b", &inputs[1])], &[], None);
        match op {
            Op::Unary(Unary::Silu) => {
                let x = &inputs[0];
                let gate = self.apply("sigmoid", &[("input", x)], &[], None)?;
                self.apply("mul", &[("a", x), ("b", &gate)], &[], None)
            }
            Op::Unary(_) => unary(&[], None),
            Op::Binary(_)
            | Op::Compare(_)
            | Op::Logical(Logical::And | Logical::Or | Logical::Xor)
            | Op::Matmul => binary(),
            // Browsers need not clamp integers.
            Op::Clamp { min, max } if !inputs[0].data_type().starts_with("float") => {
                let mut x = inputs[0].clone();
                for (name, limit) in [("max", *min), ("min", *max)] {
                    if limit.is_finite() {
                        let limit = self.number(&x.data_type(), f64::from(limit))?;
                        x = self.apply(name, &[("a", &x), ("b", &limit)], &[], None)?;
                    }
                }
                Ok(x)
            }
            Op::Clamp { min, max } => {
                let mut options = Options::new();
                for (name, limit) in [("minValue", *min), ("maxValue", *max)] {
                    if limit.is_finite() {
                        options = options.set(name, f64::from(limit));
                    }
                }
                unary(&[], Some(options))
            }
            Op::Where => {
                let names = ["condition", "trueValue", "falseValue"];
                let operands: Vec<(&str, &Operand)> = names.into_iter().zip(inputs).collect();
                self.apply(&name, &operands, &[], None)
            }
            Op::Cast { to: DataType::Bool } => {
                let zero = self.number(&inputs[0].data_type(), 0.0)?;
                self.apply("notEqual", &[("a", &inputs[0]), ("b", &zero)], &[], None)
            }
            Op::Cast { to } => unary(&[JsValue::from(type_name(*to)?)], None),
            Op::Reduce(reduce) => {
                let options = Options::new()
                    .set("axes", list(reduce.axes.iter().copied()))
                    .set("keepDimensions", reduce.keep_dimensions);
                unary(&[], Some(options))
            }
            Op::Softmax { axis } => unary(&[JsValue::from(*axis as f64)], None),
            Op::LayerNormalization(layer) => {
                let mut rest = inputs[1..].iter();
                let scale = layer.scale.then(|| rest.next()).flatten();
                let bias = layer.bias.then(|| rest.next()).flatten();
                let options = Options::new()
                    .set("axes", list(layer.axes.iter().copied()))
                    .set("epsilon", f64::from(layer.epsilon))
                    .operand("scale", scale)
                    .operand("bias", bias);
                unary(&[], Some(options))
            }
            Op::CumulativeSum(sum) => {
                let options = Options::new()
                    .set("exclusive", sum.exclusive)
                    .set("reversed", sum.reversed);
                unary(&[JsValue::from(sum.axis as f64)], Some(options))
            }
            Op::Pool2d(pool) => {
                let name = match pool.kind {
                    PoolKind::Average => "averagePool2d",
                    PoolKind::Max => "maxPool2d",
                };
                let options = window(pool.window).set("windowDimensions", list(pool.size));
                self.apply(name, &[("input", &inputs[0])], &[], Some(options))
            }
            Op::Reshape { .. } | Op::Expand { .. } => unary(&[sizes()], None),
            Op::Transpose { permutation } => {
                let options = Options::new().set("permutation", list(permutation.iter().copied()));
                unary(&[], Some(options))
            }
            Op::Concat { axis } => {
                let first = &inputs[..1];
                self.connection
                    .limits
                    .check(&name, &[("inputs", &first[0])])?;
                let all: Array = inputs.iter().collect();
                self.call(&name, &Array::of2(&all, &JsValue::from(*axis as f64)))
            }
            Op::Slice(slice) => {
                let (starts, window) = (numbers(&slice.starts)?, numbers(&slice.sizes)?);
                let options = Options::new().set("strides", list(slice.strides.iter().copied()));
                unary(&[list(starts).into(), list(window).into()], Some(options))
            }
            Op::Pad(pad) => {
                let options = match pad.mode {
                    PadMode::Constant(value) => Options::new()
                        .set("mode", "constant")
                        .set("value", f64::from(value)),
                    PadMode::Edge => Options::new().set("mode", "edge"),
                    PadMode::Reflection => Options::new().set("mode", "reflection"),
                };
                let around =
                    [&pad.before, &pad.after].map(|side| list(side.iter().copied()).into());
                unary(&around, Some(options))
            }
            Op::ScatterNd(Scatter::Replace) => {
                let names = ["input", "indices", "updates"];
                let operands: Vec<(&str, &Operand)> = names.into_iter().zip(inputs).collect();
                self.apply("scatterND", &operands, &[], None)
            }
            Op::ScatterNd(_) | Op::Extension(_) => Err(BackendError::Unsupported {
                op: op.name().to_owned(),
                reason: "WebNN has no such operator".into(),
            }),
            _ => Err(BackendError::Internal(format!(
                "{} was not decomposed",
                op.name()
            ))),
        }
    }

    /// A scalar.
    fn number(&self, data_type: &str, value: f64) -> Made {
        self.call("constant", &Array::of2(&data_type.into(), &value.into()))
    }

    /// `x · weightᵀ + bias`: with the rows of `x` as one dimension it is a `gemm`, which browsers know for what it is.
    fn linear(
        &self,
        x: &Operand,
        weight: &Operand,
        bias: Option<&Operand>,
        shape: &[usize],
    ) -> Made {
        let from: Vec<usize> = x.shape().iter().map(|&size| size as usize).collect();
        let columns = from.last().copied().unwrap_or(1);
        let rows: usize = from.iter().take(from.len().saturating_sub(1)).product();
        let reshaped = |x: &Operand, shape: &[usize]| {
            self.apply(
                "reshape",
                &[("input", x)],
                &[list(shape.iter().copied()).into()],
                None,
            )
        };
        let flat = match from.len() {
            2 => x.clone(),
            _ => reshaped(x, &[rows, columns])?,
        };
        let options = Options::new().set("bTranspose", true).operand("c", bias);
        let out = self.apply("gemm", &[("a", &flat), ("b", weight)], &[], Some(options))?;
        match shape.len() {
            2 => Ok(out),
            _ => reshaped(&out, shape),
        }
    }
}

fn window(window: Window) -> Options<'static> {
    Options::new()
        .set("padding", list(window.padding))
        .set("strides", list(window.strides))
        .set("dilations", list(window.dilations))
}

fn numbers(dims: &[Dim]) -> Result<Vec<usize>, BackendError> {
    let fixed = fixed_shape(dims);
    Ok(fixed.ok_or_else(|| GraphError::NotSpecialized(format!("{dims:?}")))?)
}

/// `reduce_log_sum` → `reduceLogSum`.
fn camel(name: &str) -> String {
    let mut words = name.split('_');
    let first = words.next().unwrap_or_default().to_owned();
    words.fold(first, |mut all, word| {
        let mut letters = word.chars();
        all.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
        all.push_str(letters.as_str());
        all
    })
}
