//! Reading long records (see [`block`](super::block)) with vectors: times one row of activations, or unpacked for many.

use crate::element::BlockFormat;

use super::activations::RECORD;
use super::block::{BLOCK, NIBBLES, QUADS, WORDS, layout, span};
use super::simd::Simd;
use super::weights::GROUP;

// The formats, as constants that a kernel is compiled for.
const Q5_0: u8 = 0;
const Q5_1: u8 = 1;
const Q4K: u8 = 2;
const Q5K: u8 = 3;
const Q6K: u8 = 4;

const fn format_of(format: u8) -> BlockFormat {
    match format {
        Q5_0 => BlockFormat::Q5_0,
        Q5_1 => BlockFormat::Q5_1,
        Q4K => BlockFormat::Q4K,
        Q5K => BlockFormat::Q5K,
        _ => BlockFormat::Q6K,
    }
}

/// `V` vectors of a group's rows times one row of activations, `k` long, quantized to the panel `x`.
#[inline(always)]
pub(crate) unsafe fn dot_long<S: Simd, const V: usize>(
    format: BlockFormat,
    group: *const u8,
    x: *const f32,
    k: usize,
) -> [S::F; V] {
    unsafe {
        match format {
            BlockFormat::Q5_0 => dot_of::<S, V, Q5_0>(group, x, k),
            BlockFormat::Q5_1 => dot_of::<S, V, Q5_1>(group, x, k),
            BlockFormat::Q4K => dot_of::<S, V, Q4K>(group, x, k),
            BlockFormat::Q5K => dot_of::<S, V, Q5K>(group, x, k),
            _ => dot_of::<S, V, Q6K>(group, x, k),
        }
    }
}

/// A group to unsigned bytes and f32 scales and offsets, as [`block`](super::block) has them.
#[inline(always)]
pub(crate) unsafe fn unpack_long<S: Simd>(
    format: BlockFormat,
    group: *const u8,
    k: usize,
    q: *mut u8,
    d: *mut f32,
    m: *mut f32,
) {
    unsafe {
        match format {
            BlockFormat::Q5_0 => unpack_of::<S, Q5_0>(group, k, q, d, m),
            BlockFormat::Q5_1 => unpack_of::<S, Q5_1>(group, k, q, d, m),
            BlockFormat::Q4K => unpack_of::<S, Q4K>(group, k, q, d, m),
            BlockFormat::Q5K => unpack_of::<S, Q5K>(group, k, q, d, m),
            _ => unpack_of::<S, Q6K>(group, k, q, d, m),
        }
    }
}

/// One vector of rows of a record, read part after part.
struct Rows<S: Simd> {
    d: S::F,
    min: S::F,
    /// Words of inner scales, shifted so that the next one is lowest.
    words: [S::I; 3],
}

/// 32 columns of as many rows as a vector has lanes: eight quads, scale and offset of each half.
struct Part<S: Simd> {
    q: [S::I; 8],
    d: [S::F; 2],
    m: [S::F; 2],
}

impl<S: Simd> Rows<S> {
    #[inline(always)]
    unsafe fn of<const FORMAT: u8>(record: *const u8, lane: usize) -> Rows<S> {
        let l = const { layout(format_of(FORMAT)) };
        unsafe {
            let d = S::load_f16(record.cast::<u16>().add(lane));
            let min = if l.minima {
                S::load_f16(record.cast::<u16>().add(GROUP + lane))
            } else {
                d
            };
            let mut words = [S::splat_i32(0); 3];
            if FORMAT == Q4K || FORMAT == Q5K {
                let mut i = 0;
                while i < 3 {
                    words[i] = S::load_i(record.add(l.scales + i * WORDS + 4 * lane));
                    i += 1;
                }
            }
            Rows { d, min, words }
        }
    }

