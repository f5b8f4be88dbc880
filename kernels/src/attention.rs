//! Scaled dot-product attention with grouped heads over a KV cache.
//!
//! `out[b][i][h] = Σ_j softmax_j(scale · q[b][i][h]·k[b][h / group][j] + bias[b][h][i][j]) · v[b][h / group][j]`
//! over the keys `j` that query `i` sees.
//!
//! A task takes one batch entry, one key/value head and a stretch of queries. Its rows are the queries
//! of all heads of the group, so that keys and values are read once for all of them. Few rows: scores by dot products
//! along the head. Many rows: keys are packed in groups of 16 and scores come from the tiles of the
//! f32 product. In both cases values are multiplied by tiles, in place in the cache.

use crate::threads::{Parallel, Shared};

use super::Kernels;
use super::activations::panels;
use super::norm::softmax_on;
use super::scratch::with_scratch;
use super::simd::{Simd, per_isa};
use super::tile::{COLUMNS, MOST_ROWS, Tile, pack_columns, pack_rows, tile};

/// Rows (queries times heads of the group) of one task.
const ROWS: usize = 96;
/// From so many rows on, packing the keys pays.
const PACK_FROM: usize = 4;

/// Where elements `[batch][head][token]` of a tensor begin, in floats. The head's own
/// dimension is dense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Strides {
    pub batch: usize,
    pub head: usize,
    pub token: usize,
}

impl Strides {
    /// `[batch, token, head, dim]`: what projections make.
    pub fn token_major(tokens: usize, heads: usize, dim: usize) -> Strides {
        Strides {
            batch: tokens * heads * dim,
            head: dim,
            token: heads * dim,
        }
    }

    /// `[batch, head, token, dim]`: KV caches.
    pub fn head_major(heads: usize, tokens: usize, dim: usize) -> Strides {
        Strides {
            batch: heads * tokens * dim,
            head: tokens * dim,
            token: dim,
        }
    }
}

/// Numbers added to the scores; a stride of 0 repeats them along that dimension.
#[derive(Clone, Copy, Debug)]
pub struct Bias<'a> {
    pub data: &'a [f32],
    pub batch: usize,
    pub head: usize,
    pub query: usize,
    pub key: usize,
}

/// An attention's operands.
#[derive(Clone, Copy, Debug)]
pub struct Attention<'a> {
    pub batch: usize,
    /// Queries of each batch entry.
    pub tokens: usize,
    pub heads: usize,
    /// Divides `heads`.
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Keys there are room for.
    pub keys: usize,
    pub q: &'a [f32],
    pub q_strides: Strides,
    pub k: &'a [f32],
    pub k_strides: Strides,
    pub v: &'a [f32],
    pub v_strides: Strides,
    /// For each batch entry how many keys are valid; all `keys` if left out.
    pub lengths: Option<&'a [i32]>,
    /// Query `i` sees keys up to position `starts[batch] + i` only (`starts` of 0 if left out).
    pub causal: bool,
    pub starts: Option<&'a [i32]>,
    pub scale: f32,
    pub bias: Option<Bias<'a>>,
}

impl Attention<'_> {
    /// How many keys query `token` of `batch` sees.
    fn visible(&self, batch: usize, token: usize) -> usize {
        let at = |values: &[i32]| usize::try_from(values[batch]).unwrap_or(0);
        let valid = self.lengths.map_or(self.keys, at).min(self.keys);
        if self.causal {
            valid.min(self.starts.map_or(0, at) + token + 1)
        } else {
            valid
        }
    }

    fn check(&self, strides: Strides, heads: usize, tokens: usize, len: usize) {
        let last = |n: usize, step: usize| n.saturating_sub(1) * step;
        let end = last(self.batch, strides.batch)
            + last(heads, strides.head)
            + last(tokens, strides.token)
            + self.head_dim;
        assert!(end <= len, "{len} floats where attention reads {end}");
    }
}

