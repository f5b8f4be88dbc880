//! Attention.

use fewbit_engine::graph::op::{Binary, Compare};
use fewbit_engine::graph::{Dim, Op, ValueId};
use fewbit_engine::tensor::DataType;

use crate::draft::Draft;

const BY_HEAD: [usize; 4] = [0, 2, 1, 3];

fn softmax(d: &mut Draft, x: ValueId, axis: usize) -> ValueId {
    d.b.op(Op::Softmax { axis }, &[x]).unwrap()
}

/// The result of each token, `[batch, tokens, heads, size]`.
fn weighted(d: &mut Draft, scores: ValueId, v: ValueId) -> ValueId {
    let weights = softmax(d, scores, 3);
    let y = d.matmul(weights, v);
    d.transpose(y, &BY_HEAD)
}

#[test]
fn scores_that_are_divided_with_a_mask_that_is_added() {
    for half in [false, true] {
        let mut d = Draft::of(half);
        let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, tokens, 3, 4]));
        let mask = d.input(&[2, 1, 1, 7]);
        let q = d.transpose(q, &BY_HEAD);
        let k = d.transpose(k, &[0, 2, 3, 1]);
        let v = d.transpose(v, &BY_HEAD);
        let scores = d.matmul(q, k);
        let scores = d.with(Binary::Div, scores, 2.0);
        let scores = d.add(scores, mask);
        let y = weighted(&mut d, scores, v);
        assert_eq!(d.rewritten(y), ["transpose", "transpose", "attention"]);
    }
}

/// As PyTorch exports `scaled_dot_product_attention`.
#[test]
fn queries_and_keys_that_are_scaled() {
    for half in [false, true] {
        let mut d = Draft::of(half);
        let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, 3, tokens, 4]));
        let k = d.transpose(k, &[0, 1, 3, 2]);
        let q = d.with(Binary::Mul, q, 0.7);
        let k = d.with(Binary::Mul, k, 0.7);
        let scores = d.matmul(q, k);
        let y = weighted(&mut d, scores, v);
        assert_eq!(d.rewritten(y), ["transpose", "attention"]);
    }
}

#[test]
fn weights_that_are_zero_where_they_would_be_nan() {
    for half in [false, true] {
        for zero in [0.0, 0.5] {
            let mut d = Draft::of(half);
            let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, 3, tokens, 4]));
            let k = d.transpose(k, &[0, 1, 3, 2]);
            let scores = d.matmul(q, k);
            let weights = softmax(&mut d, scores, 3);
            let is_nan = d.b.compare(Compare::NotEqual, weights, weights).unwrap();
            let zero_there = d.number(zero);
            let operands = [is_nan, zero_there, weights];
            let weights = d.b.op(Op::Where, &operands).unwrap();
            let y = d.matmul(weights, v);
            let y = d.transpose(y, &BY_HEAD);
            assert_eq!(d.rewritten(y).contains(&"attention"), zero == 0.0);
        }
    }
}

/// As our own exports have a decoder's attention with a bias by distance.
#[test]
fn masked_places_over_a_mask_that_is_added() {
    let mut d = Draft::default();
    let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, 3, tokens, 4]));
    let mask = d.input(&[1, 3, 5, 7]);
    let condition = d.condition(&[2, 1, 5, 7]);
    let k = d.transpose(k, &[0, 1, 3, 2]);
    let scores = d.matmul(q, k);
    let scores = d.add(scores, mask);
    let never = d.number(-1e30);
    let operands = [condition, never, scores];
    let scores = d.b.op(Op::Where, &operands).unwrap();
    let y = weighted(&mut d, scores, v);
    assert_eq!(d.rewritten(y), ["transpose", "where", "attention"]);
}

#[test]
fn masked_places_that_get_a_number_below_all() {
    for half in [false, true] {
        for (is_true, number) in [(true, f32::MIN), (false, f32::NEG_INFINITY)] {
            let mut d = Draft::of(half);
            let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, 3, tokens, 4]));
            let condition = d.condition(&[2, 3, 5, 7]);
            let k = d.transpose(k, &[0, 1, 3, 2]);
            let scores = d.matmul(q, k);
            let never = d.number(number);
            let operands = match is_true {
                true => [condition, never, scores],
                false => [condition, scores, never],
            };
            let scores = d.b.op(Op::Where, &operands).unwrap();
            let y = weighted(&mut d, scores, v);
            assert!(d.rewritten(y).contains(&"attention"), "{is_true}");
        }
    }
}

