//! Operators whose results have as many elements as the numbers in their inputs say: those numbers are asked for.

use std::collections::BTreeMap;

use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::{Node, axis_of};
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[
    Entry::new("Compress", 9, compress),
    Entry::new("NonZero", 9, non_zero),
    Entry::new("Unique", 11, unique),
    Entry::new("NonMaxSuppression", 10, suppression),
];

/// No search looks at more elements.
const MOST_SEARCHED: usize = 1 << 22;

fn compress(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (x, condition) = (node.input(0)?, node.input(1)?);
    let condition = cx.known_ints(condition)?;
    let (x, axis) = match node.int_or_none("axis")? {
        Some(axis) => (x, axis_of(axis, cx.rank(x))?),
        None => {
            let count = cx.shape(x)?.iter().product();
            (cx.reshape(x, &[count])?, 0)
        }
    };
    let size = cx.shape(x)?[axis];
    if condition.len() > size {
        return wrong(format!("{} conditions for {size}", condition.len()));
    }
    let places: Vec<usize> = (0..condition.len())
        .filter(|&i| condition[i] != 0)
        .collect();
    one(cx.pick(x, axis, &places))
}

/// Sortable keys of a tensor's elements: equal where the elements are, NaN after all others.
fn keys(cx: &Context, x: Value) -> Result<Vec<i128>, Refusal> {
    if cx.shape(x)?.iter().product::<usize>() > MOST_SEARCHED {
        return unsupported("a search over so many elements");
    }
    let tensor = cx.known(x)?;
    Ok(match tensor.data_type() {
        DataType::I64 => cx.known_ints(x)?.into_iter().map(i128::from).collect(),
        DataType::U64 => {
            let words = tensor.bytes().as_chunks().0.iter();
            words.map(|b| u64::from_le_bytes(*b).into()).collect()
        }
        _ => tensor.to_f64_vec().into_iter().map(key).collect(),
    })
}

fn key(value: f64) -> i128 {
    if value.is_nan() {
        return i128::MAX;
    }
    // Both zeros are one number.
    let bits = (value + 0.0).to_bits();
    match bits >> 63 {
        0 => bits.into(),
        _ => -i128::from(bits & (u64::MAX >> 1)),
    }
}

/// The places of what is not 0, `[dimensions, how many]`.
fn non_zero(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let shape = cx.shape(x)?;
    let found: Vec<usize> = keys(cx, x)?
        .into_iter()
        .enumerate()
        .filter_map(|(at, key)| (key != 0).then_some(at))
        .collect();
    let mut places = vec![0i64; shape.len() * found.len()];
    let mut stride = 1;
    for axis in (0..shape.len()).rev() {
        for (i, at) in found.iter().enumerate() {
            places[axis * found.len() + i] = (at / stride % shape[axis]) as i64;
        }
        stride *= shape[axis];
    }
    one(cx.integers(&[shape.len(), found.len()], &places))
}

/// Each element, or each slice of an axis, once: sorted, or in the order of the first of each.
fn unique(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let sorted = node.flag("sorted", true)?;
    let keys = keys(cx, x)?;
    let shape = cx.shape(x)?;
    let (x, axis, shape) = match node.int_or_none("axis")? {
        Some(axis) => (x, axis_of(axis, shape.len())?, shape),
        None => (cx.reshape(x, &[keys.len()])?, 0, vec![keys.len()]),
    };
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let size = shape[axis];
    let slice = |at: usize| -> Vec<i128> {
        let rows = (0..outer).flat_map(|o| {
            let start = (o * size + at) * inner;
            start..start + inner
        });
        rows.map(|place| keys[place]).collect()
    };
    // First place, and how many.
    let mut groups: BTreeMap<Vec<i128>, (usize, i64)> = BTreeMap::new();
    let slices: Vec<Vec<i128>> = (0..size).map(slice).collect();
    for (at, slice) in slices.iter().enumerate() {
        groups.entry(slice.clone()).or_insert((at, 0)).1 += 1;
    }
    let mut order: Vec<(&Vec<i128>, (usize, i64))> = groups.iter().map(|(k, v)| (k, *v)).collect();
    if !sorted {
        order.sort_by_key(|(_, (first, _))| *first);
    }
    let numbers: BTreeMap<&Vec<i128>, i64> = order
        .iter()
        .enumerate()
        .map(|(number, (slice, _))| (*slice, number as i64))
        .collect();
    let firsts: Vec<usize> = order.iter().map(|(_, (first, _))| *first).collect();
    let places: Vec<i64> = firsts.iter().map(|&first| first as i64).collect();
    let counts: Vec<i64> = order.iter().map(|(_, (_, count))| *count).collect();
    let inverse: Vec<i64> = slices.iter().map(|slice| numbers[slice]).collect();
    Ok(vec![
        cx.pick(x, axis, &firsts)?,
        cx.integers(&[places.len()], &places)?,
        cx.integers(&[inverse.len()], &inverse)?,
        cx.integers(&[counts.len()], &counts)?,
    ])
}