impl Kernels {
    /// Computes `attention`; queries that see no key get zeros. `out` has the strides `out_strides`.
    ///
    /// # Panics
    /// If a slice is shorter than what strides and sizes reach.
    pub fn attention(
        self,
        parallel: &dyn Parallel,
        attention: &Attention<'_>,
        out: &mut [f32],
        out_strides: Strides,
    ) {
        let a = attention;
        if a.batch * a.tokens * a.heads * a.head_dim == 0 {
            return;
        }
        assert_eq!(a.heads % a.kv_heads, 0, "heads in groups");
        a.check(a.q_strides, a.heads, a.tokens, a.q.len());
        a.check(out_strides, a.heads, a.tokens, out.len());
        if a.keys > 0 {
            a.check(a.k_strides, a.kv_heads, a.keys, a.k.len());
            a.check(a.v_strides, a.kv_heads, a.keys, a.v.len());
        }
        let group = a.heads / a.kv_heads;
        // Small problems are cut finer where there are threads to share them.
        let units = a.batch * a.kv_heads;
        let wanted = (4 * parallel.threads()).div_ceil(units);
        let rows = if parallel.threads() > 1 {
            ROWS.min((a.tokens * group).div_ceil(wanted).max(16))
        } else {
            ROWS
        };
        let stretch = (rows / group).max(1);
        let stretches = a.tokens.div_ceil(stretch);
        let out = Shared::new(out);
        parallel.run(units * stretches, &|index| {
            let (unit, part) = (index / stretches, stretches - 1 - index % stretches);
            let first = part * stretch;
            let job = Job {
                batch: unit / a.kv_heads,
                kv_head: unit % a.kv_heads,
                group,
                first,
                tokens: stretch.min(a.tokens - first),
                out,
                out_strides,
            };
            // The ISA is available, slices reach far enough, tasks write different queries' outputs.
            with_scratch(scratch_floats(a, &job), |scratch| unsafe {
                attend(self.isa, a, &job, scratch);
            });
        });
    }
}

struct Job {
    batch: usize,
    kv_head: usize,
    group: usize,
    first: usize,
    tokens: usize,
    out: Shared<f32>,
    out_strides: Strides,
}

impl Job {
    /// Query and head of a row.
    fn row(&self, row: usize) -> (usize, usize) {
        (
            self.first + row / self.group,
            self.kv_head * self.group + row % self.group,
        )
    }
}

/// Floats that [`attend_on`] splits up.
fn scratch_floats(a: &Attention<'_>, job: &Job) -> usize {
    let rows = job.tokens * job.group;
    let keys = a.visible(job.batch, job.first + job.tokens - 1);
    let padded = a.head_dim.next_multiple_of(COLUMNS);
    2 * rows * a.head_dim
        + a.head_dim * COLUMNS
        + rows * keys.next_multiple_of(COLUMNS)
        + MOST_ROWS * (keys + padded)
        + keys * COLUMNS
}