#[test]
fn heads_of_keys_that_are_repeated_for_a_group() {
    for half in [false, true] {
        let mut d = Draft::of(half);
        let q = d.input(&[2, 6, 5, 4]);
        let [k, v] = [0; 2].map(|_| d.input(&[2, 3, 7, 4]));
        let mut repeated = [k, v];
        for x in &mut repeated {
            let sizes = |sizes: &[usize]| sizes.iter().map(|&size| Dim::from(size)).collect();
            let apart = d.b.reshape(*x, sizes(&[2, 3, 1, 7, 4])).unwrap();
            let spread = d.b.expand(apart, sizes(&[2, 3, 2, 7, 4])).unwrap();
            *x = d.b.reshape(spread, sizes(&[2, 6, 7, 4])).unwrap();
        }
        let k = d.transpose(repeated[0], &[0, 1, 3, 2]);
        let scores = d.matmul(q, k);
        let scores = d.with(Binary::Mul, scores, 0.5);
        let y = weighted(&mut d, scores, repeated[1]);
        assert_eq!(d.rewritten(y), ["transpose", "attention"]);
    }
}

#[test]
fn what_is_not_quite_attention_is_left_alone() {
    // A softmax over the queries.
    let mut d = Draft::default();
    let [q, k, v] = [5, 5, 5].map(|tokens| d.input(&[2, 3, tokens, 4]));
    let turned = d.transpose(k, &[0, 1, 3, 2]);
    let scores = d.matmul(q, turned);
    let weights = softmax(&mut d, scores, 2);
    let y = d.matmul(weights, v);
    let y = d.transpose(y, &BY_HEAD);
    assert!(!d.rewritten(y).contains(&"attention"));

    // A mask by a number that still counts.
    let mut d = Draft::default();
    let [q, k, v] = [5, 5, 5].map(|tokens| d.input(&[2, 3, tokens, 4]));
    let condition = d.condition(&[2, 3, 5, 5]);
    let turned = d.transpose(k, &[0, 1, 3, 2]);
    let scores = d.matmul(q, turned);
    let little = d.number(-3.0);
    let scores = d.b.op(Op::Where, &[condition, little, scores]).unwrap();
    let y = weighted(&mut d, scores, v);
    assert!(!d.rewritten(y).contains(&"attention"));

    // Values of another size than the keys.
    let mut d = Draft::default();
    let [q, k, v] = [4, 4, 6].map(|size| d.input(&[2, 3, 5, size]));
    let turned = d.transpose(k, &[0, 1, 3, 2]);
    let scores = d.matmul(q, turned);
    let y = weighted(&mut d, scores, v);
    assert!(!d.rewritten(y).contains(&"attention"));

    // A scale for each head.
    let mut d = Draft::default();
    let [q, k, v] = [5, 5, 5].map(|tokens| d.input(&[2, 3, tokens, 4]));
    let scale = d.weight(&[3, 1, 1]);
    let turned = d.transpose(k, &[0, 1, 3, 2]);
    let scores = d.matmul(q, turned);
    let scores = d.mul(scores, scale);
    let y = weighted(&mut d, scores, v);
    assert!(!d.rewritten(y).contains(&"attention"));
}

/// Halves whose softmax is computed wide, with a mask next to their least number.
#[test]
fn scores_of_halves_that_are_widened_for_the_softmax() {
    for never in [-65_504.0, -100.0] {
        let mut d = Draft::of(true);
        let [q, k, v] = [5, 7, 7].map(|tokens| d.input(&[2, 3, tokens, 4]));
        let condition = d.condition(&[2, 3, 5, 7]);
        let k = d.transpose(k, &[0, 1, 3, 2]);
        let scores = d.matmul(q, k);
        let scores = d.with(Binary::Mul, scores, 0.5);
        let never_there = d.number(never);
        let operands = [condition, never_there, scores];
        let scores = d.b.op(Op::Where, &operands).unwrap();
        let wide = d.b.cast(scores, DataType::F32).unwrap();
        let weights = softmax(&mut d, wide, 3);
        let weights = d.b.cast(weights, DataType::F16).unwrap();
        let y = d.matmul(weights, v);
        let y = d.transpose(y, &BY_HEAD);
        let found = d.rewritten(y).contains(&"attention");
        assert_eq!(found, never < -6e4, "{never}");
    }
}
