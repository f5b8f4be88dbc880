//! Attention over plain keys and over a state that grows, rotary embedding.

use super::*;
use crate::graph::op::Attention;

struct Shapes {
    batch: usize,
    tokens: usize,
    heads: usize,
    kv_heads: usize,
    keys: usize,
    size: usize,
}

/// Plain loops; `positions` if causal.
fn expected(
    s: &Shapes,
    [q, k, v]: [&[f32]; 3],
    scale: f32,
    positions: Option<&[i32]>,
    bias: Option<&dyn Fn(usize, usize, usize, usize) -> f32>,
) -> Vec<f32> {
    let mut y = vec![0.0; s.batch * s.tokens * s.heads * s.size];
    for b in 0..s.batch {
        for t in 0..s.tokens {
            for h in 0..s.heads {
                let q_at = ((b * s.tokens + t) * s.heads + h) * s.size;
                let kv_at = (b * s.kv_heads + h / (s.heads / s.kv_heads)) * s.keys * s.size;
                let seen = positions.map_or(s.keys, |p| (p[b] as usize + t + 1).min(s.keys));
                let scores: Vec<f32> = (0..seen)
                    .map(|j| {
                        let dot: f32 = (0..s.size)
                            .map(|d| q[q_at + d] * k[kv_at + j * s.size + d])
                            .sum();
                        dot * scale + bias.map_or(0.0, |bias| bias(b, h, t, j))
                    })
                    .collect();
                let most = scores.iter().copied().fold(f32::MIN, f32::max);
                let weights: Vec<f32> = scores.iter().map(|s| (s - most).exp()).collect();
                let sum: f32 = weights.iter().sum();
                for d in 0..s.size {
                    y[q_at + d] = (0..seen)
                        .map(|j| weights[j] * v[kv_at + j * s.size + d])
                        .sum::<f32>()
                        / sum;
                }
            }
        }
    }
    y
}

#[test]
fn grouped_query_attention_with_bias_and_position() {
    for gpu in &mut gpus() {
        for (tokens, heads, kv_heads, keys, size) in [
            (1, 9, 3, 70, 64),
            (5, 4, 4, 5, 12),
            (3, 6, 2, 131, 6),
            (17, 2, 1, 67, 128),
            (2, 1, 1, 3, 320),
        ] {
            let s = Shapes {
                batch: 2,
                tokens,
                heads,
                kv_heads,
                keys,
                size,
            };
            let mut random = Random(keys as u64);
            let q = random.tensor(&[2, tokens, heads, size]);
            let k = random.tensor(&[2, kv_heads, keys, size]);
            let v = random.tensor(&[2, kv_heads, keys, size]);
            let bias = random.tensor(&[2, 1, tokens, keys]);
            let positions = [(keys - tokens) as i32, 0];
            let scale = 3.0 / (size as f32).sqrt();
            for (causal, with_bias) in [(false, false), (true, false), (false, true), (true, true)]
            {
                let mut case = Case::default();
                let mut inputs = vec![q.clone(), k.clone(), v.clone()];
                if causal {
                    inputs.push(Tensor::from_i32(&[2], &positions).unwrap());
                }
                if with_bias {
                    inputs.push(bias.clone());
                }
                let ids: Vec<_> = inputs.into_iter().map(|t| case.input(t)).collect();
                let op = crate::graph::Op::Attention(Attention {
                    scale,
                    causal,
                    bias: with_bias,
                });
                let y = case.builder.op(op, &ids).unwrap();
                let y = case.run(gpu, y).unwrap();
                let values = bias.as_f32().unwrap();
                let bias =
                    |b: usize, _: usize, t: usize, j: usize| values[(b * tokens + t) * keys + j];
                let expected = expected(
                    &s,
                    [&q, &k, &v].map(|t| t.as_f32().unwrap()),
                    scale,
                    causal.then_some(&positions),
                    with_bias.then_some(&bias),
                );
                let what = format!("size {size} causal {causal} {:?}", gpu.path());
                compare(&what, y.as_f32().unwrap(), &expected);
            }
        }
    }
}

