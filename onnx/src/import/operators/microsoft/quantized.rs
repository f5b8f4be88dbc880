//! Products of integers whose result is in floats, and attention after one.

use super::multi_head::{Around, after_projection};
use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::Refusal;
use crate::import::node::Node;
use crate::import::operators::product::{less_zero, product};
use crate::import::operators::quantization::quantized_by_range;
use crate::import::table::Entry;

use fewbit_engine::tensor::DataType;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("DynamicQuantizeMatMul", 1, dynamic),
    Entry::widened("MatMulIntegerToFloat", 1, to_float),
    Entry::widened("QAttention", 1, attention),
];

/// A quantized operand: integers, scale, zero point.
#[derive(Clone, Copy)]
struct Quantized {
    x: Value,
    scale: Value,
    zero: Option<Value>,
}

/// `(a − a_zero) · (b − b_zero) · a_scale · b_scale + bias`, the sums in i32.
fn scaled(cx: &mut Context, a: Quantized, b: Quantized, bias: Option<Value>) -> Made {
    let left = less_zero(cx, a.x, a.zero, false)?;
    let right = less_zero(cx, b.x, b.zero, false)?;
    let sums = product(cx, left, right)?;
    let sums = cx.cast(sums, DataType::F32)?;
    let scale = cx.mul(a.scale, b.scale)?;
    let y = cx.mul(sums, scale)?;
    match bias {
        Some(bias) => cx.add(y, bias),
        None => Ok(y),
    }
}

fn dynamic(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let [x, scale, zero] = quantized_by_range(cx, node.input(0)?)?;
    let a = Quantized {
        x,
        scale,
        zero: Some(zero),
    };
    let b = Quantized {
        x: node.input(1)?,
        scale: node.input(2)?,
        zero: node.optional(3),
    };
    let bias = node.optional(4);
    one(scaled(cx, a, b, bias))
}

fn to_float(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let a = Quantized {
        x: node.input(0)?,
        scale: node.input(2)?,
        zero: node.optional(4),
    };
    let b = Quantized {
        x: node.input(1)?,
        scale: node.input(3)?,
        zero: node.optional(5),
    };
    let bias = node.optional(6);
    one(scaled(cx, a, b, bias))
}

fn attention(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let a = Quantized {
        x: node.input(0)?,
        scale: node.input(3)?,
        zero: node.optional(6),
    };
    let b = Quantized {
        x: node.input(1)?,
        scale: node.input(4)?,
        zero: node.optional(7),
    };
    let bias = node.input(2)?;
    let all = scaled(cx, a, b, Some(bias))?;
    node.ignore(&["past_present_share_buffer"]);
    let around = Around {
        mask: node.optional(5),
        past: node.optional(8),
        more: None,
    };
    after_projection(cx, node, all, around)
}
