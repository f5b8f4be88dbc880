//! Attention against the formula, over caches and plain keys, and rotary embedding.

use fewbit_kernels::threads::{Parallel, Serial};
use fewbit_kernels::{Attention, Bias, Rotary, Strides};

use super::random::Random;
use super::{assert_close, on_each};

struct ThreeTasksAtATime;

impl Parallel for ThreeTasksAtATime {
    fn threads(&self) -> usize {
        3
    }

    fn run(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        Serial.run(tasks, task);
    }
}

fn formula(a: &Attention<'_>) -> Vec<f64> {
    let mut out = vec![0f64; a.batch * a.tokens * a.heads * a.head_dim];
    for b in 0..a.batch {
        let valid = a.lengths.map_or(a.keys, |l| l[b] as usize);
        for i in 0..a.tokens {
            for h in 0..a.heads {
                let kv = h / (a.heads / a.kv_heads);
                let seen = match a.causal {
                    true => valid.min(a.starts.map_or(0, |s| s[b] as usize) + i + 1),
                    false => valid,
                };
                let q =
                    &a.q[b * a.q_strides.batch + h * a.q_strides.head + i * a.q_strides.token..];
                let at = |s: Strides, j: usize| b * s.batch + kv * s.head + j * s.token;
                let scores: Vec<f64> = (0..seen)
                    .map(|j| {
                        let k = &a.k[at(a.k_strides, j)..];
                        let dot: f64 = (0..a.head_dim)
                            .map(|d| f64::from(q[d]) * f64::from(k[d]))
                            .sum();
                        let bias = a.bias.map_or(0.0, |bias| {
                            bias.data
                                [b * bias.batch + h * bias.head + i * bias.query + j * bias.key]
                        });
                        dot * f64::from(a.scale) + f64::from(bias)
                    })
                    .collect();
                let largest = scores.iter().fold(f64::NEG_INFINITY, |a, &b| a.max(b));
                let sum: f64 = scores.iter().map(|s| (s - largest).exp()).sum();
                for (j, score) in scores.iter().enumerate() {
                    let weight = (score - largest).exp() / sum;
                    for d in 0..a.head_dim {
                        out[((b * a.tokens + i) * a.heads + h) * a.head_dim + d] +=
                            weight * f64::from(a.v[at(a.v_strides, j) + d]);
                    }
                }
            }
        }
    }
    out
}

#[test]
fn random_attentions() {
    on_each(|kernels| {
        let mut random = Random::new(21);
        for case in 0..60 {
            let batch = 1 + random.below(2);
            let tokens = [1, 1, 2, 5, 40, 130][random.below(6)];
            let kv_heads = 1 + random.below(3);
            let heads = kv_heads * (1 + random.below(3));
            let head_dim = [8, 12, 16, 32, 64, 20][random.below(6)];
            let past = random.below(50);
            let keys = past + tokens + random.below(5);
            let q = random.floats(batch * tokens * heads * head_dim);
            let k = random.floats(batch * kv_heads * keys * head_dim);
            let v = random.floats(batch * kv_heads * keys * head_dim);
            let lengths: Vec<i32> = (0..batch)
                .map(|_| (keys - random.below(tokens.min(4))) as i32)
                .collect();
            let starts: Vec<i32> = (0..batch).map(|_| random.below(past + 1) as i32).collect();
            let mut bias = random.floats(heads * tokens * keys);
            for x in &mut bias {
                *x = match random.below(4) {
                    0 => f32::NEG_INFINITY,
                    1 => -1e9,
                    _ => *x,
                };
            }
            // Each row keeps a key it may look at.
            for row in bias.chunks_exact_mut(keys) {
                row[0] = 0.5;
            }
            let head_major = random.below(2) == 0;
            let kv_strides = match head_major {
                true => Strides::head_major(kv_heads, keys, head_dim),
                false => Strides::token_major(keys, kv_heads, head_dim),
            };
            let attention = Attention {
                batch,
                tokens,
                heads,
                kv_heads,
                head_dim,
                keys,
                q: &q,
                q_strides: Strides::token_major(tokens, heads, head_dim),
                k: &k,
                k_strides: kv_strides,
                v: &v,
                v_strides: kv_strides,
                lengths: (random.below(2) == 0).then_some(&lengths[..]),
                causal: random.below(2) == 0,
                starts: (random.below(3) > 0).then_some(&starts[..]),
                scale: 3.0 / (head_dim as f32).sqrt(),
                bias: (random.below(2) == 0).then_some(Bias {
                    data: &bias,
                    batch: 0,
                    head: tokens * keys,
                    query: keys,
                    key: 1,
                }),
            };
            let want = formula(&attention);
            let out_strides = attention.q_strides;
            for parallel in [&Serial as &dyn Parallel, &ThreeTasksAtATime] {
                let mut got = vec![f32::NAN; want.len()];
                kernels.attention(parallel, &attention, &mut got, out_strides);
                let what = format!("case {case} on {:?}", kernels.isa());
                assert_close(&got, &want, &vec![1.0; want.len()], 5e-6, &what);
            }
        }
    });
}

#[test]
fn one_key_gives_its_value_and_none_gives_zeros() {
    on_each(|kernels| {
        let (q, k, v) = ([1f32; 4], [0.5f32; 8], [1f32, 2., 3., 4., 5., 6., 7., 8.]);
        let strides = Strides::head_major(1, 2, 4);
        for (length, want) in [(1, [1., 2., 3., 4.]), (0, [0.; 4]), (2, [3., 4., 5., 6.])] {
            let attention = Attention {
                batch: 1,
                tokens: 1,
                heads: 1,
                kv_heads: 1,
                head_dim: 4,
                keys: 2,
                q: &q,
                q_strides: Strides::head_major(1, 1, 4),
                k: &k,
                k_strides: strides,
                v: &v,
                v_strides: strides,
                lengths: Some(&[length]),
                causal: false,
                starts: None,
                scale: 1.0,
                bias: None,
            };
            let mut got = [f32::NAN; 4];
            kernels.attention(&Serial, &attention, &mut got, Strides::head_major(1, 1, 4));
            assert_eq!(got, want);
        }
    });
}

#[test]
fn rotary_turns_pairs() {
    // Position 1 turns by 90° the first pair and by 180° the second; position 0 leaves all.
    let (cos, sin) = ([1f32, 1., 0., -1.], [0f32, 0., 1., 0.]);
    let x = [1f32, 2., 3., 4., 5., 6.].repeat(2);
    on_each(|kernels| {
        for (interleaved, turned) in [
            (true, [-2f32, 1., -3., -4., 5., 6.]),
            (false, [-3f32, -2., 1., -4., 5., 6.]),
        ] {
            let rotary = Rotary {
                heads: 1,
                head_dim: 6,
                rotary_dim: 4,
                interleaved,
            };
            let mut out = [0f32; 12];
            kernels.rotary(&Serial, &rotary, &x, &cos, &sin, &[1, 0], &mut out);
            assert_eq!(out[..6], turned);
            assert_eq!(out[6..], x[..6]);
        }
    });
}
