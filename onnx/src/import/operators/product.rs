//! Matrix products.

use fewbit_engine::graph::Dim;
use fewbit_engine::graph::op::Binary;
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, MOST_STEPS, Made, Value};
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
    let (mut from, mut to) = (cx.dims(a)?, cx.dims(b)?);
    if left == 0 || right == 0 {
        return wrong("a product of a number");
    }
    if left == 1 {
        from.insert(0, Dim::from(1));
    }
    if right == 1 {
        to.push(Dim::from(1));
    }
    let (a, b) = (cx.reshape_to(a, from)?, cx.reshape_to(b, to)?);
    let y = cx.matmul(a, b)?;
    let mut shape = cx.dims(y)?;
    if right == 1 {
        shape.pop();
    }
    if left == 1 {
        shape.remove(shape.len() - if right == 1 { 1 } else { 2 });
    }
    cx.reshape_to(y, shape)
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
    one(integer_product(cx, (a, a_zero), (b, b_zero)))
}

/// So many products of two differences of 8-bit numbers have a sum below 2²⁴, which f32 holds.
const EXACT: usize = (1 << 24) / (255 * 255);

/// The product of 8-bit integers less their zero points, in i32: made in f32, as many terms at a time as are exact.
pub(super) fn integer_product(
    cx: &mut Context,
    (a, a_zero): (Value, Option<Value>),
    (b, b_zero): (Value, Option<Value>),
) -> Made {
    let small = |x: Value| matches!(x.data_type, DataType::I8 | DataType::U8);
    // A stored matrix stays one product, of which the rewriting of the graph makes a block format's.
    let exact = small(a) && small(b) && cx.stored(b).is_none();
    let a = less_zero(cx, a, a_zero, true)?;
    let b = less_zero(cx, b, b_zero, false)?;
    let (left, right) = (cx.dims(a)?, cx.dims(b)?);
    let (Some(terms), false) = (left.last(), right.is_empty()) else {
        return wrong("a product of a number");
    };
    let down = right.len().saturating_sub(2);
    let terms = match terms.fixed() {
        Some(terms) if exact && right[down].fixed() == Some(terms) => terms,
        _ => return product(cx, a, b),
    };
    if terms == 0 || terms > EXACT * MOST_STEPS {
        return product(cx, a, b);
    }
    let (a, b) = (cx.cast(a, DataType::F32)?, cx.cast(b, DataType::F32)?);
    let mut sum: Option<Value> = None;
    for start in (0..terms).step_by(EXACT) {
        let count = EXACT.min(terms - start);
        let part = cx.slice(a, left.len() - 1, start, count)?;
        let rows = cx.slice(b, down, start, count)?;
        let y = product(cx, part, rows)?;
        let y = cx.cast(y, DataType::I32)?;
        sum = Some(match sum {
            Some(sum) => cx.add(sum, y)?,
            None => y,
        });
    }
    sum.map_or_else(|| wrong("a product of nothing"), Ok)
}

/// In i32 and less its zero point.
pub(super) fn less_zero(cx: &mut Context, x: Value, zero: Option<Value>, rows: bool) -> Made {
    let wide = cx.cast(x, DataType::I32)?;
    let Some(zero) = zero else {
        return Ok(wide);
    };
    let zero = cx.cast(zero, DataType::I32)?;
    let mut shape = cx.dims(zero)?;
    match (shape.as_slice(), rows) {
        ([one], _) if one.is_one() => shape = Vec::new(),
        ([_], true) => shape.push(Dim::from(1)),
        _ => {}
    }
    let zero = cx.reshape_to(zero, shape)?;
    cx.sub(wide, zero)
}

