//! Which tokens of a decoder's run count. Runs are of few sizes, and what a chunk of tokens does not fill is filled up; the
//! last of the positions that logits are wanted of is the last token.

use fewbit_engine::graph::op::{Binary, Compare, CumulativeSum, Logical, Reduce, ReduceKind};
use fewbit_engine::graph::{Dim, GraphBuilder, GraphError, Op, ValueId};
use fewbit_engine::tensor::Tensor;

type Built = Result<ValueId, GraphError>;

/// u8 `[batch, tokens]`: 0 for what is behind the last token of each row. `rows [rows]` (i32) are the wanted ones of the
/// `batch · tokens` positions, at least one in each row.
pub(crate) fn tokens_that_count(b: &mut GraphBuilder, rows: ValueId) -> Built {
    let last = last_tokens(b, rows)?;
    up_to(b, last, "tokens")
}

/// u8 `[batch, capacity]`: 1 for the tokens before the run and those of it that count.
pub(crate) fn tokens_so_far(b: &mut GraphBuilder, rows: ValueId, position: ValueId) -> Built {
    let last = last_tokens(b, rows)?;
    let last = b.add_values(position, last)?;
    up_to(b, last, "capacity")
}

/// The last wanted position of each row of the batch, i32 `[batch]`.
fn last_tokens(b: &mut GraphBuilder, rows: ValueId) -> Built {
    let [batch, wanted] = [Dim::symbol("batch"), Dim::symbol("rows")];
    let size = length(b, Dim::symbol("tokens"))?;
    let start = counted(b, batch.clone())?;
    let start = b.mul(start, size)?;
    let start = b.reshape(start, vec![batch, Dim::from(1)])?;
    let end = b.add_values(start, size)?;
    let rows = b.reshape(rows, vec![Dim::from(1), wanted])?;
    let after = b.op(Op::Compare(Compare::GreaterOrEqual), &[rows, start])?;
    let before = b.op(Op::Compare(Compare::Lesser), &[rows, end])?;
    let own = b.op(Op::Logical(Logical::And), &[after, before])?;
    let place = b.op(Op::Binary(Binary::Sub), &[rows, start])?;
    let first = integers(b, &[1, 1], &[0])?;
    let place = b.op(Op::Where, &[own, place, first])?;
    let last = Reduce {
        kind: ReduceKind::Max,
        axes: vec![1],
        keep_dimensions: false,
    };
    b.op(Op::Reduce(last), &[place])
}

/// For each row, 1 up to its `last` place and 0 behind it.
fn up_to(b: &mut GraphBuilder, last: ValueId, size: &str) -> Built {
    let last = b.reshape(last, vec![Dim::symbol("batch"), Dim::from(1)])?;
    let places = counted(b, Dim::symbol(size))?;
    let places = b.reshape(places, vec![Dim::from(1), Dim::symbol(size)])?;
    b.op(Op::Compare(Compare::LesserOrEqual), &[places, last])
}

/// How large a dimension is, i32 `[1]`.
pub(crate) fn length(b: &mut GraphBuilder, size: Dim) -> Built {
    let one = integers(b, &[1], &[1])?;
    let ones = b.expand(one, vec![size])?;
    let sum = Reduce {
        kind: ReduceKind::Sum,
        axes: vec![0],
        keep_dimensions: true,
    };
    b.op(Op::Reduce(sum), &[ones])
}

/// `0, 1, …` in i32, so many.
pub(crate) fn counted(b: &mut GraphBuilder, count: Dim) -> Built {
    let one = integers(b, &[1], &[1])?;
    let ones = b.expand(one, vec![count])?;
    let sum = CumulativeSum {
        axis: 0,
        exclusive: true,
        reversed: false,
    };
    b.op(Op::CumulativeSum(sum), &[ones])
}

pub(crate) fn integers(b: &mut GraphBuilder, shape: &[usize], values: &[i32]) -> Built {
    let tensor = Tensor::from_i32(shape, values);
    Ok(b.constant(tensor.map_err(|e| GraphError::Fold(e.to_string()))?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use fewbit_engine::backend::cpu::reference::{View, evaluate_graph};
    use fewbit_engine::graph::Bindings;
    use fewbit_engine::tensor::DataType;

    use super::*;

    /// Two rows of three tokens in room for five; the first row has one token, the second two.
    #[test]
    fn what_is_behind_the_last_token_does_not_count() {
        let mut b = GraphBuilder::new();
        let input = |b: &mut GraphBuilder, name: &str, size: &str| {
            b.input(name, DataType::I32, vec![Dim::symbol(size)])
                .unwrap()
        };
        let rows = input(&mut b, "rows", "rows");
        let position = input(&mut b, "position", "batch");
        let tokens = tokens_that_count(&mut b, rows).unwrap();
        let so_far = tokens_so_far(&mut b, rows, position).unwrap();
        b.output("tokens", tokens).unwrap();
        b.output("so_far", so_far).unwrap();
        let sizes = [("batch", 2), ("tokens", 3), ("rows", 3), ("capacity", 5)];
        let sizes: Bindings = sizes.map(|(name, size)| (name.to_owned(), size)).into();
        let graph = b.finish().specialize(&sizes).unwrap();
        let rows = Tensor::from_i32(&[3], &[0, 3, 4]).unwrap();
        let position = Tensor::from_i32(&[2], &[2, 0]).unwrap();
        let given: BTreeMap<String, View<'_>> = BTreeMap::from([
            ("rows".to_owned(), View::from(&rows)),
            ("position".to_owned(), View::from(&position)),
        ]);
        let made = evaluate_graph(&graph, &given).unwrap().outputs;
        assert_eq!(made["tokens"].bytes(), [1, 0, 0, 1, 1, 0]);
        assert_eq!(made["so_far"].bytes(), [1, 1, 1, 0, 0, 1, 1, 0, 0, 0]);
    }
}