/// A box by its corners.
#[derive(Clone, Copy)]
struct Corners {
    low: [f64; 2],
    high: [f64; 2],
}

impl Corners {
    /// Of two corners in any order, or of a centre and sizes.
    fn new(given: &[f64], centre: bool) -> Corners {
        let [a, b, c, d] = [given[0], given[1], given[2], given[3]];
        match centre {
            true => Corners {
                low: [a - c / 2.0, b - d / 2.0],
                high: [a + c / 2.0, b + d / 2.0],
            },
            false => Corners {
                low: [a.min(c), b.min(d)],
                high: [a.max(c), b.max(d)],
            },
        }
    }

    fn area(self) -> f64 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// What both cover by what either does; 0 where a box is empty.
    fn overlap(self, other: Corners) -> f64 {
        let side = |axis: usize| {
            self.high[axis].min(other.high[axis]) - self.low[axis].max(other.low[axis])
        };
        let (height, width) = (side(0), side(1));
        let empty = self.area() <= 0.0 || other.area() <= 0.0;
        if empty || height <= 0.0 || width <= 0.0 {
            return 0.0;
        }
        let both = height * width;
        both / (self.area() + other.area() - both)
    }
}

/// Boxes by falling score that overlap none chosen before by more than a threshold: batch, class and box of each.
fn suppression(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let (boxes, scores) = (node.input(0)?, node.input(1)?);
    let (shape, by_class) = (cx.shape(boxes)?, cx.shape(scores)?);
    let (&[batches, count, 4], &[same, classes, also]) = (&shape[..], &by_class[..]) else {
        return wrong(format!("boxes {shape:?}, scores {by_class:?}"));
    };
    if (same, also) != (batches, count) {
        return wrong(format!("boxes {shape:?}, scores {by_class:?}"));
    }
    let most = match node.optional(2) {
        Some(most) => cx.known_int(most)?.max(0) as usize,
        None => 0,
    };
    let threshold = |cx: &Context, at: usize| match node.optional(at) {
        Some(value) => cx.known_float(value).map(Some),
        None => Ok(None),
    };
    let overlap = threshold(cx, 3)?.unwrap_or(0.0);
    let least = threshold(cx, 4)?;
    let centre = node.flag("center_point_box", false)?;
    if most.min(count).saturating_mul(batches * classes * count) > MOST_SEARCHED {
        return unsupported(format!("{count} boxes of {classes} classes"));
    }
    let (boxes, scores) = (cx.known_floats(boxes)?, cx.known_floats(scores)?);
    let mut found = Vec::new();
    for batch in 0..batches {
        let corners: Vec<Corners> = boxes[batch * count * 4..][..count * 4]
            .chunks_exact(4)
            .map(|given| Corners::new(given, centre))
            .collect();
        for class in 0..classes {
            let scores = &scores[(batch * classes + class) * count..][..count];
            let mut order: Vec<usize> = (0..count)
                .filter(|&i| least.is_none_or(|least| scores[i] > least))
                .collect();
            // Stable: of equal scores the first box.
            order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
            let mut chosen: Vec<usize> = Vec::new();
            for at in order {
                if chosen.len() >= most {
                    break;
                }
                let clear = |&other: &usize| corners[at].overlap(corners[other]) <= overlap;
                if chosen.iter().all(clear) {
                    chosen.push(at);
                    found.extend([batch, class, at].map(|i| i as i64));
                }
            }
        }
    }
    one(cx.integers(&[found.len() / 3, 3], &found))
}