    #[inline(always)]
    unsafe fn part<const FORMAT: u8>(
        &mut self,
        record: *const u8,
        lane: usize,
        part: usize,
    ) -> Part<S> {
        let l = const { layout(format_of(FORMAT)) };
        unsafe {
            let mut q = [S::splat_i32(0); 8];
            let nibbles = record.add(l.nibbles + part * NIBBLES + 4 * lane);
            let upper = record.add(l.upper + part * l.upper_words * WORDS + 4 * lane);
            let mut bits = S::splat_i32(0);
            let mut pair = 0;
            while pair < 4 {
                let w = S::load_i(nibbles.add(pair * QUADS));
                q[2 * pair] = S::low_nibbles(w);
                q[2 * pair + 1] = S::high_nibbles(w);
                if l.upper_words == 1 && pair == 0 {
                    bits = S::load_i(upper);
                }
                if l.upper_words == 2 && pair % 2 == 0 {
                    bits = S::load_i(upper.add(pair / 2 * WORDS));
                }
                let mut quad = 2 * pair;
                while quad < 2 * pair + 2 {
                    if l.upper_words == 1 {
                        let bit = S::and(bits, S::splat_i32(0x0101_0101));
                        q[quad] = S::add_i(q[quad], S::shift_left::<4>(bit));
                        bits = S::shift_right::<1>(bits);
                    }
                    if l.upper_words == 2 {
                        let two = S::and(bits, S::splat_i32(0x0303_0303));
                        q[quad] = S::add_i(q[quad], S::shift_left::<4>(two));
                        bits = S::shift_right::<2>(bits);
                    }
                    quad += 1;
                }
                pair += 1;
            }
            let (d, m) = match FORMAT {
                Q4K | Q5K => {
                    let [low, low_min, high] = self.words;
                    let (four, two) = (S::splat_i32(15), S::splat_i32(3));
                    let high_min = S::shift_right::<16>(high);
                    let scale = S::add_i(S::and(low, four), S::shift_left::<4>(S::and(high, two)));
                    let min = S::add_i(
                        S::and(low_min, four),
                        S::shift_left::<4>(S::and(high_min, two)),
                    );
                    self.words = [
                        S::shift_right::<4>(low),
                        S::shift_right::<4>(low_min),
                        S::shift_right::<2>(high),
                    ];
                    let none = S::splat(0.0);
                    let d = S::mul(self.d, S::to_f32(scale));
                    let m = S::sub(none, S::mul(self.min, S::to_f32(min)));
                    ([d; 2], [m; 2])
                }
                Q6K => {
                    if part.is_multiple_of(2) {
                        let at = l.scales + part / 2 * WORDS + 4 * lane;
                        self.words[0] = S::load_i(record.add(at));
                    }
                    let (mut d, mut m) = ([self.d; 2], [self.d; 2]);
                    let mut half = 0;
                    while half < 2 {
                        let scale = S::and(self.words[0], S::splat_i32(255));
                        let scale = S::sub_i(scale, S::splat_i32(128));
                        self.words[0] = S::shift_right::<8>(self.words[0]);
                        d[half] = S::mul(d[half], S::to_f32(scale));
                        m[half] = S::mul(d[half], S::splat(-32.0));
                        half += 1;
                    }
                    (d, m)
                }
                Q5_0 => ([self.d; 2], [S::mul(self.d, S::splat(-16.0)); 2]),
                _ => ([self.d; 2], [self.min; 2]),
            };
            Part { q, d, m }
        }
    }
}

#[inline(always)]
unsafe fn dot_of<S: Simd, const V: usize, const FORMAT: u8>(
    group: *const u8,
    x: *const f32,
    k: usize,
) -> [S::F; V] {
    let l = const { layout(format_of(FORMAT)) };
    let halves = const { span(format_of(FORMAT)) } == BLOCK / 2;
    unsafe {
        let mut totals = [S::splat(0.0); V];
        for index in 0..k / (l.parts * BLOCK) {
            let record = group.add(index * l.bytes);
            let mut v = 0;
            while v < V {
                let total = &mut totals[v];
                let lane = v * S::LANES;
                let mut rows = Rows::<S>::of::<FORMAT>(record, lane);
                for number in 0..l.parts {
                    let part = rows.part::<FORMAT>(record, lane, number);
                    let x = x.add((index * l.parts + number) * RECORD);
                    let e = S::splat(*x.add(8));
                    if halves {
                        for half in 0..2 {
                            let dot = dots::<S>(&part.q, x, 4 * half, 4 * half + 4);
                            let dot = S::mul(S::to_f32(dot), e);
                            let sum = S::splat(*x.add(10 + half));
                            *total = S::mul_add(part.d[half], dot, *total);
                            *total = S::mul_add(part.m[half], sum, *total);
                        }
                    } else {
                        let dot = S::mul(S::to_f32(dots::<S>(&part.q, x, 0, 8)), e);
                        *total = S::mul_add(part.d[0], dot, *total);
                        *total = S::mul_add(part.m[0], S::splat(*x.add(9)), *total);
                    }
                }
                v += 1;
            }
        }
        totals
    }
}

/// Quads `from..to` times four activations each.
#[inline(always)]
unsafe fn dots<S: Simd>(q: &[S::I; 8], x: *const f32, from: usize, to: usize) -> S::I {
    unsafe {
        let mut sums = S::no_sums();
        let mut quad = from;
        while quad < to {
            sums = S::dot(sums, q[quad], S::load_x(x.add(quad).cast()));
            quad += 1;
        }
        S::total(sums)
    }
}

#[inline(always)]
unsafe fn unpack_of<S: Simd, const FORMAT: u8>(
    group: *const u8,
    k: usize,
    q: *mut u8,
    d: *mut f32,
    m: *mut f32,
) {
    let l = const { layout(format_of(FORMAT)) };
    let spans = const { BLOCK / span(format_of(FORMAT)) };
    unsafe {
        for index in 0..k / (l.parts * BLOCK) {
            let record = group.add(index * l.bytes);
            for lane in (0..GROUP).step_by(S::LANES) {
                let mut rows = Rows::<S>::of::<FORMAT>(record, lane);
                for number in 0..l.parts {
                    let part = rows.part::<FORMAT>(record, lane, number);
                    let at = index * l.parts + number;
                    let mut quad = 0;
                    while quad < 8 {
                        S::store_i(q.add((8 * at + quad) * QUADS + 4 * lane), part.q[quad]);
                        quad += 1;
                    }
                    let mut i = 0;
                    while i < spans {
                        S::store(d.add((at * spans + i) * GROUP + lane), part.d[i]);
                        S::store(m.add((at * spans + i) * GROUP + lane), part.m[i]);
                        i += 1;
                    }
                }
            }
        }
    }
}
