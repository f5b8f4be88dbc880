//! Block-quantized weights times 8-bit activations, `out[m][n] = Σ_k x[m][k]·W[n][k]`.
//!
//! With `w = d·q + m` and `x = e·a`, a block of 32 columns adds `d·(e·Σ q·a) + m·(e·Σ a)`: the first
//! sum is an exact integer dot product, the second comes with the quantized activations.
//!
//! One lane of a vector is one row of `W`. For several tokens a group of 16 rows is unpacked once
//! to scratch memory (which stays in the first-level cache) and multiplied with panel after panel;
//! for one token formats with records are unpacked in registers, since decoding is bound by how fast weights come
//! from memory.

use crate::element::BlockFormat;
use crate::threads::{Parallel, Shared, split};

use super::activations::{RECORD, panels, quantize_panel};
use super::block::{
    BLOCK, Decoded, NIBBLES, QUADS, decode_group, has_bytes, is_long, offset_of, span,
};
use super::linear_long::{dot_long, unpack_long};
use super::scratch::with_scratch;
use super::simd::{Isa, Simd, per_isa};
use super::weights::{GROUP, PackedWeights, has_records};

/// `weights` are of a block format, `x` is `m × k`, `out` `m × n`, `bias` (if any) `n`.
pub(crate) fn linear_i8(
    isa: Isa,
    parallel: &dyn Parallel,
    format: BlockFormat,
    weights: &PackedWeights,
    x: &[f32],
    bias: Option<&[f32]>,
    out: &mut [f32],
) {
    let k = weights.k;
    let m = x.len() / k;
    let most = tile_tokens(isa);
    with_scratch(m * k / BLOCK * RECORD, |quantized| {
        quantize_rows(isa, parallel, x, k, most, quantized);
        let quantized: &[f32] = quantized;
        let out = Shared::new(out);
        split(parallel, weights.groups(), &|groups| {
            let job = Job {
                format,
                weights,
                groups: (groups.start, groups.end),
                x: quantized,
                tokens: m,
                bias,
                out,
            };
            // `isa` is available; the groups of different tasks are different columns of `out`.
            unsafe {
                if m == 1 && has_records(format) {
                    one_token(isa, &job);
                } else {
                    with_scratch(k * GROUP / 4 + 2 * k / span(format) * GROUP, |unpacked| {
                        many_tokens(isa, &job, unpacked)
                    });
                }
            }
        });
    });
}

struct Job<'a> {
    format: BlockFormat,
    weights: &'a PackedWeights,
    groups: (usize, usize),
    /// Panels of quantized activations.
    x: &'a [f32],
    tokens: usize,
    bias: Option<&'a [f32]>,
    out: Shared<f32>,
}

/// The largest tile of `isa`, in tokens: what panels are cut by.
fn tile_tokens(isa: Isa) -> usize {
    use super::simd::*;
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 | Isa::AvxVnni => avx2::Avx2::TOKENS,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::Avx512::TOKENS,
        #[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
        Isa::Wasm => wasm::Wasm::TOKENS,
        _ => portable::Portable::TOKENS,
    }
}

fn quantize_rows(
    isa: Isa,
    parallel: &dyn Parallel,
    x: &[f32],
    k: usize,
    most: usize,
    to: &mut [f32],
) {
    let m = x.len() / k;
    let record = k / BLOCK * RECORD;
    let all: Vec<(usize, usize)> = panels(m, most).collect();
    let to = Shared::new(to);
    let work = |range: std::ops::Range<usize>| {
        for &(first, tokens) in &all[range] {
            // Panel `first` reads its rows of `x` and writes its own part of the scratch memory.
            unsafe {
                quantize_panel(
                    isa,
                    x[first * k..].as_ptr(),
                    tokens,
                    k,
                    to.at(first * record),
                );
            }
        }
    };
    if m * k < 1 << 14 {
        work(0..all.len());
    } else {
        split(parallel, all.len(), &work);
    }
}