per_isa! { unsafe fn attend(a: &Attention<'_>, job: &Job, scratch: &mut [f32]) = attend_on }

#[inline(always)]
unsafe fn attend_on<S: Simd>(a: &Attention<'_>, job: &Job, scratch: &mut [f32]) {
    let rows = job.tokens * job.group;
    let keys = a.visible(job.batch, job.first + job.tokens - 1);
    let width = keys.next_multiple_of(COLUMNS);
    let dim = a.head_dim;
    let padded = dim.next_multiple_of(COLUMNS);
    let (q, rest) = scratch.split_at_mut(rows * dim);
    let (packed_q, rest) = rest.split_at_mut(rows * dim);
    let (packed_keys, rest) = rest.split_at_mut(dim * COLUMNS);
    let (scores, rest) = rest.split_at_mut(rows * width);
    let (packed, rest) = rest.split_at_mut(MOST_ROWS * keys);
    let (sums, packed_values) = rest.split_at_mut(MOST_ROWS * padded);
    unsafe {
        for (row, q) in q.chunks_exact_mut(dim).enumerate() {
            let (token, head) = job.row(row);
            let s = a.q_strides;
            let from = job.batch * s.batch + head * s.head + token * s.token;
            for (q, x) in q.iter_mut().zip(&a.q[from..]) {
                *q = x * a.scale;
            }
        }
        let s = a.k_strides;
        let k = a.k[job.batch * s.batch + job.kv_head * s.head..].as_ptr();
        if rows < PACK_FROM {
            dot_scores::<S>(q, dim, k, s.token, keys, scores, width);
        } else {
            tiled_scores::<S>(
                q,
                dim,
                k,
                s.token,
                keys,
                scores,
                width,
                packed_keys,
                packed_q,
            );
        }
        weigh::<S>(a, job, scores, width);
        let s = a.v_strides;
        let v = a.v[job.batch * s.batch + job.kv_head * s.head..].as_ptr();
        for (first, taken) in panels(rows, S::ROWS) {
            pack_rows(
                scores[first * width..].as_ptr(),
                width,
                taken,
                keys,
                packed.as_mut_ptr(),
            );
            for column in (0..dim).step_by(COLUMNS) {
                let columns = COLUMNS.min(dim - column);
                let (b, b_step) = if columns == COLUMNS {
                    (v.add(column), s.token)
                } else {
                    for (key, to) in packed_values.chunks_exact_mut(COLUMNS).enumerate() {
                        let from = v.add(key * s.token + column);
                        to[..columns].copy_from_slice(std::slice::from_raw_parts(from, columns));
                        to[columns..].fill(0.0);
                    }
                    (packed_values.as_ptr(), COLUMNS)
                };
                tile::<S>(
                    taken,
                    Tile {
                        k: keys,
                        a: packed.as_ptr(),
                        b,
                        b_step,
                        c: sums.as_mut_ptr().add(column),
                        c_step: padded,
                        add: false,
                    },
                );
            }
            for (row, sums) in sums.chunks_exact(padded).take(taken).enumerate() {
                let (token, head) = job.row(first + row);
                let s = job.out_strides;
                let at = job.batch * s.batch + head * s.head + token * s.token;
                std::ptr::copy_nonoverlapping(sums.as_ptr(), job.out.at(at), dim);
            }
        }
    }
}

/// Scores of few rows: one dot product a row and key.
#[inline(always)]
unsafe fn dot_scores<S: Simd>(
    q: &[f32],
    dim: usize,
    k: *const f32,
    step: usize,
    keys: usize,
    scores: &mut [f32],
    width: usize,
) {
    let whole = dim / S::LANES * S::LANES;
    for key in 0..keys {
        let k = k.wrapping_add(key * step);
        for (q, scores) in q.chunks_exact(dim).zip(scores.chunks_exact_mut(width)) {
            let q = q.as_ptr();
            unsafe {
                let mut sums = [S::splat(0.0); 2];
                let mut i = 0;
                while i + 2 * S::LANES <= whole {
                    sums[0] = S::mul_add(S::load(q.add(i)), S::load(k.add(i)), sums[0]);
                    let i2 = i + S::LANES;
                    sums[1] = S::mul_add(S::load(q.add(i2)), S::load(k.add(i2)), sums[1]);
                    i += 2 * S::LANES;
                }
                if i < whole {
                    sums[0] = S::mul_add(S::load(q.add(i)), S::load(k.add(i)), sums[0]);
                }
                let mut score = S::sum(S::add(sums[0], sums[1]));
                for i in whole..dim {
                    score += *q.add(i) * *k.add(i);
                }
                scores[key] = score;
            }
        }
    }
}

/// Scores of many rows: 16 keys at a time as the columns of a product.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn tiled_scores<S: Simd>(
    q: &[f32],
    dim: usize,
    k: *const f32,
    step: usize,
    keys: usize,
    scores: &mut [f32],
    width: usize,
    packed_keys: &mut [f32],
    packed_q: &mut [f32],
) {
    let rows = q.len() / dim;
    for (first, taken) in panels(rows, S::ROWS) {
        let at = first * dim;
        unsafe {
            pack_rows(
                q[at..].as_ptr(),
                dim,
                taken,
                dim,
                packed_q[at..].as_mut_ptr(),
            )
        };
    }
    for key in (0..keys).step_by(COLUMNS) {
        let columns = COLUMNS.min(keys - key);
        let k = k.wrapping_add(key * step);
        unsafe { pack_columns(k, step, columns, dim, packed_keys.as_mut_ptr()) };
        for (first, taken) in panels(rows, S::ROWS) {
            let product = Tile {
                k: dim,
                a: packed_q[first * dim..].as_ptr(),
                b: packed_keys.as_ptr(),
                b_step: COLUMNS,
                c: scores[first * width + key..].as_mut_ptr(),
                c_step: width,
                add: false,
            };
            unsafe { tile::<S>(taken, product) };
        }
    }
}

/// Bias and softmax over the visible keys of each row; zeros beyond.
#[inline(always)]
unsafe fn weigh<S: Simd>(a: &Attention<'_>, job: &Job, scores: &mut [f32], width: usize) {
    if width == 0 {
        return;
    }
    for (row, scores) in scores.chunks_exact_mut(width).enumerate() {
        let (token, head) = job.row(row);
        let (seen, unseen) = scores.split_at_mut(a.visible(job.batch, token));
        if let Some(bias) = &a.bias {
            let at = job.batch * bias.batch + head * bias.head + token * bias.query;
            for (key, score) in seen.iter_mut().enumerate() {
                *score += bias.data[at + key * bias.key];
            }
        }
        if !seen.is_empty() {
            unsafe { softmax_on::<S>(seen) };
        }
        unseen.fill(0.0);
    }
}
