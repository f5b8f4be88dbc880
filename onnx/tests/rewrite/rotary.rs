//! Rotary embeddings.

use fewbit_engine::graph::op::{Binary, Unary};
use fewbit_engine::graph::{Dim, Op, ValueId};

use crate::draft::Draft;

/// What differs from the pattern.
#[derive(Clone, Copy, PartialEq)]
enum Differs {
    Nothing,
    /// Cosines of one row for all of a batch.
    OneRow,
    /// The first half is negated, not the second.
    Sign,
    /// The halves of the angles are not the same.
    Angles,
    /// What is turned is something else.
    Other,
}

fn half_of(d: &mut Draft, x: ValueId, start: usize) -> ValueId {
    d.b.slice_axis(x, 3, Dim::from(start), Dim::from(2))
        .unwrap()
}

/// `x [2, 3, 5, 4]` turned by angles of each token.
fn rotated(differs: Differs, half: bool) -> Vec<&'static str> {
    let mut d = Draft::of(half);
    let x = d.input(&[2, 5, 3, 4]);
    let rows = if differs == Differs::OneRow { 1 } else { 2 };
    let (angles, more) = (d.input(&[rows, 5, 2]), d.input(&[rows, 5, 2]));
    let other = d.input(&[2, 3, 5, 4]);
    let x = d.transpose(x, &[0, 2, 1, 3]);
    let second = match differs {
        Differs::Angles => more,
        _ => angles,
    };
    let angles = d.b.concat(&[angles, second], 2).unwrap();
    let mut tables = [Unary::Cos, Unary::Sin].map(|op| d.unary(op, angles));
    for table in &mut tables {
        let scaled = d.with(Binary::Mul, *table, 1.0);
        let shape = [rows, 1, 5, 4].map(Dim::from).to_vec();
        *table = d.b.op(Op::Reshape { shape }, &[scaled]).unwrap();
    }
    let source = if differs == Differs::Other { other } else { x };
    let (first, second) = (half_of(&mut d, source, 0), half_of(&mut d, source, 2));
    let parts = match differs {
        Differs::Sign => [second, d.unary(Unary::Neg, first)],
        _ => [d.unary(Unary::Neg, second), first],
    };
    let turned = d.b.concat(&parts, 3).unwrap();
    let straight = d.mul(x, tables[0]);
    let across = d.mul(turned, tables[1]);
    let y = d.add(straight, across);
    d.rewritten(y)
}

#[test]
fn halves_that_are_turned_by_the_same_angles() {
    for differs in [Differs::Nothing, Differs::OneRow] {
        for half in [false, true] {
            let ops = rotated(differs, half);
            assert!(
                ops.contains(&"rotary_embedding") && !ops.contains(&"neg"),
                "{half}: {ops:?}"
            );
        }
    }
}

#[test]
fn what_is_not_quite_a_rotation_is_left_alone() {
    for differs in [Differs::Sign, Differs::Angles, Differs::Other] {
        assert!(!rotated(differs, false).contains(&"rotary_embedding"));
        assert!(!rotated(differs, true).contains(&"rotary_embedding"));
    }
}

#[test]
fn transpositions_that_undo_each_other_are_gone() {
    let mut d = Draft::default();
    let x = d.input(&[2, 3, 4]);
    let y = d.transpose(x, &[1, 2, 0]);
    let y = d.transpose(y, &[2, 0, 1]);
    let y = d.unary(Unary::Abs, y);
    assert_eq!(d.rewritten(y), ["abs"]);

    let mut d = Draft::default();
    let x = d.input(&[2, 3, 4]);
    let y = d.transpose(x, &[1, 2, 0]);
    let y = d.transpose(y, &[1, 2, 0]);
    assert_eq!(d.rewritten(y), ["transpose", "transpose"]);
}
