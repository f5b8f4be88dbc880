//! Tensors that are told and not computed: constants, ranges, diagonals and triangles.

use fewbit_engine::graph::op::Compare;
use fewbit_engine::tensor::Tensor;

use super::one;
use super::shape::dimensions;
use crate::import::context::{Context, Value, of_numbers};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Constant", 1, constant),
    Entry::new("ConstantOfShape", 9, constant_of_shape),
    Entry::new("Range", 11, range),
    Entry::new("EyeLike", 9, eye_like),
    Entry::new("Trilu", 14, trilu),
];

fn constant(cx: &mut Context, node: &Node<'_>) -> Outputs {
    if let Some(tensor) = node.tensor("value")? {
        return one(cx.constant(tensor));
    }
    if let Some(value) = node.int_or_none("value_int")? {
        return one(cx.integers(&[], &[value]));
    }
    if let Some(value) = node.float_or_none("value_float")? {
        return one(cx.floats(&[], &[value]));
    }
    if let Some(values) = node.ints("value_ints")? {
        return one(cx.integers(&[values.len()], &values));
    }
    if let Some(values) = node.floats("value_floats")? {
        return one(cx.floats(&[values.len()], &values));
    }
    unsupported("a value that is no tensor of numbers")
}

fn constant_of_shape(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let wanted = node.input(0)?;
    let wanted = dimensions(&cx.known_dims(wanted)?)?;
    let value = match node.tensor("value")? {
        Some(tensor) if tensor.elements() == 1 => tensor.reshaped(&[])?,
        Some(tensor) => return wrong(format!("a value of shape {:?}", tensor.shape())),
        None => Tensor::from_f32(&[], &[0.0])?,
    };
    let value = cx.constant(value)?;
    one(cx.expand_to(value, wanted))
}

/// `start + i · delta` for each `i` below `ceil((limit − start) / delta)`.
fn range(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (start, limit, delta) = (node.input(0)?, node.input(1)?, node.input(2)?);
    let data_type = start.data_type;
    if !data_type.is_float()
        && let Some(made) = symbolic_range(cx, start, limit, delta)?
    {
        return Ok(vec![made]);
    }
    let (first, last) = (cx.known_float(start)?, cx.known_float(limit)?);
    let step = cx.known_float(delta)?;
    let count = ((last - first) / step).ceil().max(0.0);
    if !count.is_finite() || count > (1 << 20) as f64 {
        return unsupported(format!("{count} numbers"));
    }
    let exact = (1i64 << 53) as f64;
    if first.abs() >= exact || last.abs() >= exact {
        return unsupported("numbers beyond 2^53");
    }
    let values: Vec<f64> = (0..count as usize)
        .map(|i| first + i as f64 * step)
        .collect();
    one(cx.constant(of_numbers(data_type, &[values.len()], &values)?))
}

/// `start, start + 1, …` of as many numbers as sizes tell; `None` where it is fixed or the step is another.
fn symbolic_range(
    cx: &mut Context,
    start: Value,
    limit: Value,
    delta: Value,
) -> Result<Option<Value>, Refusal> {
    let (first, last) = match (cx.known_dims(start), cx.known_dims(limit)) {
        (Ok(first), Ok(last)) => (first, last),
        // The numbers are asked for.
        _ => return Ok(None),
    };
    let ([first], [last]) = (first.as_slice(), last.as_slice()) else {
        return Ok(None);
    };
    let count = last.clone() - first.clone();
    if count.integer().is_some() && first.integer().is_some() {
        return Ok(None);
    }
    if !count.is_size() || cx.known_ints(delta)? != [1] {
        return Err(Refusal::sizes(&[first.clone(), last.clone()]));
    }
    let places = cx.iota(count, 0, 1)?;
    let places = cx.cast(places, start.data_type)?;
    let start = cx.reshape(start, &[1])?;
    cx.add(places, start).map(Some)
}

fn eye_like(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shift = node.int("k", 0)?;
    let to = match node.int_or_none("dtype")? {
        Some(number) => super::conversion::type_number(number)?,
        None => x.data_type,
    };
    let shape = cx.shape(x)?;
    let [rows, columns] = shape[..] else {
        return wrong(format!("shape {shape:?}"));
    };
    let (row, column) = (cx.iota(rows, 0, 2)?, cx.iota(columns, 1, 2)?);
    let shift = cx.integers(&[], &[shift])?;
    let row = cx.add(row, shift)?;
    let here = cx.compare(Compare::Equal, row, column)?;
    one(cx.cast(here, to))
}

/// The upper or lower triangle of the last two dimensions, 0 elsewhere.
fn trilu(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shift = match node.optional(1) {
        Some(k) => cx.known_int(k)?,
        None => 0,
    };
    let upper = node.flag("upper", true)?;
    let shape = cx.dims(x)?;
    let [.., rows, columns] = shape.as_slice() else {
        return wrong(format!("shape {shape:?}"));
    };
    let (row, column) = (
        cx.iota(rows.clone(), 0, 2)?,
        cx.iota(columns.clone(), 1, 2)?,
    );
    let shift = cx.integers(&[], &[shift])?;
    let diagonal = cx.add(row, shift)?;
    let op = match upper {
        true => Compare::GreaterOrEqual,
        false => Compare::LesserOrEqual,
    };
    let kept = cx.compare(op, column, diagonal)?;
    let zero = cx.number(0.0, x.data_type)?;
    one(cx.select(kept, x, zero))
}
