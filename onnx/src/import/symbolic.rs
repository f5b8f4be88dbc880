//! Small vectors of integers whose elements are expressions over the symbols of sizes: what shape arithmetic computes with.
//!
//! A graph computes them too, as numbers, where they are data; here they are followed so that they may be shapes.

use std::cmp::Ordering;

use fewbit_engine::graph::op::{Binary, Compare, Logical, ReduceKind, Unary};
use fewbit_engine::graph::{Dim, Op};
use fewbit_engine::tensor::Tensor;

/// Vectors of more elements are not followed.
pub(super) const MOST_FOLLOWED: usize = 256;

/// A small tensor of expressions.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Expressions {
    pub(super) shape: Vec<usize>,
    pub(super) values: Vec<Dim>,
}

impl Expressions {
    /// A constant whose numbers are whole; `None` for others.
    pub(super) fn of(tensor: &Tensor) -> Option<Expressions> {
        if tensor.elements() > MOST_FOLLOWED {
            return None;
        }
        let whole = |value: f64| {
            let fits = value.fract() == 0.0 && value.abs() < 2f64.powi(53);
            // Ends of slices are the greatest numbers there are.
            let clamped = value.abs() >= 2f64.powi(53) && value.is_finite();
            (fits || clamped).then(|| Dim::from_i64(value as i64))
        };
        let values = tensor.to_f64_vec().into_iter().map(whole);
        Some(Expressions {
            shape: tensor.shape().to_vec(),
            values: values.collect::<Option<_>>()?,
        })
    }

    /// The numbers, if no symbol is left in any.
    pub(super) fn integers(&self) -> Option<Vec<i64>> {
        self.values.iter().map(Dim::integer).collect()
    }

    /// The element that stands at `index` of a tensor of `shape`, to which this broadcasts.
    fn at(&self, index: &[usize]) -> Option<&Dim> {
        let skip = index.len().checked_sub(self.shape.len())?;
        let mut place = 0;
        for (&size, &at) in self.shape.iter().zip(&index[skip..]) {
            place = place * size + if size == 1 { 0 } else { at };
        }
        self.values.get(place)
    }
}

/// What `op` makes of `inputs` for an output of this shape, of floats or of integers; `None` where that cannot be told.
pub(super) fn evaluate(
    op: &Op,
    inputs: &[Expressions],
    shape: &[usize],
    floats: bool,
) -> Option<Expressions> {
    let count = shape
        .iter()
        .try_fold(1usize, |n, &size| n.checked_mul(size))?;
    if count > MOST_FOLLOWED {
        return None;
    }
    let values = match op {
        Op::Binary(Binary::Div) if floats => each(inputs, shape, |x| x[0].divided(x[1]))?,
        Op::Binary(op) => each(inputs, shape, |x| binary(*op, x[0], x[1]))?,
        Op::Compare(op) => each(inputs, shape, |x| compare(*op, x[0], x[1]))?,
        Op::Logical(op) => each(inputs, shape, |x| logical(*op, x[0], x[1]))?,
        Op::Where => each(inputs, shape, |x| {
            let taken = match x[0].integer()? {
                0 => x[2],
                _ => x[1],
            };
            Some(taken.clone())
        })?,
        Op::Unary(Unary::Neg) => each(inputs, shape, |x| Some(x[0].clone() * -1))?,
        Op::Unary(Unary::Abs) => each(inputs, shape, |x| x[0].is_size().then(|| x[0].clone()))?,
        // All are whole.
        Op::Unary(Unary::Floor | Unary::Ceil) => inputs[0].values.clone(),
        Op::Cast { .. } | Op::Reshape { .. } => inputs[0].values.clone(),
        Op::Expand { .. } => each(inputs, shape, |x| Some(x[0].clone()))?,
        Op::Concat { axis: 0 } if shape.len() == 1 => {
            inputs.iter().flat_map(|x| x.values.clone()).collect()
        }
        Op::Slice(slice) if shape.len() == 1 => {
            let start = slice.starts.first()?.fixed()?;
            let taken = inputs[0].values.iter().skip(start);
            let stride = *slice.strides.first()?;
            taken.step_by(stride.max(1)).take(count).cloned().collect()
        }
        Op::Gather { axis: 0, .. } if inputs[0].shape.len() == 1 => gather(inputs)?,
        Op::Reduce(reduce) if inputs[0].shape.len() == 1 && reduce.axes == [0] => {
            vec![fold(reduce.kind, &inputs[0].values)?]
        }
        _ => return None,
    };
    (values.len() == count).then(|| Expressions {
        shape: shape.to_vec(),
        values,
    })
}

