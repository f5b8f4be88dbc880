//! Matrix products.

use fewbit_engine::graph::op::Binary;
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Made, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("MatMul", 1, matmul),
    Entry::widened("Gemm", 7, gemm),
    Entry::new("MatMulInteger", 10, matmul_integer),
    Entry::widened("Einsum", 12, einsum),
    Entry::new("Det", 11, determinant),
];

fn matmul(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    one(product(cx, a, b))
}

/// NumPy's `matmul`: a vector is a row on the left and a column on the right.
pub(super) fn product(cx: &mut Context, a: Value, b: Value) -> Made {
    let (left, right) = (cx.rank(a), cx.rank(b));
    if left >= 2 && right >= 2 {
        return cx.matmul(a, b);
    }
    let (mut from, mut to) = (cx.shape(a)?, cx.shape(b)?);
    if left == 0 || right == 0 {
        return wrong("a product of a number");
    }
    if left == 1 {
        from.insert(0, 1);
    }
    if right == 1 {
        to.push(1);
    }
    let (a, b) = (cx.reshape(a, &from)?, cx.reshape(b, &to)?);
    let y = cx.matmul(a, b)?;
    let mut shape = cx.shape(y)?;
    if right == 1 {
        shape.pop();
    }
    if left == 1 {
        shape.remove(shape.len() - if right == 1 { 1 } else { 2 });
    }
    cx.reshape(y, &shape)
}

/// `alpha · a · b + beta · c`
fn gemm(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (mut a, mut b) = (node.input(0)?, node.input(1)?);
    let (alpha, beta) = (node.float("alpha", 1.0)?, node.float("beta", 1.0)?);
    if node.flag("transA", false)? {
        a = cx.swapped(a)?;
    }
    if node.flag("transB", false)? {
        b = cx.swapped(b)?;
    }
    let mut y = cx.matmul(a, b)?;
    if alpha != 1.0 {
        y = cx.with(Binary::Mul, y, alpha.into())?;
    }
    if let Some(mut c) = node.optional(2) {
        if beta != 1.0 {
            c = cx.with(Binary::Mul, c, beta.into())?;
        }
        y = cx.add(y, c)?;
    }
    Ok(vec![y])
}

/// In i32: `(a − a_zero) · (b − b_zero)`; zero points of one number, or one for each row of `a` and column of `b`.
fn matmul_integer(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (a, b) = (node.input(0)?, node.input(1)?);
    let (a_zero, b_zero) = (node.optional(2), node.optional(3));
    let a = less_zero(cx, a, a_zero, true)?;
    let b = less_zero(cx, b, b_zero, false)?;
    one(product(cx, a, b))
}

/// In i32 and less its zero point.
pub(super) fn less_zero(cx: &mut Context, x: Value, zero: Option<Value>, rows: bool) -> Made {
    let wide = cx.cast(x, DataType::I32)?;
    let Some(zero) = zero else {
        return Ok(wide);
    };
    let zero = cx.cast(zero, DataType::I32)?;
    let mut shape = cx.shape(zero)?;
    match (shape.as_slice(), rows) {
        ([] | [1], _) => shape = Vec::new(),
        ([_], true) => shape.push(1),
        _ => {}
    }
    let zero = cx.reshape(zero, &shape)?;
    cx.sub(wide, zero)
}

/// Sums of products over letters: one or two operands without repeated letters and without an ellipsis.
fn einsum(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let inputs = node.all()?;
    let equation: String = node.word("equation", "")?.split_whitespace().collect();
    let Some((left, right)) = equation.split_once("->") else {
        return unsupported("an equation without its result");
    };
    let terms: Vec<Vec<char>> = left.split(',').map(|term| term.chars().collect()).collect();
    let result: Vec<char> = right.chars().collect();
    if terms.len() != inputs.len() {
        return wrong(format!("{} terms, {} inputs", terms.len(), inputs.len()));
    }
    for term in terms.iter().chain([&result]) {
        let mut letters = term.clone();
        letters.sort_unstable();
        letters.dedup();
        if letters.len() != term.len() || !letters.iter().all(char::is_ascii_alphabetic) {
            return unsupported(format!("equation {equation:?}"));
        }
    }
    // Every operand over all letters, those of the result first, then multiplied and summed.
    let mut letters = result.clone();
    for &letter in terms.iter().flatten() {
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    let mut all: Option<Value> = None;
    for (term, &x) in terms.iter().zip(&inputs) {
        let shape = cx.shape(x)?;
        if shape.len() != term.len() {
            return wrong(format!("{shape:?} for a term of {} letters", term.len()));
        }
        let mut order: Vec<usize> = (0..term.len()).collect();
        let place = |letter: char| letters.iter().position(|&l| l == letter);
        order.sort_by_key(|&at| place(term[at]));
        let y = cx.transpose(x, &order)?;
        let spread: Vec<usize> = letters
            .iter()
            .map(|letter| {
                let at = term.iter().position(|l| l == letter);
                at.map_or(1, |at| shape[at])
            })
            .collect();
        let y = cx.reshape(y, &spread)?;
        all = Some(match all {
            Some(others) => cx.mul(others, y)?,
            None => y,
        });
    }
    let Some(all) = all else {
        return wrong("no inputs");
    };
    if result
        .iter()
        .any(|letter| !terms.iter().flatten().any(|l| l == letter))
    {
        return wrong(format!("equation {equation:?}"));
    }
    let summed: Vec<usize> = (result.len()..letters.len()).collect();
    if summed.is_empty() {
        return Ok(vec![all]);
    }
    let sum = fewbit_engine::graph::op::ReduceKind::Sum;
    one(cx.reduce(sum, all, &summed, false))
}

/// Of matrices of 2 × 2.
fn determinant(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.shape(x)?;
    let [.., 2, 2] = shape[..] else {
        return unsupported(format!("shape {shape:?}"));
    };
    let (rows, outer) = (shape.len() - 2, &shape[..shape.len() - 2]);
    let element = |cx: &mut Context, row: usize, column: usize| {
        let part = cx.slice(x, rows, row, 1)?;
        let part = cx.slice(part, rows + 1, column, 1)?;
        cx.reshape(part, outer)
    };
    let (a, b) = (element(cx, 0, 0)?, element(cx, 0, 1)?);
    let (c, d) = (element(cx, 1, 0)?, element(cx, 1, 1)?);
    let (main, other) = (cx.mul(a, d)?, cx.mul(b, c)?);
    one(cx.sub(main, other))
}