/// The letters of a term, with letters of their own for the `rest` dimensions that an ellipsis stands for, the last one's first.
fn letters_of(term: &str, rank: usize) -> Result<Vec<char>, Refusal> {
    let (before, after, rest) = match term.split_once("...") {
        Some((before, after)) => {
            let named = before.chars().count() + after.chars().count();
            let Some(rest) = rank.checked_sub(named) else {
                return wrong(format!("{rank} dimensions for the term {term:?}"));
            };
            (before, after, rest)
        }
        None => (term, "", 0),
    };
    let own = |at: usize| char::from_u32(ELLIPSIS + at as u32).unwrap_or('.');
    let letters: Vec<char> = before
        .chars()
        .chain((0..rest).rev().map(own))
        .chain(after.chars())
        .collect();
    let known = |l: &char| l.is_ascii_alphabetic() || *l as u32 >= ELLIPSIS;
    match letters.iter().all(known) && letters.len() == rank {
        true => Ok(letters),
        false => wrong(format!("{rank} dimensions for the term {term:?}")),
    }
}

/// Where the letters begin that no equation has: of Unicode's private use.
const ELLIPSIS: u32 = 0xe000;

/// Each letter once: of one that is there twice, the diagonal.
fn diagonal(cx: &mut Context, x: Value, letters: &mut Vec<char>) -> Made {
    let mut y = x;
    while let Some(second) = (0..letters.len()).find(|&at| letters[..at].contains(&letters[at])) {
        let first = letters
            .iter()
            .position(|&l| l == letters[second])
            .unwrap_or(0);
        let shape = cx.shape(y)?;
        let size = shape[second];
        if shape[first] != size || size > MOST_STEPS {
            return wrong(format!("a diagonal of {shape:?}"));
        }
        // Both axes last, as one of which every `size + 1`th place counts.
        let mut order: Vec<usize> = (0..shape.len())
            .filter(|&a| a != first && a != second)
            .collect();
        let mut flat: Vec<usize> = order.iter().map(|&a| shape[a]).collect();
        order.extend([first, second]);
        y = cx.transpose(y, &order)?;
        flat.push(size * size);
        y = cx.reshape(y, &flat)?;
        let places: Vec<usize> = (0..size).map(|at| at * (size + 1)).collect();
        y = cx.pick(y, flat.len() - 1, &places)?;
        let letter = letters[second];
        *letters = order[..order.len() - 2]
            .iter()
            .map(|&a| letters[a])
            .collect();
        letters.push(letter);
    }
    Ok(y)
}

/// Sums of products over letters. A result that is not told has the letters that are there once, in their order.
fn einsum(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let inputs = node.all()?;
    let equation: String = node.word("equation", "")?.split_whitespace().collect();
    let (left, right) = match equation.split_once("->") {
        Some((left, right)) => (left, Some(right)),
        None => (equation.as_str(), None),
    };
    let mut terms = Vec::new();
    for (term, &x) in left.split(',').zip(&inputs) {
        terms.push(letters_of(term, cx.rank(x))?);
    }
    if terms.len() != inputs.len() || left.split(',').count() != inputs.len() {
        return wrong(format!("{equation:?} for {} inputs", inputs.len()));
    }
    let mut rest: Vec<char> = terms.iter().flatten().copied().collect();
    rest.sort_unstable_by(|a, b| b.cmp(a));
    rest.dedup();
    rest.retain(|&l| l as u32 >= ELLIPSIS);
    let result = match right {
        Some(right) => {
            let named = right.replace("...", "").chars().count();
            let rest = if right.contains("...") { rest.len() } else { 0 };
            letters_of(right, named + rest)?
        }
        None => {
            let mut once: Vec<char> = terms.iter().flatten().copied().collect();
            once.retain(|l| {
                let times = terms.iter().flatten().filter(|other| *other == l).count();
                times == 1 && l.is_ascii_alphabetic()
            });
            once.sort_unstable();
            rest.into_iter().chain(once).collect()
        }
    };
    // Every operand over all letters, those of the result first, then multiplied and summed.
    let mut letters = result.clone();
    for &letter in terms.iter().flatten() {
        if !letters.contains(&letter) {
            letters.push(letter);
        }
    }
    let known = |letter: &char| terms.iter().flatten().any(|l| l == letter);
    let twice = (1..result.len()).any(|at| result[..at].contains(&result[at]));
    if twice || !result.iter().all(known) {
        return wrong(format!("equation {equation:?}"));
    }
    let mut all: Option<Value> = None;
    for (term, &x) in terms.iter_mut().zip(&inputs) {
        let x = diagonal(cx, x, term)?;
        let shape = cx.shape(x)?;
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