/// One element of the output after another, of the elements that broadcast to it.
fn each(
    inputs: &[Expressions],
    shape: &[usize],
    compute: impl Fn(&[&Dim]) -> Option<Dim>,
) -> Option<Vec<Dim>> {
    let count = shape.iter().product();
    let mut index = vec![0; shape.len()];
    let mut values = Vec::with_capacity(count);
    for _ in 0..count {
        let elements: Option<Vec<&Dim>> = inputs.iter().map(|x| x.at(&index)).collect();
        values.push(compute(&elements?)?);
        for axis in (0..shape.len()).rev() {
            index[axis] += 1;
            if index[axis] < shape[axis] {
                break;
            }
            index[axis] = 0;
        }
    }
    Some(values)
}

fn binary(op: Binary, a: &Dim, b: &Dim) -> Option<Dim> {
    let difference = || (a.clone() - b.clone()).sign();
    match op {
        Binary::Add => Some(a.clone() + b.clone()),
        Binary::Sub => Some(a.clone() - b.clone()),
        Binary::Mul => Some(a.clone() * b.clone()),
        Binary::Div => match b.integer() {
            // Rounding towards 0 is rounding down for what is not below it.
            Some(by) if by > 0 && a.is_size() => a.floor_div(usize::try_from(by).ok()?).ok(),
            _ => a.divided(b),
        },
        Binary::Max => match at_least(a, b) {
            Some(true) => Some(a.clone()),
            Some(false) => Some(b.clone()),
            None => None,
        },
        Binary::Min => match difference() {
            Some(Ordering::Greater) => Some(b.clone()),
            Some(_) => Some(a.clone()),
            None if at_least(b, a) == Some(true) => Some(a.clone()),
            None if at_least(a, b) == Some(true) => Some(b.clone()),
            None => None,
        },
        _ => None,
    }
}

/// Whether `a ≥ b` for all sizes, or for none.
fn at_least(a: &Dim, b: &Dim) -> Option<bool> {
    let (up, down) = (a.clone() - b.clone(), b.clone() - a.clone());
    match (up.is_size(), down.sign()) {
        (true, _) => Some(true),
        (_, Some(Ordering::Greater)) => Some(false),
        _ => None,
    }
}

fn compare(op: Compare, a: &Dim, b: &Dim) -> Option<Dim> {
    let sign = (a.clone() - b.clone()).sign();
    let holds = match op {
        Compare::Equal => sign? == Ordering::Equal,
        Compare::NotEqual => sign? != Ordering::Equal,
        Compare::Greater => !at_least(b, a)?,
        Compare::GreaterOrEqual => at_least(a, b)?,
        Compare::Lesser => !at_least(a, b)?,
        Compare::LesserOrEqual => at_least(b, a)?,
    };
    Some(Dim::from_i64(holds.into()))
}

fn logical(op: Logical, a: &Dim, b: &Dim) -> Option<Dim> {
    let (a, b) = (a.integer()? != 0, b.integer()? != 0);
    let holds = match op {
        Logical::And => a && b,
        Logical::Or => a || b,
        Logical::Xor => a != b,
    };
    Some(Dim::from_i64(holds.into()))
}

fn gather(inputs: &[Expressions]) -> Option<Vec<Dim>> {
    let [from, indices] = inputs else {
        return None;
    };
    let length = from.values.len() as i64;
    let pick = |at: i64| {
        // As the graph's gather: from the end where negative, clamped into the axis.
        let at = if at < 0 { at + length } else { at };
        let at = at.clamp(0, (length - 1).max(0));
        from.values.get(at as usize).cloned()
    };
    indices.integers()?.into_iter().map(pick).collect()
}

fn fold(kind: ReduceKind, values: &[Dim]) -> Option<Dim> {
    let mut all = values.iter();
    match kind {
        ReduceKind::Sum => Some(all.fold(Dim::from_i64(0), |sum, x| sum + x.clone())),
        ReduceKind::Product => Some(all.fold(Dim::from_i64(1), |product, x| product * x.clone())),
        ReduceKind::Max => {
            let first = all.next()?.clone();
            all.try_fold(first, |most, x| binary(Binary::Max, &most, x))
        }
        ReduceKind::Min => {
            let first = all.next()?.clone();
            all.try_fold(first, |least, x| binary(Binary::Min, &least, x))
        }
        _ => None,
    }
}