/// A state is appended to, grown, appended to again, and read by attention each time.
#[test]
fn a_state_keeps_what_was_appended_when_it_grows() {
    let (heads, kv_heads, size) = (4, 2, 8);
    for gpu in &mut gpus() {
        let mut random = Random(5);
        let mut k_all = vec![Vec::new(); kv_heads];
        let mut states = None;
        let mut position = 0;
        for (tokens, capacity) in [(3, 4), (1, 4), (5, 16)] {
            let new = random.tensor(&[1, tokens, kv_heads, size]);
            let q = random.tensor(&[1, tokens, heads, size]);
            for (i, vector) in new.as_f32().unwrap().chunks(size).enumerate() {
                k_all[i % kv_heads].extend_from_slice(vector);
            }
            let mut case = Case::default();
            let new_id = case.input(new);
            let q_id = case.input(q.clone());
            let at = case.input(Tensor::from_i32(&[1], &[position as i32]).unwrap());
            let state = case.state(&[1, kv_heads, capacity, size]);
            let kv = case.builder.kv_append(state, new_id, at).unwrap();
            let op = crate::graph::Op::Attention(Attention {
                scale: 0.5,
                causal: true,
                bias: false,
            });
            let y = case.builder.op(op, &[q_id, kv, kv, at]).unwrap();
            if states.is_some() {
                case.states.clear();
            }
            let mut loaded = case.load(gpu, y).unwrap();
            let ids = states.get_or_insert_with(|| loaded.state_ids.clone());
            loaded.state_ids = ids.clone();
            if capacity == 16 {
                gpu.grow_state(ids["state0"], 2, 16).unwrap();
            }
            let y = loaded.run(gpu).unwrap();
            position += tokens;
            let dense = k_all.concat();
            let s = Shapes {
                batch: 1,
                tokens,
                heads,
                kv_heads,
                keys: position,
                size,
            };
            let start = [(position - tokens) as i32];
            let expected = expected(
                &s,
                [q.as_f32().unwrap(), &dense, &dense],
                0.5,
                Some(&start),
                None,
            );
            compare("attention", y.as_f32().unwrap(), &expected);
        }
        assert_eq!(gpu.memory().states, 16 * 16 * 4);
    }
}

#[test]
fn rotary_embedding_turns_pairs() {
    let (batch, tokens, heads, size) = (2, 5, 3, 10);
    for gpu in &mut gpus() {
        for interleaved in [false, true] {
            for half in [5, 3] {
                let mut random = Random(9);
                let x = random.tensor(&[batch, tokens, heads, size]);
                let cos = random.tensor(&[20, half]);
                let sin = random.tensor(&[20, half]);
                let positions = [4, 11];
                let mut case = Case::default();
                let ids = [
                    x.clone(),
                    cos.clone(),
                    sin.clone(),
                    Tensor::from_i32(&[batch], &positions).unwrap(),
                ]
                .map(|tensor| case.input(tensor));
                let op = crate::graph::op::RotaryEmbedding { interleaved };
                let y = case
                    .builder
                    .op(crate::graph::Op::RotaryEmbedding(op), &ids)
                    .unwrap();
                let y = case.run(gpu, y).unwrap();
                let (x, c, s) = (
                    x.as_f32().unwrap(),
                    cos.as_f32().unwrap(),
                    sin.as_f32().unwrap(),
                );
                let mut expected = x.to_vec();
                for (i, head) in expected.chunks_mut(size).enumerate() {
                    let token = i / heads;
                    let row = positions[token / tokens] as usize + token % tokens;
                    for p in 0..half {
                        let (a, b) = if interleaved {
                            (2 * p, 2 * p + 1)
                        } else {
                            (p, p + half)
                        };
                        let (x, y) = (head[a], head[b]);
                        let (c, s) = (c[row * half + p], s[row * half + p]);
                        head[a] = x * c - y * s;
                        head[b] = y * c + x * s;
                    }
                }
                compare("rotary", y.as_f32().unwrap(), &expected);
            }
        }
    }
}
