//! Rotary embedding, attention, and a KV state over several runs.

use super::draw::Random;
use super::{Case, Draft, dims};
use crate::graph::Op;
use crate::graph::op::{Attention, RotaryEmbedding};
use crate::tensor::{DataType, Tensor};

pub(super) fn cases() -> Vec<Case> {
    let mut cases = rotary();
    cases.extend(attention());
    cases.extend(with_states());
    cases
}

fn positions(values: &[i32]) -> Tensor {
    Tensor::from_i32(&[values.len()], values).expect("a vector")
}

fn rotary() -> Vec<Case> {
    let mut cases = Vec::new();
    for interleaved in [false, true] {
        for (shape, half) in [([2, 3, 2, 8], 4), ([1, 1, 9, 64], 32), ([1, 5, 3, 10], 3)] {
            let mut random = Random::new(50);
            let start: Vec<i32> = (0..shape[0] as i32).map(|b| 4 * b).collect();
            let inputs = vec![
                random.tensor(&shape),
                random.tensor(&[12, half]),
                random.tensor(&[12, half]),
                positions(&start),
            ];
            let name = format!("rotary_embedding {shape:?} {half} interleaved {interleaved}");
            let op = Op::RotaryEmbedding(RotaryEmbedding { interleaved });
            cases.push(Draft::of(name, op, inputs));
        }
    }
    cases
}

fn attention() -> Vec<Case> {
    let mut cases = Vec::new();
    for (tokens, heads, kv_heads, keys, size) in [
        (1, 9, 3, 70, 64),
        (5, 4, 4, 5, 12),
        (3, 6, 2, 131, 6),
        (17, 2, 1, 67, 32),
        (40, 2, 2, 40, 16),
        (1, 1, 1, 1, 3),
    ] {
        for (causal, bias) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut random = Random::new(keys as u64);
            let mut inputs = vec![
                random.tensor(&[2, tokens, heads, size]),
                random.tensor(&[2, kv_heads, keys, size]),
                random.tensor(&[2, kv_heads, keys, size]),
            ];
            if causal {
                inputs.push(positions(&[(keys - tokens) as i32, 0]));
            }
            if bias {
                inputs.push(random.tensor(&[2, 1, 1, keys]));
            }
            let op = Op::Attention(Attention {
                scale: 2.0 / (size as f32).sqrt(),
                causal,
                bias,
            });
            let name = format!(
                "attention tokens {tokens} heads {heads}/{kv_heads} keys {keys} size {size} causal {causal} bias {bias}"
            );
            cases.push(Draft::of(name, op, inputs));
        }
    }
    cases
}

/// New keys and values appended to states, then attention over them, for a prefill and three steps.
fn with_states() -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, tokens, heads, kv_heads, size, capacity) in [
        (1, 1, 4, 2, 8, 8),
        (1, 3, 9, 3, 64, 16),
        (2, 2, 2, 1, 16, 9),
    ] {
        let mut draft = Draft::new(format!(
            "kv_append and attention, batch {batch} tokens {tokens} heads {heads}/{kv_heads} size {size} capacity {capacity}"
        ));
        let mut random = Random::new(51);
        let data = |random: &mut Random, position: i32| {
            let start: Vec<i32> = (0..batch as i32).map(|b| position + b).collect();
            vec![
                random.tensor(&[batch, tokens, heads, size]),
                random.tensor(&[batch, tokens, kv_heads, size]),
                random.tensor(&[batch, tokens, kv_heads, size]),
                positions(&start),
            ]
        };
        let ids: Vec<_> = data(&mut random, 0)
            .into_iter()
            .map(|tensor| draft.input(tensor))
            .collect();
        let names: Vec<String> = draft.inputs.iter().map(|(name, _)| name.clone()).collect();
        let shape = dims(&[batch, kv_heads, capacity, size]);
        let appended = |draft: &mut Draft, name: &str, new| {
            let state = draft.builder.state(name, DataType::F32, shape.clone());
            let state = state.expect("states have different names");
            draft.op(Op::KvAppend, &[state, new, ids[3]])
        };
        let k = appended(&mut draft, "keys", ids[1]);
        let v = appended(&mut draft, "values", ids[2]);
        let op = Op::Attention(Attention {
            scale: 0.5,
            causal: true,
            bias: false,
        });
        let y = draft.op(op, &[ids[0], k, v, ids[3]]);
        let runs = (0..4)
            .map(|run| {
                let tensors = data(&mut random, (run * tokens) as i32);
                names.iter().cloned().zip(tensors).collect()
            })
            .collect();
        cases.push(draft.case_of_runs(y, runs));
    }
    cases
}
