//! Counts of word sequences.

use fewbit_engine::graph::op::{Binary, Compare, Logical, ReduceKind};
use fewbit_engine::tensor::DataType;

use super::one;
use crate::import::context::{Context, MOST_STEPS, Value};
use crate::import::error::{Refusal, unsupported, wrong};
use crate::import::node::Node;
use crate::import::table::Entry;

type Outputs = Result<Vec<Value>, Refusal>;

pub(super) const TABLE: &[Entry] = &[Entry::new("TfIdfVectorizer", 9, term_frequency)];

/// The sequences of one length that are looked for, and where each is counted.
struct Grams {
    length: usize,
    words: Vec<i64>,
    columns: Vec<usize>,
}

/// The pool cut into sequences ("ngram_counts" says where those of each length begin).
fn grams(node: &Node<'_>) -> Result<Vec<Grams>, Refusal> {
    if node.words("pool_strings")?.is_some() {
        return unsupported("a pool of strings");
    }
    let pool = node.ints("pool_int64s")?.unwrap_or_default();
    let starts = node.ints("ngram_counts")?.unwrap_or_default();
    let places = node.ints("ngram_indexes")?.unwrap_or_default();
    let mut places = places.into_iter();
    let mut all = Vec::new();
    for (at, &start) in starts.iter().enumerate() {
        let length = at + 1;
        let end = starts.get(at + 1).copied().unwrap_or(pool.len() as i64);
        let range = usize::try_from(start).ok().zip(usize::try_from(end).ok());
        let words = range.and_then(|(start, end)| pool.get(start..end));
        let Some(words) = words.filter(|words| words.len().is_multiple_of(length)) else {
            return wrong(format!("ngram_counts {starts:?} of {} words", pool.len()));
        };
        let columns = places.by_ref().take(words.len() / length);
        let columns = columns.map(usize::try_from).collect::<Result<Vec<_>, _>>();
        let columns = columns.unwrap_or_default();
        if columns.len() * length != words.len() {
            return wrong("fewer ngram_indexes than sequences");
        }
        all.push(Grams {
            length,
            words: words.to_vec(),
            columns,
        });
    }
    Ok(all)
}

/// How often each sequence of the pool is in a row, with up to so many words between two of its own.
fn term_frequency(cx: &mut Context, node: &Node<'_>) -> Outputs {
    let x = node.input(0)?;
    let bound = |name: &str| -> Result<usize, Refusal> {
        match usize::try_from(node.int(name, 0)?) {
            Ok(bound) if bound <= MOST_STEPS => Ok(bound),
            _ => unsupported(name.to_owned()),
        }
    };
    let (least, most) = (bound("min_gram_length")?, bound("max_gram_length")?);
    let skips = bound("max_skip_count")?;
    let grams = grams(node)?;
    let columns = grams.iter().flat_map(|g| &g.columns).max();
    let columns = columns.map_or(0, |&last| last.saturating_add(1));
    if columns > 1 << 20 || grams.iter().any(|g| g.columns.len() * columns > 1 << 24) {
        return unsupported(format!("{columns} columns"));
    }
    let shape = cx.shape(x)?;
    let (rows, size) = match shape[..] {
        [] => (1, 1),
        [size] => (1, size),
        [rows, size] => (rows, size),
        _ => return wrong(format!("shape {shape:?}")),
    };
    let x = cx.cast(x, DataType::I64)?;
    let x = cx.reshape(x, &[rows, 1, size])?;
    let mut sum = cx.zeros(&[rows, columns], DataType::F32)?;
    for grams in grams.iter().filter(|g| (least..=most).contains(&g.length)) {
        let count = grams.columns.len();
        // Words that stand alone have nothing between them.
        let distances = if grams.length == 1 { 1 } else { skips + 1 };
        for distance in 1..=distances {
            let reach = distance * (grams.length - 1);
            let Some(starts) = size.checked_sub(reach).filter(|&n| n > 0 && count > 0) else {
                continue;
            };
            let mut found: Option<Value> = None;
            for at in 0..grams.length {
                let words: Vec<i64> = grams.words[at..]
                    .iter()
                    .step_by(grams.length)
                    .copied()
                    .collect();
                let words = cx.integers(&[1, count, 1], &words)?;
                let part = cx.slice(x, 2, at * distance, starts)?;
                let here = cx.compare(Compare::Equal, part, words)?;
                found = Some(match found {
                    Some(found) => cx.logical(Logical::And, found, here)?,
                    None => here,
                });
            }
            let Some(found) = found else { continue };
            let found = cx.cast(found, DataType::F32)?;
            let counts = cx.reduce(ReduceKind::Sum, found, &[2], false)?;
            let mut places = vec![0.0; count * columns];
            for (gram, &column) in grams.columns.iter().enumerate() {
                places[gram * columns + column] = 1.0;
            }
            let places = cx.floats(&[count, columns], &places)?;
            let placed = cx.matmul(counts, places)?;
            sum = cx.add(sum, placed)?;
        }
    }
    let weights = node.floats("weights")?;
    let weights = match weights {
        Some(weights) if weights.len() < columns => {
            return wrong(format!("{} weights for {columns} columns", weights.len()));
        }
        Some(weights) => Some(cx.floats(&[1, columns], &weights[..columns])?),
        None => None,
    };
    let mut y = match node.word("mode", "")?.as_str() {
        "TF" => return one(shaped(cx, sum, &shape, columns)),
        "TFIDF" => sum,
        "IDF" => {
            let some = cx.compare_with(Compare::Greater, sum, 0.0)?;
            cx.cast(some, DataType::F32)?
        }
        other => return wrong(format!("mode {other:?}")),
    };
    if let Some(weights) = weights {
        y = cx.binary(Binary::Mul, y, weights)?;
    }
    one(shaped(cx, y, &shape, columns))
}

/// One row has no dimension of its own.
fn shaped(cx: &mut Context, y: Value, shape: &[usize], columns: usize) -> Result<Value, Refusal> {
    match shape.len() {
        2 => Ok(y),
        _ => cx.reshape(y, &[columns]),
    }
}
