//! Activation functions, with and without the bias before them.

use fewbit_engine::graph::op::{Binary, Unary};

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::Refusal;
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::widened("Gelu", 1, gelu),
    Entry::widened("BiasGelu", 1, gelu),
    Entry::widened("FastGelu", 1, fast_gelu),
    Entry::widened("QuickGelu", 1, quick_gelu),
];

/// `0.5 · x · (1 + erf(x / √2))`; `BiasGelu` adds its second input to `x` first.
fn gelu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let x = match node.op_type() {
        "BiasGelu" => {
            let bias = node.input(1)?;
            cx.add(x, bias)?
        }
        _ => x,
    };
    one(cx.unary(Unary::Gelu, x))
}

fn fast_gelu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let x = match node.optional(1) {
        Some(bias) => cx.add(x, bias)?,
        None => x,
    };
    one(tanh_gelu(cx, x))
}

/// `0.5 · x · (1 + tanh(√(2/π) · (x + 0.044715 · x³)))`
fn tanh_gelu(cx: &mut Context, x: Value) -> Made {
    let square = cx.mul(x, x)?;
    let cube = cx.mul(square, x)?;
    let cube = cx.with(Binary::Mul, cube, 0.044_715)?;
    let inner = cx.add(x, cube)?;
    let inner = cx.with(Binary::Mul, inner, (2.0 / std::f64::consts::PI).sqrt())?;
    let inner = cx.unary(Unary::Tanh, inner)?;
    let inner = cx.with(Binary::Add, inner, 1.0)?;
    let half = cx.with(Binary::Mul, x, 0.5)?;
    cx.mul(half, inner)
}

/// `x · sigmoid(alpha · x)`
fn quick_gelu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let alpha = node.float("alpha", 1.702)?;
    if alpha == 1.0 {
        return one(cx.unary(Unary::Silu, x));
    }
    let gate = cx.with(Binary::Mul, x, alpha.into())?;
    let gate = cx.unary(Unary::Sigmoid, gate)?;
    one(cx.mul(x, gate))
}