per_isa! { unsafe fn one_token(job: &Job<'_>) = one_token_on }

#[inline(always)]
unsafe fn one_token_on<S: Simd>(job: &Job<'_>) {
    unsafe {
        match S::LANES {
            4 => one_token_of::<S, 4>(job),
            8 => one_token_of::<S, 2>(job),
            _ => one_token_of::<S, 1>(job),
        }
    }
}

/// `V` vectors hold a group's rows.
#[inline(always)]
unsafe fn one_token_of<S: Simd, const V: usize>(job: &Job<'_>) {
    for group in job.groups.0..job.groups.1 {
        let records = job.weights.group(group).as_ptr();
        let (x, blocks) = (job.x.as_ptr(), job.weights.k / BLOCK);
        let mut sums = [0f32; GROUP];
        // The group has a record for each block, the panel one of `RECORD` floats.
        unsafe {
            let totals = match job.format {
                BlockFormat::Q4_0 => dot_q4::<S, V, SCALES>(records, x, blocks),
                BlockFormat::Q4_1 => dot_q4::<S, V, MINIMA>(records, x, blocks),
                BlockFormat::Q4Z => dot_q4::<S, V, SINGLE>(records, x, blocks),
                BlockFormat::Q8Z => dot_q8::<S, V, SINGLE>(records, x, blocks),
                format if is_long(format) => dot_long::<S, V>(format, records, x, blocks * BLOCK),
                _ => dot_q8::<S, V, SCALES>(records, x, blocks),
            };
            for (v, total) in totals.into_iter().enumerate() {
                S::store(sums.as_mut_ptr().add(v * S::LANES), total);
            }
            write_columns(job, group, 0, &sums);
        }
    }
}

/// A record's head is 16 scales in f16,
const SCALES: u8 = 0;
/// 16 scales and 16 minima in f16,
const MINIMA: u8 = 1;
/// 16 scales and 16 minima in f32.
const SINGLE: u8 = 2;

const fn head_bytes(head: u8) -> usize {
    match head {
        SCALES => 2 * GROUP,
        MINIMA => 4 * GROUP,
        _ => 8 * GROUP,
    }
}

/// Scales and minima of the lanes from `lane` on; no minima where the head has none.
#[inline(always)]
unsafe fn load_head<S: Simd, const HEAD: u8>(record: *const u8, lane: usize) -> (S::F, S::F) {
    unsafe {
        if HEAD == SINGLE {
            let head = record.cast::<f32>();
            return (S::load(head.add(lane)), S::load(head.add(GROUP + lane)));
        }
        let head = record.cast::<u16>();
        let d = S::load_f16(head.add(lane));
        match HEAD {
            MINIMA => (d, S::load_f16(head.add(GROUP + lane))),
            _ => (d, S::splat(0.0)),
        }
    }
}

/// A group of `q4_0`, `q4_1` or `q4_z`, as the head says, times one row of activations.
#[inline(always)]
unsafe fn dot_q4<S: Simd, const V: usize, const HEAD: u8>(
    mut record: *const u8,
    mut x: *const f32,
    blocks: usize,
) -> [S::F; V] {
    unsafe {
        let head = head_bytes(HEAD);
        let mut totals = [S::splat(0.0); V];
        for _ in 0..blocks {
            let mut sums = [S::no_sums(); V];
            let mut pair = 0;
            while pair < 4 {
                let low = S::load_x(x.cast::<i8>().add(8 * pair));
                let high = S::load_x(x.cast::<i8>().add(8 * pair + 4));
                let mut v = 0;
                while v < V {
                    let w = S::load_i(record.add(head + pair * QUADS + 4 * v * S::LANES));
                    sums[v] = S::dot(sums[v], S::low_nibbles(w), low);
                    sums[v] = S::dot(sums[v], S::high_nibbles(w), high);
                    v += 1;
                }
                pair += 1;
            }
            let (e, e_sum) = (S::splat(*x.add(8)), S::splat(*x.add(9)));
            let mut v = 0;
            while v < V {
                let (d, m) = load_head::<S, HEAD>(record, v * S::LANES);
                let dot = S::mul(S::to_f32(S::total(sums[v])), e);
                if HEAD != SCALES {
                    totals[v] = S::mul_add(m, e_sum, totals[v]);
                    totals[v] = S::mul_add(d, dot, totals[v]);
                } else {
                    let dot = S::mul_add(S::splat(-8.0), e_sum, dot);
                    totals[v] = S::mul_add(d, dot, totals[v]);
                }
                v += 1;
            }
            record = record.add(head + NIBBLES);
            x = x.add(RECORD);
        }
        totals
    }
}

/// A group of `q8_0` or `q8_z`, as the head says, times one row of activations.
#[inline(always)]
unsafe fn dot_q8<S: Simd, const V: usize, const HEAD: u8>(
    mut record: *const u8,
    mut x: *const f32,
    blocks: usize,
) -> [S::F; V] {
    unsafe {
        let head = head_bytes(HEAD);
        let mut totals = [S::splat(0.0); V];
        for _ in 0..blocks {
            let mut sums = [S::no_sums(); V];
            let mut high_sums = [S::no_sums(); V];
            let mut quad = 0;
            while quad < 8 {
                let a = S::load_x(x.cast::<i8>().add(4 * quad));
                let mut v = 0;
                while v < V {
                    let w = S::load_i(record.add(head + quad * QUADS + 4 * v * S::LANES));
                    if S::DOT_U8 {
                        sums[v] = S::dot(sums[v], w, a);
                    } else {
                        sums[v] = S::dot(sums[v], S::low_nibbles(w), a);
                        high_sums[v] = S::dot(high_sums[v], S::high_nibbles(w), a);
                    }
                    v += 1;
                }
                quad += 1;
            }
            let e = S::splat(*x.add(8));
            let offset = if HEAD == SCALES { -128.0 } else { 1.0 };
            let e_sum = S::splat(offset * *x.add(9));
            let mut v = 0;
            while v < V {
                let (d, m) = load_head::<S, HEAD>(record, v * S::LANES);
                let mut dot = S::total(sums[v]);
                if !S::DOT_U8 {
                    dot = S::add_i(dot, S::shift_left::<4>(S::total(high_sums[v])));
                }
                if HEAD == SCALES {
                    let dot = S::mul_add(S::to_f32(dot), e, e_sum);
                    totals[v] = S::mul_add(d, dot, totals[v]);
                } else {
                    let dot = S::mul(S::to_f32(dot), e);
                    totals[v] = S::mul_add(m, e_sum, totals[v]);
                    totals[v] = S::mul_add(d, dot, totals[v]);
                }
                v += 1;
            }
            record = record.add(head + 2 * NIBBLES);
            x = x.add(RECORD);
        }
        totals
    }
}

per_isa! { unsafe fn many_tokens(job: &Job<'_>, unpacked: &mut [f32]) = many_tokens_on }

#[inline(always)]
unsafe fn many_tokens_on<S: Simd>(job: &Job<'_>, unpacked: &mut [f32]) {
    let (format, k) = (job.format, job.weights.k);
    let (q, scales) = unpacked.split_at_mut(k * GROUP / 4);
    let (d, m) = scales.split_at_mut(k / span(format) * GROUP);
    let q: &mut [u8] = bytemuck::cast_slice_mut(q);
    for group in job.groups.0..job.groups.1 {
        let bytes = job.weights.group(group);
        if has_records(format) {
            // Records of the group: `q`, `d` and `m` have room for all.
            unsafe {
                unpack::<S>(
                    format,
                    bytes,
                    q.as_mut_ptr(),
                    d.as_mut_ptr(),
                    m.as_mut_ptr(),
                )
            };
        } else {
            decode_group(format, bytes, Decoded { q, d, m });
        }
        let rows = Rows {
            blocks: k / BLOCK,
            q: q.as_ptr(),
            d: d.as_ptr(),
            m: m.as_ptr(),
        };
        for (first, tokens) in panels(job.tokens, S::TOKENS) {
            let x = job.x[first * (k / BLOCK * RECORD)..].as_ptr();
            // The panel has `tokens` tokens and as many blocks as the rows.
            unsafe {
                match format {
                    _ if span(format) == 16 => {
                        tile_of::<S, HALVES>(job, group, first, tokens, x, rows)
                    }
                    _ if has_bytes(format) && !S::DOT_U8 => {
                        tile_of::<S, WIDE>(job, group, first, tokens, x, rows);
                    }
                    _ => tile_of::<S, PLAIN>(job, group, first, tokens, x, rows),
                }
            }
        }
    }
}

/// Records to unsigned bytes and f32 scales and offsets.
#[inline(always)]
pub(crate) unsafe fn unpack<S: Simd>(
    format: BlockFormat,
    group: &[u8],
    mut q: *mut u8,
    mut d: *mut f32,
    mut m: *mut f32,
) {
    if is_long(format) {
        let k = group.len() / (GROUP * format.bytes()) * format.elements();
        return unsafe { unpack_long::<S>(format, group.as_ptr(), k, q, d, m) };
    }
    let (scales, body) = match format {
        BlockFormat::Q4_0 => (2 * GROUP, NIBBLES),
        BlockFormat::Q4_1 => (4 * GROUP, NIBBLES),
        BlockFormat::Q4Z => (8 * GROUP, NIBBLES),
        BlockFormat::Q8Z => (8 * GROUP, 2 * NIBBLES),
        _ => (2 * GROUP, 2 * NIBBLES),
    };
    let offset = offset_of(format) as f32;
    for record in group.chunks_exact(scales + body) {
        let from = record.as_ptr();
        unsafe {
            for lane in (0..GROUP).step_by(S::LANES) {
                let (scale, min) = match format {
                    BlockFormat::Q4_1 => load_head::<S, MINIMA>(from, lane),
                    _ if format.has_zero_point() => load_head::<S, SINGLE>(from, lane),
                    _ => {
                        let (scale, _) = load_head::<S, SCALES>(from, lane);
                        (scale, S::mul(scale, S::splat(-offset)))
                    }
                };
                S::store(d.add(lane), scale);
                S::store(m.add(lane), min);
            }
            let from = from.add(scales);
            if body == NIBBLES {
                for pair in 0..4 {
                    for at in (0..QUADS).step_by(4 * S::LANES) {
                        let w = S::load_i(from.add(pair * QUADS + at));
                        S::store_i(q.add(2 * pair * QUADS + at), S::low_nibbles(w));
                        S::store_i(q.add((2 * pair + 1) * QUADS + at), S::high_nibbles(w));
                    }
                }
            } else {
                std::ptr::copy_nonoverlapping(from, q, body);
            }
            q = q.add(2 * NIBBLES);
            d = d.add(GROUP);
            m = m.add(GROUP);
        }
    }
}

/// An unpacked group.
#[derive(Clone, Copy)]
struct Rows {
    blocks: usize,
    q: *const u8,
    d: *const f32,
    m: *const f32,
}

/// One scale for 32 columns, integers that [`Simd::dot`] takes.
const PLAIN: u8 = 0;
/// One scale for 16 columns.
const HALVES: u8 = 1;
/// Integers up to 255 where [`Simd::dot`] takes 127: multiplied in two nibbles.
const WIDE: u8 = 2;

#[inline(always)]
unsafe fn tile_of<S: Simd, const MODE: u8>(
    job: &Job<'_>,
    group: usize,
    first: usize,
    tokens: usize,
    x: *const f32,
    rows: Rows,
) {
    unsafe {
        match tokens {
            12 if S::TOKENS >= 12 => tile::<S, 12, MODE>(job, group, first, x, rows),
            8 if S::TOKENS >= 8 => tile::<S, 8, MODE>(job, group, first, x, rows),
            6 if S::TOKENS >= 6 => tile::<S, 6, MODE>(job, group, first, x, rows),
            4 => tile::<S, 4, MODE>(job, group, first, x, rows),
            2 => tile::<S, 2, MODE>(job, group, first, x, rows),
            _ => tile::<S, 1, MODE>(job, group, first, x, rows),
        }
    }
}

/// A group's 16 rows times a panel of `T` tokens.
#[inline(always)]
unsafe fn tile<S: Simd, const T: usize, const MODE: u8>(
    job: &Job<'_>,
    group: usize,
    first: usize,
    x: *const f32,
    rows: Rows,
) {
    unsafe {
        let mut out = [[0f32; GROUP]; T];
        for lane in (0..GROUP).step_by(S::LANES) {
            let mut totals = [S::splat(0.0); T];
            let mut x = x;
            let (mut q, mut d, mut m) = (rows.q.add(4 * lane), rows.d.add(lane), rows.m.add(lane));
            for _ in 0..rows.blocks {
                let e = x.add(BLOCK / 4 * T);
                if MODE == HALVES {
                    for half in 0..2 {
                        let sums = dots::<S, T, 4>(q.add(4 * half * QUADS), x.add(4 * half * T));
                        let d = S::load(d.add(half * GROUP));
                        let m = S::load(m.add(half * GROUP));
                        let mut t = 0;
                        while t < T {
                            let dot = S::mul(S::to_f32(S::total(sums[t])), d);
                            totals[t] = S::mul_add(dot, S::splat(*e.add(t)), totals[t]);
                            let sum = S::splat(*e.add((2 + half) * T + t));
                            totals[t] = S::mul_add(m, sum, totals[t]);
                            t += 1;
                        }
                    }
                    d = d.add(2 * GROUP);
                    m = m.add(2 * GROUP);
                } else {
                    let scale = S::load(d);
                    let min = S::load(m);
                    let (low, high) = if MODE == WIDE {
                        wide_dots::<S, T>(q, x)
                    } else {
                        (dots::<S, T, 8>(q, x), [S::no_sums(); T])
                    };
                    let mut t = 0;
                    while t < T {
                        let mut dot = S::total(low[t]);
                        if MODE == WIDE {
                            dot = S::add_i(dot, S::shift_left::<4>(S::total(high[t])));
                        }
                        let dot = S::mul(S::to_f32(dot), scale);
                        totals[t] = S::mul_add(dot, S::splat(*e.add(t)), totals[t]);
                        totals[t] = S::mul_add(min, S::splat(*e.add(T + t)), totals[t]);
                        t += 1;
                    }
                    d = d.add(GROUP);
                    m = m.add(GROUP);
                }
                q = q.add(8 * QUADS);
                x = x.add(RECORD * T);
            }
            let mut t = 0;
            while t < T {
                S::store(out[t].as_mut_ptr().add(lane), totals[t]);
                t += 1;
            }
        }
        for (t, out) in out.iter().enumerate() {
            write_columns(job, group, first + t, out);
        }
    }
}

/// Integer dot products of `Q` quads of columns.
#[inline(always)]
unsafe fn dots<S: Simd, const T: usize, const Q: usize>(
    q: *const u8,
    x: *const f32,
) -> [S::Sums; T] {
    unsafe {
        let mut sums = [S::no_sums(); T];
        let mut quad = 0;
        while quad < Q {
            let w = S::load_i(q.add(quad * QUADS));
            let mut t = 0;
            while t < T {
                sums[t] = S::dot(sums[t], w, S::load_x(x.add(quad * T + t).cast()));
                t += 1;
            }
            quad += 1;
        }
        sums
    }
}

/// The same for bytes up to 255, low and high nibbles apart.
#[inline(always)]
unsafe fn wide_dots<S: Simd, const T: usize>(
    q: *const u8,
    x: *const f32,
) -> ([S::Sums; T], [S::Sums; T]) {
    unsafe {
        let (mut low, mut high) = ([S::no_sums(); T], [S::no_sums(); T]);
        let mut quad = 0;
        while quad < 8 {
            let w = S::load_i(q.add(quad * QUADS));
            let (w_low, w_high) = (S::low_nibbles(w), S::high_nibbles(w));
            let mut t = 0;
            while t < T {
                let x = S::load_x(x.add(quad * T + t).cast());
                low[t] = S::dot(low[t], w_low, x);
                high[t] = S::dot(high[t], w_high, x);
                t += 1;
            }
            quad += 1;
        }
        (low, high)
    }
}

/// Writes the outputs of a group for `token`, with the bias; the last group may have fewer than 16.
#[inline(always)]
unsafe fn write_columns(job: &Job<'_>, group: usize, token: usize, sums: &[f32; GROUP]) {
    let n = job.weights.n;
    let column = group * GROUP;
    let columns = GROUP.min(n - column);
    // Columns of this group belong to this task alone.
    let out = unsafe { std::slice::from_raw_parts_mut(job.out.at(token * n + column), columns) };
    match job.bias {
        Some(bias) => {
            for ((out, sum), bias) in out.iter_mut().zip(sums).zip(&bias[column..]) {
                *out = sum + bias;
            }
        }
        None if columns == GROUP => out.copy_from_slice(sums),
        None => out.copy_from_slice(&sums[..columns]),
    }
}
